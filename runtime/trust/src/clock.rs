//! When the wall clock is believed.
//!
//! A clock that is set wrong by an hour or a year must not let deadlines fire, or keys be
//! forgotten: neither can be taken back. The machine has a second clock, which counts since it was
//! started and cannot be set. While the two go apart the wall clock is *suspect*, and time goes on
//! from the last moment at which it was not.

use serde::{Deserialize, Serialize};

/// What steps of NTP and the pauses of a busy machine may amount to.
const APART_MS_MAX: u64 = 60_000;
/// A suspect clock is believed again when it has agreed for this long.
const AGREES_MS: u64 = 60_000;
/// After a restart of the machine nothing says how long it was off. A longer time than this is
/// believed only when a person says so: whatever was left open that long needs a person anyway.
const OFF_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// What both clocks say at one moment, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since the Unix epoch, by the clock that people set.
    pub wall: u64,
    /// Since the machine was started.
    pub since_boot: u64,
}

/// What a process leaves for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The time that was believed.
    pub believed: u64,
    /// What the wall clock said.
    pub wall: u64,
    /// How long the machine had been running.
    pub since_boot: u64,
    /// Names the run of the machine.
    pub boot: String,
    /// The wall clock was suspect.
    pub suspect: bool,
    /// What the wall clock would have said then if it had stayed as far ahead as when it was
    /// doubted for that; absent when it never was.
    #[serde(default)]
    pub wrong: Option<u64>,
    /// Why it was suspect; absent when it was not, and in what older builds have left.
    #[serde(default)]
    pub doubt: Option<Doubt>,
}

impl Left {
    /// Older builds have left only what the wall clock said.
    fn how_wrong(&self) -> Option<u64> {
        let is_ahead = self.suspect && is_ahead(self.wall, self.believed);
        self.wrong.or(is_ahead.then_some(self.wall))
    }
}

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Doubt {
    /// It went otherwise than the clock that nobody sets.
    Jumped,
    /// It is behind what the process before this one has seen.
    Behind,
    /// It is further ahead than the machine can have been off without anybody noticing, or as far
    /// ahead as it was when it was doubted before the machine was started.
    FarAhead,
}

/// The time that a process believes in.
#[derive(Clone, Debug)]
pub struct Guard {
    /// At the last look.
    believed: u64,
    last: Reading,
    suspect: Option<Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    doubt: Doubt,
    /// Since when it agrees again, by the machine.
    agrees_since: Option<u64>,
    /// What it would say now if it were as far ahead as it was: the least, if it was several times.
    wrong: Option<u64>,
}

impl Suspect {
    fn new(doubt: Doubt, wrong: Option<u64>) -> Suspect {
        Suspect { doubt, agrees_since: None, wrong }
    }

    /// Whether the clock says what it said when it was doubted, or more. That may be the right time
    /// by now, but nothing says so.
    fn is_as_wrong(&self, wall: u64) -> bool {
        self.wrong.is_some_and(|it| !is_ahead(it, wall))
    }
}

impl Guard {
    /// Begins with what the process before this one has left, if it has left anything; `boot` names
    /// this run of the machine.
    pub fn begin(left: Option<&Left>, boot: &str, now: Reading) -> Guard {
        let mut guard = Guard { believed: now.wall, last: now, suspect: None };
        let Some(left) = left else { return guard };
        if left.boot == boot && !boot.is_empty() && left.since_boot <= now.since_boot {
            // The same run of the machine: the time between is known to the millisecond, and what
            // the clock was doubted for it is doubted for still.
            let then = Reading { wall: left.wall, since_boot: left.since_boot };
            let doubt = left.doubt.unwrap_or(Doubt::Jumped);
            let suspect = left.suspect.then(|| Suspect::new(doubt, left.how_wrong()));
            guard = Guard { believed: left.believed, last: then, suspect };
            guard.look(now);
            return guard;
        }
        let mut suspect = Suspect::new(Doubt::FarAhead, left.how_wrong());
        if is_plausible(left.believed, now.wall) && !suspect.is_as_wrong(now.wall) {
            return guard;
        }
        if now.wall < left.believed {
            suspect.doubt = Doubt::Behind;
        }
        guard.believed = left.believed;
        guard.suspect = Some(suspect);
        guard
    }

