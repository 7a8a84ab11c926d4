//! Reads a saga's journal in the order of the log, from any place on, a bounded piece at a time.
//!
//! Entries stand in the order in which their facts happened, and in the log in the same order, but
//! for those that were held: an entry that is written again when its fact is applied moves to the
//! log's end. Only the order of the log lets a reader say with one position what it has seen, so
//! that is the order here: a reader who was there sees a held fact twice, under the same number of
//! the entry, first held and then with what was decided on it; one who comes later sees it once.

use crate::{
    engine::Handle,
    http::{
        entries::{self, ReadError, VISIT_ENTRIES_MAX, Visit},
        journal::{Keys, RecordView, count_of, records_of},
    },
};
use saga_core::{
    codec::decode_entry,
    head::Head,
    id::{Position, SagaId},
    journal::{Entry, Hold, Turn},
};
use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};
use tokio::sync::Semaphore;

/// Where a record is in the log. Its text is the position of its entry, and behind a dot which of
/// the decisions it is, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    position: Position,
    /// 0 is the fact.
    index: usize,
}

/// The id of a message: the place of its record, and before a dash the epoch in which it was read,
/// unless that is 0. A store that was restored has other records at the places that it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    epoch: u64,
    place: Place,
}

/// A text that no record has as its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

/// A record and where it is.
pub(super) struct Message {
    pub(super) mark: Mark,
    pub(super) record: RecordView,
}

/// Where an entry stands in the log.
struct Standing {
    position: Position,
    number: u32,
    /// It may have been written again.
    may_have_moved: bool,
}

impl Standing {
    fn of(number: u32, entry: &Entry) -> Standing {
        let may_have_moved = match &entry.turn {
            // The turn of a fact that was held is later than the fact.
            Turn::Done { at, .. } => *at != entry.at,
            Turn::Held(Hold::GivenBack | Hold::Stuck { .. }) => true,
            Turn::Held(Hold::Paused | Hold::Behind) => false,
        };
        Standing { position: entry.position, number, may_have_moved }
    }
}

/// What was new at one moment, in the order of the log; it is taken with [`Cursor::take`].
pub(super) struct News {
    /// The log's end at that moment.
    until: Position,
    order: Vec<(Position, u32)>,
    /// How many of them were taken.
    taken: usize,
    /// The entries themselves, when one visit had room for them.
    at_hand: Vec<(u32, Entry)>,
    /// How many records these entries have.
    pub(super) records: usize,
    /// The saga, when it has ended: nothing follows.
    pub(super) ended: Option<Head>,
}

/// One reader's way through a journal.
pub(super) struct Cursor {
    engine: Handle,
    /// Visits of all readers at once.
    visits: Arc<Semaphore>,
    saga: SagaId,
    /// That of the last look.
    epoch: u64,
    keys: Keys,
    /// How many records each entry has.
    counts: Vec<usize>,
    /// Entries that may be written again, or were since the last look.
    open: BTreeSet<u32>,
    seen: Place,
    /// An entry, and how many records stand before it.
    before: (usize, usize),
}

impl Cursor {
    pub(super) fn new(engine: Handle, visits: Arc<Semaphore>, saga: SagaId) -> Cursor {
        let (counts, open, seen) = (Vec::new(), BTreeSet::new(), Place { position: 0, index: 0 });
        let keys = Keys::unknown(saga);
        Cursor { engine, visits, saga, epoch: 0, keys, counts, open, seen, before: (0, 0) }
    }

    /// Looks at the whole journal, and goes on behind this message. `None` when none of this saga
    /// can have had that id, or the store was restored since.
    pub(super) async fn begin(&mut self, last: Option<Mark>) -> Result<Option<News>, ReadError> {
        let (mut news, all) = self.look().await?;
        if let Some(Mark { epoch, place: last }) = last {
            if epoch != self.epoch || !self.was_given(last, &all) {
                return Ok(None);
            }
            self.seen = last;
            news.leave_out(last, &self.counts);
        }
        Ok(Some(news))
    }

    /// What was written since the last look.
    pub(super) async fn news(&mut self) -> Result<News, ReadError> {
        Ok(self.look().await?.0)
    }

    /// The next messages; none when all were taken.
    pub(super) async fn take(&mut self, news: &mut News) -> Result<Vec<Message>, ReadError> {
        let entries = if news.at_hand.is_empty() {
            self.fetch(news).await?
        } else {
            news.taken = news.order.len();
            std::mem::take(&mut news.at_hand)
        };
        let (epoch, seen) = (self.epoch, self.seen);
        let mut messages = Vec::new();
        for (number, entry) in &entries {
            let before = self.records_before(*number as usize);
            let records = records_of(self.keys, *number, entry).into_iter();
            let placed = records.enumerate().map(|(index, record)| {
                let place = Place { position: entry.position, index };
                Message { mark: Mark { epoch, place }, record: record.numbered(before + index) }
            });
            messages.extend(placed.filter(|it| seen < it.mark.place));
        }
        if news.is_taken() {
            self.seen = Place { position: news.until, index: usize::MAX };
        }
        Ok(messages)
    }

    /// Whether the saga is there.
    pub(super) fn has_journal(&self) -> bool {
        !self.counts.is_empty()
    }

