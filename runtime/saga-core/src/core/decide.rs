//! A person's decision: authenticated by the host, authorised and applied here.

use super::{
    Core,
    turns::{hex, running},
};
use crate::{
    codec::DecidedRow,
    effect::{Refusal, RefusalKind, Reply},
    fold::{Asked, OpenWait, State},
    id::{Alias, Lane, Path, SagaId, Time, call_key, short_hash},
    input::{Actor, Decide, Role, Target},
    journal::{Ask, Entry, Fact},
    payload::Payload,
    store::{Store, StoreError, Table},
    text::REASON_CHARS_MAX,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Open questions under one event and key that are looked at for the one that was shown.
const QUESTIONS_MAX: usize = 64;

/// An open question.
struct Question {
    saga: SagaId,
    epoch: u32,
    alias: Alias,
    definition: String,
    wait: OpenWait,
    ask: Ask,
    /// An earlier one under the same event and key is closed.
    is_second: bool,
}

impl Question {
    fn seen(&self) -> String {
        self.ask.seen(&call_key(self.alias, self.epoch, &self.wait.step))
    }

    /// For whoever has decided something else.
    fn is_open_now(&self) -> String {
        let (title, seen) = (&self.ask.title, self.seen());
        format!(
            "the question that is open now is {title:?}: look at it, and answer it with `seen` \
             {seen}"
        )
    }
}

/// What a decision is about, or why it is about nothing.
type Found = Result<Question, Refused>;

enum Refused {
    /// Nothing such is open: it may have been decided before.
    NotOpen,
    /// It could be about several, or about another one.
    Unclear(&'static str),
}

const LOOK_AGAIN: &str = "the task shows other facts now: look again";

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
        let question = match self.question(decide)? {
            Ok(question) => question,
            Err(Refused::NotOpen) if self.is_aside(&decide.target) => {
                let why = "its saga is set aside, as its rows cannot be read: retry it first";
                return Ok(Err(refusal(RefusalKind::Conflict, why)));
            }
            Err(Refused::NotOpen) => return self.decided_before(decide),
            Err(Refused::Unclear(why)) => return Ok(Err(refusal(RefusalKind::Conflict, why))),
        };
        if let Some(reply) = self.may_be_a_repeat(&question, decide)? {
            return Ok(reply);
        }
        if let Err(why) = self.will_be_seen(now, &question)? {
            return Ok(Err(refusal(RefusalKind::Conflict, &why)));
        }
        let Some(body) = self.body_of(&question, actor, decide) else {
            let why = "its definition is not in this binary, and nothing says where its key lies: \
                       decide when it is back";
            return Ok(Err(refusal(RefusalKind::Conflict, why)));
        };
        let body =
            Payload::of(&body).map_err(|err| StoreError::failed("encode for", err.to_string()))?;
        if !body.tree().is_ok_and(|it| question.wait.filter.holds(&it)) {
            return Ok(Err(refusal(RefusalKind::NotFound, "nothing asks for such a decision")));
        }
        let Question { saga, epoch, alias, wait, .. } = question;
        let event = wait.events.first().cloned().unwrap_or_default();
        let event_id = call_key(alias, epoch, &wait.step);
        let fact = Fact::Received { step: wait.step, event, event_id, event_at: 0, body };
        if self.offer(now, saga, fact)? {
            return Ok(Ok(Reply::Accepted(saga)));
        }
        self.decided_before(decide)
    }

    /// The question that a decision is about. One that says what its maker has seen is about that,
    /// and any other one is about the only question that is open.
    fn question(&mut self, decide: &Decide) -> Result<Found, StoreError> {
        let mut open = self.open_questions(&decide.target)?;
        let is_seen = |it: &Question| decide.seen.as_ref().is_none_or(|seen| *seen == it.seen());
        let by_task = matches!(decide.target, Target::Task(_));
        if by_task && !open.iter().all(is_seen) {
            return Ok(Err(Refused::Unclear(LOOK_AGAIN)));
        }
        open.retain(is_seen);
        Ok(match (open.pop(), open.pop()) {
            (Some(question), None) => Ok(question),
            (None, _) => Err(Refused::NotOpen),
            (Some(_), Some(_)) => {
                Err(Refused::Unclear("more than one question is open: say which one was seen"))
            }
        })
    }

    fn is_aside(&self, target: &Target) -> bool {
        matches!(target, Target::Task(task) if self.aside.contains_key(&task.saga))
    }

    /// The steps that may ask for such a decision.
    pub(super) fn asking(&self, target: &Target) -> Vec<(SagaId, Path)> {
        match target {
            Target::Task(task) => vec![(task.saga, task.step.clone())],
            Target::Event { name, key } => {
                let linked = self.registry.declaring(name).into_iter().map(|it| it.name);
                let missing = self.missing.keys().map(String::as_str);
                let asking: BTreeSet<&str> = linked.chain(missing).collect();
                let lanes = asking.into_iter().map(|it| Lane::of(it, name, key));
                let asks = lanes.flat_map(|lane| self.waits.of(&lane).collect::<Vec<_>>());
                let asks = asks.filter(|it| it.asks).take(QUESTIONS_MAX);
                asks.map(|it| (it.saga, it.step.clone())).collect()
            }
        }
    }

    fn open_questions(&mut self, target: &Target) -> Result<Vec<Question>, StoreError> {
        let mut open = Vec::new();
        for (saga, step) in self.asking(target) {
            let Some(state) = self.state(saga)? else { continue };
            open.extend(question_of(state, saga, &step));
        }
        Ok(open)
    }

    /// One that does not say what its maker has seen may be a repeat of what was decided before
    /// under this event and key, or mean a question that is closed: then it answers no other one.
    /// Its maker is told which one is open now, and how to answer that.
    fn may_be_a_repeat(
        &self,
        question: &Question,
        decide: &Decide,
    ) -> Result<Option<Result<Reply, Refusal>>, StoreError> {
        let Target::Event { name, key } = &decide.target else { return Ok(None) };
        if decide.seen.is_some() {
            return Ok(None);
        }
        let row = self.txn.get::<DecidedRow>(Table::Decided, &decided_key(name, key))?;
        let before = match row {
            Some(row) if row.saga == question.saga && !question.is_second => {
                return Ok(Some(same_or_not(row.saga, row.approved, &row.by, decide)));
            }
            None if !question.is_second => return Ok(None),
            // Also what another saga asked under them, and was told: nobody has looked at this one.
            Some(row) => was_decided(row.approved, &row.by),
            None => "another question was open before".to_owned(),
        };
        let why = format!("{before}; {}", question.is_open_now());
        Ok(Some(Err(refusal(RefusalKind::Conflict, &why))))
    }

    /// What happened before a decision, and was held, may close its question as soon as the code
    /// sees it: what people and services are told must be what the code will do.
    fn will_be_seen(
        &mut self,
        now: Time,
        question: &Question,
    ) -> Result<Result<(), String>, StoreError> {
        let Question { saga, wait, .. } = question;
        let Some(state) = self.state(*saga)?.filter(|it| !it.held.is_empty()) else {
            return Ok(Ok(()));
        };
        let (start, seq) = (state.start.clone(), state.held.first().copied().unwrap_or_default());
        let linked = self.registry.get(&question.definition);
        let linked = linked.zip(start).filter(|(it, start)| it.version == start.version);
        let Some((definition, start)) = linked else {
            let why = "its code is not in this binary, and has not seen all that happened before: \
                       decide when it is back";
            return Ok(Err(why.to_owned()));
        };
        let (code, journal) = (definition.code, self.txn.journal(*saga)?);
        let Some(first) = journal.get(seq as usize) else { return Ok(Ok(())) };
        let running = running(&start, seq, &first.fact);
        let foreseen = match self.quarantined(&running) {
            Some(err) => Err(err),
            None => self.driver.foresee(&running, code, &journal, now),
        };
        Ok(match foreseen {
            Ok(waits) if waits.contains(&wait.step) => Ok(()),
            Ok(_) => Err("what happened before closes the question: its saga sees that when it \
                          goes on"
                .to_owned()),
            Err(err) => Err(format!("its saga cannot go on, and nobody knows what it asks: {err}")),
        })
    }

    /// The same decision again has no further effect; another one comes too late.
    fn decided_before(&mut self, decide: &Decide) -> Result<Result<Reply, Refusal>, StoreError> {
        let (row, asked) = match &decide.target {
            Target::Event { name, key } => {
                (self.txn.get::<DecidedRow>(Table::Decided, &decided_key(name, key))?, None)
            }
            Target::Task(task) => {
                let head = self.head(task.saga)?;
                let (alias, epoch) = head
                    .as_ref()
                    .map_or((Alias::of_id(task.saga), 0), |it| (it.acts_as(), it.epoch));
                let id = call_key(alias, epoch, &task.step);
                // Heads told of it before the rows did.
                let asked = head.into_iter().flat_map(|it| it.asked);
                let asked = asked.filter(|it| it.step == task.step).find_map(|it| it.decided);
                (self.txn.get::<DecidedRow>(Table::Decided, &announced_key(&id))?, asked)
            }
        };
        let is_other = |it: &DecidedRow| it.seen.is_some() && it.seen != decide.seen;
        Ok(match (row, asked, &decide.target) {
            (Some(row), _, _) if decide.seen.is_some() && is_other(&row) => {
                let open = self.open_now(decide)?;
                let why = match &open {
                    Some(open) => format!("{LOOK_AGAIN}; {open}"),
                    None => LOOK_AGAIN.to_owned(),
                };
                Err(refusal(RefusalKind::Conflict, &why))
            }
            (Some(row), _, _) => same_or_not(row.saga, row.approved, &row.by, decide),
            (None, Some(it), Target::Task(task)) => {
                same_or_not(task.saga, it.approved, &it.by, decide)
            }
            _ => match self.open_now(decide)? {
                Some(open) => {
                    let why = format!("no question has shown this `seen`; {open}");
                    Err(refusal(RefusalKind::Conflict, &why))
                }
                None => Err(refusal(RefusalKind::NotFound, "nothing asks for this decision")),
            },
        })
    }

    /// What is open where the decision was about something else: whoever made it is told what to
    /// look at.
    fn open_now(&mut self, decide: &Decide) -> Result<Option<String>, StoreError> {
        let open = self.open_questions(&decide.target)?;
        let Some(first) = open.first() else { return Ok(None) };
        Ok(Some(match open.len() {
            1 => first.is_open_now(),
            more => format!("{more} questions are open: look at them, and say which one was seen"),
        }))
    }

    /// The event that the world will see: the key where its definition declares it, also while that
    /// is missing, and who decided what.
    fn body_of(&self, question: &Question, actor: &Actor, decide: &Decide) -> Option<Value> {
        let event = question.wait.events.first().map_or("", String::as_str);
        let pointer = self.declared(&question.definition, event)?.key?;
        let mut body = Map::new();
        put(&mut body, pointer.trim_start_matches('/'), &question.wait.key);
        body.insert("approved".to_owned(), Value::from(decide.approved));
        body.insert("by".to_owned(), Value::from(actor.name.clone()));
        if let Some(reason) = &decide.reason {
            body.insert("reason".to_owned(), Value::from(reason.clone()));
        }
        Some(Value::Object(body))
    }

    /// The answer to a question is found by the event and key under which services know it, and by
    /// the id of its announcement, which is the step's.
    pub(super) fn note_decided(
        &mut self,
        decided: DecidedRow,
        state: &State,
    ) -> Result<(), StoreError> {
        let of_step = state.asked.iter().filter(|it| it.step == decided.step);
        for asked in of_step {
            let Some(by) = &asked.decided else { continue };
            let (approved, by) = (by.approved, by.by.clone());
            let row = DecidedRow { approved, by, ..decided.clone() };
            self.txn.put(Table::Decided, &decided_key(&asked.event, &asked.key), &row)?;
            self.txn.put(Table::Decided, &announced_key(&row.id), &row)?;
        }
        Ok(())
    }
}

