//! `POST /api/orders`: public, limited per address, once per `Idempotency-Key`.

use super::{Shared, read_body};
use crate::place;
use axum::extract::State;
use chassis::http::{Created, IdempotencyKey, Problem, RawJson};
use proto_schemas::orders::{CreateOrder, Order};

/// Tells the keys of this route from those of others.
const OPERATION: &str = "POST /api/orders";

pub(super) async fn create(
    State(context): Shared,
    IdempotencyKey(key): IdempotencyKey,
    body: RawJson<CreateOrder>,
) -> Result<Created<Order>, Problem> {
    let request: CreateOrder = read_body(&body.bytes)?;
    let order = match key {
        None => {
            let write = move |tx: &mut _, at| place::place(tx, place::new_id(at)?, request, at);
            context.handle.write(write).await?
        }
        Some(key) => {
            let text = String::from_utf8_lossy(&body.bytes).into_owned();
            let write = move |tx: &mut _, at| place::place(tx, place::new_id(at)?, request, at);
            context.handle.write_once(OPERATION, &key, &text, write).await?
        }
    };
    tracing::info!(order_id = %order.order_id, "order placed");
    Ok(Created { location: format!("/api/orders/{}", order.order_id), body: order })
}
