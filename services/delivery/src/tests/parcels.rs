//! The procedures: one parcel for an order, and none when it was taken back.

use super::{courier::Courier, settings, store};
use crate::{
    courier as wire, get_status,
    hand_over::HandOver,
    parcels, service,
    stop::{Intent, Stop},
};
use chassis::db::Db;
use chrono::Utc;
use proto_schemas::delivery::{
    CancelShipment, CreateShipment, DeliveryStatus, GetStatus, ShipmentCancelled, ShipmentCreated,
    ShipmentStatus,
};
use serde_json::{Value, json};
use service_kit::{
    Attempt, Begun, Call, Effect, Outcome, Refusal, Service, Tx, WorkError,
    conformance::{Pair, check},
};
use std::sync::Arc;

fn create() -> CreateShipment {
    let body = json!({
        "orderId": "o-1",
        "name": "Zoë",
        "shippingAddress": {
            "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US",
        },
        "items": [{ "sku": "WIDGET-001", "quantity": 2 }],
    });
    serde_json::from_value(body).unwrap()
}

fn cancel() -> CancelShipment {
    CancelShipment { order_id: "o-1".parse().unwrap() }
}

/// A parcel and its cancellation, with and without a courier's API.
struct Parcel(Option<Courier>);

impl Pair for Parcel {
    type Call = CreateShipment;
    type Undo = CancelShipment;

    fn service(&self) -> Service {
        service(&settings(self.0.as_ref().map(|it| it.base.as_str())))
    }

    fn prepare(&self, _: &mut Tx) {}

    fn call(&self) -> CreateShipment {
        create()
    }

    fn undo(&self) -> CancelShipment {
        cancel()
    }

    fn observe(&self, db: &Db) -> Value {
        let row = parcels::of_order(&Tx::over(db), &"o-1".parse().unwrap()).unwrap();
        let is_here = row.is_some_and(|row| row.status != ShipmentStatus::Cancelled);
        let there = self.0.as_ref().map(Courier::on_their_way);
        json!({ "here": is_here, "there": there })
    }
}

#[tokio::test]
async fn a_parcel_and_its_cancellation_act_once_in_every_order() {
    check(|| Parcel(None)).await;
}

#[tokio::test]
async fn so_do_they_with_a_courier() {
    check(|| Parcel(Some(Courier::start()))).await;
}

/// One store, and effects played by hand.
struct Play {
    db: Db,
    courier: Option<Arc<wire::Courier>>,
    _dir: tempfile::TempDir,
}

impl Play {
    fn new(courier: Option<&Courier>) -> Play {
        settings(None);
        let (db, dir) = store();
        let courier = courier.map(|it| Arc::new(wire::Courier::new(it.base.clone())));
        Play { db, courier, _dir: dir }
    }

    fn commit(&self, tx: Tx) {
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
    }

    /// Plays a call as the kit does, until its work has a result.
    async fn run<E: Effect>(
        &self,
        effect: &E,
        key: &str,
        body: E::Request,
    ) -> Outcome<<E::Request as saga_core::message::Request>::Reply>
    where
        E::Intent: Clone,
    {
        let call = Call { body, key: key.into(), at: Utc::now(), undo: None, attempt_class: 1 };
        let mut tx = Tx::over(&self.db);
        let intent = match effect.begin(&mut tx, &call)? {
            Begun::Done(reply) => {
                self.commit(tx);
                return Ok(reply);
            }
            Begun::Work(intent) => intent,
        };
        self.commit(tx);
        for round in 0..10 {
            let may_have_happened = round > 0;
            let attempt = Attempt { key: key.to_owned(), class: 1, may_have_happened };
            let done = match effect.work(intent.clone(), attempt).await {
                Err(WorkError::Failed(_)) => continue,
                Ok(done) => Ok(done),
                Err(WorkError::Rejected(rejection)) => Err(rejection),
            };
            let mut tx = Tx::over(&self.db);
            let outcome = effect.finish(&mut tx, &call, intent, done);
            self.commit(tx);
            return outcome;
        }
        Err(Refusal::failed("the work never ended"))
    }

    async fn create(&self, key: &str) -> ShipmentCreated {
        self.run(&HandOver::new(self.courier.clone()), key, create()).await.unwrap()
    }

    async fn cancel(&self) -> Outcome<ShipmentCancelled> {
        self.run(&Stop::new(self.courier.clone()), "undo", cancel()).await
    }

    fn say(&self, status: DeliveryStatus) -> bool {
        let mut tx = Tx::over(&self.db);
        let word = parcels::Word { hook: "h".to_owned(), status, tracking_number: None };
        let said = parcels::say(&mut tx, &"o-1".parse().unwrap(), word).unwrap();
        self.commit(tx);
        said == parcels::Said::News
    }

