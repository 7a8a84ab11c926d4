//! What is on its way through what lanes keep, in the order in which that began: waits that were
//! opened look at all that came before, one event after the other, and events that came meanwhile
//! for those who still look stand behind them. So it is as if each had been done at once: a wait
//! takes the oldest event that it may have, and an event goes to the oldest wait that takes it.

use super::{
    Core,
    rounds::Stage,
    routes::{Fate, Routed, kept_key, lane_of_kept, received},
    saga_set::SagaSet,
};
use crate::{
    codec::EventRecord,
    effect::Outcome,
    fold::OpenWait,
    id::{Lane, Path, Position, SagaId, Time},
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

/// Where something stands in the line: what one input has begun is done before what later ones
/// have, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    input: u64,
    number: u64,
}

/// The same, and of which definition it is.
#[derive(Debug)]
struct Place {
    definition: String,
    turn: Turn,
}

/// Each wait and each event stands in it once.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// By definition: lanes are of one alone.
    line: BTreeMap<String, BTreeMap<Turn, Look>>,
    /// How many inputs have been handled.
    inputs: u64,
    /// The input whose work is being done.
    input: u64,
    /// The last number that was given out.
    last: u64,
    /// Up to where each wait has looked, and taken nothing.
    behind: BTreeMap<(SagaId, Path), Position>,
    /// The events, each with the saga that would have had it when it came.
    events: BTreeMap<(Lane, Position), SagaId>,
    /// The same by saga.
    meant: BTreeSet<(SagaId, Lane, Position)>,
    /// Whose waits stand here, and who would take an event that does.
    sagas: SagaSet,
    /// Families in which looks went before telling last: these take turns.
    looked_first: BTreeSet<String>,
}

