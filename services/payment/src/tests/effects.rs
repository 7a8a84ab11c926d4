//! The procedures: what they ask of the provider, and that they ask it once.

use super::{provider::Provider, settings, store};
use crate::{
    hooks::Stripe,
    ledger::{self, view},
    open::OpenSession,
    process::{self, About, LookUp},
    refund::PayBack,
    service,
    stripe::{Client, Failure},
    void::{CloseSession, Intent},
};
use axum::http::HeaderMap;
use chassis::db::Db;
use chrono::Utc;
use proto_schemas::payments::{
    CreateSession, DisputeStatus, ProcessPayment, Refund, RefundPayment, Session, SessionStatus,
    VoidSession,
};
use saga_core::message::Request;
use serde_json::{Value, json};
use service_kit::{
    Attempt, Begun, Call, Effect, Outcome, Refusal, Service, Tx, WorkError,
    conformance::{Pair, check},
    webhooks::{self, Provider as _},
};
use std::sync::Arc;

fn create() -> CreateSession {
    let body = json!({ "orderId": "o-1", "amount": "149.99", "currency": "USD" });
    serde_json::from_value(body).unwrap()
}

pub(super) fn pay_back(session_id: &str) -> RefundPayment {
    let body = json!({
        "orderId": "o-1", "sessionId": session_id, "amount": "149.99", "currency": "USD",
    });
    serde_json::from_value(body).unwrap()
}

/// A session and its void.
struct Checkout(Provider);

impl Pair for Checkout {
    type Call = CreateSession;
    type Undo = VoidSession;

    fn service(&self) -> Service {
        service(&settings(&self.0.base))
    }

    fn prepare(&self, _: &mut Tx) {}

    fn call(&self) -> CreateSession {
        create()
    }

    fn undo(&self) -> VoidSession {
        VoidSession { order_id: "o-1".parse().unwrap() }
    }

    fn observe(&self, db: &Db) -> Value {
        let row = ledger::of_order(&Tx::over(db), &"o-1".parse().unwrap()).unwrap();
        let is_open = row.is_some_and(|row| row.status == SessionStatus::Open);
        json!({ "open there": self.0.open_sessions(), "open here": is_open })
    }
}

#[tokio::test]
async fn a_session_and_its_void_act_once_in_every_order() {
    check(|| Checkout(Provider::start())).await;
}

/// One store, one provider, and effects played by hand.
pub(super) struct Play {
    pub(super) provider: Provider,
    pub(super) db: Db,
    pub(super) stripe: Arc<Client>,
    _dir: tempfile::TempDir,
}

impl Play {
    pub(super) fn new() -> Play {
        let provider = Provider::start();
        let stripe = Arc::new(Client::new(&settings(&provider.base)));
        let (db, dir) = store();
        Play { provider, db, stripe, _dir: dir }
    }

    /// With the store of a backup of before, and the same provider.
    fn restored(self) -> Play {
        let (db, dir) = store();
        Play { db, _dir: dir, ..self }
    }

    pub(super) fn commit(&self, tx: Tx) {
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
    }

    pub(super) fn call<R>(&self, key: &str, class: u32, body: R) -> Call<R> {
        Call { body, key: key.to_owned(), at: Utc::now(), undo: None, attempt_class: class }
    }

