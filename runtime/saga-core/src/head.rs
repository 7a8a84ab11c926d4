//! The head of a saga: the row that lists and indexes are made of. A pure function of its state.

use crate::{
    fold::{
        Asked, Attention, End, OpenCall, OpenPublish, OpenSleep, OpenWait, State, Status, Touched,
        Undo,
    },
    id::{Alias, Path, Position, SagaId, Time, call_key},
    payload::Payload,
    text::cut,
};
use serde::{Deserialize, Serialize};

/// So many requests, so many waits and so many sleeps are listed in the row of a saga, however many
/// it has. Waits that ask a person are all listed: tasks are found by the row.
pub(crate) const LISTED_MAX: usize = 32;

/// What is known of a saga without its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The log position that wrote it.
    pub position: Position,
    /// The saga.
    pub id: SagaId,
    /// Its definition.
    pub definition: String,
    /// The version with which it keeps.
    pub version: u32,
    /// Its business key.
    pub key: String,
    /// Counts rewinds and restores.
    pub epoch: u32,
    /// Under which name it acts; sagas of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// The saga whose late event it handles.
    pub origin: Option<SagaId>,
    /// Where it stands.
    pub status: Status,
    /// An operator has paused it.
    pub paused: bool,
    /// It has passed its pivot.
    pub committed: bool,
    /// Why it ended, or needs a person.
    pub reason: Option<String>,
    /// Why it cannot go on without a person.
    pub attention: Option<Attention>,
    /// When it began.
    pub started_at: Time,
    /// When its last fact was appended.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How many entries its journal has.
    pub entries: u32,
    /// What it holds for.
    pub waits: Vec<OpenWait>,
    /// For how long it holds.
    pub sleeps: Vec<OpenSleep>,
    /// Requests without an answer.
    pub calls: Vec<HeadCall>,
    /// How many more there are, in a row that does not list them all.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unlisted: usize,
    /// How many more waits and sleeps there are, in a row that does not list them all.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unlisted_holds: usize,
    /// Undos registered or owed.
    pub undo_depth: usize,
    /// Everything that time will bring.
    pub timers: Vec<(Time, Path)>,
    /// What people were asked.
    pub asked: Vec<Asked>,
    /// Something has to be sent for it.
    pub owes: bool,
    /// Its code is being shown what was held; older rows do not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub telling: bool,
    /// Its code has given up, or was ended; older rows do not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
    /// What it left behind.
    pub output: Option<Payload>,
}

/// A request without an answer, or an event that the broker does not have yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadCall {
    /// The step.
    pub step: Path,
    /// Whether it is the step's undo.
    pub is_undo: bool,
    /// Whether it is an event for the broker; older rows do not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_publish: bool,
    /// Where it goes.
    pub subject: String,
    /// Since when.
    pub since: Time,
    /// Why it is not asked again by itself.
    pub stopped: Option<String>,
    /// Why a person should look, though it is asked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<String>,
}

impl Head {
    /// The name under which the world outside knows the saga.
    pub fn acts_as(&self) -> Alias {
        self.alias.unwrap_or(Alias::of_id(self.id))
    }

    /// What a decision on this wait names to say that it is about this question, and about what it
    /// shows. Nothing of a wait that asks nobody.
    pub fn seen(&self, wait: &OpenWait) -> Option<String> {
        let ask = wait.ask.as_ref()?;
        Some(ask.seen(&call_key(self.acts_as(), self.epoch, &wait.step)))
    }

    /// The head of a saga that has started.
    pub fn of(state: &State, position: Position) -> Option<Head> {
        Head::listing(state, position, usize::MAX)
    }

    /// The row of an open saga. It is written with each turn, so that it lists few of many requests
    /// and holds, and of what time brings to them: those first that need a person. The journal
    /// tells them all.
    pub(crate) fn row(state: &State, position: Position) -> Option<Head> {
        Head::listing(state, position, LISTED_MAX)
    }

