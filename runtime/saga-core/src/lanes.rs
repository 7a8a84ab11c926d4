//! Open waits by lane: who may take an event, the oldest first.

use crate::{
    exact::{Tree, canonical},
    filter::{Filter, Op, Test},
    fold::OpenWait,
    id::{Lane, Path, Place, SagaId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// The open waits of all sagas.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_lane: BTreeMap<Lane, LaneWaits>,
}

/// One open wait in one of its lanes.
#[derive(Clone, Debug)]
pub(crate) struct WaitRef {
    pub(crate) saga: SagaId,
    pub(crate) step: Path,
    pub(crate) filter: Filter,
    pub(crate) asks: bool,
}

/// A lane with more waits has an index of what they compare for: most lanes have one wait.
const UNINDEXED_MAX: usize = 32;

#[derive(Debug, Default)]
struct LaneWaits {
    all: BTreeMap<Place, WaitRef>,
    index: Option<Index>,
}

/// The waits of a lane by the first value that a field has to have. So an event is not held against
/// the filters of all of them.
#[derive(Debug, Default)]
struct Index {
    /// Pointer → value → waits.
    equal: BTreeMap<String, BTreeMap<String, BTreeSet<Place>>>,
    /// Those that ask for no such value.
    rest: BTreeSet<Place>,
}

impl Waits {
    pub(crate) fn insert(&mut self, definition: &str, saga: SagaId, wait: &OpenWait) {
        for event in &wait.events {
            let (step, filter, asks) = (wait.step.clone(), wait.filter.clone(), wait.ask.is_some());
            let lane = Lane::of(definition, event, &wait.key);
            let of_lane = self.by_lane.entry(lane).or_default();
            of_lane.insert(wait.opened, WaitRef { saga, step, filter, asks });
        }
    }

    pub(crate) fn remove(&mut self, definition: &str, wait: &OpenWait) {
        for event in &wait.events {
            let lane = Lane::of(definition, event, &wait.key);
            if let Some(of_lane) = self.by_lane.get_mut(&lane) {
                of_lane.remove(wait.opened);
                if of_lane.all.is_empty() {
                    self.by_lane.remove(&lane);
                }
            }
        }
    }

    /// The open waits of a lane, the oldest first.
    pub(crate) fn of(&self, lane: &Lane) -> impl Iterator<Item = &WaitRef> {
        self.by_lane.get(lane).into_iter().flat_map(|it| it.all.values())
    }

    /// The oldest wait of the lane that was opened behind this place, lets the body through and is
    /// of those that may take it.
    pub(crate) fn next<'b>(
        &self,
        lane: &Lane,
        behind: Place,
        body: impl Fn() -> Option<&'b Tree<'b>>,
        may_take: impl Fn(&WaitRef) -> bool,
    ) -> Option<(Place, &WaitRef)> {
        let lane = self.by_lane.get(lane)?;
        let holds = |it: &WaitRef| {
            may_take(it)
                && (it.filter.0.is_empty() || body().is_some_and(|body| it.filter.holds(body)))
        };
        let Some(index) = &lane.index else {
            let mut waits = lane.all.range((Excluded(behind), Unbounded));
            return waits.find(|it| holds(it.1)).map(|it| (*it.0, it.1));
        };
        let sets = index.sets(body());
        let mut behind = behind;
        loop {
            let next = sets.iter().filter_map(|it| it.range((Excluded(behind), Unbounded)).next());
            behind = *next.min()?;
            if let Some(wait) = lane.all.get(&behind).filter(|it| holds(it)) {
                return Some((behind, wait));
            }
        }
    }
}

impl LaneWaits {
    fn insert(&mut self, place: Place, wait: WaitRef) {
        if let Some(index) = &mut self.index {
            index.insert(place, &wait.filter);
        }
        self.all.insert(place, wait);
        if self.index.is_none() && UNINDEXED_MAX < self.all.len() {
            let mut index = Index::default();
            self.all.iter().for_each(|it| index.insert(*it.0, &it.1.filter));
            self.index = Some(index);
        }
    }

    fn remove(&mut self, place: Place) {
        let Some(wait) = self.all.remove(&place) else { return };
        match &mut self.index {
            Some(index) if UNINDEXED_MAX < self.all.len() => index.remove(place, &wait.filter),
            index => *index = None,
        }
    }
}

