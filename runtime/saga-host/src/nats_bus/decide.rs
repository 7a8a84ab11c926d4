//! Decisions that a service forwards: the request `tasks.decide`, with the caller's own token. The
//! service needs no trust, as the runtime looks at the token itself.

use super::BusError;
use crate::{
    door::{actor_of, say},
    engine::Handle,
};
use async_nats::service::ServiceExt as _;
use bytes::Bytes;
use chassis::{
    http::{FieldError, Problem, Procedure, Role, Tokens, parse_json},
    json,
    nats::Nats,
};
use futures::StreamExt as _;
use saga_core::input::{Command, Decide, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use validator::Validate;

const SUBJECT: &str = "tasks.decide";
/// Decisions under way at once; a person makes one at a time.
const UNDER_WAY_MAX: usize = 64;
/// The broker is back within seconds, or for good away.
const RETRY_AFTER_S: u64 = 1;
/// Longer names and keys have no lane, and what a command names is audited.
const TEXT_CHARS_MAX: u64 = 256;

/// The request. It has no `Debug`: it carries a token.
#[derive(Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    /// The event under which the service knows the question.
    #[validate(length(min = 1, max = TEXT_CHARS_MAX, message = "must have 1 to 256 characters"))]
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    name: String,
    /// The business key.
    #[validate(length(min = 1, max = TEXT_CHARS_MAX, message = "must have 1 to 256 characters"))]
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    key: String,
    approved: bool,
    reason: Option<String>,
    /// What the task gave as `seen`: without it the decision is about the only question that is
    /// open, and none at all once another one was.
    #[validate(length(min = 1, max = TEXT_CHARS_MAX, message = "must have 1 to 256 characters"))]
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    seen: Option<String>,
    /// The bearer token of whoever decides.
    token: String,
}

/// The answer: the status that the service gives to its caller.
#[derive(Debug, Serialize, JsonSchema)]
struct Reply {
    status: u16,
    detail: String,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    errors: Vec<FieldError>,
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        Reply {
            status: problem.status().as_u16(),
            detail: problem.detail().to_owned(),
            errors: problem.errors().to_vec(),
        }
    }
}

/// What is asked and answered here, for the document.
pub(crate) fn procedure() -> Procedure {
    Procedure {
        subject: SUBJECT.to_owned(),
        request: schemars::schema_for!(Request).to_value(),
        reply: schemars::schema_for!(Reply).to_value(),
    }
}

/// Answers decisions until it is told to stop.
pub(super) struct Decisions {
    pub(super) nats: Nats,
    pub(super) engine: Handle,
    pub(super) tokens: Arc<Tokens>,
}

impl Decisions {
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), BusError> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ready = self.nats.ready() => ready?,
        }
        let failed = |error: async_nats::Error| BusError::Subscribe(error.to_string());
        let client = self.nats.client().clone();
        let service = client.service_builder().description("runs sagas, and takes decisions");
        let service = service.start("fermata", env!("CARGO_PKG_VERSION")).await.map_err(failed)?;
        let requests = service.endpoint(SUBJECT).await.map_err(failed)?;
        let requests = requests.take_until(stop.cancelled_owned());
        let this = &self;
        requests
            .for_each_concurrent(UNDER_WAY_MAX, |request| async move {
                // Whoever decides must hear what came of it, or has not decided.
                if request.message.reply.is_none() {
                    return;
                }
                // It may have waited for longer than its asker did, who was told that nothing was
                // decided then; and another runtime may have got our place.
                let reply = if this.nats.is_up() {
                    let reply = this.decide(&request.message.payload).await;
                    // What was said to one that was replaced is lost: its asker asks again.
                    if !this.nats.is_up() {
                        return;
                    }
                    reply
                } else {
                    let away = "the runtime was away from the broker: nothing was decided";
                    Reply::from(Problem::unavailable(away, RETRY_AFTER_S))
                };
                let body = serde_json::to_vec(&reply).unwrap_or_default();
                if let Err(error) = request.respond(Ok(Bytes::from(body))).await {
                    tracing::debug!(%error, "nobody waits for the answer to a decision");
                }
            })
            .await;
        // Leaves `$SRV`; a connection that is gone has left already.
        let _gone = service.stop().await;
        Ok(())
    }

    async fn decide(&self, body: &[u8]) -> Reply {
        self.try_decide(body).await.unwrap_or_else(Reply::from)
    }

    async fn try_decide(&self, body: &[u8]) -> Result<Reply, Problem> {
        if json::is_too_deep(body) {
            let levels = json::DEPTH_MAX;
            let detail = format!("the body is nested deeper than {levels} levels");
            return Err(Problem::bad_request(detail));
        }
        // The words of the decoder may repeat a value; they go to its sender alone.
        let request: Request = parse_json(body)?;
        let Some(caller) = self.tokens.caller(&request.token) else {
            return Err(Problem::unauthorized("the token is not known here"));
        };
        if caller.role < Role::Approver {
            return Err(Problem::forbidden("deciding takes the role approver"));
        }
        let decide = Decide {
            target: Target::Event { name: request.name, key: request.key },
            approved: request.approved,
            reason: request.reason,
            seen: request.seen,
        };
        let answer = self.engine.ask(actor_of(&caller), Command::Decide(decide)).await;
        let (is_new, _saga) = say(answer)?;
        let (status, detail) = if is_new { (202, "decided") } else { (200, "decided so already") };
        Ok(Reply { status, detail: detail.into(), errors: Vec::new() })
    }
}
