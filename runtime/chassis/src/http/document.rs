//! What the handlers' types do not say about themselves to OpenAPI.

use aide::generate::{GenContext, in_context};
use aide::openapi::{
    Components, HeaderStyle, MediaType, OpenApi, Operation, Parameter, ParameterData,
    ParameterSchemaOrContent, ReferenceOr, Response, Responses, SchemaObject, SecurityScheme,
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

/// Documents a header that a handler reads by itself and cannot do without.
pub fn header<'t>(
    mut operation: TransformOperation<'t>,
    name: &str,
    description: &str,
) -> TransformOperation<'t> {
    let parameter = in_context(|ctx| header_parameter(ctx, name, description, true));
    operation.inner_mut().parameters.push(ReferenceOr::Item(parameter));
    operation
}

pub(super) fn header_parameter(
    ctx: &mut GenContext,
    name: &str,
    description: &str,
    required: bool,
) -> Parameter {
    let json_schema = ctx.schema.subschema_for::<String>();
    let parameter_data = ParameterData {
        name: name.into(),
        description: Some(description.into()),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema(json_schema)),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    };
    Parameter::Header { parameter_data, style: HeaderStyle::Simple }
}

/// Documents an answer that is text of some other media type than `text/plain`.
pub(super) fn answers_text<'t>(
    mut operation: TransformOperation<'t>,
    media_type: &str,
) -> TransformOperation<'t> {
    let json_schema = in_context(|ctx| ctx.schema.subschema_for::<String>());
    let media = MediaType { schema: Some(schema(json_schema)), ..MediaType::default() };
    let response = Response {
        description: "text".into(),
        content: [(media_type.to_owned(), media)].into_iter().collect(),
        ..Response::default()
    };
    let responses = operation.inner_mut().responses.get_or_insert_with(Responses::default);
    responses.responses.insert(ApiStatus::Code(200), ReferenceOr::Item(response));
    operation
}

fn schema(json_schema: schemars::Schema) -> SchemaObject {
    SchemaObject { json_schema, example: None, external_docs: None }
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
