//! Events, as webhooks carry them.

use crate::office::{new_id, now_s};
use serde_json::{Value, json};

/// The version of the API whose shapes these are.
const API_VERSION: &str = "2026-10-28.endive";

/// An event about this object: its id, and the bytes that are sent.
pub(crate) fn event(kind: &str, object: &Value) -> (String, String) {
    let id = new_id("evt_", 24);
    let event = json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": now_s(),
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    });
    (id, format!("{event:#}"))
}