    /// Plays a call as the kit does, until its work has a result; `crashes` times its result is
    /// lost after it was had.
    pub(super) async fn run<E: Effect>(
        &self,
        effect: &E,
        call: Call<E::Request>,
        mut crashes: u32,
    ) -> Outcome<<E::Request as Request>::Reply>
    where
        E::Intent: Clone,
    {
        let mut tx = Tx::over(&self.db);
        let intent = match effect.begin(&mut tx, &call)? {
            Begun::Done(reply) => {
                self.commit(tx);
                return Ok(reply);
            }
            Begun::Work(intent) => intent,
        };
        self.commit(tx);
        let mut may_have_happened = call.attempt_class > 1;
        for _ in 0..10 {
            let key = format!("{}/{}", call.key, call.attempt_class);
            let attempt = Attempt { key, class: call.attempt_class, may_have_happened };
            may_have_happened = true;
            let done = match effect.work(intent.clone(), attempt).await {
                Err(WorkError::Failed(_)) => continue,
                _ if crashes > 0 => {
                    crashes -= 1;
                    continue;
                }
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

    pub(super) async fn session(&self) -> Session {
        let effect = OpenSession::new(Arc::clone(&self.stripe), &settings(&self.provider.base));
        self.run(&effect, self.call("create", 1, create()), 0).await.unwrap()
    }

    pub(super) async fn refund(&self, key: &str, class: u32, session_id: &str) -> Outcome<Refund> {
        let effect = PayBack::new(Arc::clone(&self.stripe));
        self.run(&effect, self.call(key, class, pay_back(session_id)), 0).await
    }

    async fn void(&self) -> Outcome<Option<SessionStatus>> {
        let effect = CloseSession::new(Arc::clone(&self.stripe));
        let body = VoidSession { order_id: "o-1".parse().unwrap() };
        Ok(self.run(&effect, self.call("void", 1, body), 0).await?.status)
    }

    /// The subjects and bodies of the events in the outbox.
    pub(super) fn events(&self) -> Vec<Value> {
        let rows = self.db.scan(&[service_kit::KIT_PREFIX, b'o'], None, 100).unwrap();
        rows.iter().map(|(_, row)| serde_json::from_slice(row).unwrap()).collect()
    }
}

#[tokio::test]
async fn the_provider_is_told_the_order_the_amount_and_the_end() {
    let play = Play::new();
    let session = play.session().await;
    assert_eq!(session.session_id, "cs_test_1");
    assert_eq!(session.url.as_deref(), Some("https://checkout.example/cs_test_1"));
    let form = play.provider.with(|world| world.forms[0].clone());
    let wanted = [
        ("cancel_url", "https://shop.example/o-1"),
        ("client_reference_id", "o-1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][product_data][name]", "Order o-1"),
        ("line_items[0][price_data][unit_amount]", "14999"),
        ("line_items[0][quantity]", "1"),
        ("metadata[order_id]", "o-1"),
        ("mode", "payment"),
        ("payment_intent_data[metadata][order_id]", "o-1"),
        ("success_url", "https://shop.example/o-1/paid"),
    ];
    let form: Vec<_> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(form, wanted, "and nothing that depends on our clock");
    let ahead_s = (session.expires_at.unwrap() - Utc::now()).num_seconds();
    assert!((23 * 3600..=24 * 3600).contains(&ahead_s), "the provider says when: {ahead_s}");
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_business_cancels_nothing() {
    for (status, code, is_answer) in [
        (400, "amount_too_small", true),
        (400, "amount_too_large", true),
        (402, "card_declined", true),
        (400, "invalid_request_error", false),
        (400, "parameter_unknown", false),
        (400, "url_invalid", false),
        (404, "resource_missing", false),
    ] {
        let play = Play::new();
        play.provider.with(|world| world.refuse_sessions = Some((status, code)));
        let effect = OpenSession::new(Arc::clone(&play.stripe), &settings(&play.provider.base));
        let opened = play.run(&effect, play.call("create", 1, create()), 0).await;
        let is_rejected = matches!(&opened, Err(Refusal::Rejected(it)) if it.code() == code);
        assert_eq!(is_rejected, is_answer, "{status} {code}: {opened:?}");
        if !is_answer {
            play.provider.with(|world| world.refuse_sessions = None);
            play.session().await;
        }
    }
}

#[tokio::test]
async fn a_lost_answer_opens_no_second_session() {
    let play = Play::new();
    play.provider.with(|world| world.lose_answers = 1);
    assert_eq!(play.session().await.session_id, "cs_test_1");
    assert_eq!(play.provider.open_sessions(), 1);
    // Another call for the order finds it open, whatever its key.
    assert_eq!(play.session().await.session_id, "cs_test_1");
    assert_eq!(play.provider.open_sessions(), 1);
}

#[tokio::test]
async fn a_void_ends_well_whatever_the_session_is() {
    let play = Play::new();
    assert_eq!(play.void().await.unwrap(), None, "there never was one");
    play.session().await;
    assert_eq!(play.void().await.unwrap(), Some(SessionStatus::Expired));
    assert_eq!(play.void().await.unwrap(), Some(SessionStatus::Expired), "again");
    assert_eq!(play.events(), [] as [Value; 0], "who closed it knows");
    assert_eq!(play.provider.open_sessions(), 0);
}

#[tokio::test]
async fn a_session_that_a_restored_service_has_forgotten_is_closed() {
    let play = Play::new();
    play.session().await;
    let effect = OpenSession::new(Arc::clone(&play.stripe), &settings(&play.provider.base));
    for (key, order_id) in [("b", "o-2"), ("c", "o-3")] {
        let other = CreateSession { order_id: order_id.parse().unwrap(), ..create() };
        play.run(&effect, play.call(key, 1, other), 0).await.unwrap();
    }
    let restored = play.restored();
    assert_eq!(restored.void().await.unwrap(), Some(SessionStatus::Expired));
    assert_eq!(restored.provider.open_sessions(), 2, "those of other orders stay open");
    assert_eq!(restored.void().await.unwrap(), None, "again");
}

#[test]
fn what_an_older_release_was_about_to_close_is_read() {
    let intent = serde_json::from_value::<Intent>(json!({ "sessionId": "cs_1" })).unwrap();
    assert!(matches!(intent, Intent::Known { session_id } if session_id == "cs_1"));
    let intent = json!(Intent::Unknown { order_id: "o-1".parse().unwrap() });
    assert!(matches!(serde_json::from_value(intent).unwrap(), Intent::Unknown { .. }));
}

#[tokio::test]
async fn a_void_that_finds_the_session_paid_tells_the_world() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    assert_eq!(play.void().await.unwrap(), Some(SessionStatus::Paid));
    let events = play.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["subject"], "payments.trigger.completed");
    let body = json!({
        "orderId": "o-1", "sessionId": "cs_test_1", "paymentId": "pi_of_cs_test_1",
        "amount": "149.99", "currency": "USD",
    });
    assert_eq!(events[0]["body"], body);
}

#[tokio::test]
async fn a_payment_that_cannot_be_read_refuses_voids_and_look_ups_until_it_can() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    play.provider.tell_currency(&session.session_id, "xts");
    let effect = LookUp::new(Arc::clone(&play.stripe));
    let look_up = |key| {
        let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
        play.run(&effect, play.call(key, 1, body), 0)
    };
    for _ in 0..2 {
        let refused = play.void().await.unwrap_err();
        assert!(matches!(&refused, Refusal::Rejected(it) if it.code() == "unreadable_amount"));
        assert!(refused.to_string().contains("cs_test_1"), "{refused}");
        let refused = look_up("a").await.unwrap_err();
        assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "unreadable_amount"));
    }
    assert_eq!(play.events(), [] as [Value; 0]);
    play.provider.tell_currency(&session.session_id, "usd");
    assert_eq!(play.void().await.unwrap(), Some(SessionStatus::Paid));
    assert_eq!(play.events()[0]["body"]["amount"], "149.99");
}

