//! What must hold: each checker has a name and looks at the world from outside, by the log, the
//! journals, and what services did.
//!
//! Beside these the desk compares a warm, a cold and a reopened core after each input.

mod batches;
mod broken;
mod clocks;
mod code;
mod decisions;
mod events;
mod journals;
mod money;
mod publishes;
mod rest;
mod stores;
mod verdicts;

use crate::{blame::checked, world::World};

/// When the script is over, whatever the world looks like.
pub(crate) fn at_the_end(world: &World, batch: usize) {
    checked("every_event_is_accounted_for", || events::are_accounted_for(world));
    checked("verdicts_follow_from_the_log", || verdicts::follow_from_the_log(world));
    checked("what_is_said_to_be_kept_is_kept", || verdicts::kept_is_kept(world));
    checked("code_sees_what_its_journal_says", || code::sees_what_its_journal_says(world));
    checked("a_forged_decision_is_heard_by_nobody", || decisions::are_not_forged(world));
    checked("a_wait_ends_once", || journals::a_wait_ends_once(world));
    checked("a_deadline_fires_once_and_not_early", || journals::no_deadline_is_early(world));
    checked("a_clock_that_jumps_fires_nothing_early", || clocks::fire_nothing_early(world));
    checked("an_id_names_one_saga", || stores::name_each_saga_once(world));
    if !world.was_cut && !world.stores.were_changed {
        checked("batches_make_no_difference", || batches::make_no_difference(world, batch));
    }
}

/// When for an hour all went on but what is broken, and nobody pressed a button.
pub(crate) fn after_an_hour(world: &World) {
    checked("what_is_silent_holds_up_nothing_else", || broken::holds_up_nothing_else(world));
    checked("what_is_broken_needs_a_person", || broken::needs_a_person(world));
    checked("a_refused_event_says_why", || publishes::say_why(world));
}

/// When nothing is left to happen.
pub(crate) fn at_rest(world: &World) {
    checked("every_event_is_accounted_for", || events::are_accounted_for(world));
    checked("verdicts_follow_from_the_log", || verdicts::follow_from_the_log(world));
    checked("a_clock_that_jumps_fires_nothing_early", || clocks::fire_nothing_early(world));
    checked("an_id_names_one_saga", || stores::name_each_saga_once(world));
    checked("what_was_told_is_known", || stores::know_what_was_told(world));
    checked("what_was_published_leaves_once", || publishes::leave_once(world));
    checked("a_waived_undo_leaves_a_failure", || rest::what_was_waived_has_failed(world));
    checked("every_saga_comes_to_an_end", || rest::every_saga_has_ended(world));
    checked("no_event_is_stranded", || rest::no_event_is_stranded(world));
    checked("an_accepted_decision_is_what_the_code_sees", || decisions::are_seen(world));
    checked("money_that_came_in_time_is_taken", || money::in_time_is_taken(world));
    checked("money_adds_up", || money::adds_up(world));
    checked("what_was_done_is_undone_or_stands", || money::what_was_done(world));
}
