//! Settings, all from the environment.

use std::{net::SocketAddr, path::PathBuf};

const HTTP_ADDR_DEFAULT: &str = "127.0.0.1:3090";
const PAYMENT_WEBHOOK_DEFAULT: &str = "http://127.0.0.1:3002/webhooks/stripe";
const COURIER_WEBHOOK_DEFAULT: &str = "http://127.0.0.1:3004/webhooks/courier";

/// What the sandbox needs to know. It holds secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct Config {
    /// Where it listens; loopback only.
    pub http_addr: SocketAddr,
    /// Where the journal lies.
    pub data_dir: PathBuf,
    /// The key that callers of the Stripe API must show.
    pub stripe_api_key: String,
    /// Webhooks of Stripe carry one signature per secret, as during a rotation.
    pub stripe_webhook_secrets: Vec<String>,
    /// Signs the webhooks of the courier.
    pub courier_webhook_secret: String,
    /// Where webhooks of Stripe go.
    pub payment_webhook_url: String,
    /// Where webhooks of the courier go.
    pub courier_webhook_url: String,
}

/// Every fault of the settings, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("cannot start: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl Config {
    /// Reads the settings; `lookup` gives the value of an environment variable.
    ///
    /// # Errors
    /// All faults at once: not in development, an address that others can reach, a value missing.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut read = Reader { lookup, faults: Vec::new() };
        read.development();
        let config = Self {
            http_addr: read.loopback("SANDBOX_HTTP_ADDR"),
            data_dir: read.required("SANDBOX_DATA_DIR").into(),
            stripe_api_key: read.required("STRIPE_API_KEY"),
            stripe_webhook_secrets: read.list("STRIPE_WEBHOOK_SECRET"),
            courier_webhook_secret: read.required("COURIER_WEBHOOK_SECRET"),
            payment_webhook_url: read.or("PAYMENT_WEBHOOK_URL", PAYMENT_WEBHOOK_DEFAULT),
            courier_webhook_url: read.or("COURIER_WEBHOOK_URL", COURIER_WEBHOOK_DEFAULT),
        };
        if read.faults.is_empty() { Ok(config) } else { Err(ConfigError(read.faults)) }
    }
}

struct Reader<F> {
    lookup: F,
    faults: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    fn required(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.faults.push(format!("{name} is not set (deploy/dev.env has it)"));
            String::new()
        })
    }

    fn list(&mut self, name: &str) -> Vec<String> {
        let entries = self.required(name);
        entries
            .split(',')
            .map(|entry| entry.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect()
    }

    /// Production is what a process is unless told otherwise, and there this one has no place.
    fn development(&mut self) {
        if self.text("FERMATA_ENV").as_deref() != Some("development") {
            self.faults.push("the sandbox runs only with FERMATA_ENV=development".to_owned());
        }
    }

    fn loopback(&mut self, name: &str) -> SocketAddr {
        let text = self.or(name, HTTP_ADDR_DEFAULT);
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => return address,
            Ok(_) => self.faults.push(format!("{name}={text} is no loopback address")),
            Err(_) => {
                self.faults.push(format!("{name}={text} is no address such as 127.0.0.1:3090"))
            }
        }
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 5] = [
        ("FERMATA_ENV", "development"),
        ("SANDBOX_DATA_DIR", "/tmp/x"),
        ("STRIPE_API_KEY", "sk_test_x"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a, whsec_b"),
        ("COURIER_WEBHOOK_SECRET", "courier"),
    ];

    fn read(change: (&str, &str)) -> Result<Config, ConfigError> {
        Config::from_environment(|name| {
            let found = COMPLETE.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            Some(if change.0 == name { change.1 } else { found? }.to_owned())
        })
    }

    #[test]
    fn a_list_of_secrets_is_read() {
        let config = read(("", "")).unwrap();
        assert_eq!(config.stripe_webhook_secrets, ["whsec_a", "whsec_b"]);
        assert_eq!(config.http_addr.to_string(), HTTP_ADDR_DEFAULT);
    }

    #[test]
    fn it_refuses_to_start_outside_development_or_where_others_can_reach_it() {
        for (name, value, expected) in [
            ("FERMATA_ENV", "production", "FERMATA_ENV=development"),
            ("FERMATA_ENV", "", "FERMATA_ENV=development"),
            ("SANDBOX_HTTP_ADDR", "0.0.0.0:3090", "no loopback"),
            ("SANDBOX_HTTP_ADDR", "somewhere", "no address"),
            ("STRIPE_API_KEY", "", "STRIPE_API_KEY is not set"),
        ] {
            let fault = read((name, value)).err().unwrap().to_string();
            assert!(fault.contains(expected), "{name}={value}: {fault}");
        }
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let fault = Config::from_environment(|_| None).err().unwrap();
        assert_eq!(fault.0.len(), 5, "{fault}");
    }
}