#[tokio::test]
async fn money_that_comes_after_a_failure_and_cannot_be_read_refuses_the_void() {
    let play = Play::new();
    let session = play.session().await;
    let settle = |status, money| {
        let mut tx = Tx::over(&play.db);
        let said = ledger::Said {
            session_id: session.session_id.clone(),
            order_id: "o-1".parse().unwrap(),
            status,
            payment_id: None,
            money,
            reason: None,
            event_id: format!("evt_{status:?}"),
        };
        let settled = ledger::settle(&mut tx, said, Utc::now()).unwrap();
        play.commit(tx);
        settled
    };
    settle(SessionStatus::Failed, ledger::HowMuch::NotSaid);
    let settled = settle(SessionStatus::Paid, ledger::HowMuch::Unreadable);
    assert_eq!(settled, ledger::Settled::Unreadable);
    play.provider.pay(&session.session_id);
    play.provider.tell_currency(&session.session_id, "xts");
    let refused = play.void().await.unwrap_err();
    assert!(matches!(&refused, Refusal::Rejected(it) if it.code() == "unreadable_amount"));
}

#[tokio::test]
async fn a_look_up_publishes_a_payment_once() {
    let play = Play::new();
    let effect = LookUp::new(Arc::clone(&play.stripe));
    let look_up = |key| {
        let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
        play.run(&effect, play.call(key, 1, body), 0)
    };
    let unknown = look_up("a").await.unwrap_err();
    assert!(matches!(unknown, Refusal::Rejected(it) if it.code() == "unknown_session"));
    let session = play.session().await;
    assert_eq!(look_up("b").await.unwrap().status, SessionStatus::Open);
    assert_eq!(play.events().len(), 0);
    play.provider.pay(&session.session_id);
    for key in ["c", "d"] {
        let state = look_up(key).await.unwrap();
        assert_eq!(state.status, SessionStatus::Paid);
        assert_eq!(state.payment_id.as_deref(), Some("pi_of_cs_test_1"));
        assert_eq!(play.events().len(), 1);
    }
}

