//! What the handlers' types do not say about themselves to OpenAPI.

use aide::generate::{GenContext, in_context};
use aide::openapi::{
    Components, Header, HeaderStyle, MediaType, OpenApi, Operation, Parameter, ParameterData,
    ParameterSchemaOrContent, ReferenceOr, RequestBody, Response, Responses, SchemaObject,
    SecurityScheme, StatusCode as ApiStatus,
};
use aide::transform::TransformOperation;
use axum::http::StatusCode;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use crate::problem::Problem;

/// The name of the security scheme in the document.
const BEARER: &str = "bearer";

/// Where the procedures stand in the document.
const PROCEDURES: &str = "x-nats-procedures";

/// Statuses that any route behind the limits can answer, whatever its handler does.
const COMMON: [StatusCode; 7] = [
    StatusCode::BAD_REQUEST,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Statuses that any route beside the limits can answer.
const BESIDE: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];

/// What the HTTP library answers before a request is one; it lets nobody add a body.
pub(super) const UNREAD: &str = "What is no HTTP is answered with 400, a path that is too long \
     with 414, too many headers with 431, all three without a body, and the connection is closed.";

/// A subject on which the process answers requests over NATS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Procedure {
    /// The subject.
    pub subject: String,
    /// The JSON Schema of the request's body.
    pub request: Value,
    /// The JSON Schema of the reply's body.
    pub reply: Value,
}

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
    let text = in_context(|ctx| ctx.schema.subschema_for::<String>());
    let parameter = header_parameter(name, description, text, true);
    operation.inner_mut().parameters.push(ReferenceOr::Item(parameter));
    operation
}

/// Documents a body that the handler reads by itself, of whatever media type it says it is.
pub fn any_body<'t>(mut operation: TransformOperation<'t>, about: &str) -> TransformOperation<'t> {
    let anything = SchemaObject { json_schema: true.into(), example: None, external_docs: None };
    let media = MediaType { schema: Some(anything), ..MediaType::default() };
    let body = RequestBody {
        description: Some(about.into()),
        content: ["application/json", "*/*"].map(|it| (it.to_owned(), media.clone())).into(),
        required: false,
        ..RequestBody::default()
    };
    operation.inner_mut().request_body = Some(ReferenceOr::Item(body));
    operation
}

/// Documents a header of an answer.
pub(crate) fn answer_header<T: JsonSchema>(
    ctx: &mut GenContext,
    about: &str,
) -> ReferenceOr<Header> {
    let json_schema = ctx.schema.subschema_for::<T>();
    ReferenceOr::Item(Header {
        description: Some(about.into()),
        style: HeaderStyle::Simple,
        required: true,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema(json_schema)),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    })
}

pub(super) fn header_parameter(
    name: &str,
    description: &str,
    json_schema: Schema,
    required: bool,
) -> Parameter {
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

/// Documents that the answer 200 comes as plain text too, for callers that accept only that.
pub fn or_text(mut operation: TransformOperation<'_>) -> TransformOperation<'_> {
    let json_schema = in_context(|ctx| ctx.schema.subschema_for::<String>());
    let media = MediaType { schema: Some(schema(json_schema)), ..MediaType::default() };
    let responses = operation.inner_mut().responses.get_or_insert_with(Responses::default);
    if let Some(ReferenceOr::Item(response)) = responses.responses.get_mut(&ApiStatus::Code(200)) {
        response.content.insert("text/plain".to_owned(), media);
    }
    operation
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

fn schema(json_schema: Schema) -> SchemaObject {
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

/// Lists the procedures.
pub(super) fn list_procedures(api: &mut OpenApi, procedures: &[Procedure]) {
    let list = serde_json::to_value(procedures).unwrap_or_default();
    api.extensions.insert(PROCEDURES.to_owned(), list);
}

/// Adds to every operation what any route can answer: those behind the limits, and those beside.
pub(super) fn add_common(api: &mut OpenApi, beside: &[&str]) {
    let Some(paths) = &mut api.paths else { return };
    for (name, path) in &mut paths.paths {
        let ReferenceOr::Item(item) = path else { continue };
        let statuses: &[_] = match beside.contains(&name.as_str()) {
            true => &BESIDE,
            false => &COMMON,
        };
        let methods =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in methods.into_iter().flatten() {
            statuses.iter().for_each(|status| add(operation, *status));
            add_unread(operation);
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

/// Notes the one status that only the HTTP library answers.
fn add_unread(operation: &mut Operation) {
    let description = "URI Too Long; without a body, and the connection is closed".to_owned();
    let response = ReferenceOr::Item(Response { description, ..Response::default() });
    let code = ApiStatus::Code(StatusCode::URI_TOO_LONG.as_u16());
    let responses = operation.responses.get_or_insert_with(Responses::default);
    responses.responses.entry(code).or_insert(response);
}

fn add(operation: &mut Operation, status: StatusCode) {
    let responses = operation.responses.get_or_insert_with(Responses::default);
    let response = in_context(|ctx| Problem::api_response(ctx, status));
    let code = ApiStatus::Code(status.as_u16());
    responses.responses.entry(code).or_insert(ReferenceOr::Item(response));
}
