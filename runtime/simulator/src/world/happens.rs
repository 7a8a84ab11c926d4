//! What each step does.

use super::World;
use crate::steps::Step;

impl World {
    pub(super) fn happens(&mut self, step: Step) {
        match step {
            Step::Start(which) => self.start(which),
            Step::Event { name, key, id, body } => self.event(name, key, id, body),
            Step::Serve(which) => self.serve(which),
            Step::Lose(which) => self.lose(which),
            Step::Refuse(which) => self.refuse(which),
            Step::Useless(which) => self.answers_uselessly(which),
            Step::Again(which) => self.arrives_again(which),
            Step::Silence(which) => self.silence(which),
            Step::Publish => _ = self.publish(),
            Step::RefuseSubject(which) => self.refuse_subject(which),
            Step::Pass(hours) => self.passes(u64::from(hours) * 6 * 3_600_000),
            Step::Fall => self.clock_steps_back(),
            Step::Jump(which) => self.clock_jumps(which),
            Step::AcceptClock => self.accept_clock(),
            Step::Behind(is_behind) => self.desk.intake_is_behind(is_behind),
            Step::Move(saga, action) => {
                if self.look_at(saga) {
                    _ = self.desk.make(action);
                }
            }
            Step::Decide(which, yes, how) => self.decide(which, yes, how),
            Step::DecideAgain => self.decide_again(),
            Step::Offer(which) => self.offer(which),
            Step::Unreadable { key, id, body } => self.unreadable(key, id, body),
            Step::OfferUnreadable(which, is_read) => self.offer_unreadable(which, is_read),
            Step::Search(what, which) => self.search(what, which),
            Step::Waive(which) => self.waive(which),
            Step::Restart => {
                self.clock_is_opened_anew();
                self.desk.restart();
            }
            Step::Deploy(which) => self.deploy(which),
            Step::Copy => self.copy_store(),
            Step::Restore => self.restore_copy(),
            Step::OtherStore => self.other_store(),
            Step::Resend(which) => self.resend(which),
        }
    }

    fn start(&mut self, which: u8) {
        let (definition, key, input) = (self.kind.start)(which, self.starts);
        if self.desk.registry().get(definition).is_some() {
            self.starts += 1;
            self.desk.start(definition, &key, input);
        }
    }

    fn event(&mut self, name: u8, key: u8, id: u8, body: u8) {
        let (name, it) = (self.kind.event)(name, key, id, body);
        let id = format!("id {id}");
        if self.kind.has_outbox() {
            self.stores.outbox.tell(&id, name, it);
            self.arrives(&id);
        } else {
            self.desk.event_again(&id, name, it);
        }
    }
}
