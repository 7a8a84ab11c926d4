//! A journal as text, one line per record: what golden files hold and people read.

use crate::{
    core::TURN_BYTES_MAX,
    differ::Difference,
    id::Path,
    journal::{CloseMode, Command, Decision, Entry, Fact, Hold, Turn},
    replay::ReplayError,
};
use std::{collections::BTreeMap, fmt};

/// The journal: facts with their numbers, and under each what was decided on it. The times are
/// seconds since the start.
pub fn render(journal: &[Entry]) -> String {
    let began = journal.first().map_or(0, |it| it.at.0);
    let undoes = undoes(journal);
    let lines = journal.iter().enumerate().flat_map(|(number, entry)| {
        let seconds = entry.at.0.saturating_sub(began) / 1000;
        let fact = format!("{number} +{seconds}s < {}", Told(&entry.fact, &undoes));
        let decided = match &entry.turn {
            Turn::Done { decisions, .. } => {
                decisions.iter().map(|it| format!("  > {it}")).collect()
            }
            Turn::Held(hold) => vec![format!("  = held: {hold}")],
        };
        std::iter::once(fact).chain(decided)
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// What is undone at each step, in words. What becomes of an undo names the step alone.
type Undoes = BTreeMap<Path, String>;

fn undoes(journal: &[Entry]) -> Undoes {
    let decided = journal.iter().flat_map(|it| match &it.turn {
        Turn::Done { decisions, .. } => decisions.as_slice(),
        Turn::Held(_) => &[],
    });
    let named = decided.filter_map(|it| match it {
        Decision::Call { step, command, undo: Some(_), .. } => {
            Some((step.clone(), command.subject.clone()))
        }
        // It undoes no call of its own: what it does itself is its name.
        Decision::Undo { step, command } => Some((step.clone(), format!("({})", command.subject))),
        _ => None,
    });
    named.collect()
}

/// A fact, and what its journal undoes.
struct Told<'a>(&'a Fact, &'a Undoes);

impl Told<'_> {
    /// What is undone there, behind a space.
    fn undone(&self, step: &Path) -> String {
        self.1.get(step).map(|it| format!(" {it}")).unwrap_or_default()
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(fact, _) = self;
        match fact {
            Fact::Undone { step } => write!(f, "{step} undone{}", self.undone(step)),
            Fact::UndoRejected { step, code, reason } => {
                write!(f, "{step} undo rejected{} {code}: {reason}", self.undone(step))
            }
            Fact::UndoSilent { step, reason } => {
                write!(f, "{step} undo silent{}: {reason}", self.undone(step))
            }
            Fact::UndoWaived { step, by, reason } => {
                write!(f, "{step} undo waived{} by {by}: {reason}", self.undone(step))
            }
            fact => fact.fmt(f),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Started(start) => {
                write!(f, "started {} v{} {}", start.definition, start.version, start.key)?;
                if start.epoch > 0 {
                    write!(f, " epoch {}", start.epoch)?;
                }
                start.origin.map_or(Ok(()), |it| write!(f, ", late for {it}"))
            }
            Fact::Replied { step, body } => write!(f, "{step} replied {}", body.text()),
            Fact::Rejected { step, code, reason } => {
                write!(f, "{step} rejected {code}: {reason}")
            }
            Fact::Received { step, event, body, .. } => {
                write!(f, "{step} received {event} {}", body.text())
            }
            Fact::TimerFired { step } => write!(f, "{step} time over"),
            Fact::Exhausted { step, reason, .. } => write!(f, "{step} exhausted: {reason}"),
            Fact::Published { step } => write!(f, "{step} published"),
            Fact::Undone { .. }
            | Fact::UndoRejected { .. }
            | Fact::UndoSilent { .. }
            | Fact::UndoWaived { .. } => Told(self, &Undoes::new()).fmt(f),
            Fact::PublishRefused { step, reason } => write!(f, "{step} publish refused: {reason}"),
            Fact::Paused { by, reason } => write!(f, "paused by {by}: {reason}"),
            Fact::Resumed { by, reason } => write!(f, "resumed by {by}: {reason}"),
            Fact::CancelAsked { by, reason } => write!(f, "cancel asked by {by}: {reason}"),
            Fact::Terminated { by, reason, .. } => write!(f, "terminated by {by}: {reason}"),
            Fact::Retried { by, reason } => write!(f, "retried by {by}: {reason}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Call { step, command, undo, .. } => {
                write!(f, "{step} call {command}")?;
                undo.as_ref().map_or(Ok(()), |it| write!(f, ", undo {}", it.subject))
            }
            Decision::Wait { step, events, key, filter, within_ms, ask } => {
                let verb = if ask.is_some() { "ask" } else { "wait" };
                write!(f, "{step} {verb} {} of {key}", events.join(" or "))?;
                filter.0.iter().try_for_each(|test| write!(f, ", {test}"))?;
                match within_ms {
                    Some(ms) => write!(f, ", {}", Seconds(*ms))?,
                    None => f.write_str(", forever")?,
                }
                ask.as_ref().map_or(Ok(()), |it| write!(f, ": {}", it.title))
            }
            Decision::Sleep { step, ms } => write!(f, "{step} sleep {}", Seconds(*ms)),
            Decision::Publish { step, command, key } => {
                write!(f, "{step} publish {command} of {key}")
            }
            Decision::Undo { step, command } => write!(f, "{step} undo {command}"),
            Decision::Commit => f.write_str("commit"),
            Decision::Patch { id } => write!(f, "patch {id}"),
            Decision::Close { scope, mode } => match mode {
                CloseMode::Settle { within_ms } => {
                    write!(f, "close {scope}, calls settle within {}", Seconds(*within_ms))
                }
                CloseMode::Lost => write!(f, "close {scope}, lost"),
            },
            Decision::Abandoned { step } => write!(f, "abandoned {step}"),
            Decision::Complete { output } => write!(f, "complete {}", output.text()),
            Decision::Abort { abort, .. } => write!(f, "abort, {abort}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.body.text())
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Paused => f.write_str("paused"),
            Hold::Stuck { message } => f.write_str(message),
            Hold::Behind => f.write_str("an earlier fact is held"),
            Hold::GivenBack => f.write_str("the code was over before it was shown this"),
        }
    }
}

/// Milliseconds, shown as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{} s", self.0 / 1000),
            ms => write!(f, "{}.{ms:03} s", self.0 / 1000),
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Diverged { turn, recorded, asked } => {
                write!(f, "diverged in turn {turn}: ")?;
                let (recorded, asked) = (recorded.as_deref(), asked.as_deref());
                write!(f, "{}; ", Difference { recorded, asked })?;
                f.write_str("put the old code back, or guard the new one with ctx.patched")
            }
            ReplayError::Unreadable { what, error } => {
                write!(f, "{what} cannot be read as today's type: {error}; ")?;
                f.write_str("retry with a binary that reads it, or end the saga")
            }
            ReplayError::UselessAnswer { error } => write!(f, "its answer cannot be read: {error}"),
            ReplayError::Unwritable { what, error } => {
                write!(f, "{what} has no JSON form: {error}; ")?;
                f.write_str("retry with a binary that writes it, or end the saga")
            }
            ReplayError::ForeignFuture => f.write_str(
                "awaits a future that is not ours (a timer, a channel, a socket, a combinator \
                 over many): use ctx.call, ctx.when, ctx.sleep, ctx.join, ctx.race, ctx.join_all, \
                 ctx.race_all",
            ),
            ReplayError::Stalled => f.write_str("stalled: it awaits something, nothing is open"),
            ReplayError::Panicked(message) => write!(f, "its code panicked: {message}"),
            ReplayError::BadSubject { subject, fault } => {
                write!(f, "no message can go to the subject {subject:?}: {fault}; mend the code")
            }
            ReplayError::TooMuch { bytes } => {
                write!(f, "one turn asks for {bytes} bytes at once, more than {TURN_BYTES_MAX}: ")?;
                f.write_str("let it ask for less, or one after the other")
            }
            ReplayError::OverLimit { what, size, max } => {
                write!(f, "{what}: {size}, and {max} are allowed; ")?;
                f.write_str("retry with a binary that asks for less, or cancel the saga")
            }
            ReplayError::Undeclared { message } => f.write_str(message),
            ReplayError::Quarantined { message } => {
                write!(f, "quarantined: {message}; mend the definition, then retry")
            }
            ReplayError::Full => f.write_str("its journal is full: split the saga"),
            ReplayError::NotLinked { definition, version } => {
                write!(f, "definition {definition} version {version} is not in this binary")
            }
            ReplayError::Torn { entry } => write!(f, "the journal is torn at entry {entry}"),
        }
    }
}

impl std::error::Error for ReplayError {}
