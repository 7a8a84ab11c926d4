//! Whose store: what is known of a store outside of its directory, so that a wrong, an empty or an
//! old one is noticed before it does anything.
//!
//! A directory agrees with itself, whatever was copied into it. So each process has a record at the
//! broker, in the stream `STORES` under a subject that its user alone may write: instance, epoch
//! and position of its store. Before a process takes or sends anything it compares:
//!
//! | the record | the process |
//! |---|---|
//! | is absent, as the broker is new or has lost its disk | makes it |
//! | names this store, not beyond where it ends | goes on |
//! | names this store, beyond where it ends | the store is an old copy: it begins a new epoch |
//! | names this store, by a run that it never had | a copy has gone on: it begins a new epoch |
//! | names another store | is refused, unless an operator has said [`take_over`] for this start |
//!
//! A copy of a store is the same store by its record. So before it claims, a process asks whether
//! another one of its name is there, and is refused if one answers ([`presence`]).
//!
//! The record is renewed every few seconds and at the end, by compare and set: whoever finds that
//! another process has written it has been replaced, and ends. After each connection that was lost
//! that is found out before anything is taken or sent ([`Keeper`]). A record of before what this
//! run has written itself is of a broker that has lost its last minutes: it is written anew. The
//! position in a record may be some seconds old, so it is a lower bound.
//!
//! A store at position 0 has done nothing yet, and does nothing before it has been compared. Any
//! other one has been, at some time, and may serve while the broker is away.

mod keeper;
mod presence;
mod record;
mod renewal;
mod runs;
mod word;

pub use keeper::Keeper;
pub use record::Record;
pub use renewal::Kept;
pub use word::{WordError, take_over};
pub(crate) use word::{times_used, was_told};

use crate::{
    crash,
    db::{Db, DbError},
    nats::{CONNECT_WITHIN, Nats, NatsError, RECONNECT_MS_MAX, apply_stream, stores_stream},
};
use futures::future::try_join;
use presence::Presence;
use record::{Found, Place, Written};
use std::{path::PathBuf, time::Duration};
use tokio::time::sleep;
use trust::store;
use uuid::Uuid;

/// After a broker that did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// A process that lost its connection has another one by then, if it can: an attempt and the pause
/// before it were in vain, as the broker was not there yet.
const BACK_WITHIN: Duration =
    Duration::from_millis(RECONNECT_MS_MAX + 500).saturating_add(CONNECT_WITHIN);

/// The store is not the one that is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store in {dir} is instance {ours} and ends at position {position}, but {witness} knows \
     {theirs} as the store of {process}: this is the wrong directory, or an empty one where a disk \
     should be; start it with the right one. To give that store up for this one: `{program} \
     take-over --from {theirs} --reason WHY`, and start it again"
)]
pub struct AnotherStore {
    dir: PathBuf,
    ours: Uuid,
    position: u64,
    /// Who knows another one.
    witness: String,
    theirs: Uuid,
    process: String,
    /// How the process was run.
    program: String,
}

