//! The HTTP routes.

mod approve;
mod create;
mod read;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::extract::State;
use chassis::http::{Created, Json, Page, Problem, problems};
use proto_schemas::orders::{Approved, Order};
use proto_schemas::{Body, Refusal};
use service_kit::Context;

use crate::tickets::OpenedTicket;

/// All routes.
pub(crate) fn routes(context: Context) -> ApiRouter {
    ApiRouter::new()
        .api_route(
            "/api/orders",
            post_with(create::create, |op| {
                problems(op.summary("Place an order"), &[400, 422])
                    .response::<201, Created<Order>>()
            })
            .get_with(read::list, |op| {
                op.summary("Orders, newest first").response::<200, Json<Page<Order>>>()
            }),
        )
        .api_route(
            "/api/orders/approve",
            post_with(approve::approve, |op| {
                problems(op.summary("Decide an order that waits for a manager"), &[404, 409])
                    .response::<200, Json<Approved>>()
                    .response::<202, Json<Approved>>()
            }),
        )
        .api_route(
            "/api/orders/{id}",
            get_with(read::one, |op| op.summary("One order").response::<200, Json<Order>>()),
        )
        .api_route(
            "/api/tickets",
            get_with(read::tickets, |op| {
                op.summary("Support tickets of an order, newest first")
                    .response::<200, Json<Page<OpenedTicket>>>()
            }),
        )
        .with_state(context)
}

type Shared = State<Context>;

/// Reads a body of ours with all its faults as one problem.
fn read_body<B: Body>(bytes: &[u8]) -> Result<B, Problem> {
    proto_schemas::read(bytes).map_err(|refusal| match refusal {
        Refusal::NotJson(why) => Problem::bad_request(format!("the body is not JSON: {why}")),
        Refusal::Faults(faults) => {
            let problem = Problem::unprocessable("the body has fields that are wrong");
            faults.into_iter().fold(problem, |it, fault| it.field(fault.pointer, fault.detail))
        }
    })
}
