//! Events at the door: each is durable, once, before anything waits for it.

use super::{
    Core, PAYLOAD_BYTES_MAX,
    decide::{announced_key, decided_key},
    routes::key_of,
    turns::hex,
};
use crate::{
    codec::{DecidedRow, EventRecord, IdentityRow, NoteRecord},
    effect::{Effect, Outcome, Verdict},
    exact::Tree,
    id::{Position, SagaId, Time, short_hash},
    input::{Arrival, Unreadable},
    payload::Payload,
    store::{Kind, Store, StoreError, Table},
};

/// What is kept of a header of a message that is no event: more than an id or a key may have, so
/// that what is kept is none either.
const HEADER_BYTES_MAX: usize = 1 << 10;
/// What is kept of the reason why it is none.
const REASON_BYTES_MAX: usize = 8 << 10;

impl<S: Store> Core<S> {
    pub(super) fn arrive(&mut self, now: Time, arrival: Arrival) -> Result<(), StoreError> {
        let ticket = arrival.ticket;
        let mut event = event_of(now, arrival);
        let identity = identity_of(&event);
        let digest = hex(&event.body.digest());
        let known = self.txn.get::<IdentityRow>(Table::Identity, &identity)?;
        let verdicts = match known {
            Some(row) if self.is_repeat(&row, &digest, &event.body)? => {
                vec![verdict(Outcome::Duplicate, None, None)]
            }
            Some(row) => vec![self.conflict(&identity, row, digest, event)?],
            None => self.take_in(now, &identity, digest, &mut event)?,
        };
        self.effects.push(Effect::Ack { ticket, verdicts });
        Ok(())
    }

    /// Whether it has the body of the event that came first. An older build may have worked out its
    /// digest otherwise.
    pub(super) fn is_repeat(
        &self,
        row: &IdentityRow,
        digest: &str,
        body: &Payload,
    ) -> Result<bool, StoreError> {
        if row.digest == digest {
            return Ok(true);
        }
        let first = self.txn.record::<EventRecord>(Kind::Event, row.position)?;
        Ok(first.is_some_and(|it| it.body == *body))
    }

    pub(super) fn keep_unreadable(
        &mut self,
        now: Time,
        unreadable: Unreadable,
    ) -> Result<(), StoreError> {
        let identity = unreadable_key(&unreadable);
        let Unreadable { ticket, name, id, body, is_base64, headers, published_at, reason } =
            fitting(unreadable);
        if self.txn.get::<IdentityRow>(Table::Identity, &identity)?.is_some() {
            let verdicts = vec![verdict(Outcome::Duplicate, None, None)];
            self.effects.push(Effect::Ack { ticket, verdicts });
            return Ok(());
        }
        let (detail, published_at) = (Some(reason.clone()), Some(published_at));
        let note = NoteRecord::DeadLetter {
            at: now,
            name,
            id,
            body,
            is_base64,
            headers,
            published_at,
            reason,
        };
        let position = self.txn.put_record(Kind::Note, &note)?;
        let verdicts = vec![verdict(Outcome::DeadLetter, None, detail)];
        self.put_identity(&identity, position, hex(&identity), &verdicts)?;
        self.effects.push(Effect::Ack { ticket, verdicts });
        Ok(())
    }

    pub(super) fn take_in(
        &mut self,
        now: Time,
        identity: &[u8],
        digest: String,
        event: &mut EventRecord,
    ) -> Result<Vec<Verdict>, StoreError> {
        let ruled = self.decision_from_outside(event)?;
        match &ruled {
            Some(it) if it.outcome == Outcome::Announced && !self.is_heard(&event.name) => {
                return Ok(vec![it.clone()]);
            }
            Some(it) if it.outcome == Outcome::Refused => event.verdicts = vec![it.clone()],
            _ => (),
        }
        let position = self.txn.put_record(Kind::Event, event)?;
        if event.verdicts.is_empty() {
            event.verdicts = self.route_all(now, position, event, &[])?;
            if let Some(announced) = ruled {
                event.verdicts.retain(|it| it.outcome != Outcome::Unrouted);
                event.verdicts.insert(0, announced);
            }
            self.txn.amend_record(position, event)?;
        }
        self.put_identity(identity, position, digest, &event.verdicts)?;
        Ok(event.verdicts.clone())
    }

    fn is_heard(&self, name: &str) -> bool {
        !self.hearing(name).is_empty() || self.is_missed(name, &[])
    }

    fn put_identity(
        &mut self,
        identity: &[u8],
        position: Position,
        digest: String,
        verdicts: &[Verdict],
    ) -> Result<(), StoreError> {
        let verdicts = verdicts.to_vec();
        let row = IdentityRow { position, digest, verdicts, conflicts: Vec::new() };
        self.txn.put(Table::Identity, identity, &row).map(drop)
    }