    /// Looks at both clocks; gives the time that is believed.
    pub fn look(&mut self, now: Reading) -> u64 {
        let passed = now.since_boot.saturating_sub(self.last.since_boot);
        let expected = self.believed.saturating_add(passed);
        if let Some(suspect) = &mut self.suspect {
            suspect.wrong = suspect.wrong.map(|it| it.saturating_add(passed));
        }
        let agrees = match &self.suspect {
            // For how long the machine was off is not known: what a start would believe is right.
            Some(it) if it.doubt != Doubt::Jumped => {
                is_plausible(expected, now.wall) && !it.is_as_wrong(now.wall)
            }
            _ => now.wall.abs_diff(expected) <= APART_MS_MAX,
        };
        self.last = now;
        if !agrees {
            let suspect = self.suspect.get_or_insert(Suspect::new(Doubt::Jumped, None));
            suspect.agrees_since = None;
            if is_ahead(now.wall, expected) {
                let wrong = suspect.wrong.map_or(now.wall, |it| it.min(now.wall));
                suspect.wrong = Some(wrong);
            }
        } else if let Some(suspect) = &mut self.suspect {
            let since = *suspect.agrees_since.get_or_insert(now.since_boot);
            if AGREES_MS <= now.since_boot.saturating_sub(since) {
                self.suspect = None;
            }
        }
        self.believed = if self.suspect.is_none() { now.wall } else { expected };
        self.believed
    }

    /// A person says that the wall clock is right.
    pub fn accept(&mut self, now: Reading) {
        *self = Guard { believed: now.wall, last: now, suspect: None };
    }

    /// Why the wall clock is not believed, if it is not.
    pub fn doubt(&self) -> Option<Doubt> {
        self.suspect.map(|it| it.doubt)
    }

    /// Whether it agrees again with what is believed, and has not done so for long enough.
    pub fn agrees_again(&self) -> bool {
        self.suspect.is_some_and(|it| it.agrees_since.is_some())
    }

    /// The time that was believed at the last look.
    pub fn believed(&self) -> u64 {
        self.believed
    }

    /// What the wall clock said at the last look.
    pub fn wall(&self) -> u64 {
        self.last.wall
    }

    /// What the next process has to know.
    pub fn left(&self, boot: &str) -> Left {
        Left {
            believed: self.believed,
            wall: self.last.wall,
            since_boot: self.last.since_boot,
            boot: boot.to_owned(),
            suspect: self.suspect.is_some(),
            wrong: self.suspect.and_then(|it| it.wrong),
            doubt: self.doubt(),
        }
    }
}

fn is_ahead(wall: u64, of: u64) -> bool {
    of.saturating_add(APART_MS_MAX) < wall
}

