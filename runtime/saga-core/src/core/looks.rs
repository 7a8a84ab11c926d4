//! Waits on their way through what their lanes keep. Each is in the line once, however many events
//! come meanwhile: what comes behind the place that it has reached, it sees by itself.

use super::{
    Core,
    routes::{Fate, Routed, kept_key, lane_of_kept, received},
};
use crate::{
    codec::EventRecord,
    effect::Outcome,
    fold::OpenWait,
    id::{Lane, Path, Position, SagaId, Time},
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Looks {
    line: VecDeque<(SagaId, Path)>,
    /// Up to where each has looked, and taken nothing.
    behind: BTreeMap<(SagaId, Path), Position>,
}

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.behind.is_empty()
    }

    pub(super) fn has(&self, saga: SagaId, step: &Path) -> bool {
        !self.behind.is_empty() && self.behind.contains_key(&(saga, step.clone()))
    }

    /// Has the wait look at what stands behind this place.
    pub(super) fn look(&mut self, saga: SagaId, step: &Path, behind: Position) {
        let wait = (saga, step.clone());
        if let Some(reached) = self.behind.get_mut(&wait) {
            *reached = behind.min(*reached);
            return;
        }
        self.line.push_back(wait.clone());
        self.behind.insert(wait, behind);
    }

    /// Takes the first out, to look.
    pub(super) fn next(&mut self) -> Option<(SagaId, Path, Position)> {
        let wait = self.line.pop_front()?;
        let behind = self.behind.remove(&wait).unwrap_or_default();
        Some((wait.0, wait.1, behind))
    }

    /// Puts it back: it goes on from here, before all others.
    pub(super) fn put_back(&mut self, saga: SagaId, step: Path, behind: Position) {
        self.line.push_front((saga, step.clone()));
        self.behind.insert((saga, step), behind);
    }
}

/// What a wait finds in its lanes.
enum Kept {
    /// The oldest event that it takes.
    Taken(Lane, Position),
    /// It takes nothing up to here, and there is no room to look further.
    Behind(Position),
    /// Nothing that it takes.
    Nothing,
}

impl<S: Store> Core<S> {
    /// Whether a wait has not looked at all that the lane keeps.
    pub(super) fn is_looked_at(&self, lane: &Lane) -> bool {
        !self.opened.is_empty()
            && self.kept.contains_key(lane)
            && self.waits.of(lane).any(|it| self.opened.has(it.saga, &it.step))
    }

    /// Lets each wait that was opened look at what its lanes keep, until nothing moves or there is
    /// no room left.
    pub(super) fn match_opened(&mut self, now: Time) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some((saga, step, behind)) = self.opened.next()
        {
            if self.must_sleep(saga) {
                self.opened.put_back(saga, step, behind);
                break;
            }
            let Some(state) = self.state(saga)? else { continue };
            let wait = state.waits.iter().find(|it| it.step == step).cloned();
            let definition = state.start.as_ref().map(|it| it.definition.clone());
            let (Some(wait), Some(definition)) = (wait, definition) else { continue };
            match self.oldest_kept(&definition, &wait, behind)? {
                Kept::Taken(lane, position) => {
                    self.hand_over(now, saga, &definition, &step, lane, position)?;
                }
                Kept::Behind(behind) => self.opened.put_back(saga, step, behind),
                Kept::Nothing => (),
            }
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        now: Time,
        saga: SagaId,
        definition: &str,
        step: &Path,
        lane: Lane,
        position: Position,
    ) -> Result<(), StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(());
        };
        let routed = Routed::of(position, &event, String::new(), lane);
        // It leaves its lane first: the saga may end on it, and what is left then is swept away.
        self.take_kept(&lane, position);
        if self.offer(now, saga, received(&routed, step.clone()))? {
            return self.rule(definition, &event, (Outcome::Consumed, Some(saga), None));
        }
        self.keep(&routed).map(drop)
    }

    /// The oldest kept event behind this place that the wait takes, over all of its lanes.
    fn oldest_kept(
        &mut self,
        definition: &str,
        wait: &OpenWait,
        mut behind: Position,
    ) -> Result<Kept, StoreError> {
        if self.kept.is_empty() {
            return Ok(Kept::Nothing); // Most often; it saves the hashes of the lanes.
        }
        let lanes = wait.events.iter().map(|it| Lane::of(definition, it, &wait.key));
        let lanes: Vec<Lane> = lanes.filter(|it| self.kept.contains_key(it)).collect();
        while let Some((position, lane)) = self.next_kept(&lanes, behind)? {
            if self.room == 0 {
                return Ok(Kept::Behind(behind));
            }
            self.room -= 1;
            let holds = wait.filter.0.is_empty()
                || self
                    .txn
                    .record::<EventRecord>(Kind::Event, position)?
                    .is_some_and(|it| wait.filter.passes(&it.body));
            if holds {
                return Ok(Kept::Taken(lane, position));
            }
            behind = position;
        }
        Ok(Kept::Nothing)
    }

    /// The oldest event behind this place that one of the lanes keeps.
    pub(super) fn next_kept(
        &mut self,
        lanes: &[Lane],
        behind: Position,
    ) -> Result<Option<(Position, Lane)>, StoreError> {
        let mut next = None;
        for lane in lanes {
            let Some(kept) = self.kept.get_mut(lane) else { continue };
            let beyond = kept_key(lane, behind.max(kept.first.saturating_sub(1)));
            let rows = self.txn.some(Table::Kept, &lane.0, Some(&beyond), 1)?;
            let found = rows.first().and_then(|it| lane_of_kept(&it.0));
            if let Some((_, position)) = found.filter(|_| behind < kept.first) {
                kept.first = position;
            }
            next = next.into_iter().chain(found.map(|it| (it.1, *lane))).min();
        }
        Ok(next)
    }

    /// Keeps an event behind those of its lane at which a wait still looks: they go first.
    pub(super) fn keep_behind(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        let fate = self.keep_unless_full(routed)?;
        if fate.0 == Outcome::Kept {
            self.look_again(routed);
        }
        Ok(fate)
    }

    /// Whoever holds for a kept event looks at what stands in its lane from there on.
    pub(super) fn look_again(&mut self, routed: &Routed<'_>) {
        let before = routed.position.saturating_sub(1);
        let mut place = (0, 0);
        while let Some((opened, wait)) = self.next_taker(routed, place) {
            place = opened;
            self.opened.look(wait.saga, &wait.step, before);
        }
    }
}