#[derive(Debug)]
enum Look {
    /// A wait that looks at what its lanes keep.
    Wait(SagaId, Path),
    /// A kept event that looks for its taker.
    Event(Lane, Position),
}

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Of which something stands here.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &String> {
        self.line.keys()
    }

    pub(super) fn has(&self, saga: SagaId, step: &Path) -> bool {
        !self.behind.is_empty() && self.behind.contains_key(&(saga, step.clone()))
    }

    /// Whether a wait stands here and has not looked so far yet.
    fn comes_upon(&self, saga: SagaId, step: &Path, position: Position) -> bool {
        self.behind.get(&(saga, step.clone())).is_some_and(|it| *it < position)
    }

    /// Has the wait of a saga of this definition look at all that its lanes keep.
    pub(super) fn look(&mut self, definition: &str, saga: SagaId, step: &Path) {
        if self.behind.insert((saga, step.clone()), 0).is_none() {
            self.stand(definition, Look::Wait(saga, step.clone()));
            self.sagas.insert(saga, definition, self.input);
        }
    }

    /// An input begins: what it opens looks behind what is there.
    pub(super) fn begin(&mut self) {
        self.inputs += 1;
        self.input = self.inputs;
    }

    /// The input whose work is being done.
    pub(super) fn input(&self) -> u64 {
        self.input
    }

    /// Goes on with the work of this input; gives the one with which to go on later.
    pub(super) fn go_on_with(&mut self, input: u64) -> u64 {
        std::mem::replace(&mut self.input, input)
    }

    fn stand(&mut self, definition: &str, look: Look) {
        self.last += 1;
        let turn = Turn { input: self.input, number: self.last };
        self.stand_at(definition, turn, look);
    }

    fn stand_at(&mut self, definition: &str, turn: Turn, look: Look) {
        match self.line.get_mut(definition) {
            Some(line) => _ = line.insert(turn, look),
            None => _ = self.line.insert(definition.to_owned(), [(turn, look)].into()),
        }
    }

    /// Has the event given to whoever takes it when those before it have looked; this saga would.
    fn give_later(
        &mut self,
        (lane, position): (Lane, Position),
        (saga, definition): (SagaId, &str),
    ) {
        // It stands once, and is the same saga's until it is looked at.
        if let Entry::Vacant(place) = self.events.entry((lane, position)) {
            place.insert(saga);
            self.stand(definition, Look::Event(lane, position));
            self.meant.insert((saga, lane, position));
            self.sagas.insert(saga, definition, self.input);
        }
    }

    /// Whether an event of the lane stands here.
    fn has_event(&self, lane: &Lane) -> bool {
        let of_lane = (*lane, Position::MIN)..=(*lane, Position::MAX);
        self.events.range(of_lane).next().is_some()
    }

    /// Whether a wait of the saga stands here, or an event that the saga would take.
    fn is_of(&self, saga: SagaId) -> bool {
        let first = (saga, Lane([0; 16]), Position::MIN);
        let looks = self.behind.range((saga, Path::default())..).next();
        looks.is_some_and(|it| it.0.0 == saga)
            || self.meant.range(first..).next().is_some_and(|it| it.0 == saga)
    }

    /// Takes the first out of these definitions, but of none of whose sagas one is among those.
    /// Its saga stays one that looks until [`Looks::let_go`].
    fn next(&mut self, of: &[String], but: &SagaSet) -> Option<(Place, Look, SagaId)> {
        let lines =
            of.iter().filter(|it| !but.has_of(it)).filter_map(|it| self.line.get_key_value(it));
        let first = lines.min_by_key(|it| it.1.first_key_value().map(|it| *it.0))?;
        let definition = first.0.clone();
        let line = self.line.get_mut(&definition)?;
        let (turn, look) = line.pop_first()?;
        if line.is_empty() {
            self.line.remove(&definition);
        }
        let saga = match &look {
            Look::Wait(saga, _) => *saga,
            Look::Event(lane, position) => {
                let saga = self.events.remove(&(*lane, *position))?;
                self.meant.remove(&(saga, *lane, *position));
                saga
            }
        };
        Some((Place { definition, turn }, look, saga))
    }

    /// Nothing more is for the saga, if nothing of it stands here.
    fn let_go(&mut self, saga: SagaId) {
        if !self.is_of(saga) {
            self.sagas.remove(saga);
        }
    }

    /// Puts a wait back in its turn: it goes on from here.
    fn look_on(&mut self, place: &Place, saga: SagaId, step: Path, behind: Position) {
        self.stand_at(&place.definition, place.turn, Look::Wait(saga, step.clone()));
        self.behind.insert((saga, step), behind);
    }

    /// Puts an event back in its turn.
    fn give_next(&mut self, place: &Place, (lane, position): (Lane, Position), saga: SagaId) {
        self.sagas.insert(saga, &place.definition, self.input);
        self.stand_at(&place.definition, place.turn, Look::Event(lane, position));
        self.events.insert((lane, position), saga);
        self.meant.insert((saga, lane, position));
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
    /// Whether the saga itself may still get something that came before what comes now: it looks,
    /// an event of a lane for which it holds stands behind somebody who does, or its code has not
    /// been shown all that was held.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_looking(&self, saga: SagaId) -> Result<bool, StoreError> {
        if self.telling.contains(saga) || self.opened.is_of(saga) {
            return Ok(true);
        }
        if self.opened.events.is_empty() {
            return Ok(false); // Nearly always.
        }
        Ok(self.lanes_of(saga)?.iter().any(|it| self.opened.has_event(it)))
    }

    /// Whether something that came before is not done yet for a saga of the family. By what that
    /// finds, gives back or starts any other one of the family may get something, or come to hold
    /// for something.
    pub(crate) fn is_busy(&self, family: &str) -> bool {
        self.looks(family) || self.is_handing_over(family)
    }

    /// Whether a wait of the family looks, or one of its sagas is told what was held.
    pub(super) fn looks(&self, family: &str) -> bool {
        let is_of = |it: &str| self.telling.has_of(it) || self.opened.sagas.has_of(it);
        self.families.has_any(family, is_of)
    }

    /// Whether what an ended saga of the family has left is not all handed over. That may start
    /// arms, and nobody who starts later may claim it.
    pub(crate) fn is_handing_over(&self, family: &str) -> bool {
        let is_of = |it: &str| self.leaving.contains_key(it) || self.sweeping.contains_key(it);
        self.families.has_any(family, is_of)
    }

    /// Whether any family is.
    pub(super) fn may_be_busy(&self) -> bool {
        let is_done = self.opened.is_empty()
            && self.telling.is_empty()
            && self.leaving.is_empty()
            && self.sweeping.is_empty();
        !is_done
    }

    pub(super) fn family_of(&self, saga: SagaId) -> Option<String> {
        self.definition_of(saga).map(|it| self.families.name(&it).to_owned())
    }

    /// The sagas that have to be read before their families go on with looking or telling.
    /// [`Input::Woken`] should follow when one is, before all that came later.
    ///
    /// [`Input::Woken`]: crate::input::Input::Woken
    pub fn stops_others(&self) -> impl Iterator<Item = SagaId> + '_ {
        self.stopped.values().flatten().copied()
    }

    /// Whether a wait has not looked at all that the lane keeps.
    pub(super) fn is_looked_at(&self, lane: &Lane) -> bool {
        !self.opened.is_empty()
            && self.kept.contains_key(lane)
            && self.waits.of(lane).any(|it| self.opened.has(it.saga, &it.step))
    }

    /// Whether something else comes before the event for the one who would take it.
    pub(super) fn goes_behind(&self, routed: &Routed<'_>) -> Result<bool, StoreError> {
        if self.opened.is_empty() {
            return Ok(false);
        }
        let taker = self.next_taker(routed, (0, 0));
        taker.map_or(Ok(false), |(_, it)| {
            Ok(self.opened.has_event(&routed.lane) || self.is_looking(it.saga)?)
        })
    }

    /// Does what stands in the line of a family, until it is empty or there is no room left. What
    /// was held came before what lanes kept meanwhile: while a saga is told of that, those of its
    /// definition do not look. Those of others do, and take turns with the telling at who begins.
    pub(super) fn match_opened(&mut self, now: Time, family: &str) -> Result<(), StoreError> {
        let is_done = self.opened.is_empty() && self.telling.is_empty(); // Nearly always.
        if is_done || self.stage_of(family) != Stage::Look {
            return Ok(());
        }
        if 0 < self.room {
            self.stopped.remove(family);
        }
        let definitions = self.families.members(family);
        if self.telling.first_of(&definitions).is_some() && !self.opened.looked_first.remove(family)
        {
            self.opened.looked_first.insert(family.to_owned());
            self.match_line(now, family, &definitions)?;
        }
        self.tell_on(now, family, &definitions)?;
        self.match_line(now, family, &definitions)
    }

    fn match_line(
        &mut self,
        now: Time,
        family: &str,
        definitions: &[String],
    ) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some((place, look, saga)) = self.opened.next(definitions, &self.telling)
        {
            let input = self.opened.go_on_with(place.turn.input);
            let asleep = match look {
                Look::Wait(saga, step) => self.look_for(now, &place, saga, step)?,
                Look::Event(lane, position) => self.give_kept(now, &place, lane, position)?,
            };
            self.opened.go_on_with(input);
            self.opened.let_go(saga);
            if let Some(asleep) = asleep {
                self.stops_family(family, asleep);
                break;
            }
        }
        Ok(())
    }

    /// Lets a wait look at what its lanes keep. Gives its saga when that has to be read first.
    fn look_for(
        &mut self,
        now: Time,
        place: &Place,
        saga: SagaId,
        step: Path,
    ) -> Result<Option<SagaId>, StoreError> {
        let behind = self.opened.behind.remove(&(saga, step.clone())).unwrap_or_default();
        if self.is_asleep(saga) {
            self.opened.look_on(place, saga, step, behind);
            return Ok(Some(saga));
        }
        let Some(state) = self.state(saga)? else { return Ok(None) };
        let wait = state.waits.iter().find(|it| it.step == step).cloned();
        let definition = state.start.as_ref().map(|it| it.definition.clone());
        let (Some(wait), Some(definition)) = (wait, definition) else { return Ok(None) };
        match self.oldest_kept(&definition, &wait, behind)? {
            Kept::Taken(lane, position) => {
                if let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? {
                    let routed = Routed::of(position, &event, String::new(), lane);
                    self.hand_over(now, saga, &step, &routed)?;
                }
            }
            Kept::Behind(behind) => self.opened.look_on(place, saga, step, behind),
            Kept::Nothing => (),
        }
        Ok(None)
    }

    /// Gives a kept event to the oldest wait that takes it; those that stand in the line come upon
    /// it by themselves. Gives the taker when that has to be read first.
    fn give_kept(
        &mut self,
        now: Time,
        stands: &Place,
        lane: Lane,
        position: Position,
    ) -> Result<Option<SagaId>, StoreError> {
        self.room -= 1;
        let is_kept = self.txn.has(Table::Kept, &kept_key(&lane, position))?;
        let event = self.txn.record::<EventRecord>(Kind::Event, position)?;
        let Some(event) = event.filter(|_| is_kept) else { return Ok(None) };
        let routed = Routed::of(position, &event, String::new(), lane);
        let mut place = (0, 0);
        while let Some((opened, wait)) = self.next_taker(&routed, place) {
            place = opened;
            if self.opened.comes_upon(wait.saga, &wait.step, position) {
                continue;
            }
            if self.is_asleep(wait.saga) {
                self.room += 1; // Nothing was done: it is for others.
                self.opened.give_next(stands, (lane, position), wait.saga);
                return Ok(Some(wait.saga));
            }
            self.hand_over(now, wait.saga, &wait.step, &routed)?;
            break;
        }
        Ok(None)
    }

    fn hand_over(
        &mut self,
        now: Time,
        saga: SagaId,
        step: &Path,
        routed: &Routed<'_>,
    ) -> Result<(), StoreError> {
        let start = self.state(saga)?.and_then(|it| it.start.as_ref());
        let definition = start.map(|it| it.definition.clone());
        // It leaves its lane first: the saga may end on it, and what is left then is swept away.
        self.take_kept(&routed.lane, routed.position);
        if let Some(definition) = definition
            && self.offer_at(now, saga, routed.position, received(routed, step.clone()))?
        {
            let fate = (Outcome::Consumed, Some(saga), None);
            return self.rule(&definition, routed.event, fate);
        }
        // It takes nothing, as it is set aside now: the next one may.
        self.keep(routed)?;
        self.look_again(routed, None);
        Ok(())
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
            behind = position;
            if self.opened.events.contains_key(&(lane, position)) {
                continue; // It has a place of its own in the line.
            }
            let holds = wait.filter.0.is_empty()
                || self
                    .txn
                    .record::<EventRecord>(Kind::Event, position)?
                    .is_some_and(|it| wait.filter.passes(&it.body));
            if holds {
                return Ok(Kept::Taken(lane, position));
            }
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

    /// Keeps an event behind what comes before it for its taker. Somebody holds for it, and may
    /// hold for the next one when it has this, so a full lane takes it: as many more as it keeps.
    pub(super) fn keep_behind(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        let events_max = self.limits.lane_events_max.saturating_mul(2);
        let fate = self.keep_up_to(events_max, routed)?;
        if fate.0 == Outcome::Kept {
            self.look_again(routed, None);
        }
        Ok(fate)
    }

    /// Whoever holds for a kept event gets it, behind what stands in the line. What a saga gave
    /// back its own waits come upon.
    pub(super) fn look_again(&mut self, routed: &Routed<'_>, given_back_by: Option<SagaId>) {
        let mut place = (0, 0);
        while let Some((opened, taker)) = self.next_taker(routed, place) {
            place = opened;
            if given_back_by == Some(taker.saga)
                && self.opened.comes_upon(taker.saga, &taker.step, routed.position)
            {
                continue;
            }
            let definition = self.definition_of(taker.saga).unwrap_or_default();
            let event = (routed.lane, routed.position);
            return self.opened.give_later(event, (taker.saga, &definition));
        }
    }
}