#[tokio::test]
async fn a_refund_is_made_once_however_often_and_under_whatever_key() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let first = play.refund("a", 1, &session.session_id).await.unwrap();
    for (key, class) in [("a", 1), ("b", 1), ("late/saga", 1), ("b", 2)] {
        assert_eq!(play.refund(key, class, &session.session_id).await.unwrap(), first);
    }
    assert_eq!(play.provider.refunded(), [14_999]);
    let events = play.events();
    let told: Vec<_> = events.iter().map(|it| (&it["subject"], &it["key"])).collect();
    assert_eq!(told, [(&json!("payments.trigger.refunded"), &json!("re_1"))]);
    assert_eq!((first.refund_id.as_str(), first.amount.to_string()), ("re_1", "149.99".into()));
}

#[tokio::test]
async fn two_that_ask_at_the_same_time_get_one_refund() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let (a, b) = tokio::join!(
        play.refund("a", 1, &session.session_id),
        play.refund("b", 1, &session.session_id)
    );
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(play.provider.refunded(), [14_999]);
}

#[tokio::test]
async fn a_refund_survives_lost_answers_crashes_and_forgotten_keys() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    play.provider.with(|world| (world.lose_answers, world.forget_keys) = (1, true));
    let effect = PayBack::new(Arc::clone(&play.stripe));
    let call = play.call("a", 1, pay_back(&session.session_id));
    let refund = play.run(&effect, call, 2).await.unwrap();
    assert_eq!(refund.refund_id, "re_1");
    assert_eq!(play.provider.refunded(), [14_999]);
}

#[tokio::test]
async fn a_refund_that_was_refused_is_made_after_a_retry() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    play.provider.with(|world| world.refuse_refunds = 1);
    let refused = play.refund("a", 1, &session.session_id).await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "balance_insufficient"));
    assert_eq!(play.provider.refunded(), [0; 0]);
    let made = play.refund("a", 2, &session.session_id).await.unwrap();
    assert_eq!(made.refund_id, "re_1");
    assert_eq!(play.provider.refunded(), [14_999]);
}

#[tokio::test]
async fn a_stored_error_of_the_provider_is_passed_by_an_operators_retry() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    play.provider.with(|world| world.fail_stored = 1);
    let stuck = play.refund("a", 1, &session.session_id).await.unwrap_err();
    assert!(matches!(stuck, Refusal::Failed(_)), "{stuck}");
    let made = play.refund("a", 2, &session.session_id).await.unwrap();
    assert_eq!(made.refund_id, "re_1");
    assert_eq!(play.provider.refunded(), [14_999]);
}

#[tokio::test]
async fn what_was_not_paid_or_is_not_known_is_not_refunded() {
    let play = Play::new();
    let session = play.session().await;
    let refused = play.refund("a", 1, &session.session_id).await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "not_paid"));
    for unknown in ["cs_unknown", "../v1/refunds", "cs_test_1/expire"] {
        let refused = play.refund("b", 1, unknown).await.unwrap_err();
        assert!(matches!(refused, Refusal::Rejected(_)), "{unknown}: {refused}");
    }
    assert_eq!(play.provider.refunded(), [0; 0]);
}

#[tokio::test]
async fn the_payments_of_one_order_are_not_paid_back_for_another() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let body = RefundPayment { order_id: "o-2".parse().unwrap(), ..pay_back(&session.session_id) };
    let effect = PayBack::new(Arc::clone(&play.stripe));
    let refused = play.run(&effect, play.call("a", 1, body), 0).await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "other_order"));
}

