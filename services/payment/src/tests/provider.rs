//! A provider with Stripe's manners: keys, stored answers, sessions that end once, refunds that
//! count. Its knobs make it refuse, fail, or act and not answer.

use axum::{
    Form, Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

pub(in crate::tests) const API_KEY: &str = "sk_test_dev_of_a_test";

type Answer = (StatusCode, Json<Value>);
type Fields = BTreeMap<String, String>;

#[derive(Default)]
pub(in crate::tests) struct World {
    sessions: BTreeMap<String, Value>,
    /// What was paid back, newest last.
    refunds: Vec<Value>,
    /// One for each payment at most.
    disputes: BTreeMap<String, Value>,
    answers: HashMap<String, (Fields, StatusCode, Value)>,
    /// Forms of sessions that were created, in order.
    pub(in crate::tests) forms: Vec<Fields>,
    /// This many next calls fail with a 500 that is stored under their key.
    pub(in crate::tests) fail_stored: u32,
    /// This many next calls act, and their answer is lost.
    pub(in crate::tests) lose_answers: u32,
    /// This many next refunds are refused for want of money.
    pub(in crate::tests) refuse_refunds: u32,
    /// Sessions are refused so, before anything is done under their key.
    pub(in crate::tests) refuse_sessions: Option<(u16, &'static str)>,
    /// This many next refunds are taken, and have failed already.
    pub(in crate::tests) fail_refunds: u32,
    /// What somebody pays back by hand just before our next refunds, one after the other.
    pub(in crate::tests) meanwhile: VecDeque<u64>,
    /// Forgets what was answered under a key, as Stripe may after 24 hours.
    pub(in crate::tests) forget_keys: bool,
}

#[derive(Clone)]
pub(in crate::tests) struct Provider {
    pub(in crate::tests) base: String,
    world: Arc<Mutex<World>>,
}

impl Provider {
    pub(in crate::tests) fn start() -> Provider {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::<Mutex<World>>::default();
        let router = Router::new()
            .route("/v1/checkout/sessions", post(create).get(sessions))
            .route("/v1/checkout/sessions/{id}", get(show))
            .route("/v1/checkout/sessions/{id}/expire", post(expire))
            .route("/v1/refunds", post(refund).get(refunds))
            .route("/v1/disputes", get(disputes))
            .with_state(Arc::clone(&world));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Provider { base, world }
    }

    pub(in crate::tests) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    pub(in crate::tests) fn open_sessions(&self) -> usize {
        let open = |session: &&Value| session["status"] == "open";
        self.with(|world| world.sessions.values().filter(open).count())
    }

    /// What goes back, oldest first.
    pub(in crate::tests) fn refunded(&self) -> Vec<u64> {
        self.with(|world| world.standing().map(|it| it["amount"].as_u64().unwrap()).collect())
    }

    /// Somebody pays back in the provider's own dashboard.
    pub(in crate::tests) fn pay_back_by_hand(&self, session_id: &str, amount: u64) {
        self.with(|world| world.pay_back(&format!("pi_of_{session_id}"), amount, "succeeded"));
    }

    /// The customer's bank takes so much of the session's payment back, or wants to.
    pub(in crate::tests) fn dispute(&self, session_id: &str, amount: u64, status: &str) {
        let payment = format!("pi_of_{session_id}");
        let dispute = json!({
            "id": "du_1", "object": "dispute", "amount": amount, "currency": "usd",
            "payment_intent": payment, "status": status,
        });
        self.with(|world| world.disputes.insert(payment, dispute));
    }

    /// The customer's bank sends a refund back.
    pub(in crate::tests) fn fail_refund(&self, id: &str) {
        self.with(|world| {
            let refund = world.refunds.iter_mut().find(|it| it["id"] == id).unwrap();
            refund["status"] = json!("failed");
        });
    }

    /// Tells another currency of a session than the one that it has.
    pub(in crate::tests) fn tell_currency(&self, session_id: &str, currency: &str) {
        self.with(|world| {
            world.sessions.get_mut(session_id).unwrap()["currency"] = json!(currency);
        });
    }

    /// Tells another currency of all that went back, or is disputed.
    pub(in crate::tests) fn tell_currency_of_what_went_back(&self, currency: &str) {
        self.with(|world| {
            for it in world.refunds.iter_mut().chain(world.disputes.values_mut()) {
                it["currency"] = json!(currency);
            }
        });
    }

    /// The customer pays the one session.
    pub(in crate::tests) fn pay(&self, session_id: &str) {
        self.with(|world| {
            let session = world.sessions.get_mut(session_id).unwrap();
            session["status"] = json!("complete");
            session["payment_status"] = json!("paid");
            session["payment_intent"] = json!(format!("pi_of_{session_id}"));
        });
    }
}

impl World {
    /// Refunds that have not failed.
    fn standing(&self) -> impl Iterator<Item = &Value> {
        self.refunds.iter().filter(|it| it["status"] != "failed")
    }

    /// What can still be paid back.
    fn left(&self, payment_id: &str) -> u64 {
        let paid = self.sessions.values().find(|it| it["payment_intent"] == payment_id);
        let paid = paid.map_or(0, |it| it["amount_total"].as_u64().unwrap());
        let paid = paid - self.charged_back(payment_id);
        let of = self.standing().filter(|it| it["payment_intent"] == payment_id);
        paid - of.map(|it| it["amount"].as_u64().unwrap()).sum::<u64>()
    }

    /// What the customer's bank holds, or has taken for good.
    fn charged_back(&self, payment_id: &str) -> u64 {
        let holds = |it: &&Value| {
            matches!(it["status"].as_str(), Some("needs_response" | "under_review" | "lost"))
        };
        let dispute = self.disputes.get(payment_id).filter(holds);
        dispute.map_or(0, |it| it["amount"].as_u64().unwrap())
    }

    fn pay_back(&mut self, payment_id: &str, amount: u64, status: &str) -> Value {
        assert!(amount <= self.left(payment_id), "nobody pays back more than was paid");
        let refund = json!({
            "id": format!("re_{}", self.refunds.len() + 1),
            "object": "refund",
            "amount": amount,
            "currency": "usd",
            "payment_intent": payment_id,
            "status": status,
        });
        self.refunds.push(refund.clone());
        refund
    }
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    let error = json!({ "type": "invalid_request_error", "code": code, "message": message });
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "error": error })))
}

