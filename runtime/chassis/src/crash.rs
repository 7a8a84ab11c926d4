//! Named points at which a process can be made to die, for tests of what survives it.
//!
//! `FERMATA_CRASH_AT=engine.after-flush:7` lets a process raise SIGKILL on itself when it passes
//! [`point`] with that name for the seventh time. It is read once, and only in development
//! (`FERMATA_ENV`): in production a point is nothing but the look at an empty cell.

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the process dies: `name:passage`, counted from 1.
const PLAN_VARIABLE: &str = "FERMATA_CRASH_AT";
/// As `config` reads it; a point does nothing elsewhere than in development.
const ENVIRONMENT_VARIABLE: &str = "FERMATA_ENV";

/// Passes the point of this name: the process is killed when that was asked for.
pub fn point(name: &str) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    if let Some(plan) = PLAN.get_or_init(Plan::from_process)
        && plan.is_due(name)
    {
        die();
    }
}

struct Plan {
    name: String,
    /// Passages that are still to come.
    left: AtomicU64,
}

impl Plan {
    fn from_process() -> Option<Plan> {
        if env::var(ENVIRONMENT_VARIABLE).is_ok_and(|it| it == "development") {
            let text = env::var(PLAN_VARIABLE).ok()?;
            let plan = Plan::read(&text);
            if plan.is_none() {
                tracing::error!(text, "{PLAN_VARIABLE} is not used: expected name:passage");
            }
            return plan;
        }
        None
    }

    fn read(text: &str) -> Option<Plan> {
        let (name, passage) = text.rsplit_once(':')?;
        let passage: u64 = passage.parse().ok().filter(|it| *it > 0)?;
        Some(Plan { name: name.to_owned(), left: AtomicU64::new(passage) })
    }

    fn is_due(&self, name: &str) -> bool {
        // Threads may pass together, and only one of them is the last.
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// As a power cut would: nothing is unwound, flushed or said.
fn die() {
    #[expect(unsafe_code, reason = "the standard library cannot send a signal")]
    // SAFETY: getpid and kill take no memory of ours, and the process is our own.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_due_at_its_own_point_and_passage_alone() {
        let plan = Plan::read("engine.after-flush:3").expect("it is well formed");
        let passed = ["engine.after-flush", "other", "engine.after-flush", "engine.after-flush"];
        assert_eq!(passed.map(|name| plan.is_due(name)), [false, false, false, true]);
        assert!(!plan.is_due("engine.after-flush"), "once");
    }

    #[test]
    fn what_is_no_plan_is_none() {
        for text in ["", "name", "name:", "name:0", "name:-1", "name:x", ":"] {
            assert!(Plan::read(text).is_none(), "{text}");
        }
    }
}