impl Index {
    fn insert(&mut self, place: Place, filter: &Filter) {
        match equal(filter) {
            Some(test) => {
                let values = self.equal.entry(test.pointer.clone()).or_default();
                values.entry(value(test)).or_default().insert(place)
            }
            None => self.rest.insert(place),
        };
    }

    fn remove(&mut self, place: Place, filter: &Filter) {
        let Some(test) = equal(filter) else {
            self.rest.remove(&place);
            return;
        };
        let Some(values) = self.equal.get_mut(&test.pointer) else { return };
        let value = value(test);
        if let Some(places) = values.get_mut(&value) {
            places.remove(&place);
            if places.is_empty() {
                values.remove(&value);
            }
        }
        if values.is_empty() {
            self.equal.remove(&test.pointer);
        }
    }

    /// Of the waits, those that may let the body through.
    fn sets(&self, body: Option<&Tree<'_>>) -> Vec<&BTreeSet<Place>> {
        let mut sets = vec![&self.rest];
        for (pointer, values) in &self.equal {
            let found = body.and_then(|it| it.at(pointer));
            sets.extend(found.and_then(|it| values.get(&it.canonical())));
        }
        sets
    }
}

fn equal(filter: &Filter) -> Option<&Test> {
    filter.0.iter().find(|it| it.op == Op::Eq)
}

fn value(test: &Test) -> String {
    canonical(test.value.text()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Waits;
    use crate::{
        exact::Tree,
        filter::{Filter, Literal, Op, Test},
        fold::OpenWait,
        id::{Lane, Path, SagaId, Time},
    };
    use std::cell::Cell;
    use uuid::Uuid;

    fn wait(number: u32, op: Op, value: &serde_json::Value) -> OpenWait {
        let (pointer, value) = ("/seat".to_owned(), Literal::of(value));
        OpenWait {
            step: Path::root().child(number),
            events: vec!["rang".to_owned()],
            key: "k".to_owned(),
            filter: Filter(vec![Test { pointer, op, value }]),
            since: Time(0),
            due: None,
            opened: (u64::from(number) + 1, 0),
            ask: None,
        }
    }

    /// Who is the oldest to take this body, and how many filters were tried to find out.
    fn taker(waits: &Waits, body: &str) -> (Option<u64>, usize) {
        let (body, tried) = (Tree::read(body).unwrap(), Cell::new(0));
        let counts = |_: &_| {
            tried.set(tried.get() + 1);
            true
        };
        let next = waits.next(&Lane::of("d", "rang", "k"), (0, 0), || Some(&body), counts);
        (next.map(|it| it.0.0), tried.get())
    }

    #[test]
    fn the_taker_among_many_is_found_by_the_value_that_it_wants() {
        let saga = SagaId::derived(SagaId::at(Time(1), Uuid::from_u128(1), 0, 1), "a");
        let mut waits = Waits::default();
        for seat in 0..1_000_u32 {
            waits.insert("d", saga, &wait(seat, Op::Eq, &serde_json::json!(seat)));
        }
        assert_eq!(taker(&waits, r#"{"seat":999}"#), (Some(1_000), 1));
        assert_eq!(taker(&waits, r#"{"seat":999.0}"#), (Some(1_000), 1), "the same number");
        assert_eq!(taker(&waits, r#"{"seat":"999"}"#), (None, 0), "a text is no number");
        assert_eq!(taker(&waits, "{}"), (None, 0));
        let older = wait(500, Op::Ge, &serde_json::json!(7));
        waits.insert("d", saga, &OpenWait { opened: (500, 1), ..older.clone() });
        assert_eq!(taker(&waits, r#"{"seat":999}"#), (Some(500), 1), "the older of both");
        assert_eq!(taker(&waits, r#"{"seat":3}"#), (Some(4), 1));
        waits.remove("d", &OpenWait { opened: (500, 1), ..older });
        for seat in 20..1_000 {
            waits.remove("d", &wait(seat, Op::Eq, &serde_json::json!(seat)));
        }
        assert_eq!(taker(&waits, r#"{"seat":999}"#).0, None);
        assert_eq!(taker(&waits, r#"{"seat":9}"#).0, Some(10));
    }
}
