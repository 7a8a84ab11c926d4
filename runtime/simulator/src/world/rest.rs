//! A world comes to rest: all that was broken works again, everybody answers, operators try again
//! what failed, and time passes until nothing is left to happen.

use super::World;
use saga_core::{
    fold::{Problem, Status},
    head::Head,
    input::{Action, Decide, Target},
};

/// More rounds than this are a loop.
const ROUNDS_MAX: usize = 500;

impl World {
    /// An hour in which everything goes on but what is broken, and nobody presses a button.
    pub(crate) fn goes_on_for_an_hour(&mut self) {
        self.first_store_comes_back();
        self.desk.intake_is_behind(false);
        self.deploy(0);
        self.clock_is_set_right();
        self.resume();
        self.serve_what_can_be();
        self.passes(3_600_000);
        self.serve_what_can_be();
    }

    fn serve_what_can_be(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.note_requests();
            let requests = self.answerable();
            requests.iter().for_each(|it| self.answer(it));
            if requests.is_empty() && !self.publish() && !self.resend_all() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    pub(crate) fn comes_to_rest(&mut self) {
        self.silent.clear();
        self.refused.clear();
        self.desk.intake_is_behind(false);
        self.deploy(0);
        for _ in 0..ROUNDS_MAX {
            self.note_requests();
            let is_busy = self.resume() || self.serve_all() || self.publish() || self.resend_all();
            if !(is_busy || self.try_again() || self.answer_question() || self.let_time_pass()) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn resume(&mut self) -> bool {
        let paused: Vec<Head> =
            self.heads().into_iter().filter(|it| it.paused && !it.status.is_ended()).collect();
        for head in &paused {
            self.desk.look_at(head.id);
            self.desk.moved(Action::Resume);
        }
        !paused.is_empty()
    }

    fn serve_all(&mut self) -> bool {
        let requests = self.desk.requests();
        for request in &requests {
            self.answer(request);
        }
        !requests.is_empty()
    }

    fn try_again(&mut self) -> bool {
        let may_help = |it: &Head| {
            let problem = it.attention.as_ref().map(|it| it.problem);
            it.status == Status::Attention && problem != Some(Problem::FailedAfterCommit)
        };
        let failed: Vec<Head> = self.heads().into_iter().filter(may_help).collect();
        let mut helped = false;
        for head in failed {
            self.desk.look_at(head.id);
            self.desk.moved(Action::Retry);
            let now = self.desk.head();
            helped |= now.attention != head.attention || now.entries != head.entries + 1;
        }
        helped
    }

    fn answer_question(&mut self) -> bool {
        let heads = self.heads();
        let asks = |it: &&Head| it.waits.iter().any(|it| it.ask.is_some());
        let Some(head) = heads.iter().find(asks) else { return false };
        let wait = head.waits.iter().find(|it| it.ask.is_some()).expect("it asks");
        let (saga, step) = (head.id, wait.step.clone());
        let target = Target::Task(saga_core::id::TaskId { saga, step });
        let (approved, reason) = (true, None);
        self.decides(Decide { target, approved, reason, seen: None });
        true
    }
}