/// Acts once for a key, as Stripe does: also a stored 500 is repeated.
fn keyed(
    world: &Mutex<World>,
    headers: &HeaderMap,
    path: &str,
    fields: Fields,
    act: impl FnOnce(&mut World, &Fields) -> Answer,
) -> Answer {
    let world = &mut *world.lock().unwrap();
    assert_eq!(headers["authorization"], format!("Bearer {API_KEY}"));
    let key = format!("{path} {}", headers["idempotency-key"].to_str().unwrap());
    assert!(key.len() <= 255 + path.len() + 1, "Stripe takes 255 characters: {key}");
    if world.forget_keys {
        world.answers.clear();
    }
    if let Some((known, status, body)) = world.answers.get(&key) {
        if *known != fields {
            let error = json!({ "type": "idempotency_error", "message": "other parameters" });
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
        }
        return (*status, Json(body.clone()));
    }
    let (status, body) = if world.fail_stored > 0 {
        world.fail_stored -= 1;
        let error = json!({ "type": "api_error", "message": "sorry" });
        (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error })))
    } else {
        act(world, &fields)
    };
    world.answers.insert(key, (fields, status, body.0.clone()));
    if world.lose_answers > 0 {
        world.lose_answers -= 1;
        return (StatusCode::BAD_GATEWAY, Json(Value::Null));
    }
    (status, body)
}

