//! Which checker found something: each looks under its own name, and what panics below it is its
//! finding.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

/// What holds after each input, as the desk checks it.
pub const CORES_AGREE: &str = "warm_cold_and_reopened_agree";
/// Whatever comes in, nothing panics.
pub const NOTHING_PANICS: &str = "nothing_panics";

/// Kinds of worlds and checkers that are not played: what they find is known, and not mended yet.
pub(crate) const SWITCHED_OFF: &[&str] = &[];

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The checker.
    pub checker: &'static str,
    /// What does not hold.
    pub message: String,
    /// Where it was seen.
    pub place: String,
}

thread_local! {
    static CHECKER: Cell<Option<&'static str>> = const { Cell::new(None) };
    static LISTENS: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Option<Finding>> = const { RefCell::new(None) };
}

/// Looks under this name.
pub(crate) fn checked(checker: &'static str, look: impl FnOnce()) {
    if SWITCHED_OFF.contains(&checker) {
        return;
    }
    let before = CHECKER.replace(Some(checker));
    look();
    CHECKER.set(before);
}

/// Runs something, and says what was found. Nothing is printed meanwhile.
pub(crate) fn found(run: impl FnOnce()) -> Option<Finding> {
    hear_panics();
    LISTENS.set(true);
    CHECKER.set(None);
    let end = catch_unwind(AssertUnwindSafe(run));
    LISTENS.set(false);
    let found = FOUND.take();
    // What author code panics with is caught below us, and belongs to its saga.
    end.err().and(found)
}

fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            if !LISTENS.get() {
                return others(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let is_desk = place.contains("saga-core/src/testing");
            let or_else = if is_desk { CORES_AGREE } else { NOTHING_PANICS };
            let checker = CHECKER.get().unwrap_or(or_else);
            let message = info.payload_as_str().unwrap_or_default().to_owned();
            FOUND.set(Some(Finding { checker, message, place }));
        }));
    });
}