    fn status(&self) -> Outcome<ShipmentStatus> {
        let asked = GetStatus { order_id: "o-1".parse().unwrap() };
        get_status(&Tx::over(&self.db), asked).map(|it| it.status)
    }
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_parcel() {
    let courier = Courier::start();
    courier.with(|world| world.lose_answers = 1);
    let play = Play::new(Some(&courier));
    let created = play.create("a").await;
    assert_eq!(created.tracking_number, "TRK0");
    assert!(created.shipment_id.starts_with("S-"));
    assert_eq!(play.create("b").await, created, "an order has one parcel at a time");
    assert_eq!(courier.on_their_way(), 1);
}

#[tokio::test]
async fn a_cancelled_parcel_makes_room_for_another() {
    let courier = Courier::start();
    let play = Play::new(Some(&courier));
    let first = play.create("a").await;
    let cancelled = play.cancel().await.unwrap();
    assert_eq!(cancelled.shipment_id.as_ref(), Some(&first.shipment_id));
    assert_eq!(play.cancel().await.unwrap(), cancelled, "again");
    assert_eq!(play.status().unwrap(), ShipmentStatus::Cancelled);
    let second = play.create("b").await;
    assert_ne!(second, first);
    assert_eq!(play.status().unwrap(), ShipmentStatus::Created);
    assert_eq!(courier.on_their_way(), 1);
}

/// Not the stopped one: what is said without a number may be of the one that comes.
#[tokio::test]
async fn an_order_gets_its_second_parcel_whatever_is_said_after_the_first_was_stopped() {
    let courier = Courier::start();
    let play = Play::new(Some(&courier));
    let first = play.create("a").await;
    play.cancel().await.unwrap();
    assert!(play.say(DeliveryStatus::Returned));
    assert_eq!(play.status().unwrap(), ShipmentStatus::Cancelled);
    assert_ne!(play.create("b").await, first);
    assert_eq!(courier.on_their_way(), 1);
}

#[tokio::test]
async fn what_was_delivered_is_not_cancelled_and_nothing_at_all_is() {
    let play = Play::new(None);
    assert_eq!(play.cancel().await.unwrap().shipment_id, None);
    assert!(play.status().is_err(), "there is no parcel");
    play.create("a").await;
    assert!(play.say(DeliveryStatus::Delivered));
    let refused = play.cancel().await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "already_delivered"));
    assert_eq!(play.status().unwrap(), ShipmentStatus::Delivered);
}

#[tokio::test]
async fn a_parcel_that_has_left_is_the_couriers_to_stop() {
    let courier = Courier::start();
    let play = Play::new(Some(&courier));
    play.create("a").await;
    courier.with(|world| world.parcels[0]["status"] = json!("in_transit"));
    let refused = play.cancel().await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "courier_refused"));
    courier.with(|world| world.parcels.clear());
    assert!(play.cancel().await.is_ok(), "what the courier does not know is not on its way");
}

#[tokio::test]
async fn a_webhook_that_is_faster_than_the_answer_is_not_lost() {
    let play = Play::new(None);
    assert!(play.say(DeliveryStatus::PickedUp));
    assert!(!play.say(DeliveryStatus::PickedUp));
    play.create("a").await;
    assert_eq!(play.status().unwrap(), ShipmentStatus::PickedUp);
}

#[tokio::test]
async fn what_kept_the_courier_from_answering_is_told() {
    // Let go at once: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let _settings = settings(Some(&base));
    let silent = wire::Courier::new(base).of_order("o-1").await;
    let Err(WorkError::Failed(why)) = silent else { panic!("{silent:?}") };
    assert!(why.contains("refused"), "{why}");
}

/// The order is cancelled, and its money goes back. Silence of the service's own rows is no proof.
#[tokio::test]
async fn a_parcel_that_a_restored_service_has_forgotten_is_stopped_or_told_to_a_person() {
    let courier = Courier::start();
    let play = Play::new(Some(&courier));
    play.create("a").await;
    let restored = Play::new(Some(&courier));
    assert!(restored.cancel().await.is_ok());
    assert_eq!(courier.on_their_way(), 0, "the courier was asked by the order");
    assert!(restored.cancel().await.is_ok(), "again");
    // The backup had the first parcel, and not the one after it.
    assert!(play.cancel().await.is_ok());
    Play::new(Some(&courier)).create("b").await;
    assert_eq!(courier.on_their_way(), 1);
    assert!(play.cancel().await.is_ok());
    assert_eq!(courier.on_their_way(), 0);
    // One that has left is for a person.
    Play::new(Some(&courier)).create("c").await;
    courier.with(|world| world.parcels[2]["status"] = json!("in_transit"));
    let refused = Play::new(Some(&courier)).cancel().await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "courier_refused"));
}

#[test]
fn what_an_older_release_was_about_to_stop_is_read() {
    let intent = serde_json::from_value::<Intent>(json!({ "courierId": "shp_1" })).unwrap();
    assert!(matches!(intent, Intent::Known { courier_id } if courier_id == "shp_1"));
    let order_id = "o-1".parse().unwrap();
    let intent = json!(Intent::Unknown { order_id });
    assert!(matches!(serde_json::from_value(intent).unwrap(), Intent::Unknown { .. }));
}
