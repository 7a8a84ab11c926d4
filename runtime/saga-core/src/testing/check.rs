//! What must always hold, whatever was put in.

use super::Desk;
use crate::{
    core::{Core, HeadQuery, Limits},
    effect::{Effect, Request, RequestId},
    fold::{State, fold},
    head::Head,
    id::{Path, SagaId, Time},
    journal::Entry,
    moves::Phase,
    render::render,
    store::{MemoryStore, Slot, Store},
};
use std::collections::{BTreeMap, BTreeSet};

type Owed = (BTreeMap<RequestId, Request>, BTreeMap<(SagaId, Path), Effect>);

/// Before the commit: the states in memory are folds of their journals. Those that are as they were
/// are known to be.
pub(super) fn states(desk: &mut Desk) {
    for core in &desk.cores {
        for (saga, state) in core.states() {
            if desk.folded.get(saga) == Some(state) {
                continue;
            }
            let journal = core.journal(*saga).expect("a memory store can be read");
            assert_eq!(fold(&journal), *state, "the state of {saga} is the fold of its journal");
            desk.folded.insert(*saga, state.clone());
        }
    }
}

/// After the commit.
pub(super) fn all(desk: &Desk) {
    stores_are_equal(desk);
    for saga in changed(desk) {
        let journal = journal(desk, saga);
        let folded = fold(&journal);
        head_follows_from_journal(desk, saga, &folded);
        replay_agrees(desk, saga, &journal, folded);
    }
    reopened_is_equal(desk);
}

fn stores_are_equal(desk: &Desk) {
    let [warm, cold] = desk.cores.each_ref().map(Core::store);
    let records = |store: &MemoryStore| store.read(desk.checked + 1, usize::MAX);
    assert_eq!(records(warm), records(cold), "both cores write the same log");
    assert!(warm.all_rows().eq(cold.all_rows()), "both cores write the same rows");
}

/// The sagas to whose journals the last input wrote.
fn changed(desk: &Desk) -> BTreeSet<SagaId> {
    let records = desk.store().read(desk.checked + 1, usize::MAX);
    let records = records.expect("a memory store can be read").into_iter();
    let sagas = records.filter_map(|it| match it.slot {
        Slot::Entry { saga, .. } => Some(saga),
        Slot::At(_) => None,
    });
    sagas.collect()
}

fn journal(desk: &Desk, saga: SagaId) -> Vec<Entry> {
    desk.core().journal(saga).expect("a memory store can be read")
}

fn head_follows_from_journal(desk: &Desk, saga: SagaId, folded: &State) {
    let head = desk.head_of(saga).expect("a saga with a journal has a head");
    let expected = Head::of(folded, head.position);
    let phase = Phase::of_head(&head);
    assert_eq!(expected, Some(head), "the head of {saga} follows from its journal");
    assert_eq!(phase, Phase::of(folded), "the head of {saga} tells which moves are open");
}

/// A stored journal decides nothing new, and leads code to the state to which `fold` leads.
fn replay_agrees(desk: &Desk, saga: SagaId, journal: &[Entry], folded: State) {
    if desk.misfits.contains(&saga) {
        return;
    }
    let live = match desk.replay(saga, journal) {
        None => return,
        Some(Ok(live)) => live,
        Some(Err(err)) => panic!("{saga}: {err}\n{}", render(journal)),
    };
    if folded.held.is_empty() {
        let (live, folded) = (seen_by_code(live.state()), seen_by_code(folded));
        assert!(live == folded, "{saga}: {live:#?}\n{folded:#?}\n{}", render(journal));
    }
}

/// Without what only the log knows.
fn seen_by_code(state: State) -> State {
    let waits = state.waits.into_iter().map(|mut it| {
        it.opened = (0, 0);
        it
    });
    State { waits: waits.collect(), entries: 0, updated_at: Time(0), ended_at: None, ..state }
}

fn reopened_is_equal(desk: &Desk) {
    let limits = Limits { work_at_once: usize::MAX, wake_at_once: u32::MAX, ..desk.limits() };
    let core = Core::open(desk.store().clone(), desk.registry().clone(), limits, desk.now);
    let mut core = core.expect("a core opens");
    let indexes = core.indexes();
    assert_eq!(indexes, desk.core().indexes(), "indexes follow from rows");
    assert_eq!(indexes, desk.cores[1].indexes(), "both cores have the same indexes");
    let is_done = !desk.core().has_more();
    if is_done {
        // Opening hands over what was still to be handed over.
        assert_eq!(core.swept(), desk.core().swept(), "what is to be swept follows from rows");
    }
    let effects = core.commit().expect("a memory store takes a batch");
    assert_eq!(core.store().position(), desk.store().position(), "opening decides nothing");
    let (sends, publishes) = owed(&effects);
    if desk.core().has_given_out() {
        assert_eq!(sends, asked(desk), "what is asked is what is owed");
        assert_eq!(publishes, desk.published, "what is published is what is owed");
    }
}

/// Requests whose time is over leave with the next tick, and are not sent anew.
fn asked(desk: &Desk) -> BTreeMap<RequestId, Request> {
    let is_over = |it: &Request| {
        let may_be = it.since.after_ms(it.retry.limit_ms) <= desk.now;
        let due = || fold(&journal(desk, it.id.saga)).due(&it.id.step, desk.now);
        let is_due = || due().is_some_and(|it| it.ends_asking());
        may_be && is_due()
    };
    desk.asked.iter().filter(|it| !is_over(it.1)).map(|it| (it.0.clone(), it.1.clone())).collect()
}

fn owed(effects: &[Effect]) -> Owed {
    let (mut sends, mut publishes) = Owed::default();
    for effect in effects {
        match effect {
            Effect::Send(it) => {
                let request = Request { is_recovered: false, ..it.clone() };
                sends.insert(it.id.clone(), request);
            }
            Effect::Publish { saga, step, .. } => {
                publishes.insert((*saga, step.clone()), effect.clone());
            }
            other => panic!("opening gives out {other:?}"),
        }
    }
    (sends, publishes)
}

pub(super) fn open_heads(core: &Core<MemoryStore>) -> Vec<Head> {
    let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
    let heads = core.heads(&query).expect("a memory store can be read");
    heads.into_iter().filter(|it| it.ended_at.is_none()).collect()
}
