//! A world: a desk with its sagas, the services and publishers around it, and people.

mod answers;
mod clocks;
mod happens;
mod offers;
mod outbox;
mod people;
mod rest;
mod search;
mod stores;

pub(crate) use answers::REFUSAL;
pub(crate) use people::Decided;

use crate::{kinds::Kind, steps::Step};
use clocks::Clocks;
use saga_core::{
    core::{HeadQuery, Limits},
    effect::Request,
    head::Head,
    id::{Path, Position, SagaId},
    input::{Arrival, Decide},
    journal::Command,
    journal::Entry,
    testing::{Desk, Services},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use stores::Stores;

/// Everything that there is, and what a checker has to remember of what was.
pub(crate) struct World {
    pub(crate) kind: &'static Kind,
    pub(crate) desk: Desk,
    pub(crate) services: Services,
    /// Requests that were ever sent.
    seen: Vec<Request>,
    /// Subjects whose service answers nothing.
    pub(crate) silent: BTreeSet<String>,
    /// Subjects that the broker does not take, and whether it says so.
    pub(crate) refused: BTreeMap<String, bool>,
    /// What the broker has taken, in order.
    pub(crate) taken: Vec<(SagaId, Path)>,
    /// Undos that a person has given up.
    pub(crate) waived: Vec<Command>,
    pub(crate) clocks: Clocks,
    pub(crate) stores: Stores,
    starts: u32,
    /// Messages that were no events, as a later build reads them.
    dead: Vec<(Position, Arrival)>,
    /// Some definitions were missing for a while.
    pub(crate) was_cut: bool,
    /// The decision that was sent last, and whether it was accepted.
    sent: Option<(Decide, bool)>,
    /// Decisions that were accepted, in order.
    pub(crate) decided: Vec<Decided>,
}

/// So little that sagas are read anew again and again, in pieces.
fn little_memory() -> Limits {
    Limits { work_at_once: 2, wake_at_once: 3, states_max: 2, futures_max: 2, ..Limits::default() }
}

impl World {
    pub(crate) fn new(kind: &'static Kind) -> World {
        let whole = (kind.registries)().swap_remove(0);
        let desk = Desk::with_limits(whole, little_memory());
        World {
            kind,
            clocks: Clocks::new(desk.now()),
            stores: Stores::default(),
            desk,
            services: Services::new().on("pay.open", |_| Ok(json!({ "session": "s1" }))),
            seen: Vec::new(),
            silent: BTreeSet::new(),
            refused: BTreeMap::new(),
            taken: Vec::new(),
            waived: Vec::new(),
            starts: 0,
            dead: Vec::new(),
            was_cut: false,
            sent: None,
            decided: Vec::new(),
        }
    }

    pub(crate) fn does(&mut self, step: Step) {
        self.happens(step);
        self.note_requests();
        self.note_time();
    }

    fn note_requests(&mut self) {
        for request in self.desk.requests() {
            if !self.seen.contains(&request) {
                self.seen.push(request);
            }
        }
    }

    pub(crate) fn heads(&self) -> Vec<Head> {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        self.desk.core().heads(&query).expect("a memory store can be read")
    }

    pub(crate) fn journal(&self, saga: SagaId) -> Vec<Entry> {
        self.desk.core().journal(saga).expect("a memory store can be read")
    }

    /// Turns to an open saga.
    fn look_at(&mut self, which: u8) -> bool {
        let heads = self.heads();
        let open: Vec<SagaId> =
            heads.iter().filter(|it| !it.status.is_ended()).map(|it| it.id).collect();
        let Some(saga) = choose(&open, which) else { return false };
        self.desk.look_at(*saga);
        true
    }

    /// A binary of the kind; the first one has all definitions.
    pub(crate) fn deploy(&mut self, which: u8) {
        let registries = (self.kind.registries)();
        let number = usize::from(which) % registries.len();
        self.was_cut |= number != 0;
        self.clock_is_opened_anew();
        self.desk.deploy(registries[number].clone());
    }
}

/// One of those that are there.
pub(crate) fn choose<T>(from: &[T], which: u8) -> Option<&T> {
    from.get(usize::from(which) % from.len().max(1))
}
