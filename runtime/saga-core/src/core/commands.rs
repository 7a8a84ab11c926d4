//! What people and programs ask for: each is answered after the flush, and audited.

use super::{
    Core,
    decide::{check_reason, refusal},
};
use crate::{
    codec::{AuditRecord, StartKeyRow},
    effect::{Effect, Refusal, RefusalKind, Reply},
    fold::{State, Undo},
    id::{Path, SagaId, Time, short_hash},
    input::{Action, Actor, Command, Role, Target, Ticket},
    journal::Fact,
    moves::{Move, Phase, allowed},
    payload::Payload,
    store::{Kind, Store, StoreError, Table},
};
use std::borrow::Cow;

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
        let shown = match &command {
            Command::Decide(decide) => Some(decide.seen.is_some()),
            _ => None,
        };
        let reply = match command {
            Command::Start { definition, key, input } => {
                self.start_by_hand(now, actor, &definition, key, input)?
            }
            Command::Decide(decide) => self.decide(now, actor, &decide)?,
            Command::Offer { position, reason, reread } => {
                self.offer_again(now, actor, position, &reason, reread.map(|it| *it))?
            }
            Command::Move { saga, action, reason } => {
                self.make_move(now, actor, saga, action, None, &reason)?
            }
            Command::Waive { saga, step, reason } => {
                self.make_move(now, actor, saga, Action::Waive, step, &reason)?
            }
            Command::AcceptClock { reason, .. } => self.accept_clock(actor, &reason),
        };
        let outcome = match &reply {
            Ok(Reply::Accepted(_) | Reply::Taken(_)) => "accepted".to_owned(),
            Ok(Reply::Same(_) | Reply::TakenBefore(_)) => "same".to_owned(),
            Err(refusal) => refusal.detail.clone(),
        };
        let (at, actor) = (now, actor.clone());
        let audit = AuditRecord { at, actor, action, target, reason, outcome, shown };
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
        let check = || (definition.check_input)(&input);
        if let Err(why) = self.reading_by_hand(&definition, key.as_deref(), check)? {
            return Ok(Err(refusal(RefusalKind::Invalid { pointer: "/input" }, &why)));
        }
        let tree = match input.tree() {
            Ok(tree) => tree,
            Err(err) => {
                let why = format!("it cannot be read {err}");
                return Ok(Err(refusal(RefusalKind::Invalid { pointer: "/input" }, &why)));
            }
        };
        let pointer = definition.events.iter().find(|it| it.starts).map(|it| it.key);
        let key = key.or_else(|| tree.at(pointer?)?.key().map(Cow::into_owned));
        let checked = key.ok_or_else(|| "a business key is needed".to_owned());
        let key = match checked.and_then(super::routes::checked_key) {
            Ok(key) => key,
            Err(why) => return Ok(Err(refusal(RefusalKind::Invalid { pointer: "/key" }, &why))),
        };
        let digest = input.digest();
        let row = self.txn.get::<StartKeyRow>(Table::StartKey, &short_hash(&[name, &key]))?;
        if let Some(row) = row {
            return Ok(if self.started_with(&row, &digest, &input)? {
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

    fn accept_clock(&self, actor: &Actor, reason: &str) -> Answered {
        if actor.role < Role::Operator {
            return Err(refusal(RefusalKind::Forbidden, "accepting the clock takes an operator"));
        }
        check_reason(Some(reason), true)?;
        Ok(Reply::Taken(self.txn.next()))
    }

    fn make_move(
        &mut self,
        now: Time,
        actor: &Actor,
        saga: SagaId,
        action: Action,
        undo: Option<Path>,
        reason: &str,
    ) -> Result<Answered, StoreError> {
        if actor.role < Role::Operator {
            return Ok(Err(refusal(RefusalKind::Forbidden, "moving a saga takes an operator")));
        }
        if let Err(refusal) = check_reason(Some(reason), true) {
            return Ok(Err(refusal));
        }
        if action == Action::Retry {
            self.take_back(now, saga)?;
        }
        self.state(saga)?;
        if let Some(why) = self.aside.get(&saga) {
            return Ok(Err(refusal(RefusalKind::Conflict, why)));
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
            Action::Waive => match waived(state, undo) {
                Ok(step) => Fact::UndoWaived { step, by, reason },
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        if action == Action::Retry {
            self.lift_saga(saga)?;
        }
        // What is asked anew because of the fact leaves at once anyway, and once.
        if action == Action::Retry && !paused {
            self.effects.push(Effect::Hurry(saga));
        }
        self.offer(now, saga, fact)?;
        let goes_on = action == Action::Resume || action == Action::Retry && !paused;
        if held && goes_on {
            self.tell(now, saga)?;
        }
        if action == Action::Resume {
            self.withhold(now, saga)?;
        }
        Ok(Ok(Reply::Accepted(saga)))
    }
}

/// The undo that is given up: the one that is named, or the only one that needs a person.
fn waived(state: &State, named: Option<Path>) -> Result<Path, Refusal> {
    let all: Vec<&Undo> = state.waivable().collect();
    let chosen = match (&named, &all[..]) {
        (Some(step), all) => all.iter().find(|it| it.step == *step),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    chosen.map(|it| it.step.clone()).ok_or_else(|| {
        let shown = all.iter().map(|it| format!("{} ({})", it.step, it.command.subject));
        let shown: Vec<String> = shown.collect();
        refusal(RefusalKind::Conflict, &format!("say which undo: step {}", shown.join(", or ")))
    })
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
        Command::AcceptClock { was, reason } => {
            ("accept clock".to_owned(), was.clone(), Some(reason.clone()))
        }
        Command::Move { saga, action, reason } => {
            (action.as_str().to_owned(), saga.to_string(), Some(reason.clone()))
        }
        Command::Waive { saga, step, reason } => {
            let step = step.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
            ("waive".to_owned(), format!("{saga}{step}"), Some(reason.clone()))
        }
    }
}