/// Why a store may not be used, or not now.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The record names another store.
    #[error(transparent)]
    Another(#[from] Box<AnotherStore>),
    /// Another process of this name is at work.
    #[error(
        "another {process} (process {id} of its machine, store {instance}) is at work at this \
         broker: only one may be, and nothing was taken or sent by this one; stop that one, or \
         give this one a broker of its own"
    )]
    AtWork {
        /// The process's name.
        process: String,
        /// Its id.
        id: u32,
        /// The instance of its store.
        instance: Uuid,
    },
    /// Another process has written the record since.
    #[error(
        "another process has begun to use a copy of the store in {dir} as that of {process}: only \
         one may run; this one ends, and what it was given since is in its directory alone"
    )]
    Replaced {
        /// The store's directory.
        dir: PathBuf,
        /// The process's name.
        process: String,
    },
    /// What an operator said cannot be read.
    #[error(transparent)]
    Word(#[from] WordError),
    /// The new epoch could not be written.
    #[error("failed to begin a new epoch: {0}")]
    Store(#[from] DbError),
    /// The broker cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// Somebody else has written the record since it was read.
    #[error("somebody else has written the record of the store meanwhile")]
    Overtaken,
    /// The broker takes no record: it is full, as a rule.
    #[error("the broker refuses the record of the store: {0}")]
    Refused(String),
    /// The broker does not answer, or not as it should.
    #[error("failed to compare the store with its record at the broker: {0}")]
    Broker(String),
}

impl ClaimError {
    /// Whether trying again cannot mend it.
    pub fn is_final(&self) -> bool {
        !matches!(self, ClaimError::Broker(_) | ClaimError::Refused(_) | ClaimError::Overtaken)
    }
}

/// What the comparison has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The broker has no record of this process: others may know more.
    Unknown,
    /// The record is of this store.
    Known,
    /// An operator gave the store of the record up for this one.
    TakenOver,
}

/// Judges what others know of a store.
#[derive(Clone, Debug)]
pub struct Judge {
    db: Db,
    process: String,
    /// The run that goes by an operator's words.
    run: Uuid,
}

/// A process's claim to its record.
#[derive(Debug)]
pub struct Claim {
    nats: Nats,
    db: Db,
    judge: Judge,
    place: Place,
    presence: Presence,
    /// Names this run of the process, so that it knows its own record from that of a copy.
    run: Uuid,
    /// Whether the claim was made.
    is_made: bool,
    /// The connection on which it was looked last whether others are there.
    looked_on: Option<u64>,
    /// The record as it was found for the claim.
    known: Option<Record>,
    /// Its sequence; 0 when there is none.
    sequence: u64,
    /// What this run has written last.
    said: Option<Record>,
    /// The replicas of the stream, in the one process that makes it.
    replicas: Option<usize>,
}

impl Judge {
    /// Begins a new epoch when this store had come further in what a witness knows of it, unless it
    /// has begun one behind that already. Says whether it has begun one now. What this run has said
    /// itself is no witness.
    ///
    /// # Errors
    /// The epoch cannot be written.
    pub fn is_behind(&self, epoch: u64, position: u64, witness: &str) -> Result<bool, ClaimError> {
        let (opened_in, opened_at) = (self.db.opened_in(), self.db.opened_at());
        let opened = store::Standing { epoch: opened_in, position: opened_at };
        let known = store::Standing { epoch, position };
        let next = store::next_epoch(opened, known).filter(|next| self.db.epoch() < *next);
        let Some(next) = next else { return Ok(false) };
        self.db.begin_epoch(next)?;
        tracing::error!(
            dir = %self.db.dir().display(), opened_at, known = position, witness, epoch = next,
            "the store is OLDER than what is known of it, as after a restore from a backup: what \
             came after the position at which it was opened is lost to it. It begins a new epoch"
        );
        Ok(true)
    }

    /// Whether an operator has given that store up for this one.
    ///
    /// # Errors
    /// Nobody has: [`ClaimError::Another`].
    pub fn yields(&self, theirs: Uuid, witness: &str) -> Result<(), ClaimError> {
        self.yields_to(theirs, None, witness)
    }

    /// The same, with the record that says so.
    fn yields_to(
        &self,
        theirs: Uuid,
        record: Option<Record>,
        witness: &str,
    ) -> Result<(), ClaimError> {
        let words = word::given(self.db.dir())?.into_iter().filter(|it| it.from == theirs);
        let (hold, past): (Vec<_>, Vec<_>) = words.partition(|it| it.holds_for(self.run, record));
        let ours = self.db.instance();
        if let Some(word) = hold.first() {
            let (reason, at) = (&word.reason, word.at);
            tracing::warn!(%ours, %theirs, witness, reason, at, "takes over, as told");
            return Ok(());
        }
        if let Some(word) = past.last() {
            let (reason, at) = (&word.reason, word.at);
            tracing::warn!(%ours, %theirs, reason, at, "a former `take-over` counts no more");
        }
        Err(self.another(theirs, witness))
    }

