//! Copies of an event for all who hold for it. There may be as many as there are sagas, and each is
//! a turn: what is too much for one input goes on behind others, from a row that says how far it
//! has come. Who held when the event came gets it, before anything that comes for them later.

use super::{
    Core,
    routes::{Fate, Routed, received},
};
use crate::{
    codec::{CopyRow, EventRecord, NoteRecord, decode},
    effect::{Outcome, Verdict},
    fold::OpenWait,
    id::{Lane, Place, Position, SagaId, Time, short_hash},
    lanes::WaitRef,
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeSet, VecDeque};

/// Events of one definition that are kept for sagas of it which are set aside: as many as a lane
/// keeps. All of them are read at a start, and when such a saga is back.
const KEPT_ASIDE_MAX: usize = 1000;

/// An event of which not all have their copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copying {
    position: Position,
    lane: Lane,
    name: String,
    key: String,
    /// Whoever gets one had opened a wait before this: an event may be offered long after it came.
    until: Position,
    /// The waits that were opened up to here have theirs.
    behind: Place,
    /// Nobody has one yet, and the event's verdict says so.
    is_kept: bool,
}

impl Copying {
    /// Whether the wait is one of the lane, was opened before this place and has no copy.
    fn is_for(&self, wait: &OpenWait, until: Place) -> bool {
        let is_of_lane = wait.key == self.key && wait.events.contains(&self.name);
        is_of_lane && wait.ask.is_none() && self.behind < wait.opened && wait.opened < until
    }

    /// Whether what was opened there was open when the event was given to all.
    fn held(&self, opened: Place) -> bool {
        opened < (self.until, 0)
    }

    fn row(&self) -> CopyRow {
        let Copying { name, key, until, behind, is_kept, .. } = self.clone();
        CopyRow { name, key, until, behind, is_kept }
    }
}

/// Whether an event is for a saga that is set aside.
enum Aside {
    /// It is not.
    Nobody,
    /// It may be; this one held for it, if it is known which.
    Holds(Option<SagaId>),
    /// It may be, and as much is kept as may be.
    Full,
}

impl<S: Store> Core<S> {
    /// Gives copies to all who hold for the event, as far as there is room, and says what became of
    /// it. Nothing when nobody holds for it. Where others are copied before it, it may wait for
    /// those who come to hold for it by them.
    pub(super) fn give_each(
        &mut self,
        now: Time,
        definition: &str,
        routed: &Routed<'_>,
        may_wait: bool,
    ) -> Result<Option<Fate>, StoreError> {
        let (position, lane) = (routed.position, routed.lane);
        let (name, key) = (routed.event.name.clone(), routed.key.clone());
        let (until, behind, is_kept) = (self.txn.next(), (0, 0), true);
        let mut copying = Copying { position, lane, name, key, until, behind, is_kept };
        if self.copying.contains_key(definition) {
            let holds = self.next_copy(&copying, routed).is_some();
            let aside = self.held_aside(routed, (until, 0));
            if !(may_wait || holds || aside.is_some()) {
                return Ok(None);
            }
            self.copy_later(definition, copying)?;
            return Ok(Some((Outcome::Kept, aside, None)));
        }
        let mut first = None;
        while let Some((opened, wait)) = self.next_copy(&copying, routed) {
            if self.room == 0 || self.has_to_wait(wait.saga)? {
                self.copy_later(definition, copying)?;
                return Ok(Some(fate_of(first)));
            }
            self.weigh_turn(wait.saga)?;
            copying.behind = opened;
            if self.offer(now, wait.saga, received(routed, wait.step))? {
                first.get_or_insert(wait.saga);
                copying.is_kept = false;
            }
        }
        let aside = self.is_for_aside(definition, &copying, routed, may_wait);
        if let Aside::Holds(_) = aside {
            self.keep_aside(definition, copying)?;
        }
        Ok(match (first, aside) {
            (None, Aside::Nobody) => None,
            (None, Aside::Holds(saga)) => Some((Outcome::Kept, saga, None)),
            (None, Aside::Full) => Some((Outcome::DeadLetter, None, Some(full()))),
            (Some(_), Aside::Full) => Some((Outcome::Consumed, first, Some(full()))),
            (Some(_), _) => Some(fate_of(first)),
        })
    }

