//! One run of a scenario, with one mishap.

use super::{Desk, Ledger, Scenario, Services, scenario::Deed};
use crate::{
    core::HeadQuery,
    effect::{Effect, Request, RequestId},
    fold::Status,
    head::Head,
    id::{Path, SagaId},
    input::{Action, Answer},
};
use std::collections::BTreeSet;

/// What goes wrong. Steps are counted from 0: each request that is answered, each event, each
/// time that passes is one.
#[derive(Clone, Debug, PartialEq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// A service refuses this call.
    Refused(Path),
    /// This call has no answer until an operator cancels.
    Unanswered(Path, Unanswered),
    /// This call has no answer until its limit is over and an operator wants it tried again.
    Exhausted(Path),
    /// Every request arrives twice, every answer and every event comes twice.
    EverythingTwice,
    /// The process dies at this step.
    RestartAt(usize),
    /// The process dies after every input.
    RestartAlways,
    /// An operator pauses and goes on.
    PauseAt(usize),
    /// An operator pauses, and everything that may come meanwhile comes.
    LongPauseAt(usize),
    /// An operator moves the saga.
    MoveAt(usize, Action),
    /// Cancelled, and every undo arrives and is answered twice.
    CancelAndRepeatUndosAt(usize),
    /// Cancelled, and every undo is refused once; an operator wants it tried again.
    CancelAndRefuseUndosAt(usize),
    /// Paused, cancelled, and let go on.
    CancelWhilePausedAt(usize),
    /// This stray event comes at this step, and again after the end.
    StrayAt(usize, usize),
    /// Cancelled at this step, and then the stray comes.
    CancelAndStrayAt(usize, usize),
}

/// In which way a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The request is lost.
    NeverArrived,
    /// The service acts, the reply is lost.
    ReplyLost,
    /// The service acts, the reply comes after the cancel.
    ReplyLate,
    /// The request reaches the service after its undo.
    ArrivesAfterUndo,
}

/// Which of the things that may come next comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first one.
    First,
    /// The last one.
    Last,
    /// Any, by this seed.
    Seed(u64),
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where the saga stands.
    pub status: Status,
    /// What services did.
    pub ledger: Ledger,
    /// The journal of the saga.
    pub text: String,
    /// The heads of all sagas: late arms as well.
    pub heads: Vec<Head>,
    /// How many steps it took.
    pub steps: usize,
    /// The calls that were made, in order.
    pub calls: Vec<Path>,
    /// The operator's cancel or terminate was accepted.
    pub was_moved: bool,
    /// The names of the events that came, each event once however often it came.
    pub events: Vec<String>,
}

impl Outcome {
    /// How often services acted on a subject.
    pub fn count(&self, subject: &str) -> usize {
        self.ledger.count(subject)
    }

    /// How many events of this name came.
    pub fn came(&self, name: &str) -> usize {
        self.events.iter().filter(|it| *it == name).count()
    }
}

/// More steps than this are a loop.
const STEPS_MAX: usize = 2_000;