    /// What is new up to the log's end, and the places of all entries that were looked at.
    async fn look(&mut self) -> Result<(News, Vec<Standing>), ReadError> {
        let mut open: Vec<u32> = self.open.iter().copied().collect();
        let mut visit = self.visit(open.clone(), Some(self.counts.len())).await?;
        let (until, ended) = (visit.position, visit.ended.take());
        self.epoch = visit.epoch;
        let (mut all, mut at_hand) = (Vec::new(), Vec::new());
        let is_at_once = visit.is_all;
        loop {
            for (number, stored) in &visit.entries {
                let entry = decode_entry(stored)?;
                self.learn(*number, &entry, until);
                all.push(Standing::of(*number, &entry));
                if is_at_once && self.seen.position < entry.position {
                    at_hand.push((*number, entry));
                }
            }
            if visit.is_all {
                break;
            }
            open.drain(..open.len().min(visit.entries.len()));
            visit = self.visit(open.clone(), Some(self.counts.len())).await?;
        }
        let is_new = |it: &(Position, u32)| self.seen.position < it.0 && it.0 <= until;
        let places = all.iter().map(|it| (it.position, it.number));
        let mut order: Vec<(Position, u32)> = places.filter(is_new).collect();
        order.sort_unstable();
        at_hand.sort_unstable_by_key(|it| it.1.position);
        let records = order.iter().map(|it| self.counts[it.1 as usize]).sum();
        let news = News { until, order, taken: 0, at_hand, records, ended };
        Ok((news, all))
    }

    /// The next entries of the order, as far as one visit goes.
    async fn fetch(&mut self, news: &mut News) -> Result<Vec<(u32, Entry)>, ReadError> {
        let wanted = &news.order[news.taken..];
        let wanted = &wanted[..wanted.len().min(VISIT_ENTRIES_MAX)];
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = wanted.iter().map(|it| it.1).collect();
        let visit = self.visit(numbers, None).await?;
        let mut entries = Vec::with_capacity(visit.entries.len());
        for ((position, number), (_, stored)) in wanted.iter().zip(visit.entries) {
            news.taken += 1;
            if stored.position == *position {
                entries.push((*number, decode_entry(&stored)?));
            } else {
                // Written again meanwhile: it comes at its new place.
                self.open.insert(*number);
            }
        }
        Ok(entries)
    }

    /// Reads these entries, and then those from `from` on.
    async fn visit(&self, numbers: Vec<u32>, from: Option<usize>) -> Result<Visit, ReadError> {
        // The semaphore is never closed.
        let _one_of_few = self.visits.acquire().await;
        entries::visit(&self.engine, self.saga, numbers, from).await
    }

    fn learn(&mut self, number: u32, entry: &Entry, until: Position) {
        let (at, count) = (number as usize, count_of(entry));
        match self.counts.get_mut(at) {
            Some(known) if *known == count => (),
            Some(known) => (*known, self.before) = (count, (0, 0)),
            None => self.counts.push(count),
        }
        if at == 0 {
            self.keys = Keys::of(self.saga, entry);
        }
        let is_held = matches!(&entry.turn, Turn::Held(it) if *it != Hold::GivenBack);
        if is_held || until < entry.position {
            self.open.insert(number);
        } else {
            self.open.remove(&number);
        }
    }

    fn records_before(&mut self, entry: usize) -> usize {
        let (mut at, mut before) = self.before;
        if entry < at {
            (at, before) = (0, 0);
        }
        before += self.counts[at..entry].iter().sum::<usize>();
        self.before = (entry, before);
        before
    }

    /// Whether a message can have had this place: one that is in the journal now, or that of a held
    /// fact that was written again, maybe more than once. Such an entry stood behind the last one
    /// before it that never moved, and before where it stands now.
    fn was_given(&self, place: Place, all: &[Standing]) -> bool {
        if let Some(it) = all.iter().find(|it| it.position == place.position) {
            return place.index < self.counts[it.number as usize];
        }
        let (mut first_later, mut moved_until) = (Position::MAX, 0);
        let mut was_given = false;
        for it in all.iter().rev() {
            // A later entry that stands before it in the log is of an operator who let it go on.
            if it.may_have_moved || first_later < it.position {
                moved_until = it.position.max(moved_until);
            } else {
                was_given |= it.position < place.position && place.position < moved_until;
                moved_until = 0;
            }
            first_later = it.position.min(first_later);
        }
        was_given |= 0 < place.position && place.position < moved_until;
        was_given && place.index == 0
    }
}

impl News {
    pub(super) fn is_taken(&self) -> bool {
        self.taken == self.order.len()
    }

    /// Leaves out what stands up to this place.
    fn leave_out(&mut self, last: Place, counts: &[usize]) {
        let is_left = |position: Position, number: u32| {
            last.position < position
                || last.position == position && last.index + 1 < counts[number as usize]
        };
        self.order.retain(|it| is_left(it.0, it.1));
        self.at_hand.retain(|it| is_left(it.1.position, it.0));
        self.records = self.order.iter().map(|it| counts[it.1 as usize]).sum();
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.position),
            index => write!(f, "{}.{index}", self.position),
        }
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Place, NoPlace> {
        let (position, index) = text.split_once('.').unwrap_or((text, "0"));
        let position = position.parse().map_err(|_| NoPlace)?;
        let index = index.parse().map_err(|_| NoPlace)?;
        let place = Place { position, index };
        // Signs and leading zeros are not ours.
        if place.to_string() == text { Ok(place) } else { Err(NoPlace) }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            0 => self.place.fmt(f),
            epoch => write!(f, "{epoch}-{}", self.place),
        }
    }
}

impl FromStr for Mark {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Mark, NoPlace> {
        let (epoch, place) = text.split_once('-').unwrap_or(("0", text));
        let mark = Mark { epoch: epoch.parse().map_err(|_| NoPlace)?, place: place.parse()? };
        if mark.to_string() == text { Ok(mark) } else { Err(NoPlace) }
    }
}

#[cfg(test)]
mod tests;