/// What is to be known of the question that the entry answers, if it answers one.
pub(super) fn decided_of(state: &State, entry: &Entry) -> Option<DecidedRow> {
    let Fact::Received { step, event_id, body, .. } = &entry.fact else { return None };
    let wait = state.waits.iter().find(|it| it.step == *step)?;
    let ask = wait.ask.as_ref()?;
    Some(DecidedRow {
        position: entry.position,
        saga: state.start.as_ref()?.saga,
        step: step.clone(),
        approved: false,
        by: String::new(),
        id: event_id.clone(),
        seen: Some(ask.seen(event_id)),
        announced: Some((wait.key.clone(), hex(&body.digest()))),
    })
}

fn question_of(state: &State, saga: SagaId, step: &Path) -> Option<Question> {
    let (start, is_open) =
        (state.start.as_ref()?, |step: &Path| state.waits.iter().any(|it| it.step == *step));
    let wait = state.waits.iter().find(|it| it.step == *step)?.clone();
    let ask = wait.ask.clone()?;
    let is_earlier =
        |it: &Asked| it.step != *step && it.key == wait.key && wait.events.contains(&it.event);
    let is_second = state.asked.iter().any(|it| is_earlier(it) && !is_open(&it.step));
    let (epoch, alias, definition) = (start.epoch, start.acts_as(), start.definition.clone());
    Some(Question { saga, epoch, alias, definition, wait, ask, is_second })
}

fn same_or_not(saga: SagaId, approved: bool, by: &str, decide: &Decide) -> Result<Reply, Refusal> {
    if approved == decide.approved {
        return Ok(Reply::Same(saga));
    }
    Err(refusal(RefusalKind::Conflict, &was_decided(approved, by)))
}

fn was_decided(approved: bool, by: &str) -> String {
    format!("it was {} by {by}", if approved { "approved" } else { "rejected" })
}

/// Where the last decision under an event and key is found.
pub(super) fn decided_key(name: &str, key: &str) -> [u8; 16] {
    short_hash(&[name, key])
}

/// Where a decision is found by the id of its announcement.
pub(super) fn announced_key(id: &str) -> [u8; 16] {
    short_hash(&[id])
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
