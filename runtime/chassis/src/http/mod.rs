//! The HTTP door that every process has: who may come in, how much, and what errors look like.
//!
//! A process builds an [`ApiRouter`](aide::axum::ApiRouter) of handlers that use the extractors
//! of this module, and [`Door::router`] puts around it, from the outside in:
//!
//! 1. request id, security headers, one log line, counts, and problem+json for whatever is not;
//! 2. a panic becomes a 500, a slow handler a 503;
//! 3. the rate limit per peer address, then the body is read as a whole within its limit, so
//!    that a handler never sees half a body and a client always sees its 413; below
//!    [`SIGNED_PREFIX`] only what was not taken for genuine is counted;
//! 4. the handler, behind the roles that its extractors ask for.
//!
//! `/livez /readyz /metrics /openapi.json` are added beside it. [`serve`] runs the result, and
//! gives each address a bounded number of connections.

mod auth;
mod crowd;
mod document;
mod door;
mod extract;
mod health;
mod intake;
mod key;
mod metrics;
mod opening;
mod peer;
mod rate;
mod reply;
mod serve;
mod single;
mod unread;

pub use auth::{Admin, Approver, Bearer, Caller, Operator, Role, Tokens, Viewer};
pub(crate) use document::answer_header;
pub use document::{Procedure, any_body, header, or_text, problems};
pub use door::{Door, Limits};
pub use extract::{Json, Path, Query, RawJson, parse_json};
pub use health::{Gate, Health};
pub use intake::SIGNED_PREFIX;
pub use key::{IDEMPOTENCY_KEY, IdempotencyKey};
pub use metrics::Metrics;
pub use opening::before_opening;
pub use peer::Peer;
pub use reply::{Accepted, Created, Page, PageQuery, page_items_default};
pub use serve::serve;
pub use single::{Repeated, single};

pub use crate::problem::{FieldError, Problem};
