//! A saga with the world around it, and everything that can go wrong there, one thing at a time.

use super::{
    Ledger, Services,
    run::{Mishap, Outcome, Pick, Run, Unanswered},
};
use crate::{fold::Status, id::Path, input::Action, saga::Registry};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

type Check = Box<dyn Fn(&Outcome)>;

/// A definition with its input, the services that it asks, and what the world does when the saga
/// holds for it.
///
/// ```ignore
/// Scenario::new(registry, "process-order", "o1", order())
///     .services(|| Services::new().on("payments.create-session", |_| Ok(session())))
///     .event("payments.trigger.completed", paid())
///     .ends(Status::Completed)
///     .clean(|it| assert_eq!(it.count("inventory.reserve"), it.count("inventory.ship")))
///     .try_all();
/// ```
pub struct Scenario {
    pub(super) registry: Registry,
    pub(super) definition: String,
    pub(super) key: String,
    pub(super) input: Value,
    services: Box<dyn Fn() -> Services>,
    pub(super) deeds: Vec<(String, Deed)>,
    pub(super) strays: Vec<(String, Value)>,
    ends: Status,
    clean: Check,
}

/// What the world does when a saga holds for an event.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// It publishes it, with this body.
    Event(Value),
    /// A person says yes or no.
    Decide(bool),
}

impl Scenario {
    /// A saga of this definition, with nothing around it yet.
    pub fn new(registry: Registry, definition: &str, key: &str, input: Value) -> Scenario {
        Scenario {
            registry,
            definition: definition.to_owned(),
            key: key.to_owned(),
            input,
            services: Box::new(Services::new),
            deeds: Vec::new(),
            strays: Vec::new(),
            ends: Status::Completed,
            clean: Box::new(|_| ()),
        }
    }

    /// The services, made anew for each run.
    pub fn services(mut self, make: impl Fn() -> Services + 'static) -> Self {
        self.services = Box::new(make);
        self
    }

    /// When a saga holds for this event, it comes. Said twice for one name, it comes twice, one
    /// after the other. A hold for which nothing is said ends with its deadline.
    pub fn event(mut self, name: &str, body: Value) -> Self {
        self.deeds.push((name.to_owned(), Deed::Event(body)));
        self
    }

    /// When a saga asks for this decision, a person gives it.
    pub fn decision(mut self, name: &str, approved: bool) -> Self {
        self.deeds.push((name.to_owned(), Deed::Decide(approved)));
        self
    }

    /// This event may come at any time: before its hold, while the saga unwinds, after its end.
    /// Each time is tried, and after the end the event comes again.
    pub fn stray(mut self, name: &str, body: Value) -> Self {
        self.strays.push((name.to_owned(), body));
        self
    }

    /// How the saga ends when nothing goes wrong.
    pub fn ends(mut self, status: Status) -> Self {
        self.ends = status;
        self
    }

    /// What must hold at every end, however it was reached. It is given what the services did and
    /// how the saga ended: `attention`, when it gave up after its commit, and `terminated` as well.
    pub fn clean(mut self, check: impl Fn(&Outcome) + 'static) -> Self {
        self.clean = Box::new(check);
        self
    }

    /// One run with this mishap, checked.
    pub fn run(&self, mishap: Mishap) -> Outcome {
        self.run_with(mishap, Pick::First)
    }

