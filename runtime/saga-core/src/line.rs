//! Inputs that wait until the sagas that they are about are in memory, and have looked at all that
//! their lanes keep. Whoever drives a core gives its inputs here first, and hands over what comes
//! out: so a saga with a long journal is read in pieces, others have their turns between, and
//! nothing that is about one saga, or about one lane, overtakes what came before.
//!
//! Nothing of it is durable: what waits has not been acknowledged.

mod held;

use crate::{
    core::{Concern, Core},
    id::{Lane, SagaId, Time},
    input::Input,
    store::{Store, StoreError},
};
use held::{Held, Matter, before};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The saga of which something overdue goes first, and up to when.
type First = Option<(SagaId, Time)>;

/// The inputs of one core that wait, each with what its host keeps with it.
#[derive(Debug)]
pub struct Line<T> {
    held: BTreeMap<u64, Held<T>>,
    /// The last number that was given out.
    last: u64,
    /// The last place of a sleeper that stands here.
    seen: u64,
    /// Who waits for it, or is about it, in order: the first one may go.
    matters: BTreeMap<Matter, BTreeSet<u64>>,
    /// Of which it is to be seen whether they may go now.
    candidates: BTreeSet<u64>,
    /// Those of them behind which the next of each family is to be looked at as well.
    walking: BTreeSet<u64>,
    /// By family, the first of those before which something goes that is overdue.
    overtaken: BTreeMap<String, u64>,
    /// Sagas to be read, one after the other.
    unread: VecDeque<SagaId>,
    /// The same, so that each is there once.
    are_unread: BTreeSet<SagaId>,
    /// What waits and is about sagas of a family of definitions, or starts one, in order.
    of_family: BTreeMap<String, BTreeSet<u64>>,
    /// Events among these that anybody may come to hold for. Who will is known when all that came
    /// before has had its turn; what came later waits until they have had theirs.
    anybodys: BTreeMap<String, BTreeSet<u64>>,
    /// Families of which something waits for what the core is doing there.
    busy: BTreeSet<String>,
    /// How often something was looked at that waits.
    #[cfg(test)]
    pub(crate) looks: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        let (held, matters) = (BTreeMap::new(), BTreeMap::new());
        let (candidates, unread, are_unread) = (BTreeSet::new(), VecDeque::new(), BTreeSet::new());
        let (walking, overtaken, of_family, anybodys, busy) = Default::default();
        Line {
            held,
            last: 0,
            seen: 0,
            matters,
            candidates,
            walking,
            overtaken,
            unread,
            are_unread,
            of_family,
            anybodys,
            busy,
            #[cfg(test)]
            looks: 0,
        }
    }
}

