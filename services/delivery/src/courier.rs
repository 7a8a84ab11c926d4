//! The courier's API: JSON, once per `Idempotency-Key`.
//!
//! - `POST /shipments` `{orderId, name, address, items}` → `{shipmentId, trackingNumber, status}`
//! - `GET /shipments?orderId=` → `{items: […]}`, newest first
//! - `POST /shipments/{id}/cancel` → the parcel; 409 when it has left, 404 when there is none

use chassis::with_causes;
use proto_schemas::delivery::CreateShipment;
use reqwest::{RequestBuilder, StatusCode, redirect::Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{Rejection, WorkError, legible};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers are some hundred bytes; anything larger is none of the courier's.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters that we keep of the courier's message.
const MESSAGE_CHARS_MAX: usize = 300;
/// What the courier calls a parcel that was stopped.
const CANCELLED: &str = "cancelled";

/// The courier as we use it.
pub(crate) struct Courier {
    http: reqwest::Client,
    base: String,
}

/// A parcel, as the courier shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CourierParcel {
    pub(crate) shipment_id: String,
    pub(crate) tracking_number: String,
    #[serde(default)]
    pub(crate) status: String,
}

/// What came of an attempt to stop a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Yes,
    /// The courier knows no such parcel: nothing is on its way.
    Unknown,
}

impl Courier {
    pub(crate) fn new(base: String) -> Courier {
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none());
        if chassis::is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().expect("a client without certificates of its own can be built");
        Courier { http, base }
    }

    /// Hands a parcel over.
    pub(crate) async fn create(
        &self,
        order: &CreateShipment,
        key: &str,
    ) -> Result<CourierParcel, WorkError> {
        let body = json!({
            "orderId": order.order_id,
            "name": order.name,
            "address": order.shipping_address,
            "items": order.items,
        });
        let request = self.http.post(format!("{}/shipments", self.base));
        let (status, answer) = send(request.header("Idempotency-Key", key).json(&body)).await?;
        if !status.is_success() {
            return Err(refused(status, &answer));
        }
        serde_json::from_value(answer).map_err(|_| unreadable())
    }

    /// The parcel of an order that is not stopped, if the courier has one.
    pub(crate) async fn of_order(
        &self,
        order_id: &str,
    ) -> Result<Option<CourierParcel>, WorkError> {
        let request = self.http.get(format!("{}/shipments", self.base));
        let (status, answer) = send(request.query(&[("orderId", order_id)])).await?;
        if !status.is_success() {
            return Err(refused(status, &answer));
        }
        let items = answer["items"].as_array().ok_or_else(unreadable)?;
        for item in items {
            let parcel: CourierParcel =
                serde_json::from_value(item.clone()).map_err(|_| unreadable())?;
            if parcel.status != CANCELLED {
                return Ok(Some(parcel));
            }
        }
        Ok(None)
    }

    /// Stops a parcel.
    pub(crate) async fn cancel(&self, id: &str, key: &str) -> Result<Stopped, WorkError> {
        if !is_plain(id) {
            return Ok(Stopped::Unknown);
        }
        let request = self.http.post(format!("{}/shipments/{id}/cancel", self.base));
        let (status, answer) = send(request.header("Idempotency-Key", key)).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(Stopped::Unknown),
            status if status.is_success() => Ok(Stopped::Yes),
            status => Err(refused(status, &answer)),
        }
    }
}

async fn send(request: RequestBuilder) -> Result<(StatusCode, Value), WorkError> {
    let unclear = |error: reqwest::Error| WorkError::Failed(with_causes(&error.without_url()));
    let mut response = request.send().await.map_err(unclear)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unclear)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(WorkError::Failed("the courier's answer is too large".into()));
        }
    }
    Ok((status, legible::json(&body).unwrap_or_default()))
}

/// What the courier refuses for what it asks is final; all else may mend.
fn refused(status: StatusCode, answer: &Value) -> WorkError {
    if !matches!(status.as_u16(), 400 | 404 | 409 | 422) {
        return WorkError::Failed(format!("the courier answered {status}"));
    }
    let message = answer["error"].as_str().unwrap_or("refused by the courier");
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    Rejection::new("courier_refused", message).into()
}

fn unreadable() -> WorkError {
    WorkError::Failed("the courier's answer has another shape".into())
}

/// An id becomes part of a path.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
