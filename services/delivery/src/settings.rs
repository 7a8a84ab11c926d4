//! What the service is told at start.

use chassis::config::{Secret, Source};

/// The settings of the delivery service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `COURIER_API_BASE`: without it parcels are handed over outside of this system, and only
    /// their webhooks come.
    pub courier_base: Option<String>,
    /// `COURIER_WEBHOOK_SECRET`: several while one replaces the other.
    pub webhook_secrets: Vec<Secret>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(source: &mut Source) -> Option<Settings> {
        let expected = "an http or https URL, or nothing";
        let base = source.optional::<String>("COURIER_API_BASE", expected);
        let secrets = "a comma-separated list of the secrets that the courier signs with";
        let webhook_secrets = source.secrets("COURIER_WEBHOOK_SECRET", secrets);
        let courier_base = match base? {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                return source.fault("COURIER_API_BASE", "found no such URL".into(), expected);
            }
            other => other.map(|url| url.trim_end_matches('/').to_owned()),
        };
        Some(Settings { courier_base, webhook_secrets: webhook_secrets? })
    }
}
