//! The whole service against a provider on the wire that counts what it does.

mod effects;
mod money;
mod provider;
mod refunds;
mod webhooks;

use crate::settings::Settings;
use chassis::config::Secret;
use chassis::db::{Db, DbOptions};
use tempfile::TempDir;

pub(super) const WEBHOOK_SECRET: &str = "whsec_dev_of_a_test";
pub(super) const OLD_WEBHOOK_SECRET: &str = "whsec_dev_of_last_month";

pub(super) fn settings(api_base: &str) -> Settings {
    // It fails when another test has installed it already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let secret = |text: &str| Secret::new(text.to_owned());
    Settings {
        api_base: api_base.to_owned(),
        api_key: secret(provider::API_KEY),
        webhook_secrets: vec![secret(OLD_WEBHOOK_SECRET), secret(WEBHOOK_SECRET)],
        success_url: "https://shop.example/{orderId}/paid".to_owned(),
        cancel_url: "https://shop.example/{orderId}".to_owned(),
    }
}

pub(super) fn store() -> (Db, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Db::open(dir.path(), DbOptions::default()).unwrap(), dir)
}
