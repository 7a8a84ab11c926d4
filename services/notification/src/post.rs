//! How a mail leaves the house.

use crate::spool::Spool;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    transport::smtp::{self, response::Code},
};
use service_kit::{Rejection, WorkError};
use std::{fmt, time::Duration};

/// For a server to answer each command. Mail servers may take minutes to look at a mail (RFC 5321,
/// 4.5.3.2); the work is done again later anyway.
const SMTP_TIMEOUT: Duration = Duration::from_secs(60);
/// Refusals that concern our credentials, not the mail (RFC 4954): a person has to mend them, so
/// the mail waits.
const AUTHENTICATION: [u16; 5] = [454, 530, 534, 535, 538];

/// Where mail goes.
pub(crate) enum Post {
    /// To a mail server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Into files.
    Spool(Spool),
}

impl Post {
    /// A mail server by the URL of `lettre`: `smtps://user:password@host:465`, or
    /// `smtp://host:587?tls=required`.
    pub(crate) fn smtp(url: &str) -> Result<Post, smtp::Error> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?;
        Ok(Post::Smtp(server.timeout(Some(SMTP_TIMEOUT)).build()))
    }

    /// Sends a mail. To a server it may go twice when a crash comes between its answer and our
    /// store; the Message-ID is the same, so that mail readers show it once.
    pub(crate) async fn send(&self, message_id: String, mail: Message) -> Result<(), WorkError> {
        match self {
            Post::Smtp(server) => server.send(mail).await.map(drop).map_err(|it| smtp_error(&it)),
            Post::Spool(spool) => {
                let spool = spool.clone();
                let keep = move || spool.keep(&message_id, &mail.formatted());
                let kept = tokio::task::spawn_blocking(keep).await;
                let kept =
                    kept.map_err(|error| WorkError::Failed(format!("the spool: {error}")))?;
                kept.map_err(|error| WorkError::Failed(format!("cannot write the spool: {error}")))
            }
        }
    }
}

/// A server's words often repeat the address, so only its code is told.
fn smtp_error(error: &smtp::Error) -> WorkError {
    match error.status() {
        Some(code) if error.is_permanent() && !AUTHENTICATION.contains(&number(code)) => {
            let reason = format!("the mail server refused the mail with code {code}");
            Rejection::new("mail_refused", reason).status(422).into()
        }
        Some(code) => WorkError::Failed(format!("the mail server answered with code {code}")),
        None if error.is_timeout() => WorkError::Failed("the mail server timed out".to_owned()),
        None if error.is_tls() => WorkError::Failed("no TLS with the mail server".to_owned()),
        None => WorkError::Failed("the mail server cannot be reached".to_owned()),
    }
}

fn number(code: Code) -> u16 {
    code.into()
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Post::Smtp(_) => "Smtp",
            Post::Spool(_) => "Spool",
        })
    }
}

#[cfg(test)]
mod tests;
