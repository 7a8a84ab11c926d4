//! What people and programs ask for: each is answered after the flush, and audited.

use super::{
    Core,
    decide::{check_reason, refusal},
};
use crate::{
    codec::{AuditRecord, StartKeyRow},
    effect::{Effect, Refusal, RefusalKind, Reply},
    id::{Path, SagaId, Time, short_hash},
    input::{Action, Actor, Command, Role, Target, Ticket},
    journal::Fact,
    moves::{Move, Phase, allowed},
    payload::Payload,
    store::{Kind, Store, StoreError, Table},
};
use serde_json::Value;

pub(super) type Answered = Result<Reply, Refusal>;

impl<S: Store> Core<S> {
    pub(super) fn asked(
        &mut self,
        now: Time,
        ticket: Ticket,
        actor: &Actor,
        command: Command,
    ) -> Result<(), StoreError> {
        let (action, target, reason) = described(&command);
        let reply = match command {
            Command::Start { definition, key, input } => {
                self.start_by_hand(now, actor, &definition, key, input)?
            }
            Command::Decide(decide) => self.decide(now, actor, &decide)?,
            Command::Offer { position, reason, reread } => {
                self.offer_again(now, actor, position, &reason, reread.map(|it| *it))?
            }
            Command::Move { saga, action, reason } => {
                self.make_move(now, actor, saga, action, &reason)?
            }
        };
        let outcome = match &reply {
            Ok(Reply::Accepted(_) | Reply::Taken(_)) => "accepted".to_owned(),
            Ok(Reply::Same(_) | Reply::TakenBefore(_)) => "same".to_owned(),
            Err(refusal) => refusal.detail.clone(),
        };
        let (at, actor) = (now, actor.clone());
        let audit = AuditRecord { at, actor, action, target, reason, outcome };
        self.txn.put_record(Kind::Audit, &audit)?;
        self.effects.push(Effect::Answer { ticket, reply });
        Ok(())
    }

    fn start_by_hand(
        &mut self,
        now: Time,
        actor: &Actor,
        name: &str,
        key: Option<String>,
        input: Payload,
    ) -> Result<Answered, StoreError> {
        if actor.role < Role::Operator {
            return Ok(Err(refusal(RefusalKind::Forbidden, "starting takes the role operator")));
        }
        let Some(definition) = self.registry.get(name).cloned() else {
            let why = format!("no definition {name} is in this binary");
            return Ok(Err(refusal(RefusalKind::NotFound, &why)));
        };
        if let Err(why) = (definition.check_input)(&input) {
            return Ok(Err(refusal(RefusalKind::Invalid { pointer: "/input" }, &why)));
        }
        let pointer = definition.events.iter().find(|it| it.starts).map(|it| it.key);
        let key = key.or_else(|| match input.to_value().pointer(pointer?)? {
            Value::String(key) => Some(key.clone()),
            Value::Number(key) => Some(key.to_string()),
            _ => None,
        });
        let checked = key.ok_or_else(|| "a business key is needed".to_owned());
        let key = match checked.and_then(super::routes::checked_key) {
            Ok(key) => key,
            Err(why) => return Ok(Err(refusal(RefusalKind::Invalid { pointer: "/key" }, &why))),
        };
        let digest = input.digest();
        let row = self.txn.get::<StartKeyRow>(Table::StartKey, &short_hash(&[name, &key]))?;
        if let Some(row) = row {
            return Ok(if row.digest == super::turns::hex(&digest) {
                Ok(Reply::Same(row.saga))
            } else {
                let why = format!("saga {} has this key and another input", row.saga);
                Err(refusal(RefusalKind::Conflict, &why))
            });
        }
        let start = self.start_of(now, &definition, &key, input);
        let saga = start.saga;
        self.begin(now, start, Some(digest))?;
        Ok(Ok(Reply::Accepted(saga)))
    }

    fn make_move(
        &mut self,
        now: Time,
        actor: &Actor,
        saga: SagaId,
        action: Action,
        reason: &str,
    ) -> Result<Answered, StoreError> {
        if actor.role < Role::Operator {
            return Ok(Err(refusal(RefusalKind::Forbidden, "moving a saga takes an operator")));
        }
        if let Err(refusal) = check_reason(Some(reason), true) {
            return Ok(Err(refusal));
        }
        let Some(state) = self.state(saga)? else {
            return Ok(match self.is_known(saga)? {
                true => allowed(Phase::ENDED, false, action).map(|_| Reply::Same(saga)),
                false => Err(refusal(RefusalKind::NotFound, &format!("no saga {saga}"))),
            });
        };
        match allowed(Phase::of(state), state.paused, action) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Move::Already) => return Ok(Ok(Reply::Same(saga))),
            Ok(Move::Do) => (),
        }
        let (by, reason) = (actor.name.clone(), reason.to_owned());
        let (paused, held) = (state.paused, !state.held.is_empty());
        let undos = state.owed.iter().chain(state.undos.iter().rev());
        let abandoned: Vec<Path> = undos.map(|it| it.step.clone()).collect();
        let fact = match action {
            Action::Pause => Fact::Paused { by, reason },
            Action::Resume => Fact::Resumed { by, reason },
            Action::Cancel => Fact::CancelAsked { by, reason },
            Action::Terminate => Fact::Terminated { by, reason, abandoned },
            Action::Retry => Fact::Retried { by, reason },
        };
        if action == Action::Retry {
            self.lift_saga(saga)?;
        }
        self.offer(now, saga, fact)?;
        let goes_on = action == Action::Resume || action == Action::Retry && !paused;
        if held && goes_on {
            self.apply_held(now, saga)?;
        }
        if action == Action::Resume {
            self.exhaust(now, saga)?;
        }
        Ok(Ok(Reply::Accepted(saga)))
    }
}

/// What an audit says of a command: never its bodies.
fn described(command: &Command) -> (String, String, Option<String>) {
    match command {
        Command::Start { definition, key, .. } => {
            let key = key.as_deref().unwrap_or("");
            ("start".to_owned(), format!("{definition} {key}").trim_end().to_owned(), None)
        }
        Command::Decide(decide) => {
            let action = if decide.approved { "approve" } else { "reject" };
            let target = match &decide.target {
                Target::Task(task) => task.to_string(),
                Target::Event { name, key } => format!("{name} {key}"),
            };
            (action.to_owned(), target, decide.reason.clone())
        }
        Command::Offer { position, reason, .. } => {
            ("offer".to_owned(), position.to_string(), Some(reason.clone()))
        }
        Command::Move { saga, action, reason } => {
            (action.as_str().to_owned(), saga.to_string(), Some(reason.clone()))
        }
    }
}