    fn listing(state: &State, position: Position, listed_max: usize) -> Option<Head> {
        let start = state.start.as_ref()?;
        let attention = state.attention();
        let requests = || Outgoing::all(state);
        let needy = requests().filter(Outgoing::needs_a_person);
        let others = requests().filter(|it| !it.needs_a_person());
        let total = state.requests();
        let listed: Vec<Outgoing<'_>> = match total <= listed_max {
            true => requests().collect(),
            false => needy.chain(others).take(listed_max).collect(),
        };
        let steps = listed.iter().map(|it| it.step().clone());
        let timed = if listed.len() == total { Touched::All } else { Touched::steps(steps) };
        let (waits, sleeps) = (listed_waits(state, listed_max), &state.sleeps);
        let sleeps = &sleeps[..sleeps.len().min(listed_max)];
        let unlisted_holds = state.waits.len() - waits.len() + state.sleeps.len() - sleeps.len();
        let steps = waits.iter().map(|it| &it.step).chain(sleeps.iter().map(|it| &it.step));
        let held = match unlisted_holds {
            0 => Touched::All,
            _ => Touched::steps(steps.chain(state.closing.iter().map(|it| &it.scope)).cloned()),
        };
        let mut timers = state.timers_of_holds(&held);
        timers.extend(state.timers_of_requests(&timed));
        Some(Head {
            position,
            id: start.saga,
            definition: start.definition.clone(),
            version: start.version,
            key: start.key.clone(),
            epoch: start.epoch,
            alias: start.alias,
            origin: start.origin,
            status: state.status_with(attention.as_ref()),
            paused: state.paused,
            committed: state.committed,
            reason: state.reason_with(attention.as_ref()),
            attention,
            started_at: state.started_at,
            updated_at: state.updated_at,
            ended_at: state.ended_at,
            entries: state.entries,
            waits: waits.into_iter().cloned().collect(),
            sleeps: sleeps.to_vec(),
            unlisted: total - listed.len(),
            unlisted_holds,
            telling: state.is_being_told(),
            calls: listed.into_iter().map(Outgoing::shown).collect(),
            undo_depth: state.undos.len() + state.owed.len(),
            timers,
            asked: state.asked.clone(),
            owes: !(state.calls.is_empty() && state.owed.is_empty() && state.publishes.is_empty()),
            aborted: matches!(state.end, Some(End::Aborted(..) | End::Terminated(_))),
            output: match &state.end {
                Some(End::Completed(output)) => Some(output.clone()),
                _ => None,
            },
        })
    }
}

fn listed_waits(state: &State, listed_max: usize) -> Vec<&OpenWait> {
    let mut others = 0;
    let is_listed = |it: &&OpenWait| {
        others += usize::from(it.ask.is_none());
        it.ask.is_some() || others <= listed_max
    };
    state.waits.iter().filter(is_listed).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// A request without an answer, or an event that the broker does not have yet.
#[derive(Clone, Copy)]
enum Outgoing<'a> {
    Call(&'a Path, &'a OpenCall),
    Undo(&'a Undo),
    Publish(&'a OpenPublish),
}

impl<'a> Outgoing<'a> {
    fn all(state: &'a State) -> impl Iterator<Item = Outgoing<'a>> {
        let calls = state.calls.iter().map(|(step, it)| Outgoing::Call(step, it));
        let undos = state.owed.iter().filter(|it| it.is_asked).map(Outgoing::Undo);
        let publishes = state.publishes.iter().map(Outgoing::Publish);
        calls.chain(undos).chain(publishes)
    }

    fn step(self) -> &'a Path {
        match self {
            Outgoing::Call(step, _) => step,
            Outgoing::Undo(it) => &it.step,
            Outgoing::Publish(it) => &it.step,
        }
    }

    fn needs_a_person(&self) -> bool {
        match self {
            Outgoing::Call(_, it) => it.exhausted.is_some(),
            Outgoing::Undo(it) => it.failed.is_some() || it.silent.is_some(),
            Outgoing::Publish(it) => it.failed.is_some(),
        }
    }

    fn shown(self) -> HeadCall {
        let step = self.step().clone();
        match self {
            Outgoing::Call(_, it) => HeadCall {
                step,
                is_undo: false,
                is_publish: false,
                subject: it.command.subject.clone(),
                since: it.since,
                stopped: it.exhausted.as_deref().map(short),
                warned: None,
            },
            Outgoing::Undo(it) => HeadCall {
                step,
                is_undo: true,
                is_publish: false,
                subject: it.command.subject.clone(),
                since: it.since,
                stopped: it.failed.as_deref().map(short),
                warned: it.silent.clone(),
            },
            Outgoing::Publish(it) => HeadCall {
                step,
                is_undo: false,
                is_publish: true,
                subject: it.command.subject.clone(),
                since: it.since,
                stopped: None,
                warned: it.failed.as_deref().map(short),
            },
        }
    }
}

/// What a head keeps of the reason why something is not asked again: it has as many of them as
/// requests are open, and the journal has all of it.
pub(crate) const STOPPED_CHARS_MAX: usize = 200;

fn short(stopped: &str) -> String {
    cut(stopped, STOPPED_CHARS_MAX).into_owned()
}