    /// The first stays in force; both bodies are kept.
    fn conflict(
        &mut self,
        identity: &[u8],
        mut row: IdentityRow,
        digest: String,
        mut event: EventRecord,
    ) -> Result<Verdict, StoreError> {
        /// More conflicts with one event than this are counted with the last one.
        const CONFLICTS_MAX: usize = 8;
        let detail = Some(format!("body {} came first, then {digest}", row.digest));
        let verdict = verdict(Outcome::Conflict, None, detail);
        let is_known = row.conflicts.iter().any(|it| it.1 == digest);
        if !is_known && row.conflicts.len() < CONFLICTS_MAX {
            event.verdicts = vec![verdict.clone()];
            let position = self.txn.put_record(Kind::Event, &event)?;
            row.conflicts.push((position, digest));
            self.txn.put(Table::Identity, identity, &row)?;
        }
        Ok(verdict)
    }

    /// A decision of a person is made by the core alone. What comes from outside under its name is
    /// our own announcement, or refused, whoever else declares the name.
    pub(super) fn decision_from_outside(
        &self,
        event: &EventRecord,
    ) -> Result<Option<Verdict>, StoreError> {
        let linked = self.registry.declaring(&event.name).into_iter();
        let linked = linked.filter_map(|it| it.declared(&event.name)).any(|it| it.is_decision);
        if !linked && !self.missing_declared(&event.name).any(|it| it.is_decision) {
            return Ok(None);
        }
        let row = self.announced(event)?;
        Ok(Some(match row {
            Some(row) => verdict(Outcome::Announced, Some(row.saga), None),
            None => {
                let why = "unsigned decision: decide the task over HTTP or tasks.decide";
                verdict(Outcome::Refused, None, Some(why.to_owned()))
            }
        }))
    }

    /// The decision that the event announces: in all that it says, as others hear it.
    fn announced(&self, event: &EventRecord) -> Result<Option<DecidedRow>, StoreError> {
        let row = self.txn.get::<DecidedRow>(Table::Decided, &announced_key(&event.id))?;
        if let Some(row) = row {
            let digest = hex(&event.body.digest());
            let says_so = row.announced.as_ref().is_some_and(|(key, body)| {
                *body == digest && event.key.as_ref().is_none_or(|it| it == key)
            });
            return Ok(Some(row).filter(|_| says_so));
        }
        // Older decisions are found by event and key alone.
        let declaring = self.registry.declaring(&event.name).into_iter();
        let declaring = declaring.filter_map(|it| it.declared(&event.name));
        for declared in declaring.filter(|it| it.is_decision) {
            let key = key_of(event, declared).unwrap_or_default();
            let key = decided_key(&event.name, &key);
            let row = self.txn.get::<DecidedRow>(Table::Decided, &key)?;
            let Ok(body) = event.body.tree() else { continue };
            let says_so = |it: &DecidedRow| {
                body.at("/approved") == Some(&Tree::Bool(it.approved))
                    && body.at("/by") == Some(&Tree::Text(it.by.as_str().into()))
            };
            let is_it = |it: &DecidedRow| it.id == event.id && it.announced.is_none();
            if let Some(row) = row.filter(|it| is_it(it) && says_so(it)) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// The event as it is recorded, before anybody has ruled on it.
pub(super) fn event_of(now: Time, arrival: Arrival) -> EventRecord {
    let Arrival { name, id, source, key, body, at: published_at, .. } = arrival;
    let (made_from, verdicts) = (None, Vec::new());
    EventRecord { at: now, name, id, source, key, published_at, body, made_from, verdicts }
}

/// Identity is ours, not the broker's: its name, from whom, its id.
pub(super) fn identity_of(event: &EventRecord) -> [u8; 16] {
    short_hash(&[&event.name, &event.source, &event.id])
}

/// A message that is no event is known by all that there is of it, and never as the event whose id
/// it has: whoever mends it may send it again under that id.
fn unreadable_key(it: &Unreadable) -> [u8; 16] {
    let encoding = if it.is_base64 { "base64" } else { "text" };
    short_hash(&["unreadable", &it.name, &it.id, encoding, &it.body])
}

/// As much of a message that is no event as a row of the store has room for, however it is written
/// there: a control character takes six bytes. A broker may be set to take more than ours does, and
/// what the store refuses would end the process at each delivery.
///
/// Of a body that is too large for an event so much is kept that it still is: offered again, the
/// beginning of a message must not pass for the whole.
fn fitting(mut it: Unreadable) -> Unreadable {
    let bytes = it.body.len();
    let bytes_max = match it.is_base64 {
        true => (PAYLOAD_BYTES_MAX / 3 + 1) * 4,
        false => PAYLOAD_BYTES_MAX + 4,
    };
    cut(&mut it.body, bytes_max);
    it.headers.values_mut().for_each(|value| cut(value, HEADER_BYTES_MAX));
    cut(&mut it.reason, REASON_BYTES_MAX);
    if it.body.len() < bytes {
        let kept = it.body.len();
        let encoded = if it.is_base64 { " of base64" } else { "" };
        it.reason.push_str(&format!("; of {bytes} bytes{encoded} the first {kept} are kept"));
    }
    it
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

fn verdict(outcome: Outcome, saga: Option<SagaId>, detail: Option<String>) -> Verdict {
    Verdict { definition: None, outcome, saga, detail }
}
