//! The courier's own interface: parcels by JSON, once per `Idempotency-Key`.

use crate::{
    office::{Office, new_id},
    world::{Answer, Record, Shipment},
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{io, sync::Arc};

const CREATED: &str = "created";
const CANCELLED: &str = "cancelled";

/// Everything under `/courier`.
pub(crate) fn router() -> Router<Arc<Office>> {
    Router::new()
        .route("/shipments", post(create).get(list))
        .route("/shipments/{id}", get(show))
        .route("/shipments/{id}/cancel", post(cancel))
}

/// A refusal: `{"error": "…"}`.
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) String);

impl From<io::Error> for Refused {
    fn from(fault: io::Error) -> Self {
        tracing::error!("cannot write the journal: {fault}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the journal".to_owned())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Takes `{orderId, …}`; what else the parcel needs to know is not our concern.
async fn create(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refused> {
    let Some(order_id) = body.get("orderId").and_then(Value::as_str) else {
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, "orderId is missing".to_owned()));
    };
    let key = headers.get("Idempotency-Key").and_then(|value| value.to_str().ok());
    // The keys of the courier are not those of Stripe.
    let key = key.map(|key| format!("courier/{key}"));
    let fingerprint = hex::encode(Sha256::digest(body.to_string()));
    office.change(|world| {
        if let Some(known) = key.as_deref().and_then(|key| world.answer(key)) {
            if known.fingerprint != fingerprint {
                let reason = "this Idempotency-Key was used for another parcel";
                return Err(Refused(StatusCode::CONFLICT, reason.to_owned()));
            }
            return Ok(((StatusCode::OK, Json(known.body.clone())).into_response(), Vec::new()));
        }
        let shipment = Shipment {
            shipment_id: new_id("shp_", 16),
            order_id: order_id.to_owned(),
            tracking_number: new_id("TRK", 12).to_uppercase(),
            status: CREATED.to_owned(),
        };
        let answer = json!(shipment);
        let mut records = vec![Record::Shipment(shipment)];
        if let Some(key) = key {
            let status = StatusCode::CREATED.as_u16();
            records.push(Record::Answer(Answer { key, fingerprint, status, body: answer.clone() }));
        }
        Ok(((StatusCode::CREATED, Json(answer)).into_response(), records))
    })
}

async fn show(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
) -> Result<Json<Shipment>, Refused> {
    office.look(|world| world.shipment(&id).cloned()).map(Json).ok_or_else(|| unknown(&id))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfOrder {
    order_id: String,
}

/// The newest parcel of an order, in a list, for whoever lost the answer to its request.
async fn list(State(office): State<Arc<Office>>, Query(of): Query<OfOrder>) -> Json<Value> {
    let found: Vec<_> =
        office.look(|world| world.shipment_of(&of.order_id).cloned()).into_iter().collect();
    Json(json!({ "items": found }))
}

/// Cancels a parcel that is not on its way yet; cancelling it again changes nothing.
async fn cancel(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
) -> Result<Json<Shipment>, Refused> {
    office.change(|world| {
        let shipment = world.shipment(&id).ok_or_else(|| unknown(&id))?.clone();
        match shipment.status.as_str() {
            CANCELLED => Ok((Json(shipment), Vec::new())),
            CREATED => {
                let cancelled = Shipment { status: CANCELLED.to_owned(), ..shipment };
                Ok((Json(cancelled.clone()), vec![Record::Shipment(cancelled)]))
            }
            status => {
                Err(Refused(StatusCode::CONFLICT, format!("parcel {id} is {status} already")))
            }
        }
    })
}

/// The parcel with its new status; one that was cancelled stays so.
pub(crate) fn moved(shipment: &Shipment, status: &str) -> Option<Shipment> {
    let moves = shipment.status != CANCELLED;
    moves.then(|| Shipment { status: status.to_owned(), ..shipment.clone() })
}

fn unknown(id: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, format!("there is no parcel {id}"))
}
