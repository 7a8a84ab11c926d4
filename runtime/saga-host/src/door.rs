//! What every door does with a command's answer, so that HTTP and NATS say the same.

use crate::engine::{Answer, Busy};
use chassis::http::{Caller, Problem, Role};
use saga_core::{
    effect::{Refusal, RefusalKind, Reply},
    id::SagaId,
    input,
};

/// When a caller may try again.
const RETRY_AFTER_S: u64 = 1;

/// Who is audited.
pub(crate) fn actor_of(caller: &Caller) -> input::Actor {
    let role = match caller.role {
        Role::Viewer => input::Role::Viewer,
        Role::Approver => input::Role::Approver,
        Role::Operator => input::Role::Operator,
        Role::Admin => input::Role::Admin,
    };
    input::Actor { name: caller.actor.clone(), role }
}

/// The saga, and whether the command has changed something.
pub(crate) fn say(answer: Result<Answer, Busy>) -> Result<(bool, SagaId), Problem> {
    match answer.map_err(busy)? {
        Ok(Reply::Accepted(saga)) => Ok((true, saga)),
        Ok(Reply::Same(saga)) => Ok((false, saga)),
        // Only an offer is answered so, and nobody asks for its saga.
        Ok(Reply::Taken(_) | Reply::TakenBefore(_)) => Err(Problem::internal()),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Whether an offered event was taken in now; false when it was before.
pub(crate) fn say_taken(answer: Result<Answer, Busy>) -> Result<bool, Problem> {
    match answer.map_err(busy)? {
        Ok(reply) => Ok(!matches!(reply, Reply::TakenBefore(_) | Reply::Same(_))),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Too much to do, or going down: in both cases it is worth asking again.
pub(crate) fn busy(busy: Busy) -> Problem {
    Problem::unavailable(busy.to_string(), RETRY_AFTER_S)
}

fn refused(Refusal { kind, detail }: Refusal) -> Problem {
    match kind {
        RefusalKind::NotFound => Problem::not_found(detail),
        RefusalKind::Conflict => Problem::conflict(detail),
        RefusalKind::Forbidden => Problem::forbidden(detail),
        RefusalKind::Unusable => Problem::unprocessable(detail),
        RefusalKind::Invalid { pointer } => {
            Problem::unprocessable("a field of the request is wrong").field(pointer, detail)
        }
    }
}