/// Whether it can be so late, when it was at least so late before and nobody knows how long ago.
fn is_plausible(before: u64, now: u64) -> bool {
    before <= now.saturating_add(APART_MS_MAX) && now <= before.saturating_add(OFF_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;
    const HOUR: i64 = 3_600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    const NOON: u64 = 1_767_225_600_000;

    /// A machine whose wall clock is set.
    struct Machine {
        guard: Guard,
        /// Names its run.
        boot: &'static str,
        /// When that began, by a clock that is right.
        started: u64,
        since_boot: u64,
        off_by: i64,
    }

    impl Machine {
        fn new() -> Machine {
            let now = Reading { wall: NOON, since_boot: 0 };
            let guard = Guard::begin(None, "a", now);
            Machine { guard, boot: "a", started: NOON, since_boot: 0, off_by: 0 }
        }

        /// What the clock would say if nobody had set it.
        fn right(&self) -> u64 {
            self.started + self.since_boot
        }

        fn reading(&self) -> Reading {
            let wall = self.right().saturating_add_signed(self.off_by);
            Reading { wall, since_boot: self.since_boot }
        }

        /// Time passes, with a look each second.
        fn passes(&mut self, ms: i64) -> u64 {
            for _ in 0..ms / SECOND {
                self.since_boot += SECOND as u64;
                self.guard.look(self.reading());
            }
            self.guard.believed()
        }

        fn set(&mut self, off_by: i64) -> &mut Machine {
            self.off_by = off_by;
            self
        }

        fn is_suspect(&self) -> bool {
            self.guard.doubt().is_some()
        }

        /// Another process on the same machine, after a while.
        fn restarts(&mut self, after: i64) {
            let left = self.guard.left(self.boot);
            self.since_boot += after as u64;
            self.guard = Guard::begin(Some(&left), self.boot, self.reading());
        }

        /// The machine was off for a while.
        fn is_started_anew(&mut self, boot: &'static str, after: i64) {
            let left = self.guard.left(self.boot);
            self.started = self.right() + after as u64;
            (self.boot, self.since_boot) = (boot, 0);
            self.guard = Guard::begin(Some(&left), boot, self.reading());
        }
    }

    #[test]
    fn small_steps_are_followed_and_large_ones_are_not_believed() {
        for (step, is_suspect) in [
            (SECOND, false),
            (-SECOND, false),
            (HOUR, true),
            (-HOUR, true),
            (YEAR, true),
            (-YEAR, true),
        ] {
            let mut machine = Machine::new();
            machine.passes(10 * SECOND);
            let believed = machine.set(step).passes(SECOND);
            assert_eq!(machine.is_suspect(), is_suspect, "{step}");
            let right = machine.right();
            let expected = if is_suspect { right } else { right.saturating_add_signed(step) };
            assert_eq!(believed, expected, "{step}");
            let believed = machine.passes(2 * HOUR);
            assert_eq!(machine.is_suspect(), is_suspect, "{step}: time alone proves nothing");
            assert!(believed.abs_diff(machine.right()) <= 1_000, "{step}: it goes on as it was");
        }
    }

    #[test]
    fn a_clock_that_is_set_right_is_believed_after_a_minute() {
        for step in [HOUR, -HOUR, YEAR, -YEAR] {
            let mut machine = Machine::new();
            machine.set(step).passes(30 * SECOND);
            machine.set(0).passes(50 * SECOND);
            assert!(machine.is_suspect(), "{step}: not yet");
            machine.set(step).passes(5 * SECOND);
            machine.set(0).passes(59 * SECOND);
            assert!(machine.is_suspect(), "{step}: it was wrong again meanwhile");
            machine.passes(3 * SECOND);
            assert!(!machine.is_suspect(), "{step}");
            assert_eq!(machine.guard.believed(), machine.right(), "{step}");
        }
    }

    #[test]
    fn what_a_person_accepts_is_the_time() {
        let mut machine = Machine::new();
        machine.set(YEAR).passes(10 * SECOND);
        machine.guard.accept(machine.reading());
        assert!(!machine.is_suspect());
        let believed = machine.passes(SECOND);
        assert_eq!(believed, machine.reading().wall);
        machine.set(0).passes(SECOND);
        assert!(machine.is_suspect(), "a step back is one as well");
    }

    #[test]
    fn a_machine_that_slept_has_not_jumped() {
        let mut machine = Machine::new();
        machine.since_boot += 9 * HOUR as u64;
        machine.guard.look(machine.reading());
        assert!(!machine.is_suspect());
    }

    #[test]
    fn another_process_on_the_same_machine_knows_how_long_nobody_ran() {
        let mut machine = Machine::new();
        machine.restarts(100 * DAY);
        assert!(!machine.is_suspect(), "it was off for long, and the machine knows");
        machine.set(HOUR).restarts(SECOND);
        assert!(machine.is_suspect(), "it was set while nobody looked");
        assert_eq!(machine.guard.believed(), machine.right());
        machine.restarts(10 * SECOND);
        assert!(machine.is_suspect(), "and a restart makes it no better");
        machine.set(0).restarts(SECOND);
        machine.passes(61 * SECOND);
        assert!(!machine.is_suspect());
    }

    #[test]
    fn after_a_restart_of_the_machine_only_the_implausible_is_doubted() {
        let left = |suspect, wall: i64| Left {
            believed: NOON,
            wall: NOON.saturating_add_signed(wall),
            since_boot: 9,
            boot: "a".to_owned(),
            suspect,
            wrong: None,
            doubt: None,
        };
        let begin = |left: &Left, off_by: i64| {
            let now = Reading { wall: NOON.saturating_add_signed(off_by), since_boot: 5 };
            Guard::begin(Some(left), "b", now).doubt()
        };
        for (off_by, doubt) in [
            (-30 * SECOND, None),
            (-HOUR, Some(Doubt::Behind)),
            (3 * DAY, None),
            (29 * DAY, None),
            (31 * DAY, Some(Doubt::FarAhead)),
            (YEAR, Some(Doubt::FarAhead)),
        ] {
            assert_eq!(begin(&left(false, 0), off_by), doubt, "{off_by}");
        }
        let ahead = left(true, 20 * DAY);
        assert_eq!(begin(&ahead, 20 * DAY + HOUR), Some(Doubt::FarAhead), "as wrong as before");
        assert_eq!(begin(&ahead, HOUR), None, "it was set right");
        let behind = left(true, -HOUR);
        assert_eq!(begin(&behind, -HOUR), Some(Doubt::Behind));
        assert_eq!(begin(&behind, HOUR), None);
    }

    #[test]
    fn a_machine_that_wakes_without_the_time_believes_what_it_is_told_then() {
        let left = Left {
            believed: NOON,
            wall: NOON,
            since_boot: 9,
            boot: "a".to_owned(),
            suspect: false,
            wrong: None,
            doubt: None,
        };
        let mut guard = Guard::begin(Some(&left), "b", Reading { wall: 0, since_boot: 0 });
        assert_eq!(guard.doubt(), Some(Doubt::Behind));
        let told = |s: u64| Reading { wall: NOON + 7_200_000 + s * 1_000, since_boot: s * 1_000 };
        for s in 1..=60 {
            assert!(guard.look(told(s)) <= NOON + s * 1_000, "not yet");
        }
        assert_eq!(guard.look(told(61)), told(61).wall);
        assert_eq!(guard.doubt(), None);
    }

    #[test]
    fn a_new_store_believes_its_clock_and_nothing_overflows() {
        let now = Reading { wall: u64::MAX, since_boot: u64::MAX };
        let mut guard = Guard::begin(None, "a", now);
        assert_eq!(guard.look(now), u64::MAX);
        guard.look(Reading { wall: 0, since_boot: 0 });
        assert!(guard.doubt().is_some());
        assert_eq!(guard.look(now), u64::MAX);
    }

    /// Time alone proves nothing: not the first minute after the start, and no second start.
    #[test]
    fn a_clock_as_wrong_as_before_the_machine_restarted_is_not_believed_after_a_minute() {
        for ahead in [HOUR, 20 * DAY, YEAR] {
            let mut machine = Machine::new();
            machine.set(ahead).passes(10 * SECOND);
            for boot in ["b", "c", "d"] {
                machine.is_started_anew(boot, 30 * SECOND);
                assert_eq!(machine.guard.doubt(), Some(Doubt::FarAhead), "{ahead} {boot}");
                let believed = machine.passes(300 * SECOND);
                assert!(machine.is_suspect(), "{ahead} {boot}: nobody has set it right");
                assert!(believed <= machine.right(), "{ahead} {boot}: {believed}");
            }
            machine.set(0).passes(62 * SECOND);
            assert!(!machine.is_suspect(), "{ahead}: it was set right");
        }
    }

    #[test]
    fn what_was_wrong_is_known_when_the_machine_wakes_without_the_time() {
        let mut machine = Machine::new();
        machine.set(HOUR).passes(10 * SECOND);
        machine.set(-YEAR).is_started_anew("b", SECOND);
        machine.passes(10 * SECOND);
        machine.restarts(SECOND);
        machine.set(-YEAR).is_started_anew("c", SECOND);
        assert_eq!(machine.guard.doubt(), Some(Doubt::Behind));
        machine.set(HOUR).passes(300 * SECOND);
        assert!(machine.is_suspect(), "it is told the time by whoever was wrong before");
        machine.set(-SECOND).passes(62 * SECOND);
        assert!(!machine.is_suspect());
    }

    #[test]
    fn a_clock_that_was_set_right_just_before_a_restart_of_the_machine_is_believed() {
        for (then, doubt) in [(0, None), (HOUR, Some(Doubt::FarAhead))] {
            let mut machine = Machine::new();
            machine.set(HOUR).passes(10 * SECOND);
            machine.set(0).passes(30 * SECOND);
            machine.set(then).is_started_anew("b", 30 * SECOND);
            assert_eq!(machine.guard.doubt(), doubt, "{then}");
        }
    }

    #[test]
    fn a_machine_that_wakes_without_the_time_believes_what_it_is_told_also_when_a_process_died() {
        let left = Left {
            believed: NOON,
            wall: NOON,
            since_boot: 9,
            boot: "a".to_owned(),
            suspect: false,
            wrong: None,
            doubt: None,
        };
        let guard = Guard::begin(Some(&left), "b", Reading { wall: 0, since_boot: 1_000 });
        assert_eq!(guard.doubt(), Some(Doubt::Behind));
        let again = Reading { wall: 10_000, since_boot: 11_000 };
        let mut guard = Guard::begin(Some(&guard.left("b")), "b", again);
        assert!(guard.doubt().is_some());
        // It was off for two days, as the time says that it is told now.
        let off = NOON + 2 * DAY as u64;
        for s in 12..=300 {
            guard.look(Reading { wall: off + s * 1_000, since_boot: s * 1_000 });
        }
        assert_eq!(guard.doubt(), None, "as if no process had died: it is plausible for minutes");
    }
}
