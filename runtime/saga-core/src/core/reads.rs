//! What can be asked of the core between batches: all of it is durable then.

use super::{
    Core,
    search::{ASKS, found_key, standing_key, stray_of},
    turns::key_of_saga,
};
use crate::{
    codec::{EventRecord, IdentityRow, OfferedRow, decode},
    fold::{OpenWait, Status},
    head::Head,
    id::{Path, Position, SagaId, TaskId, Time},
    journal::Entry,
    store::{Kind, Scan, Store, StoreError, Table},
};
use std::{collections::BTreeMap, sync::Arc};

/// Which heads, newest first. What is set must hold all together.
#[derive(Clone, Debug, Default)]
pub struct HeadQuery {
    /// Only those that stand here.
    pub status: Option<Status>,
    /// Only those of this definition.
    pub definition: Option<String>,
    /// Only those with this business key.
    pub key: Option<String>,
    /// Only those with this id, with this business key, or found by this personal field.
    pub search: Option<String>,
    /// Only those that started then or later.
    pub started_from: Option<Time>,
    /// Only those that started earlier.
    pub started_before: Option<Time>,
    /// Only those with an open task.
    pub asks: bool,
    /// Only those older than this one.
    pub before: Option<SagaId>,
    /// At most so many.
    pub limit: usize,
}

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct HeadPage {
    /// Newest first.
    pub heads: Vec<Head>,
    /// The look ended here: those [`before`](HeadQuery::before) this one may hold more.
    pub next: Option<SagaId>,
}

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct TaskPage {
    /// With their sagas: one head for all tasks of a saga, however many it has.
    pub tasks: Vec<(Arc<Head>, OpenWait)>,
    /// The look ended here: there may be more behind it.
    pub next: Option<TaskId>,
}

/// An event, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is in the log.
    pub position: Position,
    /// The event.
    pub event: EventRecord,
    /// What became of it; nothing when its identity was forgotten, or it lost a conflict.
    pub identity: Option<IdentityRow>,
}

/// Rows that are read at once while a query looks for those that fit.
const ROWS_AT_ONCE: usize = 256;

/// Sagas that may fit, down to a saga below which nobody has looked yet.
#[derive(Default)]
struct Look {
    /// With their heads, where these were read anyway.
    found: BTreeMap<SagaId, Option<Head>>,
    cut: Option<SagaId>,
}

