//! A claim that was made, as long as its process runs: on each connection, every few seconds, and
//! at the end.

use super::{
    Claim, ClaimError,
    record::{Found, Record},
};

/// Whether the broker keeps the record.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It has it.
    Yes,
    /// It takes none, and why.
    No(String),
    /// It is away.
    Unknown,
}

impl Claim {
    /// Looks whether the record is still ours, after a time in which nobody could say so. It is
    /// written as well: one that has looked for us meanwhile and found nobody is overtaken by that.
    ///
    /// # Errors
    /// Another process has it, or the broker does not answer.
    pub async fn confirm(&mut self) -> Result<Kept, ClaimError> {
        let found = self.place.read().await?;
        if !self.is_ours(&found) {
            return self.go_by(found).await.map(|()| Kept::Yes);
        }
        if let Found::Record(record, _) = found
            && record.is_of_another_broker(&self.nats)
        {
            // It may have lost the record of one that has replaced this one.
            self.nobody_has_come_later().await?;
        }
        match self.make().await {
            // One that is full takes no record of another one either.
            Err(ClaimError::Refused(why)) => match self.is_ours(&self.place.read().await?) {
                true => Ok(Kept::No(why)),
                false => Err(ClaimError::Overtaken),
            },
            made => made.map(|()| Kept::Yes),
        }
    }

    /// A record of this run is ours, also when the broker's word for it got lost.
    pub(super) fn is_ours(&mut self, found: &Found) -> bool {
        let ours = match found {
            Found::Record(record, sequence) if record.run == self.run => Some(*sequence),
            _ => None,
        };
        self.sequence = ours.unwrap_or(self.sequence);
        ours.is_some()
    }

    /// Renews the record, and looks whether it is still ours.
    ///
    /// # Errors
    /// Another process has it. A broker that does not answer is no reason to doubt it.
    pub async fn renew(&mut self) -> Result<Kept, ClaimError> {
        match self.try_renew().await {
            Err(error) if !error.is_final() => {
                tracing::debug!(%error, "the record of the store is not renewed");
                Ok(if self.nats.is_up() { Kept::No(error.to_string()) } else { Kept::Unknown })
            }
            renewed => renewed.map(|()| Kept::Yes),
        }
    }

    async fn try_renew(&mut self) -> Result<(), ClaimError> {
        let ours = (self.db.epoch(), self.db.position());
        let is_new = self.said.is_none_or(|it| (it.epoch, it.position) != ours);
        let found = self.place.read().await?;
        match self.is_ours(&found) {
            true if is_new => self.make().await,
            true => Ok(()),
            false => self.go_by(found).await,
        }
    }

    /// What is found is not ours.
    async fn go_by(&mut self, mut found: Found) -> Result<(), ClaimError> {
        if matches!(found, Found::NoStream) {
            self.nobody_has_come_later().await?;
            if self.said.is_none() {
                let settled = self.try_settle().await;
                return self.while_at_work(settled);
            }
            // It was there before: what it holds when it is back is judged like any other.
            self.have_the_stream().await?;
            found = self.place.read().await?;
            if self.is_ours(&found) {
                return self.make().await;
            }
        }
        match found {
            Found::Record(record, sequence) if self.said.is_none() => {
                // The broker had no place for it when this run began.
                self.nobody_has_come(record).await?;
                self.sequence = sequence;
                self.known = Some(record);
                self.stand()?;
                self.make().await
            }
            Found::Record(record, sequence) if self.is_of_before(record) => {
                // The broker has lost its last minutes, and what this run has said with them.
                self.nobody_has_come(record).await?;
                tracing::warn!("the broker has an older record of the store: it is written anew");
                self.sequence = sequence;
                self.make().await
            }
            Found::Record(record, _) if record.instance == self.db.instance() => {
                Err(self.replaced())
            }
            // It has taken over while this one ran. Were this one to do so again by a word of
            // before, both could go on for ever.
            Found::Record(record, _) => Err(self.judge.another(record.instance, "the broker")),
            // The broker is new, or has lost its disk.
            Found::Nothing => {
                self.nobody_has_come_later().await?;
                self.sequence = 0;
                self.make().await
            }
            // There is no place for it yet.
            Found::NoStream => Ok(()),
        }
    }

    /// Says in the record that this run has ended: nobody need look for it. The store must not be
    /// written any more.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn leave(&self) -> Result<(), ClaimError> {
        let last = match self.place.read().await? {
            Found::Record(record, sequence) if self.is_in_force(record) => sequence,
            // A service that was there before the stream may have none yet.
            Found::Nothing if self.has_looked() => 0,
            // Where there is none, or one of before, nobody knows whether this one was replaced.
            Found::Record(..) | Found::Nothing | Found::NoStream => return Ok(()),
        };
        let record = Record { has_ended: true, ..self.record(self.run) };
        self.place.write(&record, last).await.map(drop)
    }

    /// Whether it was looked on this connection whether others are there.
    fn has_looked(&self) -> bool {
        self.looked_on.is_some() && self.looked_on == self.nats.up()
    }

    /// Whether this is the record of this run, which the broker cannot have shown once more.
    fn is_in_force(&self, record: Record) -> bool {
        record.run == self.run && !record.is_of_another_broker(&self.nats)
    }

    /// Whether this is a record of before the last one that this run has written: the one on which
    /// it made its claim, or one that says less of the same store. Whoever takes the place of this
    /// store with a copy goes on where the last record says, or begins an epoch.
    fn is_of_before(&self, record: Record) -> bool {
        let is_older = |said: Record| {
            record.instance == said.instance
                && (record.epoch, record.position) < (said.epoch, said.position)
        };
        self.said.is_some_and(is_older) || self.known.is_some_and(|it| record.is_of_before(it))
    }

    /// One that was cut off, and was replaced, does not see that where there is no record. Whoever
    /// has its place may be on its way back as well. Once on a connection is enough.
    async fn nobody_has_come_later(&mut self) -> Result<(), ClaimError> {
        let connection = self.nats.connection().await?;
        if self.looked_on != Some(connection) {
            self.comes_back().await;
            self.while_at_work(self.presence.nobody_later().await)?;
            self.looked_on = Some(connection);
        }
        Ok(())
    }

    /// The same, while this one is at work.
    async fn nobody_has_come(&self, known: Record) -> Result<(), ClaimError> {
        let looked = async {
            self.nobody_of(known).await?;
            if !known.has_ended && known.is_of_another_broker(&self.nats) {
                self.comes_back().await;
                self.nobody_of(known).await?;
            }
            Ok(())
        };
        self.while_at_work(looked.await)
    }

    /// Another one that is at work has the place of this one.
    fn while_at_work(&self, looked: Result<(), ClaimError>) -> Result<(), ClaimError> {
        match looked {
            Err(ClaimError::AtWork { .. }) => Err(self.replaced()),
            looked => looked,
        }
    }

    fn replaced(&self) -> ClaimError {
        let (dir, process) = (self.db.dir().to_owned(), self.judge.process.clone());
        ClaimError::Replaced { dir, process }
    }
}