    fn another(&self, theirs: Uuid, witness: &str) -> ClaimError {
        if let Err(error) = word::refused_for(self.db.dir(), theirs, witness) {
            let file = word::refusals(self.db.dir());
            tracing::error!(
                %theirs, %error, file = %file.display(),
                "it cannot be written down for which store this one is refused: `take-over` is \
                 compared with that, so mend it and start again before you say so"
            );
        }
        ClaimError::from(Box::new(AnotherStore {
            dir: self.db.dir().to_owned(),
            ours: self.db.instance(),
            position: self.db.position(),
            witness: witness.to_owned(),
            theirs,
            process: self.process.clone(),
            program: word::program(&self.process),
        }))
    }
}

/// Gives the record of this run back to a store that was there before: what another one began was a
/// mistake. The record of any other run stays.
///
/// # Errors
/// The broker does not answer.
pub async fn give_back(
    nats: &Nats,
    process: &str,
    ours: Uuid,
    (instance, epoch, position): (Uuid, u64, u64),
) -> Result<(), ClaimError> {
    let place = Place::new(nats.clone(), process);
    let (run, broker) = (Uuid::nil(), nats.server());
    let record = Record { instance, epoch, position, run, has_ended: true, broker };
    while let Found::Record(Record { run, .. }, sequence) = place.read().await?
        && run == ours
    {
        // This run may have renewed it meanwhile.
        if !matches!(place.write(&record, sequence).await?, Written::Overtaken) {
            break;
        }
    }
    Ok(())
}

impl Claim {
    /// Nothing is asked or written yet.
    pub fn new(nats: Nats, db: Db, process: &str) -> Claim {
        let run = Uuid::from_bytes(rand::random());
        Claim {
            place: Place::new(nats.clone(), process),
            presence: Presence::new(nats.clone(), &db, process, run),
            nats,
            judge: Judge { db: db.clone(), process: process.to_owned(), run },
            db,
            run,
            is_made: false,
            looked_on: None,
            known: None,
            sequence: 0,
            said: None,
            replicas: None,
        }
    }

    /// The stream of records is this process's to make.
    #[must_use]
    pub fn making_the_stream(self, replicas: usize) -> Claim {
        Claim { replicas: Some(replicas), ..self }
    }

    /// Judges what others know of the store.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Names this run of the process.
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// Compares and claims, as soon as the broker answers. A claim that was made stays so.
    ///
    /// # Errors
    /// The store may not be used: see [`ClaimError::is_final`].
    pub async fn settle(&mut self) -> Result<(), ClaimError> {
        while !self.is_made {
            match self.try_settle().await {
                Err(error) if !error.is_final() => {
                    tracing::warn!(%error, "trying again");
                    sleep(PAUSE).await;
                }
                settled => return settled,
            }
        }
        Ok(())
    }

    async fn try_settle(&mut self) -> Result<(), ClaimError> {
        self.look().await?;
        self.stand()?;
        self.make().await
    }

    /// As [`Claim::settle`], for a [`Keeper`].
    ///
    /// # Errors
    /// As for that.
    pub async fn settled(mut self) -> Result<Claim, ClaimError> {
        self.settle().await.map(|()| self)
    }

