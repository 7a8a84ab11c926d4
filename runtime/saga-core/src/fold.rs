//! Journal → state, without the author's code: what is open, what is owed, how it ended.
//!
//! The sequencer keeps this state for the sagas that it works on, and a live saga keeps the same
//! one beside its future. Who wins is decided when a fact is appended, not when the code looks.

mod attention;
mod decide;
mod learn;
mod owed;
mod state;
mod timers;
mod touched;

pub use state::{
    Asked, Attention, Closing, Decided, End, OpenCall, OpenPublish, OpenSleep, OpenWait, Problem,
    State, Status, Undo,
};
pub(crate) use touched::Touched;

use crate::journal::{Entry, Turn};

/// The state that a journal leads to. Held facts have settled their steps, but decided nothing yet.
pub fn fold(journal: &[Entry]) -> State {
    let mut state = State::default();
    for (seq, entry) in journal.iter().enumerate() {
        state.append(u32::try_from(seq).unwrap_or(u32::MAX), entry);
    }
    state
}

/// The undos that are owed, the newest of each chain first.
pub fn unwind(journal: &[Entry]) -> Vec<Undo> {
    fold(journal).owed
}

impl State {
    /// Takes the next entry of the journal.
    pub fn append(&mut self, seq: u32, entry: &Entry) {
        self.entries = seq.saturating_add(1);
        self.learn(entry.at, &entry.fact);
        match &entry.turn {
            Turn::Done { at, decisions } => {
                for (idx, decision) in decisions.iter().enumerate() {
                    let idx = u32::try_from(idx).unwrap_or(u32::MAX);
                    self.decide(*at, (entry.position, idx), decision);
                }
            }
            Turn::Held(hold) => self.hold(seq, entry.at, hold),
        }
        // The turn on a fact that was held is later than the fact.
        let turn_at = match &entry.turn {
            Turn::Done { at, .. } => entry.at.max(*at),
            Turn::Held(_) => entry.at,
        };
        self.updated_at = self.updated_at.max(turn_at);
        self.note_end(self.updated_at);
    }
}