#[tokio::test]
async fn what_kept_the_provider_from_answering_is_told() {
    // Let go at once: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let silent = Client::new(&settings(&base)).session("cs_1").await;
    let Err(Failure::Unclear(why)) = silent else { panic!("{silent:?}") };
    assert!(why.contains("refused"), "{why}");
}

/// What is known of the order's money, when that is looked up.
async fn looked_up(play: &Play, key: &str) -> (Value, bool) {
    let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
    let effect = LookUp::new(Arc::clone(&play.stripe));
    let state = play.run(&effect, play.call(key, 1, body), 0).await.unwrap();
    let state = serde_json::to_value(state).unwrap();
    (state["stays"].clone(), state["disputed"] == true)
}

#[tokio::test]
async fn a_look_up_tells_what_stays_of_the_payment() {
    let play = Play::new();
    let session = play.session().await;
    assert_eq!(looked_up(&play, "open").await, (Value::Null, false));
    play.provider.pay(&session.session_id);
    assert_eq!(looked_up(&play, "paid").await, (json!("149.99"), false));
    play.refund("undo", 1, &session.session_id).await.unwrap();
    assert_eq!(looked_up(&play, "refunded").await, (json!("0.00"), false));
}

/// What the bank holds it may give back, and until then nobody can count on it.
#[tokio::test]
async fn a_look_up_tells_whether_the_customers_bank_holds_money() {
    for (minor, currency) in [(14_999, "usd"), (100, "usd"), (14_000, "eur")] {
        let play = Play::new();
        let session = play.session().await;
        play.provider.pay(&session.session_id);
        looked_up(&play, "paid").await;
        let is_all = (minor, currency) == (14_999, "usd");
        for (said_s, (status, is_inquiry, is_held)) in [
            (DisputeStatus::NeedsResponse, true, false),
            (DisputeStatus::UnderReview, true, false),
            (DisputeStatus::NeedsResponse, false, true),
            (DisputeStatus::UnderReview, false, true),
            (DisputeStatus::Won, false, false),
            (DisputeStatus::NeedsResponse, false, true),
            (DisputeStatus::Lost, false, false),
        ]
        .into_iter()
        .enumerate()
        {
            let mut tx = Tx::over(&play.db);
            let seen = ledger::payments::SeenDispute {
                dispute_id: "du_1".to_owned(),
                money: ledger::money(Some(minor), Some(currency)).unwrap(),
                status,
                reason: None,
                is_inquiry,
                said_s: i64::try_from(said_s).ok(),
            };
            ledger::payments::dispute(&mut tx, "pi_of_cs_test_1", seen, Utc::now()).unwrap();
            play.commit(tx);
            let (stays, disputed) = looked_up(&play, &format!("look-{said_s}")).await;
            let what = format!("{minor} {currency}, {status:?}, inquiry {is_inquiry}");
            assert_eq!(disputed, is_held, "{what}");
            let is_gone = is_all && status == DisputeStatus::Lost;
            let left = if is_gone { "0.00" } else { "149.99" };
            if currency == "usd" && (is_all || status != DisputeStatus::Lost) {
                assert_eq!(stays, left, "{what}");
            }
        }
    }
}

/// The customer paid in what a restore has lost, and no webhook comes again: the provider knows.
#[tokio::test]
async fn a_void_finds_money_that_a_restored_service_has_forgotten() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let restored = play.restored();
    assert_eq!(restored.void().await.unwrap(), Some(SessionStatus::Paid));
    let told = restored.events();
    assert_eq!(told.len(), 1, "the world hears of it once: {told:?}");
    assert_eq!(
        (&told[0]["body"]["orderId"], &told[0]["body"]["amount"]),
        (&json!("o-1"), &json!("149.99"))
    );
    assert_eq!(restored.void().await.unwrap(), Some(SessionStatus::Paid), "again");
    assert_eq!(restored.events(), told);
}

/// Whether the money came is asked before an order is given up.
#[tokio::test]
async fn a_look_up_finds_money_that_a_restored_service_has_forgotten() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let restored = play.restored();
    let effect = LookUp::new(Arc::clone(&restored.stripe));
    let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
    let known = restored.run(&effect, restored.call("l", 1, body), 0).await.unwrap();
    assert_eq!((known.status, known.session_id), (SessionStatus::Paid, session.session_id));
    assert_eq!(known.stays.map(|it| it.to_string()).as_deref(), Some("149.99"));
    let told = restored.events();
    assert_eq!((told.len(), &told[0]["subject"]), (1, &json!("payments.trigger.completed")));
}

