//! What waits for the engine: a line for each group of definitions, one for people, one for the
//! clock, taken in turn. So a flood for one definition stands in its own way alone.

use super::Work;
use crate::{
    groups::{Group, Groups},
    lines::Lines,
    sled_store::SledStore,
};
use saga_core::{core::Core, id::SagaId, input::Input};
use std::sync::Arc;
use tokio::sync::mpsc::{self, error::TryRecvError};

/// Where work comes from: that of each origin stands in a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Commands and questions.
    Door,
    Clock,
    Group(Group),
}

/// Owned by the engine's thread.
pub(super) struct Inbox {
    work: mpsc::Receiver<Work>,
    /// Bounded by the places of those who bring something, see [`Handle`](super::Handle).
    lines: Lines<Origin, Work>,
    groups: Arc<Groups>,
    /// Whether the engine was asked to stop: what came before is still done.
    stops: bool,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn new(work: mpsc::Receiver<Work>, groups: Arc<Groups>) -> Inbox {
        let lines = Lines::default();
        Inbox { work, lines, groups, stops: false, is_closed: false }
    }

    /// What is next, and whether it is all that its origin brings while something of a group still
    /// waits; nothing when nothing waits.
    pub(super) fn take(&mut self, core: &Core<SledStore>) -> Option<(Work, bool)> {
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
        let next = self.lines.pop_from();
        let next = next.map(|(origin, work)| (work, is_from_few(origin, &self.lines)));
        next.or_else(|| self.stops.then_some((Work::Stop, false)))
    }

    /// Waits until something comes; false when nobody can bring anything any more.
    pub(super) fn wait(&mut self, core: &Core<SledStore>) -> bool {
        let work = self.work.blocking_recv();
        work.map(|it| self.sort(it, core)).is_some()
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

/// What nobody declares is waited for by nobody.
fn is_from_few<T>(taken: Origin, lines: &Lines<Origin, T>) -> bool {
    let is_waited_for = !matches!(taken, Origin::Clock | Origin::Group(Group::NOBODYS));
    is_waited_for && !lines.waits(taken) && lines.keys().any(|it| matches!(it, Origin::Group(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_one_beside_many_is_from_few_and_the_many_are_not() {
        let groups = Groups::of(["a", "b"].map(|it| (it.to_owned(), vec![format!("{it}.came")])));
        let [flood, other] = ["a", "b"].map(|it| Origin::Group(groups.of_definition(it)));
        let mut lines = Lines::default();
        let mut taken = |bring: &[(Origin, u32)]| {
            bring.iter().for_each(|(from, count)| (0..*count).for_each(|_| lines.push(*from, ())));
            let (origin, ()) = lines.pop_from().unwrap();
            (origin, is_from_few(origin, &lines))
        };
        assert_eq!(taken(&[(flood, 9)]), (flood, false), "one alone shares with nobody");
        assert_eq!(taken(&[(other, 1), (Origin::Door, 1), (Origin::Clock, 1)]), (flood, false));
        let rest = [(other, true), (Origin::Door, true), (Origin::Clock, false), (flood, false)];
        for expected in rest {
            assert_eq!(taken(&[]), expected);
        }
        let both: Vec<bool> = (0..6).map(|_| taken(&[(other, 9)]).1).collect();
        assert_eq!(both, [false; 6], "two floods share as equals");
    }
}