async fn create(
    State(world): State<Arc<Mutex<World>>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Answer {
    if let Some((status, code)) = world.lock().unwrap().refuse_sessions {
        return refused(status, code, "not so");
    }
    keyed(&world, &headers, "create", fields, |world, fields| {
        world.forms.push(fields.clone());
        let id = format!("cs_test_{}", world.sessions.len() + 1);
        let amount: u64 = fields["line_items[0][price_data][unit_amount]"].parse().unwrap();
        let day_s = 24 * 3_600;
        let expires_s = chrono::Utc::now().timestamp() + day_s;
        let session = json!({
            "id": id,
            "object": "checkout.session",
            "amount_total": amount,
            "created": expires_s - day_s,
            "client_reference_id": fields["client_reference_id"],
            "currency": fields["line_items[0][price_data][currency]"],
            "expires_at": expires_s,
            "payment_intent": null,
            "payment_status": "unpaid",
            "status": "open",
            "url": format!("https://checkout.example/{id}"),
        });
        world.sessions.insert(id, session.clone());
        (StatusCode::OK, Json(session))
    })
}

/// One on a page, so that there are several.
async fn sessions(
    State(world): State<Arc<Mutex<World>>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let world = world.lock().unwrap();
    let since_s: i64 = query["created[gte]"].parse().unwrap();
    let of = |it: &&Value| {
        it["status"] == query["status"].as_str() && since_s <= it["created"].as_i64().unwrap()
    };
    let newest_first = world.sessions.values().rev().filter(of);
    let mut left: Vec<_> = match query.get("starting_after") {
        Some(id) => newest_first.skip_while(|it| it["id"] != id.as_str()).skip(1).collect(),
        None => newest_first.collect(),
    };
    let has_more = left.len() > 1;
    left.truncate(1);
    (StatusCode::OK, Json(json!({ "object": "list", "data": left, "has_more": has_more })))
}

async fn show(State(world): State<Arc<Mutex<World>>>, Path(id): Path<String>) -> Answer {
    match world.lock().unwrap().sessions.get(&id) {
        Some(session) => (StatusCode::OK, Json(session.clone())),
        None => refused(404, "resource_missing", "No such checkout.session"),
    }
}

async fn expire(
    State(world): State<Arc<Mutex<World>>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Answer {
    keyed(&world, &headers, &format!("expire {id}"), fields, |world, _| {
        let Some(session) = world.sessions.get_mut(&id) else {
            return refused(404, "resource_missing", "No such checkout.session");
        };
        if session["status"] != "open" {
            return refused(400, "invalid", "Only open Checkout Sessions can be expired");
        }
        session["status"] = json!("expired");
        session["url"] = Value::Null;
        (StatusCode::OK, Json(session.clone()))
    })
}

async fn refund(
    State(world): State<Arc<Mutex<World>>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Answer {
    keyed(&world, &headers, "refund", fields, |world, fields| {
        if world.refuse_refunds > 0 {
            world.refuse_refunds -= 1;
            return refused(400, "balance_insufficient", "Insufficient funds in your account");
        }
        let payment = &fields["payment_intent"];
        if let Some(amount) = world.meanwhile.pop_front() {
            world.pay_back(payment, amount, "succeeded");
        }
        let (amount, left): (u64, u64) = (fields["amount"].parse().unwrap(), world.left(payment));
        if left < amount && world.charged_back(payment) > 0 {
            return refused(400, "charge_disputed", "the charge has been charged back");
        }
        if left == 0 {
            return refused(400, "charge_already_refunded", "already refunded");
        }
        if amount > left {
            return refused(400, "invalid", "greater than unrefunded amount on charge");
        }
        let has_failed = world.fail_refunds > 0;
        world.fail_refunds -= u32::from(has_failed);
        let status = if has_failed { "failed" } else { "pending" };
        (StatusCode::OK, Json(world.pay_back(payment, amount, status)))
    })
}

async fn refunds(
    State(world): State<Arc<Mutex<World>>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let world = world.lock().unwrap();
    let of = |it: &&Value| it["payment_intent"] == query["payment_intent"].as_str();
    let newest_first = world.refunds.iter().rev().filter(of);
    let after = query.get("starting_after");
    let older: Vec<_> = match after {
        Some(id) => newest_first.skip_while(|it| it["id"] != id.as_str()).skip(1).collect(),
        None => newest_first.collect(),
    };
    let limit: usize = query["limit"].parse().unwrap();
    let data: Vec<_> = older.iter().take(limit).collect();
    let has_more = older.len() > limit;
    (StatusCode::OK, Json(json!({ "object": "list", "data": data, "has_more": has_more })))
}

async fn disputes(
    State(world): State<Arc<Mutex<World>>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let world = world.lock().unwrap();
    let data: Vec<_> = world.disputes.get(&query["payment_intent"]).into_iter().collect();
    (StatusCode::OK, Json(json!({ "object": "list", "data": data, "has_more": false })))
}
