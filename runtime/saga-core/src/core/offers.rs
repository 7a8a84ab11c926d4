//! Events that could not be used, or that nobody wanted, offered again by an operator.

use super::{
    Core,
    commands::Answered,
    decide::{check_reason, refusal},
    events::{event_of, identity_of},
    turns::hex,
};
use crate::{
    codec::{EventRecord, IdentityRow, NoteRecord, OfferedRow},
    effect::{Outcome, RefusalKind, Reply, Verdict},
    id::{Position, Time},
    input::{Actor, Arrival, Role},
    saga::Definition,
    store::{Kind, Store, StoreError, Table},
};

/// An offer as it was made.
struct Offer<'a> {
    now: Time,
    by: &'a str,
    position: Position,
    reason: &'a str,
}

impl<S: Store> Core<S> {
    /// Takes in what it can. What still cannot be used stays exactly as it was.
    pub(super) fn offer_again(
        &mut self,
        now: Time,
        actor: &Actor,
        position: Position,
        reason: &str,
        reread: Option<Result<Arrival, String>>,
    ) -> Result<Answered, StoreError> {
        if actor.role < Role::Operator {
            return Ok(Err(refusal(RefusalKind::Forbidden, "offering an event takes an operator")));
        }
        if let Err(refusal) = check_reason(Some(reason), true) {
            return Ok(Err(refusal));
        }
        let offer = Offer { now, by: &actor.name, position, reason };
        if let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? {
            return self.offer_event(&offer, &event);
        }
        match self.txn.record::<NoteRecord>(Kind::Note, position)? {
            Some(NoteRecord::DeadLetter { .. }) => self.offer_dead_letter(&offer, reread),
            _ => Ok(Err(refusal(
                RefusalKind::NotFound,
                &format!("there is no event at position {position}"),
            ))),
        }
    }

    /// Each definition that could not use it, or did not want it, is asked again.
    fn offer_event(
        &mut self,
        offer: &Offer<'_>,
        event: &EventRecord,
    ) -> Result<Answered, StoreError> {
        let position = offer.position;
        let key = identity_of(event);
        let row = self.txn.get::<IdentityRow>(Table::Identity, &key)?;
        let Some(row) = row.filter(|it| it.position == position) else {
            let why = "another body came first under the id of this event, and stays in force";
            return Ok(Err(refusal(RefusalKind::Conflict, why)));
        };
        let may_be = |it: Outcome| matches!(it, Outcome::DeadLetter | Outcome::Unclaimed);
        let left: Vec<_> = row.verdicts.iter().filter(|it| may_be(it.outcome)).collect();
        if left.is_empty() {
            return Ok(match self.offered(position)? {
                Some(_) => Ok(Reply::TakenBefore(position)),
                None => Err(refusal(RefusalKind::Conflict, &not_open(&row))),
            });
        }
        let verdict = self.decision_from_outside(event)?;
        if let Some(verdict) = verdict.filter(|it| it.outcome == Outcome::Refused) {
            return Ok(unusable(verdict.detail));
        }
        let (mut whys, mut is_taken) = (Vec::new(), false);
        for name in left.into_iter().filter_map(|it| it.definition.as_deref()) {
            let Some(definition) = self.registry.get(name).cloned() else {
                whys.push(format!("{name}: it is not in this binary"));
                continue;
            };
            self.lift_reading(&definition, event);
            let fate = self.route(offer.now, &definition, position, event)?;
            if may_be(fate.0) {
                whys.push(format!("{name}: {}", fate.2.as_deref().unwrap_or("nobody wants it")));
                continue;
            }
            is_taken = true;
            if fate.0 == Outcome::Consumed {
                // Of several that take a copy, journals do not say which one the verdict names.
                let (definition, (outcome, saga, detail)) = (Some(name.to_owned()), fate.clone());
                let verdict = Verdict { definition, outcome, saga, detail };
                self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event: position, verdict })?;
            }
            self.rule(name, event, fate)?;
        }
        if !is_taken {
            return Ok(unusable(Some(whys.join("; "))));
        }
        self.note_offered(offer, position)?;
        Ok(Ok(Reply::Taken(position)))
    }

    /// A message that was no event may be one for a newer build.
    fn offer_dead_letter(
        &mut self,
        offer: &Offer<'_>,
        reread: Option<Result<Arrival, String>>,
    ) -> Result<Answered, StoreError> {
        if self.offered(offer.position)?.is_some() {
            return Ok(Ok(Reply::TakenBefore(offer.position)));
        }
        let arrival = match reread {
            Some(Ok(arrival)) => arrival,
            Some(Err(why)) => return Ok(unusable(Some(why))),
            None => return Ok(unusable(None)),
        };
        let made_from = Some(offer.position);
        let mut event = EventRecord { made_from, ..event_of(offer.now, arrival) };
        let identity = identity_of(&event);
        let digest = hex(&event.body.digest());
        if let Some(row) = self.txn.get::<IdentityRow>(Table::Identity, &identity)? {
            if !self.is_repeat(&row, &digest, &event.body)? {
                let why = format!("the event at position {} has its id", row.position);
                return Ok(Err(refusal(RefusalKind::Conflict, &why)));
            }
            // Somebody has published it again meanwhile.
            self.note_offered(offer, row.position)?;
            return Ok(Ok(Reply::Taken(offer.position)));
        }
        if let Some(verdict) = self.decision_from_outside(&event)? {
            return Ok(unusable(verdict.detail));
        }
        if let Err(why) = self.is_of_use(&event)? {
            return Ok(unusable(Some(why)));
        }
        let position = self.txn.next();
        self.take_in(offer.now, &identity, digest, &mut event)?;
        self.note_offered(offer, position)?;
        Ok(Ok(Reply::Taken(offer.position)))
    }

    /// Whether any definition could take it, before anything is written.
    fn is_of_use(&mut self, event: &EventRecord) -> Result<Result<(), String>, StoreError> {
        let declaring = self.registry.declaring(&event.name).into_iter();
        let declaring: Vec<Definition> = declaring.cloned().collect();
        let mut whys = Vec::new();
        for definition in &declaring {
            self.lift_reading(definition, event);
            match self.usable(definition, event)? {
                Ok(_) => return Ok(Ok(())),
                Err(why) => whys.push(format!("{}: {why}", definition.name)),
            }
        }
        // What nobody declares is kept until somebody does.
        Ok(if declaring.is_empty() { Ok(()) } else { Err(whys.join("; ")) })
    }

    fn note_offered(&mut self, offer: &Offer<'_>, event: Position) -> Result<(), StoreError> {
        let (position, at) = (self.txn.next(), offer.now);
        let (by, reason) = (offer.by.to_owned(), offer.reason.to_owned());
        let row = OfferedRow { position, at, by, reason, event };
        self.txn.put(Table::Offered, &offer.position.to_be_bytes(), &row).map(drop)
    }
}

fn unusable(why: Option<String>) -> Answered {
    let why = why.unwrap_or("it is no event".to_owned());
    Err(refusal(RefusalKind::Unusable, &format!("it still cannot be used: {why}")))
}

fn not_open(row: &IdentityRow) -> String {
    let verdict = |it: &Verdict| {
        let outcome = format!("{:?}", it.outcome).to_lowercase();
        match it.saga {
            Some(saga) => format!("{outcome} by saga {saga}"),
            None => outcome,
        }
    };
    let verdicts: Vec<String> = row.verdicts.iter().map(verdict).collect();
    format!("only what is dead or unclaimed is offered again; this is {}", verdicts.join(", "))
}