/// What is lost to the bank in another currency cannot be taken off what stays: as with a refund in
/// another currency, nobody says that all of it is here.
#[tokio::test]
async fn money_that_is_lost_in_another_currency_is_not_said_to_stay() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    looked_up(&play, "paid").await;
    let mut tx = Tx::over(&play.db);
    let seen = ledger::payments::SeenDispute {
        dispute_id: "du_1".to_owned(),
        money: ledger::money(Some(14_000), Some("eur")).unwrap(),
        status: DisputeStatus::Lost,
        reason: None,
        is_inquiry: false,
        said_s: Some(1),
    };
    ledger::payments::dispute(&mut tx, "pi_of_cs_test_1", seen, Utc::now()).unwrap();
    play.commit(tx);
    assert_eq!(looked_up(&play, "lost").await.0, Value::Null);
}

/// One that opens after another is none that anybody has seen.
#[tokio::test]
async fn a_look_up_names_the_disputes_by_which_the_customers_bank_holds_money() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    looked_up(&play, "paid").await;
    let mut tx = Tx::over(&play.db);
    for (id, status, is_inquiry) in [
        ("du_1", DisputeStatus::NeedsResponse, false),
        ("du_2", DisputeStatus::UnderReview, false),
        ("du_3", DisputeStatus::Won, false),
        ("du_4", DisputeStatus::NeedsResponse, true),
    ] {
        let seen = ledger::payments::SeenDispute {
            dispute_id: id.to_owned(),
            money: ledger::money(Some(100), Some("usd")).unwrap(),
            status,
            reason: None,
            is_inquiry,
            said_s: Some(1),
        };
        ledger::payments::dispute(&mut tx, "pi_of_cs_test_1", seen, Utc::now()).unwrap();
    }
    play.commit(tx);
    let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
    let effect = LookUp::new(Arc::clone(&play.stripe));
    let state = play.run(&effect, play.call("named", 1, body), 0).await.unwrap();
    assert_eq!(state.disputes, ["du_1", "du_2"]);
}

/// Puts the store of a backup of before in place, or one that takes the place of the lost one.
fn forgetting(play: Play, is_copy: bool) -> Play {
    let restored = play.restored();
    if is_copy {
        restored.db.begin_epoch(1).unwrap();
    } else {
        std::fs::write(restored.db.dir().join("take-over"), "an operator's word").unwrap();
    }
    restored
}

/// A store that has forgotten all knows nothing of what went back: the provider does, and the order
/// hears of it.
#[tokio::test]
async fn a_look_up_of_a_forgotten_session_does_not_say_that_all_of_a_refunded_payment_stays() {
    for is_copy in [true, false] {
        let play = Play::new();
        let session = play.session().await;
        play.provider.pay(&session.session_id);
        play.refund("undo", 1, &session.session_id).await.unwrap();
        assert_eq!(looked_up(&play, "before").await.0, json!("0.00"));
        let restored = forgetting(play, is_copy);
        for key in ["after", "again"] {
            assert_eq!(looked_up(&restored, key).await, (json!("0.00"), false), "copy {is_copy}");
        }
        let told: Vec<_> = restored.events().iter().map(|it| it["subject"].clone()).collect();
        assert_eq!(told, ["payments.trigger.completed", "payments.trigger.refunded"]);
    }
}

/// The webhook of the payment is missed, and so are those of what the customer's bank did.
#[tokio::test]
async fn a_look_up_that_finds_money_asks_what_went_back_of_it() {
    for (status, found, subjects) in [
        ("needs_response", (json!("149.99"), true), 2),
        ("warning_needs_response", (json!("149.99"), false), 2),
        ("won", (json!("149.99"), false), 2),
        ("lost", (json!("49.99"), false), 2),
    ] {
        let play = Play::new();
        let session = play.session().await;
        play.provider.pay(&session.session_id);
        play.provider.dispute(&session.session_id, 10_000, status);
        for key in ["a", "b"] {
            assert_eq!(looked_up(&play, key).await, found, "{status}");
        }
        assert_eq!(play.events().len(), subjects, "the order hears of it once: {status}");
    }
}

