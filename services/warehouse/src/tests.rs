//! The whole service: calls and undos through the kit, many at once, and the door.

use super::*;
use chassis::{
    config::Secret,
    db::{Db, DbOptions, Tx},
    http::{Health, Metrics},
    nats::{Nats, NatsConfig},
};
use proto_schemas::inventory::{Pieces, Stock};
use serde_json::{Value, json};
use service_kit::{
    Ground, Running,
    conformance::{Pair, check, door::Door},
};
use tempfile::TempDir;

fn pieces(sku: &str, quantity: u32) -> Pieces {
    Pieces { sku: sku.to_owned(), quantity }
}

/// A reservation and its release.
struct Shelf;

impl Pair for Shelf {
    type Call = Reserve;
    type Undo = Release;

    fn service(&self) -> Service {
        service()
    }

    fn prepare(&self, tx: &mut Tx) {
        stock::open(tx, "A", 20).unwrap();
        stock::open(tx, "B", 5).unwrap();
    }

    fn call(&self) -> Reserve {
        let items = vec![pieces("A", 3), pieces("B", 5)];
        Reserve { order_id: "o-1".parse().unwrap(), items }
    }

    fn undo(&self) -> Release {
        Release { order_id: "o-1".parse().unwrap() }
    }

    fn observe(&self, db: &Db) -> Value {
        json!(stock::list(db, None, 10).unwrap())
    }
}

#[tokio::test]
async fn a_reservation_and_its_release_act_once_in_every_order() {
    check(|| Shelf).await;
}

/// A broker that is not there: what is tested here needs none.
fn no_broker() -> NatsConfig {
    let url = Secret::new("nats://warehouse:none@127.0.0.1:1".to_owned());
    NatsConfig { name: "warehouse".to_owned(), url, ca_file: None }
}

async fn started(dir: &TempDir) -> Running {
    let db = Db::open(dir.path(), DbOptions::default()).unwrap();
    let (health, metrics) = (Health::new(), Metrics::new());
    let nats = Nats::connect(&no_broker(), &health, &metrics).await.unwrap();
    service().start(Ground::new(db, nats, health, metrics)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_orders_at_once_never_oversell() {
    const ORDERS: usize = 300;
    const SHELF: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let running = started(&dir).await;
    let handle = running.handle();
    let fill = |tx: &mut Tx| {
        stock::open(tx, "A", SHELF)?;
        Ok(stock::open(tx, "B", SHELF)?)
    };
    handle.write(move |tx, _| fill(tx)).await.unwrap();
    // Both units in either order: taking one piece of the first and none of the second must not be.
    let reserves = (0..ORDERS).map(|at| {
        let handle = handle.clone();
        tokio::spawn(async move {
            let order_id = format!("o-{at}").parse().unwrap();
            let mut items = vec![pieces("A", 1), pieces("B", 1)];
            if at % 2 == 0 {
                items.reverse();
            }
            handle.write(move |tx, _| stock::reserve(tx, &order_id, &items)).await.is_ok()
        })
    });
    let mut won = 0;
    for reserve in reserves.collect::<Vec<_>>() {
        won += u64::from(reserve.await.unwrap());
    }
    assert_eq!(won, SHELF);
    for Stock { available, reserved, shipped, .. } in stock::list(handle.db(), None, 10).unwrap() {
        assert_eq!((available, reserved, shipped), (0, SHELF, 0));
    }
    drop(handle);
    running.drain().await;
}

async fn open(units: &str) -> Door {
    Door::open(PROCESS, app(Settings { fill: units.parse().unwrap() })).await
}

#[tokio::test]
async fn viewers_see_the_stock() {
    let door = open(r#"{"WIDGET-001":1000000,"GADGET-002":5}"#).await;
    let gadget = json!({ "sku": "GADGET-002", "available": 5, "reserved": 0, "shipped": 0 });
    let widget = json!({ "sku": "WIDGET-001", "available": 1000000, "reserved": 0, "shipped": 0 });
    assert_eq!(door.get("/api/stock/GADGET-002").await, (200, gadget.clone()));
    assert_eq!(
        door.get("/api/stock").await,
        (200, json!({ "items": [gadget, widget], "next": null }))
    );
    let first = json!({ "items": [gadget], "next": "GADGET-002" });
    assert_eq!(door.get("/api/stock?limit=1").await, (200, first));
    let second = json!({ "items": [widget], "next": null });
    assert_eq!(door.get("/api/stock?limit=1&cursor=GADGET-002").await, (200, second));
    door.close().await;
}

#[tokio::test]
async fn what_is_not_for_the_caller_or_not_there_is_a_problem() {
    let door = open("{}").await;
    for path in ["/api/stock/NOTHING", "/api/stock/%2e%2e", "/api/stock/a%00b", "/api/nothing"] {
        let (status, problem) = door.get(path).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}: {problem}");
    }
    let (status, problem) = door.get("/api/stock?limit=0").await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/limit")));
    let open = door.client.get(format!("{}/api/stock", door.base)).send().await.unwrap();
    assert_eq!(open.status(), 401);
    assert_eq!(open.headers()["content-type"], "application/problem+json");
    door.close().await;
}
