use super::*;
use crate::{Attempt, Begun, Call, Effect, Outcome, Refusal, Rejection, WorkError};
use proto_schemas::{
    Amount,
    inventory::{Moved, Pieces, Release, Reserve},
    payments::{CreateSession, Session, SessionStatus, SessionVoided, VoidSession},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const SHELF: &[u8] = b"stock/A-1";

/// A warehouse with one shelf.
struct Shelf {
    /// Whether the undo forgets to put things back.
    forgets: bool,
}

fn reserve(tx: &mut Tx, call: Call<Reserve>) -> Outcome<Moved> {
    let there: u32 = tx.get_json(SHELF)?.unwrap_or(0);
    let wanted: u32 = call.body.items.iter().map(|pieces| pieces.quantity).sum();
    let Some(left) = there.checked_sub(wanted) else {
        return Err(Refusal::rejected("out_of_stock", "nothing left"));
    };
    tx.put_json(SHELF, &left)?;
    tx.put_json("held", &wanted)?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn release(tx: &mut Tx, call: Call<Release>, forgets: bool) -> Outcome<Moved> {
    let there: u32 = tx.get_json(SHELF)?.unwrap_or(0);
    let held: u32 = tx.get_json(b"held")?.unwrap_or(0);
    if !forgets {
        tx.put_json(SHELF, &(there + held))?;
    }
    tx.delete("held");
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

impl Pair for Shelf {
    type Call = Reserve;
    type Undo = Release;

    fn service(&self) -> Service {
        let forgets = self.forgets;
        Service::new("shelf", "for this test")
            .procedure(reserve)
            .procedure(move |tx: &mut Tx, call: Call<Release>| release(tx, call, forgets))
    }

    fn prepare(&self, tx: &mut Tx) {
        tx.put_json(SHELF, &10).unwrap();
    }

    fn call(&self) -> Reserve {
        let items = vec![Pieces { sku: "A-1".to_owned(), quantity: 3 }];
        Reserve { order_id: "ORD-1".parse().unwrap(), items }
    }

    fn undo(&self) -> Release {
        Release { order_id: "ORD-1".parse().unwrap() }
    }

    fn observe(&self, db: &Db) -> Value {
        let text = |key: &[u8]| db.get(key).unwrap().map(|it| String::from_utf8(it).unwrap());
        json!({ "stock": text(SHELF), "held": text(b"held") })
    }
}

#[tokio::test]
async fn procedures_in_one_transaction_act_once() {
    check(|| Shelf { forgets: false }).await;
}

#[tokio::test]
#[should_panic(expected = "the effects after")]
async fn an_undo_that_forgets_is_found() {
    check(|| Shelf { forgets: true }).await;
}

/// A payment provider that honours keys, and its service.
#[derive(Clone, Default)]
struct Provider {
    /// Open sessions by the provider's key.
    sessions: Arc<Mutex<BTreeMap<String, bool>>>,
    /// Whether each kind of work fails when it is first tried.
    is_flaky: bool,
    /// Whether it takes each request for a new one.
    is_forgetful: bool,
    tried: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Provider {
    fn try_it(&self, attempt: &Attempt) -> Result<u32, WorkError> {
        let mut tried = self.tried.lock().unwrap();
        let tried = tried.entry(attempt.key.clone()).or_default();
        *tried += 1;
        if self.is_flaky && *tried == 1 {
            return Err(WorkError::Failed("the provider is away".to_owned()));
        }
        Ok(*tried)
    }
}

struct Open(Provider);
struct Void(Provider);

impl Effect for Open {
    type Request = CreateSession;
    type Intent = ();
    type Done = String;

    fn begin(&self, tx: &mut Tx, call: &Call<CreateSession>) -> Outcome<Begun<(), Session>> {
        tx.put_json("session", &"opening")?;
        assert_eq!(call.attempt_class, 1);
        Ok(Begun::Work(()))
    }

    async fn work(&self, (): (), attempt: Attempt) -> Result<String, WorkError> {
        let tried = self.0.try_it(&attempt)?;
        let key = match self.0.is_forgetful {
            true => format!("{} {tried}", attempt.key),
            false => attempt.key,
        };
        self.0.sessions.lock().unwrap().entry(key.clone()).or_insert(true);
        Ok(key)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        _: &Call<CreateSession>,
        (): (),
        done: Result<String, Rejection>,
    ) -> Outcome<Session> {
        let session_id = done?;
        tx.put_json("session", &session_id)?;
        Ok(Session { session_id, url: None, expires_at: None })
    }
}

impl Effect for Void {
    type Request = VoidSession;
    type Intent = String;
    type Done = ();

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
    ) -> Outcome<Begun<String, SessionVoided>> {
        assert!(call.undo.is_some());
        match tx.get_json(b"session")? {
            Some(session) => Ok(Begun::Work(session)),
            None => Err(Refusal::failed("the undo ran without its call")),
        }
    }

    async fn work(&self, session: String, attempt: Attempt) -> Result<(), WorkError> {
        self.0.try_it(&attempt)?;
        *self.0.sessions.lock().unwrap().get_mut(&session).unwrap() = false;
        Ok(())
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
        _: String,
        done: Result<(), Rejection>,
    ) -> Outcome<SessionVoided> {
        done?;
        tx.delete("session");
        let order_id = call.body.order_id.clone();
        Ok(SessionVoided { order_id, status: Some(SessionStatus::Expired) })
    }
}

impl Pair for Provider {
    type Call = CreateSession;
    type Undo = VoidSession;

    fn service(&self) -> Service {
        let service = Service::new("payments", "for this test");
        service.effect(Open(self.clone())).effect(Void(self.clone()))
    }

    fn prepare(&self, _: &mut Tx) {}

    fn call(&self) -> CreateSession {
        CreateSession {
            order_id: "ORD-1".parse().unwrap(),
            amount: Amount::parse("10.00").unwrap(),
            currency: "USD".parse().unwrap(),
        }
    }

    fn undo(&self) -> VoidSession {
        VoidSession { order_id: "ORD-1".parse().unwrap() }
    }

    fn observe(&self, db: &Db) -> Value {
        let sessions = self.sessions.lock().unwrap();
        let open = sessions.values().filter(|open| **open).count();
        json!({ "open": open, "known": db.get(b"session").unwrap().is_some() })
    }
}

#[tokio::test]
async fn outside_work_acts_once() {
    check(Provider::default).await;
}

#[tokio::test]
async fn outside_work_that_fails_first_acts_once() {
    check(|| Provider { is_flaky: true, ..Provider::default() }).await;
}

#[tokio::test]
#[should_panic(expected = "the effects after")]
async fn a_provider_that_ignores_keys_is_found() {
    check(|| Provider { is_forgetful: true, ..Provider::default() }).await;
}
