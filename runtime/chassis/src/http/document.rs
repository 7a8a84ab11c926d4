//! What the handlers' types do not say about themselves to OpenAPI.

use aide::generate::{GenContext, in_context};
use aide::openapi::{
    Components, OpenApi, Operation, ReferenceOr, Response, Responses, SecurityScheme,
    StatusCode as ApiStatus,
};
use aide::transform::TransformOperation;
use axum::http::StatusCode;

use crate::problem::Problem;

/// The name of the security scheme in the document.
const BEARER: &str = "bearer";

/// Statuses that any route can answer, whatever its handler does.
const COMMON: [StatusCode; 5] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Documents the problems that a handler answers by itself (those of its extractors, and those
/// that any route can give, are documented already).
pub fn problems<'t>(
    mut operation: TransformOperation<'t>,
    statuses: &[u16],
) -> TransformOperation<'t> {
    for status in statuses.iter().filter_map(|it| StatusCode::from_u16(*it).ok()) {
        add(operation.inner_mut(), status);
    }
    operation
}

/// The early responses of an extractor that answers these problems.
pub(super) fn early(
    ctx: &mut GenContext,
    statuses: &[StatusCode],
) -> Vec<(Option<ApiStatus>, Response)> {
    let code = |status: &StatusCode| Some(ApiStatus::Code(status.as_u16()));
    statuses.iter().map(|it| (code(it), Problem::api_response(ctx, *it))).collect()
}

/// Notes that the operation needs a token.
pub(super) fn require_bearer(operation: &mut Operation) {
    operation.security = vec![[(BEARER.to_owned(), Vec::new())].into_iter().collect()];
}

/// Adds to every operation what any route can answer.
pub(super) fn add_common(api: &mut OpenApi) {
    let Some(paths) = &mut api.paths else { return };
    for path in paths.paths.values_mut() {
        let ReferenceOr::Item(item) = path else { continue };
        let methods =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in methods.into_iter().flatten() {
            COMMON.into_iter().for_each(|status| add(operation, status));
        }
    }
}

/// Declares the security scheme.
pub(super) fn declare_bearer(api: &mut OpenApi) {
    let scheme = SecurityScheme::Http {
        scheme: "bearer".into(),
        bearer_format: None,
        description: Some("A token with a role: viewer, approver, operator or admin.".into()),
        extensions: Default::default(),
    };
    let components = api.components.get_or_insert_with(Components::default);
    components.security_schemes.insert(BEARER.into(), ReferenceOr::Item(scheme));
}

fn add(operation: &mut Operation, status: StatusCode) {
    let responses = operation.responses.get_or_insert_with(Responses::default);
    let response = in_context(|ctx| Problem::api_response(ctx, status));
    let code = ApiStatus::Code(status.as_u16());
    responses.responses.entry(code).or_insert(ReferenceOr::Item(response));
}
