//! A person's decision: authenticated by the host, authorised and applied here.

use super::Core;
use crate::{
    codec::DecidedRow,
    effect::{Refusal, RefusalKind, Reply},
    fold::OpenWait,
    id::{Lane, SagaId, Time, call_key, short_hash},
    input::{Actor, Decide, Role, Target},
    journal::{Ask, Fact},
    payload::Payload,
    store::{Store, StoreError, Table},
};
use serde_json::{Map, Value};

/// A reason may not be longer: it stands in journals, mails and headers. Counted as people count,
/// so that a text has the same length in every alphabet.
const REASON_CHARS_MAX: usize = 1000;

/// An open question.
struct Question {
    saga: SagaId,
    epoch: u32,
    definition: String,
    wait: OpenWait,
    ask: Ask,
}

impl<S: Store> Core<S> {
    pub(super) fn decide(
        &mut self,
        now: Time,
        actor: &Actor,
        decide: &Decide,
    ) -> Result<Result<Reply, Refusal>, StoreError> {
        if actor.role < Role::Approver {
            return Ok(Err(refusal(RefusalKind::Forbidden, "deciding takes the role approver")));
        }
        if let Err(refusal) = check_reason(decide.reason.as_deref(), !decide.approved) {
            return Ok(Err(refusal));
        }
        let Some(question) = self.question(&decide.target)? else {
            return self.decided_before(decide);
        };
        let is_stale = |seen: &String| *seen != super::turns::hex(&question.ask.facts.digest());
        if decide.seen.as_ref().is_some_and(is_stale) {
            let why = "the task shows other facts now: look again";
            return Ok(Err(refusal(RefusalKind::Conflict, why)));
        }
        let body = self.body_of(&question, actor, decide);
        if !question.wait.filter.holds(&body) {
            return Ok(Err(refusal(RefusalKind::NotFound, "nothing asks for such a decision")));
        }
        let body = Payload::of(&body)
            .map_err(|err| StoreError { action: "encode for", reason: err.to_string() })?;
        let Question { saga, epoch, wait, .. } = question;
        let event = wait.events.first().cloned().unwrap_or_default();
        let event_id = call_key(saga, epoch, &wait.step);
        let fact = Fact::Received { step: wait.step, event, event_id, event_at: 0, body };
        if self.offer(now, saga, fact)? {
            return Ok(Ok(Reply::Accepted(saga)));
        }
        self.decided_before(decide)
    }

    fn question(&mut self, target: &Target) -> Result<Option<Question>, StoreError> {
        let (saga, step) = match target {
            Target::Task(task) => (task.saga, task.step.clone()),
            Target::Event { name, key } => {
                let lanes = self.registry.declaring(name);
                let lanes = lanes.iter().map(|it| Lane::of(it.name, name, key));
                let asks = lanes.flat_map(|lane| self.waits.of(&lane).collect::<Vec<_>>());
                match asks.into_iter().find(|it| it.asks) {
                    Some(wait) => (wait.saga, wait.step.clone()),
                    None => return Ok(None),
                }
            }
        };
        let Some(state) = self.state(saga)? else { return Ok(None) };
        let wait = state.waits.iter().find(|it| it.step == step).cloned();
        let start = state.start.as_ref();
        Ok(wait.zip(start).and_then(|(wait, start)| {
            let ask = wait.ask.clone()?;
            let (epoch, definition) = (start.epoch, start.definition.clone());
            Some(Question { saga, epoch, definition, wait, ask })
        }))
    }

    /// The same decision again has no further effect; another one comes too late.
    fn decided_before(&mut self, decide: &Decide) -> Result<Result<Reply, Refusal>, StoreError> {
        let row = match &decide.target {
            Target::Event { name, key } => {
                let key = short_hash(&[name, key]);
                let row = self.txn.get::<DecidedRow>(Table::Decided, &key)?;
                row.map(|it| (it.saga, it.approved, it.by))
            }
            Target::Task(task) => {
                let head = self.head(task.saga)?;
                let asked = head.into_iter().flat_map(|it| it.asked);
                let asked = asked.filter(|it| it.step == task.step);
                asked.filter_map(|it| it.decided).next().map(|it| (task.saga, it.approved, it.by))
            }
        };
        Ok(match row {
            Some((saga, approved, _)) if approved == decide.approved => Ok(Reply::Same(saga)),
            Some((_, approved, by)) => {
                let done = if approved { "approved" } else { "rejected" };
                Err(refusal(RefusalKind::Conflict, &format!("it was {done} by {by}")))
            }
            None => Err(refusal(RefusalKind::NotFound, "nothing asks for this decision")),
        })
    }

    /// The event that the world will see: the key under its declared name, and who decided what.
    fn body_of(&self, question: &Question, actor: &Actor, decide: &Decide) -> Value {
        let event = question.wait.events.first().map_or("", String::as_str);
        let declared = self.registry.get(&question.definition).and_then(|it| it.declared(event));
        let pointer = declared.map_or("/key", |it| it.key);
        let mut body = Map::new();
        put(&mut body, pointer.trim_start_matches('/'), &question.wait.key);
        body.insert("approved".to_owned(), Value::from(decide.approved));
        body.insert("by".to_owned(), Value::from(actor.name.clone()));
        if let Some(reason) = &decide.reason {
            body.insert("reason".to_owned(), Value::from(reason.clone()));
        }
        Value::Object(body)
    }
}

/// Puts a key where a JSON pointer, without its first slash, will find it.
fn put(body: &mut Map<String, Value>, pointer: &str, key: &str) {
    match pointer.split_once('/') {
        None => drop(body.insert(pointer.to_owned(), Value::from(key))),
        Some((field, rest)) => {
            let mut inner = Map::new();
            put(&mut inner, rest, key);
            body.insert(field.to_owned(), Value::Object(inner));
        }
    }
}

pub(super) fn check_reason(reason: Option<&str>, is_needed: bool) -> Result<(), Refusal> {
    let reason = reason.map_or("", str::trim);
    let invalid = |why: &str| Err(refusal(RefusalKind::Invalid { pointer: "/reason" }, why));
    if reason.is_empty() && is_needed {
        return invalid("a reason is needed");
    }
    if REASON_CHARS_MAX < reason.chars().count() {
        return invalid("a reason may have 1000 characters");
    }
    Ok(())
}

pub(super) fn refusal(kind: RefusalKind, detail: &str) -> Refusal {
    Refusal { kind, detail: detail.to_owned() }
}
