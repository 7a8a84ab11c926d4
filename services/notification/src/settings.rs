//! What this service needs to be told beside what all services are told.

use crate::{post::Post, spool::Spool};
use chassis::config::{Environment, Secret, Source};
use lettre::message::Mailbox;
use std::path::PathBuf;

const SERVER: &str = "SMTP_URL";
const SERVER_EXPECTED: &str = "smtps://user:password@host:465 or \
     smtp://user:password@host:587?tls=required; in production without TLS only to this machine";
const SPOOL: &str = "NOTIFICATION_SPOOL_DIR";
const FROM: &str = "NOTIFICATION_MAIL_FROM";
const FROM_EXPECTED: &str = "a sender such as Our Shop <orders@shop.example>";
/// `.invalid` is reserved (RFC 2606): a mail that escapes from a spool says that nobody sent it.
const FROM_DEFAULT: &str = "Orders <orders@fermata.invalid>";

/// Where mail goes, and from whom.
#[derive(Debug)]
pub struct Settings {
    pub(crate) post: Post,
    pub(crate) from: Mailbox,
}

impl Settings {
    /// Reads `SMTP_URL`, or else `NOTIFICATION_SPOOL_DIR`; and `NOTIFICATION_MAIL_FROM`, which has
    /// a default for the spool alone.
    pub fn read(source: &mut Source) -> Option<Settings> {
        let server = source.optional_secret(SERVER, SERVER_EXPECTED);
        let from = match &server {
            Some(Some(_)) => source.required(FROM, FROM_EXPECTED),
            _ => default_from().and_then(|it| source.or(FROM, it, FROM_EXPECTED)),
        };
        let post = match server? {
            Some(url) => smtp(source, &url),
            None => spool(source),
        };
        Some(Settings { post: post?, from: from? })
    }
}

fn default_from() -> Option<Mailbox> {
    FROM_DEFAULT.parse().ok()
}

fn smtp(source: &mut Source, url: &Secret) -> Option<Post> {
    let url = url.expose();
    if source.environment() == Environment::Production && !is_guarded(url) {
        return source.fault(SERVER, "found a URL without TLS (hidden)".into(), SERVER_EXPECTED);
    }
    match Post::smtp(url) {
        Ok(post) => Some(post),
        // The error may repeat the URL, and with it the password.
        Err(_) => source.fault(SERVER, "found something else (hidden)".into(), SERVER_EXPECTED),
    }
}

/// Whether nobody on the way can read along.
fn is_guarded(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("smtp://") else { return true };
    let place = rest.rsplit('@').next().unwrap_or_default();
    let host = place.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    ["localhost", "127.0.0.1", "[::1]"].contains(&host) || rest.ends_with("tls=required")
}

fn spool(source: &mut Source) -> Option<Post> {
    let folder: PathBuf = source.directory(SPOOL)?;
    match Spool::open(&folder) {
        Ok(spool) => Some(Post::Spool(spool)),
        Err(error) => {
            let found = format!("cannot use {}: {error}", folder.display());
            source.fault(SPOOL, found, "a directory that can be made and written")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        // TLS parameters ask for the process's provider.
        let mut source = Source::from_pairs(pairs.iter().copied());
        let settings = Settings::read(&mut source);
        source.finish(|| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn mail_goes_to_the_server_if_there_is_one_and_else_into_the_spool() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        let settings = read(&[(SPOOL, spool.to_str().unwrap())]).unwrap();
        assert!(matches!(settings.post, Post::Spool(_)));
        assert_eq!(settings.from.email.to_string(), "orders@fermata.invalid");
        let from = (FROM, "Shop <shop@shop.example>");
        let settings = read(&[(SERVER, "smtp://127.0.0.1:25"), from]).unwrap();
        assert!(matches!(settings.post, Post::Smtp(_)));
        assert_eq!(settings.from.email.to_string(), "shop@shop.example");
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        let from = (FROM, "Shop <shop@shop.example>");
        let wrong = [
            vec![],
            vec![(SERVER, "smtp://127.0.0.1:25")],
            vec![(SERVER, "smtp://127.0.0.1:25"), (FROM, "nobody")],
            vec![(SERVER, "smtp://me:hunter2@mail.example:587"), from],
            vec![(SERVER, "smtp://me:hunter2@mail.example:587?tls=opportunistic"), from],
            vec![(SERVER, "http://me:hunter2@mail.example"), from],
            vec![(SPOOL, "/proc/no/such")],
        ];
        for pairs in wrong {
            let fault = read(&pairs).expect_err("not usable");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn only_guarded_servers_are_used_in_production() {
        for url in [
            "smtps://me:pass@mail.example",
            "smtp://me:pass@mail.example:587?tls=required",
            "smtp://localhost",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:25",
        ] {
            assert!(is_guarded(url), "{url}");
        }
        for url in [
            "smtp://mail.example",
            "smtp://localhost@mail.example:25",
            "smtp://localhost.evil.example",
        ] {
            assert!(!is_guarded(url), "{url}");
        }
    }
}
