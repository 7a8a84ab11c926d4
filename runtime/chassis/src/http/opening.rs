//! What a process answers before it is sure of its store: that it lives, and what it waits for.

use super::{Door, Metrics};
use crate::problem::Problem;
use aide::axum::ApiRouter;
use axum::{Router, extract::Request};
use std::sync::{Arc, OnceLock};
use tower::ServiceExt as _;

/// When a caller may ask again.
const RETRY_AFTER_S: u64 = 1;

/// Takes requests from the start, and leaves them to `open` as soon as that is there; until then
/// only the standard routes have an answer, and all others are for later.
pub fn before_opening(door: &Door, open: Arc<OnceLock<Router>>) -> Router {
    // The counts are those of the router that comes.
    let before = Door { metrics: Metrics::new(), ..door.clone() };
    let before = before.router(ApiRouter::new().fallback(async || {
        Problem::unavailable("the store is not in use yet: see /readyz", RETRY_AFTER_S)
    }));
    Router::new().fallback(move |request: Request| {
        let router = open.get().unwrap_or(&before).clone();
        router.oneshot(request)
    })
}