impl<S: Store> Core<S> {
    /// The head of a saga, open or ended.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn head(&self, saga: SagaId) -> Result<Option<Head>, StoreError> {
        let row = self.head_row(saga)?;
        let is_whole = row.as_ref().is_none_or(|it| it.unlisted + it.unlisted_holds == 0);
        Ok(if is_whole { row } else { self.of_journal(saga, Head::of).or(row) })
    }

    /// The definition that a saga follows, open or ended; nothing when nobody can say. Reads its
    /// head at most, and nothing while its state is in memory.
    pub fn definition_of(&self, saga: SagaId) -> Option<String> {
        let state = self.states.get(&saga).and_then(|it| it.state.start.as_ref());
        if let Some(start) = state {
            return Some(start.definition.clone());
        }
        // What cannot be read is somebody else's affair.
        self.head_row(saga).ok().flatten().map(|it| it.definition)
    }

    /// The head of a saga, with as many requests as its row lists.
    fn head_row(&self, saga: SagaId) -> Result<Option<Head>, StoreError> {
        match self.open_head(saga)? {
            Some(head) => Ok(Some(head)),
            None => self.shown(saga, self.txn.get(Table::Ended, saga.as_bytes())),
        }
    }

    /// The head of an open saga, with as many requests as its row lists.
    pub(super) fn open_head(&self, saga: SagaId) -> Result<Option<Head>, StoreError> {
        self.shown(saga, self.txn.get(Table::Open, saga.as_bytes()))
    }

    /// The journal of a saga, open or ended; empty when there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn journal(&self, saga: SagaId) -> Result<Vec<Entry>, StoreError> {
        self.txn.journal(saga)
    }

    /// Heads that fit a query, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn heads(&self, query: &HeadQuery) -> Result<Vec<Head>, StoreError> {
        let mut query = query.clone();
        let mut heads = Vec::new();
        while 0 < query.limit {
            let page = self.page(&query)?;
            query.limit -= page.heads.len();
            query.before = page.next;
            heads.extend(page.heads);
            if query.before.is_none() {
                break;
            }
        }
        Ok(heads)
    }

    /// The same, but one look at a bounded number of rows, whether it finds something or not: a
    /// filter that few fit does not hold up everything else.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn page(&self, query: &HeadQuery) -> Result<HeadPage, StoreError> {
        let look = self.look(query)?;
        let is_seen = |saga: &SagaId| look.cut.is_none_or(|cut| cut <= *saga);
        let mut heads = Vec::new();
        for (saga, head) in look.found.into_iter().rev().take_while(|it| is_seen(&it.0)) {
            let head = match head {
                Some(head) => Some(head),
                None => self.head_row(saga)?,
            };
            heads.extend(head.filter(|it| query.fits(it)));
            if query.limit <= heads.len() {
                return Ok(HeadPage { heads, next: Some(saga) });
            }
        }
        Ok(HeadPage { heads, next: look.cut })
    }

    /// Open tasks with their sagas, newest saga first, those of one saga in order: one look at a
    /// bounded number of sagas. The task that it gives beside them is where the next look goes on;
    /// nothing when there is nothing more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tasks(&self, behind: Option<&TaskId>, limit: usize) -> Result<TaskPage, StoreError> {
        let mut tasks = Vec::new();
        if let Some(behind) = behind
            && let Some(head) = self.head_row(behind.saga)?
        {
            tasks.extend(tasks_of(head).filter(|it| behind.step < it.1.step));
        }
        let before = behind.map(|it| it.saga);
        let page = self.page(&HeadQuery { asks: true, before, limit, ..HeadQuery::default() })?;
        tasks.extend(page.heads.into_iter().flat_map(tasks_of));
        let all_of = |saga| TaskId { saga, step: Path::root().child(u32::MAX) };
        Ok(TaskPage { tasks, next: page.next.map(all_of) })
    }

    /// The event at this place, with what became of it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn event(&self, position: Position) -> Result<Option<Seen>, StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(None);
        };
        let key = super::events::identity_of(&event);
        let identity = self.txn.get::<IdentityRow>(Table::Identity, &key)?;
        let identity = identity.filter(|it| it.position == position);
        Ok(Some(Seen { position, event, identity }))
    }

    /// Who offered the event or dead letter at this place again, if anybody did.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn offered(&self, position: Position) -> Result<Option<OfferedRow>, StoreError> {
        self.txn.get(Table::Offered, &position.to_be_bytes())
    }

    fn look(&self, query: &HeadQuery) -> Result<Look, StoreError> {
        let mut look = Look::default();
        if let Some(search) = &query.search {
            if let Ok(saga) = search.trim().parse::<SagaId>()
                && query.before.is_none_or(|before| saga < before)
            {
                look.found.insert(saga, None);
            }
            self.look_under(&mut look, Table::Key, |saga| key_of_saga(search, saga), query)?;
            if let Some(hash) = self.txn.store().search_key().hash(search) {
                self.look_under(&mut look, Table::Found, |saga| found_key(&hash, saga), query)?;
            }
            return Ok(look);
        }
        if let Some(key) = &query.key {
            self.look_under(&mut look, Table::Key, |saga| key_of_saga(key, saga), query)?;
            return Ok(look);
        }
        let standing = if query.asks { Some(ASKS) } else { query.status.map(Status::as_str) };
        match standing {
            Some(standing) => self.look_at_those(&mut look, standing, query)?,
            None => {
                self.look_in(&mut look, Table::Open, query)?;
                self.look_in(&mut look, Table::Ended, query)?;
            }
        }
        self.look_at_strays(&mut look, query)?;
        Ok(look)
    }

    /// Those that stand so are found without looking at others.
    fn look_at_those(
        &self,
        look: &mut Look,
        standing: &str,
        query: &HeadQuery,
    ) -> Result<(), StoreError> {
        let newest = query.started_before.map(SagaId::first_of);
        let before = query.before.into_iter().chain(newest).min();
        let query = HeadQuery { before, ..query.clone() };
        self.look_under(look, Table::Standing, |saga| standing_key(standing, saga), &query)?;
        // An id tells when its saga began, but for strays, which are looked at beside.
        let Some(oldest) = query.started_from.map(SagaId::first_of) else { return Ok(()) };
        look.found = look.found.split_off(&oldest);
        look.cut = look.cut.filter(|cut| oldest <= *cut);
        Ok(())
    }

    /// The sagas of a hash are found without looking at others.
    fn look_under(
        &self,
        look: &mut Look,
        table: Table,
        key: impl Fn(SagaId) -> Vec<u8>,
        query: &HeadQuery,
    ) -> Result<(), StoreError> {
        let prefix = &key(SagaId(uuid::Uuid::nil()))[..HASH_BYTES];
        let beyond = query.before.map(key);
        let (limit, is_backward) = (ROWS_AT_ONCE, true);
        let scan = Scan { table, prefix, beyond: beyond.as_deref(), is_backward, limit };
        let rows = self.txn.store().rows(&scan)?;
        let sagas = rows.iter().filter_map(|it| saga_of(&it.0[HASH_BYTES..]));
        let sagas: Vec<SagaId> = sagas.collect();
        look.cut_at(sagas.last().copied().filter(|_| rows.len() == limit));
        look.found.extend(sagas.into_iter().map(|it| (it, None)));
        Ok(())
    }

    /// An id tells when its saga began, so that age bounds what is looked at.
    fn look_in(&self, look: &mut Look, table: Table, query: &HeadQuery) -> Result<(), StoreError> {
        let oldest = query.started_from.map(SagaId::first_of);
        let newest = query.started_before.map(SagaId::first_of);
        let before = query.before.into_iter().chain(newest).min();
        if oldest.is_some_and(|oldest| before.is_some_and(|before| before <= oldest)) {
            return Ok(()); // What is left are strays.
        }
        let beyond = before.as_ref().map(|it| &it.as_bytes()[..]);
        let (limit, prefix) = (query.rows_at_once(), &[][..]);
        let rows =
            self.txn.store().rows(&Scan { table, prefix, beyond, is_backward: true, limit })?;
        let is_full = rows.len() == limit;
        let mut last = None;
        for (key, value) in rows {
            let Some(saga) = saga_of(&key) else { continue };
            if oldest.is_some_and(|oldest| saga < oldest) {
                return Ok(());
            }
            look.found.insert(saga, self.shown(saga, decode(&value).map(Some))?);
            last = Some(saga);
        }
        look.cut_at(last.filter(|_| is_full));
        Ok(())
    }

    /// Sagas whose id is older than they are: their keys say when they began, so that those of
    /// another age cost no look at their heads.
    fn look_at_strays(&self, look: &mut Look, query: &HeadQuery) -> Result<(), StoreError> {
        let Some(from) = query.started_from else { return Ok(()) };
        let until = query.started_before.unwrap_or(Time::NEVER);
        let beyond = query.before.as_ref().map(|it| &it.as_bytes()[..]);
        let (table, prefix, limit) = (Table::Stray, &[][..], ROWS_AT_ONCE);
        let scan = Scan { table, prefix, beyond, is_backward: true, limit };
        let rows = self.txn.store().rows(&scan)?;
        let mut last = None;
        for (saga, at) in rows.iter().filter_map(|it| stray_of(&it.0)) {
            if from <= at && at < until {
                look.found.entry(saga).or_default();
            }
            last = Some(saga);
        }
        look.cut_at(last.filter(|_| rows.len() == limit));
        Ok(())
    }
}

