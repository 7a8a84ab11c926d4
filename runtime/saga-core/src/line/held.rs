//! One input that waits: what it waits for, and what has to wait for it.

use crate::{
    core::{Concern, Core},
    id::{Lane, SagaId, Time},
    input::{Command, Input},
    store::Store,
};
use std::collections::BTreeSet;

/// What is waited for, or stood behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    Saga(SagaId),
    Lane(Lane),
    Identity([u8; 16]),
}

#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) input: Input,
    /// Nothing with what the core itself has left undone.
    pub(super) with: Option<T>,
    pub(super) concern: Concern,
    /// How far ticks had reached when it came: what was due by then came before it.
    pub(super) reached: Time,
    /// Sagas that were read again for it. When all were, it waits no longer: with little memory
    /// they may drive each other out.
    pub(super) woken: BTreeSet<SagaId>,
    /// What is due later than it came waits for it: it is an event, which intake has not passed
    /// before it is handled, or it has waited for something that came before.
    pub(super) holds_up: bool,
}

impl<T> Held<T> {
    pub(super) fn new(input: Input, with: Option<T>, concern: Concern, reached: Time) -> Held<T> {
        let (woken, holds_up) = (BTreeSet::new(), is_event(&input));
        Held { input, with, concern, reached, woken, holds_up }
    }

    /// What the core has left undone came before what waits.
    pub(super) fn goes_ahead(&self) -> bool {
        matches!(self.input, Input::Woken { .. })
    }

    pub(super) fn matters(&self) -> impl Iterator<Item = Matter> + '_ {
        let sagas = self.concern.sagas.iter().copied().map(Matter::Saga);
        let lanes = self.concern.lanes.iter().copied().map(Matter::Lane);
        sagas.chain(lanes).chain(self.concern.identity.map(Matter::Identity))
    }

    /// Whether something that came before this is not done in one of its families. What a person
    /// starts looks behind what looks by itself, and claims nothing of what was left before: so it
    /// waits for that alone, and where something waits in front of it (`has_before`).
    pub(super) fn is_behind_work<S: Store>(
        &self,
        core: &Core<S>,
        has_before: impl Fn(&str) -> bool,
    ) -> bool {
        if self.goes_ahead() {
            return false;
        }
        let is_start = matches!(&self.input, Input::Asked { command: Command::Start { .. }, .. });
        let goes_past = |it: &str| is_start && !core.is_handing_over(it) && !has_before(it);
        self.concern.families.iter().any(|it| core.is_busy(it) && !goes_past(it))
    }

    /// Whether something may have to go first that was due when this came, and ticks have left.
    pub(super) fn has_overdue<S: Store>(&self, core: &Core<S>) -> bool {
        let is_overdue = |it: &String| core.overdue(it, self.reached).next().is_some();
        !self.goes_ahead() && self.concern.families.iter().any(is_overdue)
    }

    /// What is due later than this is not due before it, if it holds anything up.
    pub(super) fn passed(&self) -> Time {
        match &self.input {
            Input::Arrived(arrival) => before(arrival.at),
            _ => self.reached,
        }
    }
}

fn is_event(input: &Input) -> bool {
    match input {
        Input::Arrived(_) => true,
        Input::Asked { command, .. } => matches!(command, Command::Offer { .. }),
        _ => false,
    }
}

/// What is due then stands behind an event of that time.
pub(super) fn before(at: Time) -> Time {
    Time(at.0.saturating_sub(1))
}