enum Next {
    Request(RequestId),
    Publish(SagaId, Path),
    Deed(usize, SagaId),
}

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    mishap: Mishap,
    pick: Pick,
    services: Services,
    desk: Desk,
    saga: SagaId,
    /// Deeds that are done.
    done: BTreeSet<usize>,
    /// The request that has no answer, once it was sent.
    silent: Option<(Request, Option<Answer>)>,
    refused: BTreeSet<RequestId>,
    calls: Vec<Path>,
    steps: usize,
    was_moved: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        services: Services,
        mishap: Mishap,
        pick: Pick,
    ) -> Run<'a> {
        let mut desk = Desk::new(scenario.registry.clone());
        let saga = desk.start(&scenario.definition, &scenario.key, scenario.input.clone());
        Run {
            scenario,
            mishap,
            pick,
            services,
            desk,
            saga,
            done: BTreeSet::new(),
            silent: None,
            refused: BTreeSet::new(),
            calls: Vec::new(),
            steps: 0,
            was_moved: false,
        }
    }

    pub(super) fn finish(&mut self) {
        loop {
            self.strike();
            if !self.step() {
                break;
            }
            if self.mishap == Mishap::RestartAlways {
                self.desk.restart();
            }
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "it does not end");
        }
        self.afterwards();
    }

    pub(super) fn outcome(&self) -> Outcome {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        let heads = self.desk.core().heads(&query).expect("a memory store can be read");
        for head in heads.iter().filter(|it| it.status.is_ended()) {
            let is_quiet = head.calls.is_empty() && head.waits.is_empty();
            assert!(is_quiet, "{} has ended with something open", head.id);
        }
        Outcome {
            status: self.head().status,
            ledger: self.services.ledger().clone(),
            text: self.text(),
            heads,
            steps: self.steps,
            calls: self.calls.clone(),
            was_moved: self.was_moved,
            events: self.desk.events().into_iter().map(|it| it.event.name).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let journal = self.desk.core().journal(self.saga).expect("a memory store can be read");
        crate::render::render(&journal)
    }

    pub(super) fn ledger(&self) -> &Ledger {
        self.services.ledger()
    }

    fn head(&self) -> Head {
        self.desk.head_of(self.saga).expect("a saga has a head")
    }

    /// Does what the mishap says for this step.
    fn strike(&mut self) {
        let at = self.steps;
        match self.mishap.clone() {
            Mishap::RestartAt(step) if step == at => self.desk.restart(),
            Mishap::PauseAt(step) if step == at => {
                self.paused(|_| ());
            }
            Mishap::LongPauseAt(step) if step == at => self.long_pause(),
            Mishap::MoveAt(step, action) if step == at => {
                self.was_moved = self.make(action);
                if self.was_moved && action == Action::Terminate {
                    assert_eq!(self.requests_of_saga(), 0, "a terminated saga sends nothing");
                }
            }
            Mishap::CancelAndRepeatUndosAt(step) | Mishap::CancelAndRefuseUndosAt(step)
                if step == at =>
            {
                self.was_moved = self.make(Action::Cancel);
            }
            Mishap::CancelWhilePausedAt(step) if step == at => {
                self.paused(|run| run.was_moved = run.make(Action::Cancel));
            }
            Mishap::StrayAt(step, stray) if step == at => self.stray(stray),
            Mishap::CancelAndStrayAt(step, stray) if step == at => {
                self.was_moved = self.make(Action::Cancel);
                self.stray(stray);
            }
            _ => (),
        }
    }

    fn make(&mut self, action: Action) -> bool {
        self.desk.look_at(self.saga);
        matches!(self.desk.make(action), Ok(crate::effect::Reply::Accepted(_)))
    }

    fn requests_of_saga(&self) -> usize {
        self.desk.requests().iter().filter(|it| it.id.saga == self.saga).count()
    }

    /// Does something while the saga is paused, if it can be.
    fn paused(&mut self, act: impl FnOnce(&mut Self)) {
        if self.make(Action::Pause) {
            assert_eq!(self.requests_of_saga(), 0, "a paused saga sends nothing");
            act(self);
            assert_eq!(self.requests_of_saga(), 0, "a paused saga sends nothing");
            self.make(Action::Resume);
        }
    }

    /// What was under way is answered, and what the saga holds for comes, while it is paused.
    fn long_pause(&mut self) {
        let under_way = self.desk.requests();
        self.paused(|run| {
            for request in under_way {
                run.note_call(&request);
                let answer = run.services.ask(&request);
                run.desk.answer(&request.id, answer);
            }
            while let Some(next) = run.choices().pop() {
                run.take(next);
            }
        });
    }

    fn stray(&mut self, stray: usize) {
        let (name, body) = self.scenario.strays[stray].clone();
        self.desk.event_again(&format!("stray{stray}"), &name, body);
    }

    /// One step. False when nothing more can happen.
    fn step(&mut self) -> bool {
        let mut choices = self.choices();
        if !choices.is_empty() {
            let chosen = match self.pick {
                Pick::First => 0,
                Pick::Last => choices.len() - 1,
                Pick::Seed(seed) => pick(seed, self.steps, choices.len()),
            };
            let next = choices.swap_remove(chosen);
            self.take(next);
            return true;
        }
        self.operate() || self.pass_time()
    }

    fn choices(&self) -> Vec<Next> {
        let silent = self.silent.as_ref().map(|it| it.0.id.clone());
        let requests = self.desk.requests().into_iter().map(|it| it.id);
        let requests = requests.filter(|it| silent.as_ref() != Some(it)).map(Next::Request);
        let publishes = self.desk.publishes().into_iter().filter_map(|it| match it {
            Effect::Publish { saga, step, .. } => Some(Next::Publish(saga, step)),
            _ => None,
        });
        requests.chain(publishes).chain(self.deeds()).collect()
    }

    /// For each name that a saga holds for, the next thing that the world does.
    fn deeds(&self) -> Vec<Next> {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        let heads = self.desk.core().heads(&query).expect("a memory store can be read");
        let holds: Vec<(SagaId, String)> = heads
            .into_iter()
            .flat_map(|head| {
                let names = head.waits.into_iter().flat_map(|it| it.events);
                names.map(move |name| (head.id, name)).collect::<Vec<_>>()
            })
            .collect();
        let mut names = BTreeSet::new();
        let mut deeds = Vec::new();
        for (at, (name, _)) in self.scenario.deeds.iter().enumerate() {
            if self.done.contains(&at) || !names.insert(name) {
                continue;
            }
            if let Some((saga, _)) = holds.iter().find(|it| it.1 == *name) {
                deeds.push(Next::Deed(at, *saga));
            }
        }
        deeds
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Request(id) => self.serve(&id),
            Next::Publish(saga, step) => self.desk.broker_has(saga, step),
            Next::Deed(at, saga) => self.deed(at, saga),
        }
    }

    fn deed(&mut self, at: usize, saga: SagaId) {
        self.done.insert(at);
        let (name, deed) = self.scenario.deeds[at].clone();
        match deed {
            Deed::Event(body) => {
                let times = if self.mishap == Mishap::EverythingTwice { 2 } else { 1 };
                for _ in 0..times {
                    self.desk.event_again(&format!("deed{at}"), &name, body.clone());
                }
            }
            Deed::Decide(approved) => {
                self.desk.look_at(saga);
                let reply = self.desk.decide(approved, "as the scenario says");
                assert!(reply.is_ok(), "{reply:?}");
            }
        }
    }

    fn note_call(&mut self, request: &Request) {
        let is_new = !self.calls.contains(&request.id.step);
        if is_new && request.undo.is_none() && request.id.saga == self.saga {
            self.calls.push(request.id.step.clone());
        }
    }

    fn serve(&mut self, id: &RequestId) {
        let request = self.desk.asked[id].clone();
        self.note_call(&request);
        let is_ours = |step: &Path| request.undo.is_none() && request.id.step == *step;
        let answer = match &self.mishap {
            Mishap::Refused(step) if is_ours(step) => self.services.refuse(&request, "refused"),
            Mishap::Unanswered(step, how) if is_ours(step) && !self.was_moved => {
                let arrives = matches!(how, Unanswered::ReplyLost | Unanswered::ReplyLate);
                let answer = arrives.then(|| self.services.ask(&request));
                self.silent = Some((request, answer));
                return;
            }
            Mishap::Exhausted(step) if is_ours(step) && request.attempt_class == 1 => {
                self.silent = Some((request, None));
                return;
            }
            Mishap::CancelAndRefuseUndosAt(_)
                if request.undo.is_some() && self.refused.insert(id.clone()) =>
            {
                super::services::refusal("not_now")
            }
            _ => self.services.ask(&request),
        };
        self.desk.answer(id, answer.clone());
        let is_repeated = match self.mishap {
            Mishap::EverythingTwice => true,
            Mishap::CancelAndRepeatUndosAt(_) => request.undo.is_some(),
            _ => false,
        };
        if is_repeated {
            let again = self.services.ask(&request);
            self.desk.answer(id, again);
        }
    }

    /// An operator does what is needed to go on.
    fn operate(&mut self) -> bool {
        if matches!(self.mishap, Mishap::Unanswered(..))
            && let Some((request, answer)) = self.silent.clone()
            && !self.was_moved
        {
            self.was_moved = self.make(Action::Cancel);
            match &self.mishap {
                // Cancel is refused after the commit: then the service answers after all.
                _ if !self.was_moved => {
                    self.mishap = Mishap::None;
                    self.silent = None;
                }
                Mishap::Unanswered(_, Unanswered::ReplyLate) => {
                    let answer = answer.expect("the service has acted");
                    self.desk.answer(&request.id, answer);
                }
                _ => (),
            }
            return true;
        }
        let attention: Vec<SagaId> = self.open_heads(|it| it.status == Status::Attention);
        for saga in attention {
            self.desk.look_at(saga);
            if self.desk.make(Action::Retry).is_ok() {
                self.silent = None;
                return true;
            }
        }
        false
    }

    fn open_heads(&self, is_it: impl Fn(&Head) -> bool) -> Vec<SagaId> {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        let heads = self.desk.core().heads(&query).expect("a memory store can be read");
        heads.into_iter().filter(is_it).map(|it| it.id).collect()
    }

    fn pass_time(&mut self) -> bool {
        let Some(due) = self.desk.core().next_due() else { return false };
        let ms = due.0.saturating_sub(self.desk.now().0);
        self.desk.wait_ms(ms);
        true
    }

    /// What still comes when everything is over.
    fn afterwards(&mut self) {
        if let Mishap::Unanswered(_, Unanswered::ArrivesAfterUndo) = self.mishap
            && let Some((request, _)) = self.silent.take()
        {
            let answer = self.services.ask(&request);
            self.desk.answer(&request.id, answer);
        }
        if let Mishap::StrayAt(_, stray) | Mishap::CancelAndStrayAt(_, stray) = self.mishap {
            self.stray(stray);
            while self.step() {}
        }
    }
}

/// A number below `count`, by splitmix64.
fn pick(seed: u64, step: usize, count: usize) -> usize {
    let mut it = seed.wrapping_add((step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((it ^ (it >> 31)) % (count as u64).max(1)).unwrap_or_default()
}
