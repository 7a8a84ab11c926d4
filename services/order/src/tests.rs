//! The whole service: its door over real sockets, its procedures over a real store.

mod decisions;
mod door;
mod procedures;

use crate::{PROCESS, Settings, app};
use chassis::db::{Db, DbOptions};
use serde_json::{Value, json};
use service_kit::conformance::door::{Answer, Door};
use tempfile::TempDir;

async fn open() -> Door {
    Door::open(PROCESS, app(Settings)).await
}

async fn open_at(nats_url: &str) -> Door {
    Door::open_at(PROCESS, app(Settings), nats_url).await
}

fn order() -> Value {
    json!({
        "items": [
            { "sku": "WIDGET-001", "quantity": 2, "price": "40.00" },
            { "sku": "GADGET-002", "quantity": 1, "price": "20.00" },
        ],
        "total": "100.00",
        "customer": { "name": "Zoë", "email": "zoe@example.com" },
        "shippingAddress": {
            "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US",
        },
    })
}