    /// Whether the saga may still get something that came before, or has to be read first.
    fn has_to_wait(&mut self, saga: SagaId) -> Result<bool, StoreError> {
        Ok(self.is_looking(saga)? || self.must_sleep(saga))
    }

    fn next_copy(&self, copying: &Copying, routed: &Routed<'_>) -> Option<(Place, WaitRef)> {
        let next = self.next_taker(routed, copying.behind)?;
        copying.held(next.0).then_some(next)
    }

    /// Whether the event is for a saga that is set aside: one that held for it, or may have come to
    /// hold for it by one of the lane that it has not got.
    fn is_for_aside(
        &self,
        definition: &str,
        copying: &Copying,
        routed: &Routed<'_>,
        may_wait: bool,
    ) -> Aside {
        if self.aside.is_empty() {
            return Aside::Nobody; // Nearly always.
        }
        let kept = self.kept_aside.get(definition);
        let of_lane = (copying.lane, Position::MIN)..=(copying.lane, Position::MAX);
        let may_hold = || may_wait && kept.is_some_and(|it| it.range(of_lane).next().is_some());
        let holds = self.held_aside(routed, (copying.until, 0));
        if holds.is_none() && !may_hold() {
            Aside::Nobody
        } else if KEPT_ASIDE_MAX <= kept.map_or(0, BTreeSet::len) {
            Aside::Full
        } else {
            Aside::Holds(holds)
        }
    }

    /// Keeps the event for those who are set aside. Whoever has got theirs holds no more: it begins
    /// again when one of them is back.
    fn keep_aside(&mut self, definition: &str, copying: Copying) -> Result<(), StoreError> {
        let place = (copying.lane, copying.position);
        self.kept_aside.entry(definition.to_owned()).or_default().insert(place);
        self.note_copying(definition, &Copying { behind: (0, 0), ..copying })
    }

    fn note_copying(&mut self, definition: &str, copying: &Copying) -> Result<(), StoreError> {
        let (key, row) = (copy_key(definition, copying.position), copying.row());
        if self.txn.get::<CopyRow>(Table::Copy, &key)?.as_ref() != Some(&row) {
            self.txn.put(Table::Copy, &key, &row)?;
        }
        Ok(())
    }

    fn copy_later(&mut self, definition: &str, copying: Copying) -> Result<(), StoreError> {
        self.note_copying(definition, &copying)?;
        self.copying.entry(definition.to_owned()).or_default().push_back(copying);
        Ok(())
    }

