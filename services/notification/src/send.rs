//! `notifications.send`: a mail, once for each order and kind.

use crate::{
    letter::{self, Letter, message_id},
    post::Post,
};
use chassis::db::Tx;
use lettre::message::Mailbox;
use proto_schemas::notifications::{NotificationSent, SendNotification};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, WorkError};

/// Rows `m` name: the mails that have left, by the name of their Message-ID, with the time.
const MAIL: u8 = b'm';

/// The procedure.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) post: Post,
    pub(crate) from: Mailbox,
}

impl Effect for Send {
    type Request = SendNotification;
    type Intent = Letter;
    type Done = ();

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<SendNotification>,
    ) -> Outcome<Begun<Letter, NotificationSent>> {
        let name = letter::name(call.body.kind, &call.body.order_id);
        if tx.get(&row(&name))?.is_some() {
            return Ok(Begun::Done(self.sent(&name)));
        }
        let reason = call.undo.as_ref().and_then(|undo| undo.reason.clone());
        let letter = Letter::new(call.body.clone(), reason, call.at);
        letter.compose(&self.from)?;
        Ok(Begun::Work(letter))
    }

    async fn work(&self, letter: Letter, _: Attempt) -> Result<(), WorkError> {
        let mail = letter.compose(&self.from)?;
        self.post.send(message_id(&letter.name(), &self.from), mail).await
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<SendNotification>,
        letter: Letter,
        done: Result<(), Rejection>,
    ) -> Outcome<NotificationSent> {
        done?;
        let name = letter.name();
        tx.put_json(row(&name), &call.at)?;
        Ok(self.sent(&name))
    }
}

impl Send {
    fn sent(&self, name: &str) -> NotificationSent {
        NotificationSent { message_id: message_id(name, &self.from) }
    }
}

fn row(name: &str) -> Vec<u8> {
    [&[MAIL], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
