//! Refusals as HTTP problems, so that a route says `handle.write(…).await?`.

use crate::outcome::Refusal;
use axum::http::StatusCode;
use chassis::problem::Problem;

/// When a caller may try again what failed.
const RETRY_AFTER_S: u64 = 1;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Rejected(rejection) => {
                let status = StatusCode::from_u16(rejection.status_code());
                Problem::new(status.unwrap_or(StatusCode::CONFLICT), rejection.reason())
            }
            Refusal::Failed(why) => Problem::unavailable(why, RETRY_AFTER_S),
            Refusal::Store(error) => {
                tracing::error!(%error, "a write failed in the store");
                Problem::unavailable("the store has failed; try again", RETRY_AFTER_S)
            }
        }
    }
}