    /// Goes on with the copies of a definition, the oldest event first, as far as there is room.
    pub(super) fn copy_on(&mut self, now: Time, definition: &str) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some(copying) = self.copying.get_mut(definition).and_then(VecDeque::pop_front)
        {
            let goes_on = self.copy_some(now, definition, copying)?;
            if self.copying.get(definition).is_some_and(VecDeque::is_empty) {
                self.copying.remove(definition);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// False when the next one has to be read first, or to look at what came before.
    fn copy_some(
        &mut self,
        now: Time,
        definition: &str,
        mut copying: Copying,
    ) -> Result<bool, StoreError> {
        let (position, lane, key) = (copying.position, copying.lane, copying.key.clone());
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            self.txn.delete(Table::Copy, &copy_key(definition, position));
            return Ok(true);
        };
        let routed = Routed::of(position, &event, key, lane);
        while let Some((opened, wait)) = self.next_copy(&copying, &routed) {
            let has_to_wait = self.has_to_wait(wait.saga)?;
            if self.room == 0 || has_to_wait {
                self.note_copying(definition, &copying)?;
                self.copying.entry(definition.to_owned()).or_default().push_front(copying);
                return Ok(!has_to_wait);
            }
            self.weigh_turn(wait.saga)?;
            copying.behind = opened;
            self.give_out(now, wait.saga)?;
            if self.settle(now, wait.saga, received(&routed, wait.step))? {
                if std::mem::take(&mut copying.is_kept) {
                    self.rule_copied(definition, &routed, fate_of(Some(wait.saga)))?;
                }
                self.copy_to(now, wait.saga, Position::MAX, true)?;
            }
        }
        self.have_copies(definition, copying, &routed)?;
        Ok(true)
    }

    /// All have theirs who can have one now.
    fn have_copies(
        &mut self,
        definition: &str,
        copying: Copying,
        routed: &Routed<'_>,
    ) -> Result<(), StoreError> {
        let aside = self.is_for_aside(definition, &copying, routed, true);
        if let Aside::Holds(_) = aside {
            return self.keep_aside(definition, copying);
        }
        self.txn.delete(Table::Copy, &copy_key(definition, copying.position));
        match aside {
            _ if !copying.is_kept => Ok(()),
            Aside::Full => {
                let fate = (Outcome::DeadLetter, None, Some(full()));
                self.rule_copied(definition, routed, fate)
            }
            _ => self.rule_copied(definition, routed, nobody_holds()),
        }
    }

    /// Writes what became of an event after its verdict was given. Of several that have a copy,
    /// journals do not say which one the verdict names.
    fn rule_copied(
        &mut self,
        definition: &str,
        routed: &Routed<'_>,
        fate: Fate,
    ) -> Result<(), StoreError> {
        if fate.0 == Outcome::Consumed {
            let (event, (outcome, saga, detail)) = (routed.position, fate.clone());
            let verdict =
                Verdict { definition: Some(definition.to_owned()), outcome, saga, detail };
            self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event, verdict })?;
        }
        self.rule(definition, routed.event, fate)
    }

    /// Gives a saga the copies that it has not got, before what came after them, at this position.
    pub(super) fn catch_up(
        &mut self,
        now: Time,
        saga: SagaId,
        before: Position,
    ) -> Result<(), StoreError> {
        if self.copying.is_empty() {
            return Ok(()); // Nearly always.
        }
        self.copy_to(now, saga, before, false)
    }

    /// Gives a saga what is being copied, in order. It may have got a copy late: what it has opened
    /// since then, it would have held open when the next event came.
    fn copy_to(
        &mut self,
        now: Time,
        saga: SagaId,
        before: Position,
        mut is_late: bool,
    ) -> Result<(), StoreError> {
        let start = self.state(saga)?.and_then(|it| it.start.as_ref());
        let Some(definition) = start.map(|it| it.definition.clone()) else { return Ok(()) };
        for number in 0.. {
            let of_definition = self.copying.get(&definition);
            let copying = of_definition.and_then(|it| it.get(number)).cloned();
            let Some(copying) = copying.filter(|it| it.until <= before) else { break };
            let until = if is_late { (self.txn.next(), 0) } else { (copying.until, 0) };
            while let Some(wait) = self.missed_by(saga, &copying, until)? {
                let Copying { position, lane, key, .. } = copying.clone();
                let event = self.txn.record::<EventRecord>(Kind::Event, position)?;
                let Some(event) = event else { break };
                let routed = Routed::of(position, &event, key, lane);
                // All that one saga has not got goes on at once; others wait for that.
                self.room = self.room.saturating_sub(1);
                if !self.settle(now, saga, received(&routed, wait.step))? {
                    break;
                }
                is_late = true;
                self.has_first(&definition, number, saga, &routed)?;
            }
        }
        Ok(())
    }

    /// The saga has a copy of the event with this number: the first one, while it is kept.
    fn has_first(
        &mut self,
        definition: &str,
        number: usize,
        saga: SagaId,
        routed: &Routed<'_>,
    ) -> Result<(), StoreError> {
        let of_definition = self.copying.get_mut(definition);
        let copying = of_definition.and_then(|it| it.get_mut(number)).filter(|it| it.is_kept);
        let Some(copying) = copying else { return Ok(()) };
        copying.is_kept = false;
        let copying = copying.clone();
        self.note_copying(definition, &copying)?;
        self.rule_copied(definition, routed, fate_of(Some(saga)))
    }

    /// A wait of the saga that was opened before this place and has not got its copy.
    fn missed_by(
        &mut self,
        saga: SagaId,
        copying: &Copying,
        until: Place,
    ) -> Result<Option<OpenWait>, StoreError> {
        let Some(state) = self.state(saga)? else { return Ok(None) };
        let waits = state.waits.iter().filter(|it| copying.is_for(it, until));
        let waits: Vec<OpenWait> = waits.cloned().collect();
        if waits.is_empty() {
            return Ok(None);
        }
        let event = self.txn.record::<EventRecord>(Kind::Event, copying.position)?;
        Ok(waits.into_iter().find(|it| event.as_ref().is_some_and(|by| it.filter.passes(&by.body))))
    }

    /// Copies that a saga has not got while it was set aside come before those of newer events.
    pub(super) fn copy_to_those_back(&mut self, definition: &str) -> Result<(), StoreError> {
        let Some(kept) = self.kept_aside.remove(definition) else { return Ok(()) };
        let mut all = self.copying.remove(definition).unwrap_or_default();
        for (_, position) in kept {
            let key = copy_key(definition, position);
            let row = self.txn.get::<CopyRow>(Table::Copy, &key)?;
            all.extend(row.map(|it| copying_of(definition, position, it)));
        }
        all.make_contiguous().sort_by_key(|it| it.until);
        if !all.is_empty() {
            self.copying.insert(definition.to_owned(), all);
        }
        Ok(())
    }

    /// What an earlier process has not copied to all, also those of definitions that are missing.
    pub(super) fn find_copying(&mut self) -> Result<(), StoreError> {
        let linked = self.registry.all().map(|it| it.name);
        let all: BTreeSet<String> =
            linked.map(str::to_owned).chain(self.missing.keys().cloned()).collect();
        for definition in &all {
            self.each_of(Table::Copy, &short_hash(&[definition]), |core, (row_key, value)| {
                let copying = copying_of_row(definition, &row_key, &value)?;
                core.copying.entry(definition.to_owned()).or_default().extend(copying);
                Ok(())
            })?;
        }
        for copying in self.copying.values_mut() {
            copying.make_contiguous().sort_by_key(|it| it.until);
        }
        Ok(())
    }
}

