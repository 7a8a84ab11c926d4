//! The two clocks of a machine: one counts since it was started, the other one is set by people,
//! and sometimes wrongly. Which time the process believes in is for [`Guard`] to say.

use super::World;
use saga_core::{
    id::{Position, Time},
    store::Store,
};
use std::collections::BTreeMap;
use trust::clock::{Guard, Reading};

const MINUTE_MS: i64 = 60_000;
const YEAR_MS: i64 = 365 * 24 * 60 * MINUTE_MS;
/// By how much the wall clock is wrong after somebody has set it.
const JUMPS: [i64; 6] = [0, 0, 10 * MINUTE_MS, YEAR_MS, -10 * MINUTE_MS, -YEAR_MS];
/// After this time a clock that was set right is believed again.
const AGREES_MS: u64 = 61_000;
/// The machine is never started anew: then nobody would know for how long it was off.
const BOOT: &str = "the only one";

pub(crate) struct Clocks {
    guard: Guard,
    /// By the clock that counts. It is right.
    since_boot: u64,
    /// When the machine was started.
    started: Time,
    /// By how much the other one is wrong.
    off_by: i64,
    /// Somebody has set it.
    pub(crate) has_jumped: bool,
    /// A person has said that a wrong clock is right.
    pub(crate) is_misled: bool,
    /// Where the log ended, and when.
    ends: BTreeMap<Position, Moment>,
}

/// When something was written.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// By the clock that counts.
    pub(crate) since_boot: u64,
    /// As the process believed.
    pub(crate) believed: Time,
}

impl Clocks {
    pub(crate) fn new(started: Time) -> Clocks {
        let now = Reading { wall: started.0, since_boot: 0 };
        Clocks {
            guard: Guard::begin(None, BOOT, now),
            since_boot: 0,
            started,
            off_by: 0,
            has_jumped: false,
            is_misled: false,
            ends: BTreeMap::new(),
        }
    }

    /// When a record was written.
    pub(crate) fn written(&self, at: Position) -> Moment {
        let end = self.ends.range(at..).next();
        *end.expect("the end of the log is noted after each step").1
    }

    fn reading(&self) -> Reading {
        let right = self.started.after_ms(self.since_boot).0;
        Reading { wall: right.saturating_add_signed(self.off_by), since_boot: self.since_boot }
    }

    fn is_suspect(&self) -> bool {
        self.guard.doubt().is_some()
    }
}

impl World {
    /// What the process believes now.
    fn look_at_the_clock(&mut self) {
        let now = self.clocks.reading();
        self.desk.set_clock(Time(self.clocks.guard.look(now)));
    }

    pub(super) fn note_time(&mut self) {
        let moment = Moment { since_boot: self.clocks.since_boot, believed: self.desk.now() };
        self.clocks.ends.entry(self.desk.store().position()).or_insert(moment);
    }

    /// Time passes: each timer fires when it is due, unless the clock is suspect.
    pub(super) fn passes(&mut self, ms: u64) {
        let until = self.clocks.since_boot + ms;
        loop {
            self.look_at_the_clock();
            if !self.clocks.is_suspect() {
                self.desk.tick();
                self.note_time();
            }
            let left = until - self.clocks.since_boot;
            if left == 0 {
                return;
            }
            let now = self.desk.now();
            let due = self.desk.core().next_due().filter(|it| now < *it);
            let next = match self.clocks.is_suspect() {
                true => AGREES_MS,
                false => due.map_or(left, |it| it.0 - now.0),
            };
            self.clocks.since_boot += next.min(left);
        }
    }

    /// Until what comes next is due.
    pub(super) fn let_time_pass(&mut self) -> bool {
        let Some(due) = self.desk.core().next_due() else { return false };
        self.passes(due.0.saturating_sub(self.desk.now().0));
        true
    }

    /// As a machine does that keeps its clock right.
    pub(super) fn clock_steps_back(&mut self) {
        self.clocks.off_by -= 1_000;
        self.look_at_the_clock();
    }

    pub(super) fn clock_jumps(&mut self, which: u8) {
        self.clocks.has_jumped = true;
        self.clocks.off_by = JUMPS[usize::from(which) % JUMPS.len()];
        self.look_at_the_clock();
    }

    /// A person says that the clock is right, whether it is or not.
    pub(super) fn accept_clock(&mut self) {
        self.clocks.is_misled |= self.clocks.off_by.unsigned_abs() >= AGREES_MS;
        let now = self.clocks.reading();
        self.clocks.guard.accept(now);
        self.look_at_the_clock();
        // Whoever ticks does so as soon as the time was set back.
        self.desk.tick();
        self.note_time();
    }

    /// Another process finds what this one has left.
    pub(super) fn clock_is_opened_anew(&mut self) {
        let left = self.clocks.guard.left(BOOT);
        self.clocks.guard = Guard::begin(Some(&left), BOOT, self.clocks.reading());
        self.look_at_the_clock();
    }

    /// The clock is set right, and believed: by itself, or because a person says so.
    pub(super) fn clock_is_set_right(&mut self) {
        self.clocks.off_by = 0;
        self.look_at_the_clock();
        if self.clocks.is_suspect() {
            self.passes(2 * AGREES_MS);
        }
        if self.clocks.is_suspect() {
            self.accept_clock();
        }
    }
}