    /// The same, with the requests and events that are under way taken in another order.
    pub fn run_with(&self, mishap: Mishap, pick: Pick) -> Outcome {
        let label = format!("{} of {}, {pick:?}: {mishap:?}", self.definition, self.key);
        let mut run = Run::new(self, (self.services)(), mishap, pick);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run.finish();
            let outcome = run.outcome();
            (self.clean)(&outcome);
            outcome
        }));
        outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            let Some(text) = text else { resume_unwind(panic) };
            let journal = catch_unwind(AssertUnwindSafe(|| run.text())).unwrap_or_default();
            panic!("{label}\n{text}\n\nacts: {:#?}\n{journal}", run.ledger().subjects())
        })
    }

    /// Everything, one after the other. Gives the number of runs, to be printed.
    pub fn try_all(&self) -> usize {
        let straight = self.run(Mishap::None);
        assert_eq!(straight.status, self.ends, "\n{}", straight.text);
        let runs = [
            self.try_orders(),
            self.try_calls(&straight),
            self.try_repeats(&straight),
            self.try_moves(&straight),
            self.try_strays(&straight),
        ];
        runs.iter().sum::<usize>() + 1
    }

    /// Replies and events in other orders: each race is lost and each join met both ways.
    fn try_orders(&self) -> usize {
        let picks: Vec<Pick> = std::iter::once(Pick::Last).chain((0..16).map(Pick::Seed)).collect();
        for pick in &picks {
            let outcome = self.run_with(Mishap::None, *pick);
            assert!(outcome.status.is_ended(), "\n{}", outcome.text);
        }
        picks.len()
    }

    /// Each call refused, left unanswered in every way, and exhausted.
    fn try_calls(&self, straight: &Outcome) -> usize {
        let mishaps = |step: &Path| {
            let lost = [
                Unanswered::NeverArrived,
                Unanswered::ReplyLost,
                Unanswered::ReplyLate,
                Unanswered::ArrivesAfterUndo,
            ];
            let lost = lost.map(|how| Mishap::Unanswered(step.clone(), how));
            let others = [Mishap::Refused(step.clone()), Mishap::Exhausted(step.clone())];
            lost.into_iter().chain(others)
        };
        let mut runs = 0;
        for mishap in straight.calls.iter().flat_map(mishaps) {
            let outcome = self.run(mishap.clone());
            let is_refused = matches!(mishap, Mishap::Refused(_));
            let is_over =
                outcome.status.is_ended() || is_refused && outcome.status == Status::Attention;
            assert!(is_over, "{mishap:?}\n{}", outcome.text);
            runs += 1;
        }
        runs
    }

    /// What is repeated changes nothing, and a restart neither.
    fn try_repeats(&self, straight: &Outcome) -> usize {
        let steps = (0..straight.steps).map(Mishap::RestartAt);
        let all = [Mishap::EverythingTwice, Mishap::RestartAlways];
        let mut runs = 0;
        for mishap in all.into_iter().chain(steps) {
            let outcome = self.run(mishap.clone());
            assert_eq!(outcome.text, straight.text, "{mishap:?}");
            assert_eq!(outcome.ledger, straight.ledger, "{mishap:?}\n{}", outcome.text);
            runs += 1;
        }
        runs
    }

    /// Every move at every step.
    fn try_moves(&self, straight: &Outcome) -> usize {
        let mut runs = 0;
        for step in 0..straight.steps {
            for mishap in [Mishap::PauseAt(step), Mishap::LongPauseAt(step)] {
                let outcome = self.run(mishap.clone());
                assert_eq!(outcome.status, self.ends, "{mishap:?}\n{}", outcome.text);
                assert_eq!(
                    sorted(&outcome.ledger),
                    sorted(&straight.ledger),
                    "{mishap:?}\n{}",
                    outcome.text
                );
            }
            let cancels = [
                Mishap::MoveAt(step, Action::Cancel),
                Mishap::CancelAndRepeatUndosAt(step),
                Mishap::CancelAndRefuseUndosAt(step),
                Mishap::CancelWhilePausedAt(step),
            ];
            for mishap in cancels {
                let outcome = self.run(mishap.clone());
                let expected = if outcome.was_moved { Status::Cancelled } else { self.ends };
                assert_eq!(outcome.status, expected, "{mishap:?}\n{}", outcome.text);
            }
            let outcome = self.run(Mishap::MoveAt(step, Action::Terminate));
            let expected = if outcome.was_moved { Status::Terminated } else { self.ends };
            assert_eq!(outcome.status, expected, "terminated at {step}\n{}", outcome.text);
            runs += 7;
        }
        runs
    }

    /// Each stray event at each step, alone and while the saga unwinds.
    fn try_strays(&self, straight: &Outcome) -> usize {
        let mut runs = 0;
        for stray in 0..self.strays.len() {
            for step in 0..=straight.steps {
                let plain = self.run(Mishap::StrayAt(step, stray));
                assert!(plain.status.is_ended(), "\n{}", plain.text);
                let unwinding = self.run(Mishap::CancelAndStrayAt(step, stray));
                assert!(unwinding.status.is_ended(), "\n{}", unwinding.text);
                runs += 2;
            }
        }
        runs
    }
}

fn sorted(ledger: &Ledger) -> Vec<(String, String)> {
    let mut acts: Vec<(String, String)> =
        ledger.0.iter().map(|it| (it.subject.clone(), it.key.clone())).collect();
    acts.sort();
    acts
}