/// Keys of the tables that are looked into by a hash begin with it.
const HASH_BYTES: usize = 16;

/// The saga whose id is this part of a key.
pub(super) fn saga_of(key: &[u8]) -> Option<SagaId> {
    uuid::Uuid::from_slice(key).ok().map(SagaId)
}

fn tasks_of(head: Head) -> impl Iterator<Item = (Arc<Head>, OpenWait)> {
    let mut asks: Vec<OpenWait> =
        head.waits.iter().filter(|it| it.ask.is_some()).cloned().collect();
    asks.sort_by(|a, b| a.step.cmp(&b.step));
    let head = Arc::new(head);
    asks.into_iter().map(move |it| (Arc::clone(&head), it))
}

impl Look {
    /// Nobody has looked below this one.
    fn cut_at(&mut self, cut: Option<SagaId>) {
        self.cut = self.cut.max(cut);
    }
}

impl HeadQuery {
    /// Where every saga fits, nobody looks at more of them than are wanted.
    fn rows_at_once(&self) -> usize {
        let takes_all = self.definition.is_none();
        if takes_all { self.limit.clamp(1, ROWS_AT_ONCE) } else { ROWS_AT_ONCE }
    }

    fn fits(&self, head: &Head) -> bool {
        self.status.is_none_or(|it| it == head.status)
            && self.definition.as_ref().is_none_or(|it| *it == head.definition)
            && self.key.as_ref().is_none_or(|it| *it == head.key)
            && self.started_from.is_none_or(|it| it <= head.started_at)
            && self.started_before.is_none_or(|it| head.started_at < it)
            && (!self.asks || head.waits.iter().any(|it| it.ask.is_some()))
    }
}