impl<T> Line<T> {
    /// Takes an input. What comes back is to be handled now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn give<S: Store>(
        &mut self,
        core: &Core<S>,
        input: Input,
        with: T,
    ) -> Result<Option<(Input, T)>, StoreError> {
        self.see_sleepers(core)?;
        if let Input::Tick { watermark, .. } = input {
            let (watermark, behind) = self.passed(watermark);
            return Ok(Some((Input::Tick { watermark, behind }, with)));
        }
        if self.held.is_empty() && !core.may_hold_up() {
            return Ok(Some((input, with)));
        }
        // It came when it was published: what was due after that has not passed it.
        let reached = match &input {
            Input::Arrived(arrival) => core.reached().min(before(arrival.at)),
            _ => core.reached(),
        };
        let concern = self.concern(core, &input)?;
        let mut held = Held::new(input, Some(with), concern, reached);
        let asleep = held.concern.sagas.iter().any(|it| !core.is_awake(*it));
        let is_behind = self.is_behind(core, &held);
        held.holds_up |= is_behind;
        let waits = asleep || is_behind;
        let stands = held.matters().any(|it| self.matters.contains_key(&it));
        if !waits && !stands && self.has_turn(u64::MAX, &held) {
            return Ok(held.with.map(|it| (held.input, it)));
        }
        self.hold(core, held);
        Ok(None)
    }

    /// What is to be handled now of what has waited.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn next<S: Store>(
        &mut self,
        core: &Core<S>,
    ) -> Result<Option<(Input, Option<T>)>, StoreError> {
        self.see_sleepers(core)?;
        self.see_busy(core);
        for saga in core.stops_others() {
            if core.is_awake(saga) {
                let until = self.reached_behind(Matter::Saga(saga), 0).unwrap_or(Time::NEVER);
                return Ok(Some((Input::Woken { saga, until }, None)));
            }
            self.read_later(saga);
        }
        while let Some(number) = self.candidates.pop_first() {
            #[cfg(test)]
            {
                self.looks += 1;
            }
            if self.is_overtaken(number) {
                continue;
            }
            if let Some((family, first)) = self.goes_first(core, number) {
                self.overtaken.insert(family, number);
                let Some((saga, until)) = first else { continue };
                if core.is_awake(saga) {
                    return Ok(Some((Input::Woken { saga, until }, None)));
                }
                self.read_later(saga);
                continue;
            }
            if self.walking.remove(&number) {
                self.walk_on(core, number);
            }
            if self.may_go(core, number)? {
                let until = self.until(number);
                self.leave(number);
                let Some(Held { mut input, with, .. }) = self.held.remove(&number) else {
                    continue;
                };
                if let Input::Woken { until: it, .. } = &mut input {
                    *it = until;
                }
                return Ok(Some((input, with)));
            }
        }
        Ok(None)
    }

    /// Reads one piece of a journal for those who wait.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn wake<S: Store>(&mut self, core: &mut Core<S>) -> Result<(), StoreError> {
        self.see_sleepers(core)?;
        let Some(saga) = self.unread.front().copied() else { return Ok(()) };
        if core.wake(saga)? {
            self.unread.pop_front();
            self.are_unread.remove(&saga);
            self.look_at(Matter::Saga(saga));
        }
        Ok(())
    }

    /// Whether something waits, here or in the core: then a piece of it should be done, after what
    /// others bring.
    pub fn has_more<S: Store>(&self, core: &Core<S>) -> bool {
        core.has_more() || !self.held.is_empty() || core.sleepers(self.seen).next().is_some()
    }

    /// What the core has left undone since stands behind what came before, and before what comes.
    fn see_sleepers<S: Store>(&mut self, core: &Core<S>) -> Result<(), StoreError> {
        for (place, saga) in core.sleepers(self.seen) {
            self.seen = place;
            let input = Input::Woken { saga, until: Time::NEVER };
            let concern = core.concern(&input)?;
            self.hold(core, Held::new(input, None, concern, Time::NEVER));
        }
        Ok(())
    }

    /// Whoever waited for what was done in a family may go when that is done: one after the other,
    /// as each may begin such work.
    fn see_busy<S: Store>(&mut self, core: &Core<S>) {
        for family in self.busy.extract_if(.., |it| !core.is_busy(it)) {
            let first = self.of_family.get(&family).and_then(BTreeSet::first);
            self.candidates.extend(first);
            self.walking.extend(first);
        }
        let overtaken = std::mem::take(&mut self.overtaken).into_values();
        for number in overtaken {
            self.candidates.insert(number);
            self.walking.insert(number);
        }
    }

    /// Whether it stands behind one before which something goes: it is looked at when that has.
    fn is_overtaken(&self, number: u64) -> bool {
        let Some(held) = self.held.get(&number).filter(|it| !it.goes_ahead()) else { return false };
        let is_behind = |it: &String| self.overtaken.get(it).is_some_and(|first| *first < number);
        held.concern.families.iter().any(is_behind)
    }

    /// Makes the next one behind this in each of its families a candidate. Where the family is busy
    /// again, all begins anew when it is not.
    fn walk_on<S: Store>(&mut self, core: &Core<S>, number: u64) {
        let families = self.held.get(&number).map(|it| &it.concern.families);
        for family in families.into_iter().flatten() {
            if core.is_busy(family) {
                self.busy.insert(family.clone());
                continue;
            }
            let behind = self.of_family.get(family).into_iter();
            let next = behind.flat_map(|it| it.range(number.saturating_add(1)..)).next();
            self.candidates.extend(next);
            self.walking.extend(next);
        }
    }

    /// The family of which a deadline goes before this; and of which saga, and up to when: the
    /// oldest that was due when this came, and not later than anything that still waits in front of
    /// it. Where each is later than that, this waits with them until what stands there has gone.
    fn goes_first<S: Store>(&self, core: &Core<S>, number: u64) -> Option<(String, First)> {
        let held = self.held.get(&number).filter(|it| it.has_overdue(core))?;
        if !self.is_first(number) {
            return None;
        }
        let all = held.concern.families.iter();
        let all = all.filter(|it| core.overdue(it, held.reached).next().is_some());
        let mut all = all.map(|it| (it.clone(), self.first_overdue(core, number, held, it)));
        let one = all.next()?;
        let other = if one.1.is_none() { all.find(|it| it.1.is_some()) } else { None };
        Some(other.unwrap_or(one))
    }

    fn first_overdue<S: Store>(
        &self,
        core: &Core<S>,
        number: u64,
        held: &Held<T>,
        family: &str,
    ) -> First {
        let earlier = self.of_family.get(family)?.range(..number);
        let earlier = earlier.filter_map(|it| self.held.get(it));
        let passed = earlier.filter(|it| it.holds_up).map(Held::passed).min();
        let until = held.reached.min(passed.unwrap_or(Time::NEVER));
        // One of a saga for which something still waits in front of this waits behind that.
        core.overdue(family, until).find_map(|(due, saga)| {
            let first = self.matters.get(&Matter::Saga(saga)).and_then(BTreeSet::first);
            let first = first.filter(|it| **it < number).and_then(|it| self.held.get(it));
            let until = until.min(first.map_or(Time::NEVER, |it| it.reached));
            (due <= until).then_some((saga, until))
        })
    }

    /// What an input is about. It stands behind events that wait on lanes of its sagas; an event
    /// behind what waits for those who hold for it: nothing that comes for a saga overtakes what
    /// came for it before.
    fn concern<S: Store>(&self, core: &Core<S>, input: &Input) -> Result<Concern, StoreError> {
        let mut concern = core.concern(input)?;
        if self.held.is_empty() || matches!(input, Input::Woken { .. }) {
            return Ok(concern);
        }
        let is_lane = |it: (&Matter, _)| matches!(it.0, Matter::Lane(_));
        if self.matters.range(Matter::Lane(Lane([0; 16]))..).next().is_some_and(is_lane) {
            let mut behind = BTreeSet::new();
            for saga in &concern.sagas {
                behind.extend(core.lanes_of(*saga)?);
            }
            behind.retain(|it| self.matters.contains_key(&Matter::Lane(*it)));
            concern.lanes.extend(behind);
        }
        Ok(concern)
    }

    fn hold<S: Store>(&mut self, core: &Core<S>, held: Held<T>) {
        let asleep = held.concern.sagas.iter().copied().filter(|it| !core.is_awake(*it));
        let asleep: Vec<SagaId> = asleep.collect();
        self.last += 1;
        self.held.insert(self.last, held);
        self.stand(self.last);
        let is_first = self.is_first(self.last);
        // What waits for a journal alone holds up nothing: deadlines of long sagas wait as well.
        if let Some(held) = self.held.get_mut(&self.last).filter(|_| asleep.is_empty()) {
            held.holds_up |= !is_first;
        }
        if asleep.is_empty() {
            self.candidates.insert(self.last);
        }
        asleep.into_iter().for_each(|it| self.read_later(it));
    }

    /// Whether something goes before what comes now: work that is not done in one of its families,
    /// what was due there, or what has waited there and may be the next.
    fn is_behind<S: Store>(&self, core: &Core<S>, held: &Held<T>) -> bool {
        if held.goes_ahead() {
            return false;
        }
        let has_next = |it: &String| self.has_next(core, it);
        held.is_behind_work(core, |it| self.has_before(it, u64::MAX))
            || held.has_overdue(core)
            || held.concern.families.iter().any(has_next)
    }

    /// Whether something waits of a family that is done, and was not looked at since.
    fn has_next<S: Store>(&self, core: &Core<S>, family: &str) -> bool {
        let is_candidate = |it: &BTreeSet<u64>| !it.is_disjoint(&self.candidates);
        !core.is_busy(family)
            && (self.busy.contains(family)
                || self.overtaken.contains_key(family)
                || self.of_family.get(family).is_some_and(is_candidate))
    }

    /// How far a tick reaches: for all, and for families in which something waits. Nothing that is
    /// due later than that came fires there before it has had its turn. Where no family is known,
    /// as no definition declares it, that is so for all.
    fn passed(&self, watermark: Time) -> (Time, BTreeMap<String, Time>) {
        let (mut passed, mut behind) = (watermark, BTreeMap::new());
        let waiting = self.held.values();
        for it in waiting.filter(|it| it.holds_up) {
            let reached = it.passed();
            if it.concern.families.is_empty() {
                passed = passed.min(reached);
            }
            for family in it.concern.families.iter().filter(|_| reached < watermark) {
                let until = behind.entry(family.clone()).or_insert(reached);
                *until = reached.min(*until);
            }
        }
        (passed, behind)
    }

    /// What is due of its saga may fire up to here: what waits behind it came before what fell due
    /// later.
    fn until(&self, number: u64) -> Time {
        let Some(held) = self.held.get(&number) else { return Time::NEVER };
        let behind = held.matters().filter_map(|it| self.reached_behind(it, number));
        behind.min().unwrap_or(Time::NEVER)
    }

    /// How far ticks had reached when the next one behind this number came.
    fn reached_behind(&self, matter: Matter, number: u64) -> Option<Time> {
        let next = self.matters.get(&matter)?.range(number.saturating_add(1)..).next()?;
        self.held.get(next).map(|it| it.reached)
    }

    /// Whether it stands first wherever it stands, and its sagas are in memory.
    fn may_go<S: Store>(&mut self, core: &Core<S>, number: u64) -> Result<bool, StoreError> {
        if self.is_behind_work(core, number) || !self.is_first(number) {
            return Ok(false);
        }
        let Some(held) = self.held.get(&number) else { return Ok(false) };
        // Those before it may have made it another saga's.
        let concern = self.concern(core, &held.input)?;
        if concern != held.concern {
            self.leave(number);
            if let Some(held) = self.held.get_mut(&number) {
                held.concern = concern;
            }
            self.stand(number);
            // It is looked at as what it is now.
            self.candidates.insert(number);
            return Ok(false);
        }
        let Some(held) = self.held.get_mut(&number) else { return Ok(false) };
        let asleep = held.concern.sagas.iter().copied().filter(|it| !core.is_awake(*it));
        let is_read = |it: &SagaId| held.woken.contains(it) && !self.are_unread.contains(it);
        let asleep: Vec<SagaId> = asleep.filter(|it| !is_read(it)).collect();
        held.woken.extend(&asleep);
        let may_go = asleep.is_empty();
        asleep.into_iter().for_each(|it| self.read_later(it));
        Ok(may_go)
    }

    /// Whether it waits for what is done in a family: then it is looked at again when that is done.
    fn is_behind_work<S: Store>(&mut self, core: &Core<S>, number: u64) -> bool {
        let Some(held) = self.held.get(&number) else { return false };
        let is_behind = held.is_behind_work(core, |it| self.has_before(it, number));
        let Some(held) = self.held.get_mut(&number).filter(|_| is_behind) else { return false };
        held.holds_up = true;
        let busy = held.concern.families.iter().filter(|it| core.is_busy(it));
        self.busy.extend(busy.cloned());
        true
    }

    /// Whether an input of the family stands in front of this number.
    fn has_before(&self, family: &str, number: u64) -> bool {
        let before = self.of_family.get(family).into_iter().flat_map(|it| it.range(..number));
        before.filter_map(|it| self.held.get(it)).any(|it| !it.goes_ahead())
    }

    fn is_first(&self, number: u64) -> bool {
        let is_first =
            |it: Matter| self.matters.get(&it).and_then(BTreeSet::first) == Some(&number);
        self.held
            .get(&number)
            .is_some_and(|it| it.matters().all(is_first) && self.has_turn(number, it))
    }

    /// Whether an event that anybody may come to hold for is the first of its families; anything
    /// else stands behind no such event.
    fn has_turn(&self, number: u64, held: &Held<T>) -> bool {
        let has_before = |it: Option<&BTreeSet<u64>>| {
            it.and_then(BTreeSet::first).is_some_and(|first| *first < number)
        };
        held.goes_ahead()
            || held.concern.families.iter().all(|it| {
                let is_anybodys = held.concern.anybodys.contains(it);
                let before = if is_anybodys { &self.of_family } else { &self.anybodys };
                !has_before(before.get(it))
            })
    }

    fn stand(&mut self, number: u64) {
        let Some(held) = self.held.get(&number) else { return };
        for definition in &held.concern.families {
            self.of_family.entry(definition.clone()).or_default().insert(number);
            if held.concern.anybodys.contains(definition) {
                self.anybodys.entry(definition.clone()).or_default().insert(number);
            }
        }
        for matter in held.matters() {
            self.matters.entry(matter).or_default().insert(number);
        }
    }

    /// Whoever stood behind it may be the first now.
    fn leave(&mut self, number: u64) {
        let Some(held) = self.held.get(&number) else { return };
        for definition in &held.concern.families {
            take_out(&mut self.anybodys, definition, number);
            take_out(&mut self.of_family, definition, number);
            let next = self.anybodys.get(definition).and_then(BTreeSet::first).copied();
            let Some(left) = self.of_family.get(definition) else { continue };
            match held.concern.anybodys.contains(definition) {
                // All up to the next one stood behind it.
                true => self.candidates.extend(left.range(..=next.unwrap_or(u64::MAX))),
                false => self.candidates.extend(next),
            }
        }
        for matter in held.matters() {
            let Some(numbers) = self.matters.get_mut(&matter) else { continue };
            numbers.remove(&number);
            self.candidates.extend(numbers.first());
            if numbers.is_empty() {
                self.matters.remove(&matter);
            }
        }
    }

    fn look_at(&mut self, matter: Matter) {
        self.candidates.extend(self.matters.get(&matter).and_then(BTreeSet::first));
    }

    fn read_later(&mut self, saga: SagaId) {
        if self.are_unread.insert(saga) {
            self.unread.push_back(saga);
        }
    }
}

fn take_out(of: &mut BTreeMap<String, BTreeSet<u64>>, definition: &str, number: u64) {
    if let Some(numbers) = of.get_mut(definition) {
        numbers.remove(&number);
        if numbers.is_empty() {
            of.remove(definition);
        }
    }
}