    /// Looks at the record, and whether another process is there. Who finds none, neither at work
    /// nor of the run that has written the record, and is not overtaken when the claim is made, is
    /// the only one: any other has made its own before, or is overtaken.
    ///
    /// # Errors
    /// Another one is at work, or the broker does not answer.
    pub async fn look(&mut self) -> Result<(), ClaimError> {
        let connection = self.nats.connection().await?;
        self.presence.answer_for_this_run().await?;
        self.have_the_stream().await?;
        let found = self.place.read().await?;
        if self.is_ours(&found) {
            // The broker's word for it got lost. What was known before stays known.
            return Ok(());
        }
        (self.known, self.sequence) = match found {
            Found::Record(known, sequence) => (Some(known), sequence),
            Found::Nothing | Found::NoStream => (None, 0),
        };
        self.nobody_is_there().await?;
        if self.known.is_some_and(|it| it.is_of_another_broker(&self.nats)) {
            // It may have lost who came after that one, and is on its way back as well.
            self.comes_back().await;
            self.nobody_is_there().await?;
        }
        self.looked_on = Some(connection);
        Ok(())
    }

    /// Makes the stream of records, if that is this process's to do.
    async fn have_the_stream(&self) -> Result<(), ClaimError> {
        if let Some(replicas) = self.replicas {
            apply_stream(&self.nats.jetstream(), &stores_stream(replicas)).await.map_err(
                |error| match error {
                    NatsError::StreamDiffers { .. } => error.into(),
                    other => ClaimError::Broker(other.to_string()),
                },
            )?;
        }
        Ok(())
    }

    /// Neither who is at work nor who has written the record.
    async fn nobody_is_there(&self) -> Result<(), ClaimError> {
        let nobody_of_record = async {
            match self.known {
                Some(known) => self.nobody_of(known).await,
                None => Ok(()),
            }
        };
        try_join(self.presence.nobody_else(), nobody_of_record).await.map(drop)
    }

    /// Whoever wrote this record is not there any more.
    async fn nobody_of(&self, known: Record) -> Result<(), ClaimError> {
        if known.has_ended { Ok(()) } else { self.presence.nobody_of(known.run).await }
    }

    /// Waits for a process that was there before the broker was started anew.
    async fn comes_back(&self) {
        tracing::info!("the broker was started anew: another process may be on its way back");
        sleep(BACK_WITHIN).await;
    }

    /// What the record says of the store, as it was looked at last. A new epoch begins when the
    /// store is an old copy.
    ///
    /// # Errors
    /// It names another store.
    pub fn stand(&self) -> Result<Standing, ClaimError> {
        let Some(known) = self.known else { return Ok(Standing::Unknown) };
        if known.instance == self.db.instance() {
            if known.run != self.run {
                // Where another directory has had its place, this one is another branch, however
                // long it is.
                let is_ours = known.run.is_nil() || runs::has(self.db.dir(), known.run)?;
                let position = if is_ours { known.position } else { u64::MAX };
                self.judge.is_behind(known.epoch, position, "the broker")?;
            }
            return Ok(Standing::Known);
        }
        self.judge.yields_to(known.instance, Some(known), "the broker")?;
        Ok(Standing::TakenOver)
    }

    /// Writes the record, by which an operator's words are used up. Does nothing where the broker
    /// has no place for it yet.
    ///
    /// # Errors
    /// Somebody else has written it since it was compared, or the broker does not answer.
    pub async fn make(&mut self) -> Result<(), ClaimError> {
        if self.said.is_none() {
            word::use_up(self.db.dir(), self.run, self.known)?;
        }
        runs::note(self.db.dir(), self.run)?;
        crash::point("claim.before-record");
        let record = self.record(self.run);
        match self.place.write(&record, self.sequence).await? {
            Written::At(sequence) => {
                crash::point("claim.after-record");
                self.sequence = sequence;
                self.presence.recorded(record.broker, sequence);
                self.said = Some(record);
            }
            Written::NoStream => (),
            Written::Overtaken => return Err(ClaimError::Overtaken),
        }
        self.presence.answer_at_work().await?;
        self.is_made = true;
        Ok(())
    }

    fn record(&self, run: Uuid) -> Record {
        Record {
            instance: self.db.instance(),
            epoch: self.db.epoch(),
            position: self.db.position(),
            run,
            has_ended: false,
            broker: self.nats.server(),
        }
    }
}
