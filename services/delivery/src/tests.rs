//! The whole service against a courier on the wire that counts its parcels, and its door.

mod courier;
mod parcels;
mod webhooks;

use crate::settings::Settings;
use chassis::config::Secret;
use chassis::db::{Db, DbOptions};
use tempfile::TempDir;

const SECRET: &str = "courier_dev_of_a_test";

fn settings(courier_base: Option<&str>) -> Settings {
    // It fails when another test has installed it already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let webhook_secrets = vec![Secret::new(SECRET.to_owned())];
    Settings { courier_base: courier_base.map(str::to_owned), webhook_secrets }
}

fn store() -> (Db, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Db::open(dir.path(), DbOptions::default()).unwrap(), dir)
}