/// What the backup has not, the ledger of a payment that it has does not know either.
#[tokio::test]
async fn a_look_up_after_a_restore_asks_once_what_went_back_of_a_payment_that_is_known() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    assert_eq!(looked_up(&play, "before").await, (json!("149.99"), false));
    play.provider.pay_back_by_hand(&session.session_id, 4_999);
    assert_eq!(looked_up(&play, "known").await, (json!("149.99"), false), "webhooks tell it");
    play.db.begin_epoch(1).unwrap();
    let shown = || {
        let seen = view::of(&Tx::over(&play.db), &"o-1".parse().unwrap()).unwrap();
        serde_json::to_value(seen).unwrap()["payments"][0]["stays"].clone()
    };
    assert_eq!(shown(), Value::Null, "nor are people told what nobody knows");
    assert_eq!(looked_up(&play, "after").await, (json!("100.00"), false));
    assert_eq!(shown(), json!("100.00"));
    play.provider.pay_back_by_hand(&session.session_id, 1_000);
    assert_eq!(looked_up(&play, "again").await, (json!("100.00"), false), "webhooks tell it");
    play.db.begin_epoch(2).unwrap();
    assert_eq!(looked_up(&play, "later").await, (json!("90.00"), false));
}

/// What the provider cannot tell is not known, and what became of the session is told all the same.
#[tokio::test]
async fn a_look_up_does_not_say_what_stays_where_the_provider_does_not_tell_what_went_back() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    for _ in 0..1_001 {
        play.provider.pay_back_by_hand(&session.session_id, 1);
    }
    for key in ["a", "b"] {
        assert_eq!(looked_up(&play, key).await, (Value::Null, false));
    }
    assert_eq!(play.events()[0]["subject"], "payments.trigger.completed");
}

#[tokio::test]
async fn a_look_up_does_not_say_what_stays_while_what_went_back_cannot_be_read() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    play.provider.pay_back_by_hand(&session.session_id, 4_999);
    play.provider.dispute(&session.session_id, 10_000, "needs_response");
    play.provider.tell_currency_of_what_went_back("xts");
    for key in ["a", "b"] {
        assert_eq!(looked_up(&play, key).await, (Value::Null, true), "the bank holds some of it");
    }
    play.provider.dispute(&session.session_id, 10_000, "won");
    play.provider.tell_currency_of_what_went_back("usd");
    assert_eq!(looked_up(&play, "c").await, (json!("100.00"), false));
}

#[test]
fn what_an_older_release_was_about_to_look_up_is_read() {
    let read = |intent: Value| serde_json::from_value::<process::Intent>(intent).unwrap().about;
    assert!(matches!(read(json!({ "sessionId": "cs_1" })), About::Known { .. }));
    assert!(matches!(read(json!({ "orderId": "o-1" })), About::Unknown { .. }));
    let (session_id, payment_id) = ("cs_1".to_owned(), "pi_1".to_owned());
    let paid = About::Paid { session_id, payment_id };
    assert!(matches!(read(json!(paid)), About::Paid { .. }));
}

/// A webhook that tells the sum alone of what went back of a charge, made a while from now.
fn take_refunded(play: &Play, amount: &Value) {
    let hook = json!({
        "id": format!("evt_{}", play.db.position()), "object": "event", "type": "charge.refunded",
        "created": Utc::now().timestamp() + 60,
        "data": { "object": {
            "id": "ch_1", "object": "charge", "amount": 14_999, "amount_refunded": amount,
            "currency": "usd", "payment_intent": "pi_of_cs_test_1",
        } },
    });
    let mut tx = Tx::over(&play.db);
    let came = Stripe::read(&HeaderMap::new(), hook.to_string().as_bytes());
    webhooks::take::<Stripe>(&mut tx, came, Utc::now()).unwrap();
    play.commit(tx);
}