fn copying_of_row(
    definition: &str,
    key: &[u8],
    value: &[u8],
) -> Result<Option<Copying>, StoreError> {
    let position = key.get(16..).and_then(|it| it.first_chunk());
    let Some(position) = position.map(|it| u64::from_be_bytes(*it)) else { return Ok(None) };
    Ok(Some(copying_of(definition, position, decode(value)?)))
}

fn copying_of(definition: &str, position: Position, row: CopyRow) -> Copying {
    let CopyRow { name, key, until, behind, is_kept } = row;
    let lane = Lane::of(definition, &name, &key);
    Copying { position, lane, name, key, until, behind, is_kept }
}

fn copy_key(definition: &str, position: Position) -> Vec<u8> {
    [&short_hash(&[definition])[..], &position.to_be_bytes()[..]].concat()
}

/// The first who has a copy; until there is one, the event is kept.
fn fate_of(first: Option<SagaId>) -> Fate {
    let outcome = if first.is_some() { Outcome::Consumed } else { Outcome::Kept };
    (outcome, first, None)
}

pub(super) fn nobody_holds() -> Fate {
    (Outcome::Unclaimed, None, Some("nobody holds for it".to_owned()))
}

fn full() -> String {
    let max = KEPT_ASIDE_MAX;
    format!("{max} events are kept for sagas that are set aside: they do not get this one")
}
