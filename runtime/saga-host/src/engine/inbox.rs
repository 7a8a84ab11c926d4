//! What waits for the engine: a line for each group of definitions, one for people, one for the
//! clock, taken in turn. So a flood for one definition stands in its own way alone.

use super::Work;
use crate::{
    groups::{Group, Groups},
    lines::Lines,
    sled_store::SledStore,
};
use saga_core::{core::Core, id::SagaId, input::Input};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{self, error::TryRecvError};

/// Where work comes from: that of each origin stands in a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Commands and questions.
    Door,
    Clock,
    Group(Group),
}

/// Whether several groups of definitions bring something.
#[derive(Debug, Default)]
struct Mix {
    /// Of what came last.
    last: Option<Group>,
    /// When something came of another group than what came before it.
    changed: Option<Instant>,
}

impl Mix {
    /// For how long the engine is shared after that: whoever brings something each second finds it
    /// so.
    const SHARED_FOR: Duration = Duration::from_secs(1);

    /// What nobody declares is waited for by nobody.
    fn sees(&mut self, group: Group, now: Instant) {
        if group == Group::NOBODYS {
            return;
        }
        if self.last.replace(group).is_some_and(|it| it != group) {
            self.changed = Some(now);
        }
    }

    fn is_shared(&self, now: Instant) -> bool {
        self.changed.is_some_and(|it| now.duration_since(it) < Mix::SHARED_FOR)
    }
}

/// Owned by the engine's thread.
pub(super) struct Inbox {
    work: mpsc::Receiver<Work>,
    /// Bounded by the places of those who bring something, see [`Handle`](super::Handle).
    lines: Lines<Origin, Work>,
    groups: Arc<Groups>,
    mix: Mix,
    /// Whether the engine was asked to stop: what came before is still done.
    stops: bool,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn new(work: mpsc::Receiver<Work>, groups: Arc<Groups>) -> Inbox {
        let (lines, mix) = (Lines::default(), Mix::default());
        Inbox { work, lines, groups, mix, stops: false, is_closed: false }
    }

    /// What is next; nothing when nothing waits.
    pub(super) fn take(&mut self, core: &Core<SledStore>) -> Option<Work> {
        while !self.stops {
            match self.work.try_recv() {
                Ok(work) => self.sort(work, core),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.is_closed = true;
                    break;
                }
            }
        }
        self.lines.pop().or_else(|| self.stops.then_some(Work::Stop))
    }

    /// Waits until something comes; false when nobody can bring anything any more.
    pub(super) fn wait(&mut self, core: &Core<SledStore>) -> bool {
        let work = self.work.blocking_recv();
        work.map(|it| self.sort(it, core)).is_some()
    }

    /// Whether several groups bring something at present.
    pub(super) fn is_shared(&self) -> bool {
        self.mix.is_shared(Instant::now())
    }

    /// Nobody can bring anything any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The group of a saga.
    pub(super) fn group_of(&self, saga: SagaId, core: &Core<SledStore>) -> Group {
        let definition = core.definition_of(saga);
        definition.map_or(Group::NOBODYS, |it| self.groups.of_definition(&it))
    }

    fn sort(&mut self, work: Work, core: &Core<SledStore>) {
        let origin = match &work {
            Work::Told(input, _) | Work::Event(input, ..) => Origin::Group(self.group(input, core)),
            Work::Asked(..) | Work::Read(_) => Origin::Door,
            Work::Tick(..) | Work::GoOn => Origin::Clock,
            Work::Stop => {
                self.stops = true;
                return;
            }
        };
        if let Origin::Group(group) = origin {
            self.mix.sees(group, Instant::now());
        }
        self.lines.push(origin, work);
    }

    fn group(&self, input: &Input, core: &Core<SledStore>) -> Group {
        match input {
            Input::Arrived(it) => self.groups.of_event(&it.name),
            Input::Unreadable(it) => self.groups.of_event(&it.name),
            Input::Answered(it) => self.group_of(it.saga, core),
            Input::Published { saga, .. } | Input::PublishRefused { saga, .. } => {
                self.group_of(*saga, core)
            }
            Input::Woken { saga, .. } => self.group_of(*saga, core),
            Input::Asked { .. } | Input::Tick { .. } | Input::GoOn => Group::NOBODYS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_shared_for_a_second_after_each_change_of_groups() {
        let (mut mix, begin) = (Mix::default(), Instant::now());
        let after = |ms: u64| begin + Duration::from_millis(ms);
        let groups = Groups::of(["a", "b"].map(|it| (it.to_owned(), vec![format!("{it}.came")])));
        let [one, other] = ["a", "b"].map(|it| groups.of_definition(it));
        (0..5_000).for_each(|it| mix.sees(one, after(it)));
        assert!(!mix.is_shared(after(5_000)), "one alone shares with nobody");
        mix.sees(other, after(5_000));
        mix.sees(one, after(5_001));
        assert!(mix.is_shared(after(5_001)) && mix.is_shared(after(6_000)));
        (5_002..7_000).for_each(|it| {
            mix.sees(one, after(it));
            mix.sees(Group::NOBODYS, after(it));
        });
        assert!(!mix.is_shared(after(7_000)), "the other has gone");
    }
}