/// A refund that has failed stands for nothing that went back, whoever tells of it: a later one of
/// which the provider tells the sum alone is money that is gone.
#[tokio::test]
async fn a_refund_that_a_look_up_finds_failed_does_not_hide_what_goes_back_later() {
    for has_failed in [false, true] {
        let play = Play::new();
        let session = play.session().await;
        play.provider.pay(&session.session_id);
        if has_failed {
            play.provider.pay_back_by_hand(&session.session_id, 14_999);
            play.provider.fail_refund("re_1");
        }
        assert_eq!(looked_up(&play, "before").await, (json!("149.99"), false));
        play.provider.pay_back_by_hand(&session.session_id, 14_999);
        take_refunded(&play, &json!(14_999));
        let stays = looked_up(&play, "after").await;
        assert_eq!(stays, (json!("0.00"), false), "one had failed before: {has_failed}");
    }
}

/// Nor does one of our own that the provider took and failed.
#[tokio::test]
async fn a_refund_of_our_own_that_failed_at_once_does_not_hide_what_goes_back_later() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    assert_eq!(looked_up(&play, "before").await, (json!("149.99"), false));
    play.provider.with(|world| world.fail_refunds = 1);
    play.refund("a", 1, &session.session_id).await.unwrap_err();
    play.provider.pay_back_by_hand(&session.session_id, 14_999);
    take_refunded(&play, &json!(14_999));
    assert_eq!(looked_up(&play, "after").await, (json!("0.00"), false));
}

/// The provider was asked before the webhook came, and not since: what cannot be read of that is
/// still not known.
#[tokio::test]
async fn what_cannot_be_read_while_the_provider_is_asked_is_not_forgotten() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    assert_eq!(looked_up(&play, "before").await, (json!("149.99"), false));
    play.db.begin_epoch(1).unwrap();
    take_refunded(&play, &json!("14999"));
    let effect = LookUp::new(Arc::clone(&play.stripe));
    let body = ProcessPayment { order_id: "o-1".parse().unwrap() };
    let call = play.call("during", 1, body);
    let mut tx = Tx::over(&play.db);
    let Ok(Begun::Work(intent)) = effect.begin(&mut tx, &call) else { panic!("it asks") };
    play.commit(tx);
    let attempt = Attempt { key: "k".to_owned(), class: 1, may_have_happened: false };
    let Ok(done) = effect.work(intent.clone(), attempt).await else { panic!("it is answered") };
    play.provider.pay_back_by_hand(&session.session_id, 14_999);
    take_refunded(&play, &json!("14999"));
    let mut tx = Tx::over(&play.db);
    let state = effect.finish(&mut tx, &call, intent, Ok(done)).unwrap();
    play.commit(tx);
    assert_eq!(state.stays, None, "nobody has asked since");
    assert_eq!(looked_up(&play, "after").await, (json!("0.00"), false), "it is asked then");
}

/// What is not read of what the provider lists does not bring back what the ledger knows to be
/// gone.
#[tokio::test]
async fn a_look_up_says_that_nothing_stays_of_what_is_gone_though_the_provider_lists_too_much() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    for _ in 0..1_001 {
        play.provider.pay_back_by_hand(&session.session_id, 1);
    }
    play.provider.pay_back_by_hand(&session.session_id, 14_999 - 1_001);
    take_refunded(&play, &json!(14_999));
    assert_eq!(looked_up(&play, "look").await, (json!("0.00"), false), "all of it is gone");
}

/// Each time that a store takes the place of another one it may have missed what that one heard.
#[tokio::test]
async fn a_look_up_asks_again_after_each_taking_over() {
    let play = Play::new();
    let session = play.session().await;
    play.provider.pay(&session.session_id);
    let takes_over = |times: u128| {
        let word = |run: u128| {
            json!({
                "from": format!("{:032x}", 1), "reason": "the disk is lost", "at": 0,
                "used_by": format!("{run:032x}"),
            })
        };
        let words: String = (0..times).map(|run| format!("{}\n", word(run))).collect();
        std::fs::write(play.db.dir().join("take-over"), words).unwrap();
    };
    takes_over(1);
    assert_eq!(looked_up(&play, "first").await, (json!("149.99"), false));
    play.provider.pay_back_by_hand(&session.session_id, 4_999);
    assert_eq!(looked_up(&play, "known").await, (json!("149.99"), false), "webhooks tell it");
    takes_over(2);
    assert_eq!(looked_up(&play, "second").await, (json!("100.00"), false));
}
