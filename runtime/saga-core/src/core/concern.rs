//! What an input is about, so that it can wait until that is in memory. Nothing is changed here.

use super::{
    Core,
    events::{event_of, identity_of},
    routes::{Routed, key_at},
};
use crate::{
    codec::{EventRecord, IdentityRow},
    fold::OpenWait,
    id::{Lane, SagaId},
    input::{Answered, Command, Input, Role},
    saga::Route,
    store::{Kind, Store, StoreError, Table},
};
use std::collections::BTreeSet;

/// What an input is about, as far as it may have to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concern {
    /// Sagas: those with long journals have to be in memory.
    pub sagas: BTreeSet<SagaId>,
    /// The lanes of an event: no other one may overtake it there, and nothing else that is about
    /// whoever holds for it.
    pub lanes: BTreeSet<Lane>,
    /// The families of definitions that it is about.
    pub(crate) families: BTreeSet<String>,
    /// Those of them of which any saga may come to hold for the event by what came before it: none
    /// does now, or no lane keeps it, as it starts one or each who holds for it gets a copy.
    pub(crate) anybodys: BTreeSet<String>,
    /// Under what an event is known: what comes first under it stays in force.
    pub identity: Option<[u8; 16]>,
}

impl<S: Store> Core<S> {
    /// Whether there is a saga for which an input may have to wait: most often there is none.
    pub fn may_hold_up(&self) -> bool {
        !self.long.is_empty() || self.may_be_busy() || self.timers.wait()
    }

    /// What the input is about. What is long of it has to be in memory before it is handled, so
    /// that it costs no journal longer than [`Limits::wake_at_once`].
    ///
    /// # Errors
    /// The store cannot be read.
    ///
    /// [`Limits::wake_at_once`]: super::Limits::wake_at_once
    pub fn concern(&self, input: &Input) -> Result<Concern, StoreError> {
        let mut concern = Concern::default();
        match input {
            Input::Arrived(it) => concern = self.concern_of_event(event_of(it.at, it.clone()))?,
            Input::Answered(Answered { saga, epoch, step, is_undo, .. }) => {
                // A repeat is not worth a journal.
                if !self.is_long(*saga) || self.asks(*saga, *epoch, step, *is_undo)? {
                    _ = concern.sagas.insert(*saga);
                }
            }
            Input::Published { saga, .. } | Input::PublishRefused { saga, .. } => {
                _ = concern.sagas.insert(*saga);
            }
            Input::Woken { saga, .. } => _ = concern.sagas.insert(*saga),
            Input::Asked { actor, command, .. } if Role::Approver <= actor.role => {
                concern = self.concern_of_command(command)?;
            }
            Input::Asked { .. } | Input::Unreadable(_) | Input::Tick { .. } | Input::GoOn => (),
        }
        concern.families.extend(concern.sagas.iter().filter_map(|it| self.family_of(*it)));
        Ok(concern)
    }

    /// The lanes for which an open saga holds. Reads its row at most, and what that does not list.
    pub(crate) fn lanes_of(&self, saga: SagaId) -> Result<Vec<Lane>, StoreError> {
        let lanes = |definition: &str, waits: &[OpenWait]| -> Vec<Lane> {
            let lanes = |wait: &OpenWait| -> Vec<Lane> {
                wait.events.iter().map(|it| Lane::of(definition, it, &wait.key)).collect()
            };
            waits.iter().flat_map(lanes).collect()
        };
        if let Some((state, start)) =
            self.states.get(&saga).and_then(|it| Some((&it.state, it.state.start.as_ref()?)))
        {
            return Ok(lanes(&start.definition, &state.waits));
        }
        let Some(head) = self.open_head(saga)? else { return Ok(Vec::new()) };
        let mut all = lanes(&head.definition, &head.waits);
        for wait in self.unlisted_holds(saga)? {
            all.extend(lanes(&head.definition, &[wait]));
        }
        Ok(all)
    }

    fn concern_of_command(&self, command: &Command) -> Result<Concern, StoreError> {
        let mut concern = Concern::default();
        match command {
            Command::Move { saga, .. } | Command::Waive { saga, .. } => {
                _ = concern.sagas.insert(*saga)
            }
            Command::Decide(decide) => {
                self.asking(&decide.target)
                    .into_iter()
                    .for_each(|it| _ = concern.sagas.insert(it.0));
            }
            Command::Offer { position, reread, .. } => {
                match reread.as_deref() {
                    // From now on it may be the one that is known under its id.
                    Some(Ok(arrival)) => {
                        concern = self.concern_of_event(event_of(arrival.at, arrival.clone()))?;
                    }
                    Some(Err(_)) => (),
                    None => {
                        let event = self.txn.record::<EventRecord>(Kind::Event, *position)?;
                        concern = event.map_or(concern, |it| self.concern_of_routing(&it));
                    }
                }
            }
            Command::Start { definition, .. } => {
                concern.families.insert(self.families.name(definition).to_owned());
            }
            Command::AcceptClock { .. } => (),
        }
        Ok(concern)
    }

    fn concern_of_event(&self, event: EventRecord) -> Result<Concern, StoreError> {
        let identity = identity_of(&event);
        // What came before is given to nobody.
        let is_known = self.txn.get::<IdentityRow>(Table::Identity, &identity)?.is_some();
        let concern = if is_known { Concern::default() } else { self.concern_of_routing(&event) };
        Ok(Concern { identity: Some(identity).filter(|_| !is_known), ..concern })
    }

    /// Its lanes, and the oldest taker of each. Copies are made for all who hold for it, in pieces.
    fn concern_of_routing(&self, event: &EventRecord) -> Concern {
        let mut concern = Concern::default();
        let linked = self.hearing(&event.name);
        let linked = linked.iter().filter_map(|it| {
            let declared = it.declared(&event.name)?;
            Some((it.name, declared.key, declared.starts, declared.route == Route::Each))
        });
        let missing = self.missing.values().filter_map(|it| {
            let mut events = it.events.iter().filter(|it| !it.is_decision);
            let declared = events.find(|it| it.name == event.name)?;
            let starts = declared.starts != Some(false);
            Some((it.definition.as_str(), declared.key.as_deref()?, starts, declared.is_copied))
        });
        for (definition, pointer, starts, is_copied) in linked.chain(missing) {
            // What has no key has no taker.
            let Ok(key) = key_at(event, pointer) else { continue };
            let lane = Lane::of(definition, &event.name, &key);
            let routed = Routed::of(0, event, key, lane);
            let taker = self.next_taker(&routed, (0, 0)).filter(|_| !is_copied);
            let family = self.families.name(definition).to_owned();
            if taker.is_none() || starts {
                concern.anybodys.insert(family.clone());
            }
            concern.families.insert(family);
            concern.sagas.extend(taker.map(|it| it.1.saga));
            concern.lanes.insert(lane);
        }
        concern
    }
}
