//! Undos that are owed: which of them may run now.
//!
//! What was undone with the saga is one chain, and each arm that lost a race is another one, which
//! runs behind the saga: none waits for another. Within a chain an undo waits for what was done
//! after it in the same arm, and for nothing in a sibling arm. So what does not answer holds up
//! only what has to come after it.

use super::state::{State, Undo};
use crate::{
    abort::Abort,
    head::STOPPED_CHARS_MAX,
    id::{Path, Time},
    journal::Command,
};
use std::collections::BTreeMap;

/// What the undos that are asked for at once may come to in the head, each with the longest reason
/// why it is not asked again. With all else that a head has it has to fit into a row of the store,
/// and no turn of the code is there to be refused.
const ASKED_BYTES_MAX: usize = 2 << 20;

impl State {
    pub(super) fn register(&mut self, step: &Path, command: &Command, of_call: bool) {
        self.undos.push(Undo {
            step: step.clone(),
            command: command.clone(),
            of_call,
            why: None,
            since: Time::default(),
            failed: None,
            attempt_class: 1,
            lost_with: None,
            is_asked: false,
            asked_as: 0,
            limit_from: Time::default(),
            silent: None,
        });
    }

    /// Moves the scope's undos to the work that is owed now, newest first.
    pub(super) fn owe(&mut self, at: Time, scope: &Path, why: &Abort, lost_with: Option<&Path>) {
        let mut owed: Vec<Undo> =
            self.undos.extract_if(.., |it| scope.contains(&it.step)).collect();
        owed.reverse();
        self.owed.extend(owed.into_iter().map(|it| Undo {
            why: Some(why.clone()),
            since: at,
            lost_with: lost_with.cloned(),
            ..it
        }));
        self.ask_undos(at);
    }

    /// An undo was done, or given up. An older build may have asked for more of them at once.
    pub(super) fn settle_undo(&mut self, at: Time, step: &Path) -> Option<Undo> {
        let place = self.owed.iter().position(|it| it.step == *step)?;
        let undo = self.owed.remove(place);
        self.ask_undos(at);
        Some(undo)
    }

    /// The undo of this step, if it is asked for.
    pub(crate) fn asked_undo(&self, step: &Path) -> Option<&Undo> {
        self.owed.iter().find(|it| it.is_asked && it.step == *step)
    }

    pub(super) fn owed_undo_mut(&mut self, step: &Path) -> Option<&mut Undo> {
        self.owed.iter_mut().find(|it| it.step == *step)
    }

    /// Asks for what waits for nothing any more, as far as the head has room; the rest is asked for
    /// when some of it is done. What is asked for stays so.
    fn ask_undos(&mut self, at: Time) {
        if self.owed.iter().all(|it| it.is_asked) {
            return;
        }
        let asked = self.owed.iter().filter(|it| it.is_asked);
        let mut bytes: usize = asked.map(Undo::head_bytes_max).sum();
        // For each arm of each chain the newest step that is still to be undone.
        let mut newest: BTreeMap<(Option<Path>, Vec<u32>), u32> = BTreeMap::new();
        for undo in &mut self.owed {
            let mut is_free = true;
            for (arm, number) in undo.step.steps() {
                let newest = newest.entry((undo.lost_with.clone(), arm)).or_default();
                is_free &= *newest <= number;
                *newest = number.max(*newest);
            }
            if is_free && !undo.is_asked {
                bytes += undo.head_bytes_max();
                if ASKED_BYTES_MAX < bytes {
                    break;
                }
                self.undos_asked += 1;
                (undo.is_asked, undo.asked_as) = (true, self.undos_asked);
                (undo.since, undo.limit_from) = (at, at);
            }
        }
    }
}

impl Undo {
    /// The most that it comes to in the head, where its step stands twice: beside it, and beside
    /// its timer.
    fn head_bytes_max(&self) -> usize {
        /// The names of its fields, and two times.
        const FIELDS_BYTES: usize = 256;
        /// JSON has six bytes for a control character.
        const CHAR_BYTES_MAX: usize = 6;
        let (subject, step) = (self.command.subject.len(), self.step.as_str().len());
        FIELDS_BYTES + CHAR_BYTES_MAX * STOPPED_CHARS_MAX + subject + 2 * step
    }
}

impl Path {
    /// The arms in which the step lies, each with the number that leads on in it. Steps and arms
    /// take turns in a path.
    fn steps(&self) -> impl Iterator<Item = (Vec<u32>, u32)> {
        let numbers: Vec<u32> = self.numbers().collect();
        let steps = (0..numbers.len()).step_by(2);
        steps.map(move |at| (numbers[..at].to_vec(), numbers[at])).collect::<Vec<_>>().into_iter()
    }
}
