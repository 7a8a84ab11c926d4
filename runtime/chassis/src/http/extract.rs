//! Extractors whose refusals are problems that name the field.

use std::marker::PhantomData;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus};
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, request::Parts};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::document::early;
use super::single::{Repeated, single};
use crate::json::{DEPTH_MAX, is_too_deep};
use crate::problem::{FieldError, Problem};

/// Most fields that one problem names: a list of thousands helps nobody.
const ERRORS_MAX: usize = 50;

/// A JSON body: read, decoded and validated; as an answer, a JSON body.
///
/// Refuses with 415 another content type, 400 what is not JSON or nested too deep or says twice of
/// what type it is, 422 with the pointer of the field that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// Decodes and validates a body as [`Json`] does, for handlers that need the raw body too.
///
/// # Errors
/// 400 when it is not JSON, 422 when a field is wrong.
pub fn parse_json<T: DeserializeOwned + Validate>(body: &[u8]) -> Result<T, Problem> {
    let value: T = decode(body)?;
    match value.validate() {
        Ok(()) => Ok(value),
        Err(errors) => Err(invalid(&errors)),
    }
}

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let raw = RawJson::<T>::from_request(request, state).await?;
        parse_json(&raw.bytes).map(Json)
    }
}

/// A body that says it is JSON, not yet read: for types with a reader of their own, which must
/// answer 400 and 422 as [`Json`] does. Documented as `T`.
#[derive(Clone, Debug)]
pub struct RawJson<T> {
    /// The body as it came.
    pub bytes: Bytes,
    shape: PhantomData<fn() -> T>,
}

impl<S: Send + Sync, T> FromRequest<S> for RawJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers())
            .map_err(|repeated| Problem::bad_request(repeated.to_string()))?;
        if !is_json {
            let detail = "send the header Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::bad_request("the body could not be read"))?;
        if is_too_deep(&bytes) {
            let detail = format!("the body is nested deeper than {DEPTH_MAX} levels");
            return Err(Problem::bad_request(detail));
        }
        // A reader skips fields that it does not know without looking at their bytes.
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Problem::bad_request("the body is not JSON: it is not UTF-8"));
        }
        Ok(RawJson { bytes, shape: PhantomData })
    }
}

impl<T: JsonSchema> OperationInput for RawJson<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(ctx, operation);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Json::<T>::inferred_early_responses(ctx, operation)
    }
}

impl<T: JsonSchema> OperationInput for Json<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        <axum::Json<T> as OperationInput>::operation_input(ctx, operation);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let statuses = [
            StatusCode::BAD_REQUEST,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        early(ctx, &statuses)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: JsonSchema> aide::OperationOutput for Json<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        <axum::Json<T> as aide::OperationOutput>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        <axum::Json<T> as aide::OperationOutput>::inferred_responses(ctx, operation)
    }
}

/// Longer paths name nothing: no id of ours has a hundred bytes, and what a command names is
/// audited.
const PATH_BYTES_MAX: usize = 1_024;

/// The parameters of the path. Refuses with 404: what is no id names nothing.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let is_long = PATH_BYTES_MAX < parts.uri.path().len();
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) if !is_long => Ok(Path(value)),
            Ok(_) | Err(_) => Err(Problem::not_found("nothing has this path")),
        }
    }
}

impl<T: JsonSchema> OperationInput for Path<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<T>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Path);
        add_parameters(ctx, operation, parameters);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        early(ctx, &[StatusCode::NOT_FOUND])
    }
}

/// The query, decoded and validated. Refuses with 422 and the parameter's name as pointer.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        let value: T = serde_path_to_error::deserialize(pairs).map_err(|error| {
            let pointer = pointer_of(error.path(), &error.inner().to_string());
            Problem::unprocessable("the query has a wrong parameter")
                .field(pointer, error.inner().to_string())
        })?;
        match value.validate() {
            Ok(()) => Ok(Query(value)),
            Err(errors) => Err(invalid(&errors)),
        }
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<T>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Query);
        add_parameters(ctx, operation, parameters);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        early(ctx, &[StatusCode::UNPROCESSABLE_ENTITY])
    }
}

/// `application/json`, with parameters or a structured suffix.
fn is_json(headers: &HeaderMap) -> Result<bool, Repeated> {
    let Some(value) = single(headers, "Content-Type")? else { return Ok(false) };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    let is_suffixed = media.starts_with("application/") && media.ends_with("+json");
    Ok(media == "application/json" || is_suffixed)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(value) => match json.end() {
            Ok(()) if !is_list(body) => return Ok(value),
            Ok(()) => return Err(no_object()),
            Err(error) => return Err(not_json(&error)),
        },
        Err(error) => error,
    };
    // A wrong field is found before the end of the body is seen: what follows it may be no JSON.
    if let Err(syntax) = serde_json::from_slice::<IgnoredAny>(body) {
        return Err(not_json(&syntax));
    }
    if !error.inner().is_data() {
        return Err(not_json(error.inner()));
    }
    if is_list(body) {
        return Err(no_object());
    }
    let detail = without_position(&error.inner().to_string());
    let pointer = pointer_of(error.path(), &detail);
    Err(Problem::unprocessable("a field of the body is wrong").field(pointer, detail))
}

/// serde reads a list as an object whose fields come in their order, which no schema of ours says.
fn is_list(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

fn no_object() -> Problem {
    Problem::unprocessable("the body is wrong").field("", "must be an object")
}

fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Problem::bad_request(format!("the body is not JSON: see line {line}, column {column}"))
}

/// The pointer says where; a position in the text would only repeat it.
fn without_position(detail: &str) -> String {
    detail.rsplit_once(" at line ").map_or(detail, |(text, _)| text).to_owned()
}

/// The JSON pointer of a decoding error; a missing field is pointed at by its own name.
fn pointer_of(path: &serde_path_to_error::Path, detail: &str) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => push_segment(&mut pointer, &index.to_string()),
            Segment::Map { key } => push_segment(&mut pointer, key),
            Segment::Enum { variant } => push_segment(&mut pointer, variant),
            Segment::Unknown => (),
        }
    }
    for prefix in ["missing field `", "unknown field `", "duplicate field `"] {
        let name = detail.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
        if let Some(name) = name.filter(|it| !pointer.ends_with(&format!("/{it}"))) {
            push_segment(&mut pointer, name);
        }
    }
    pointer
}

fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
}

fn invalid(errors: &ValidationErrors) -> Problem {
    let mut fields = Vec::new();
    collect(errors, "", &mut fields);
    fields.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    fields.truncate(ERRORS_MAX);
    let problem = Problem::unprocessable("a field has a value that is not allowed");
    fields.into_iter().fold(problem, |it, field| it.field(field.pointer, field.detail))
}

fn collect(errors: &ValidationErrors, parent: &str, fields: &mut Vec<FieldError>) {
    for (name, kind) in errors.errors() {
        let mut pointer = parent.to_owned();
        // An error of the whole struct belongs to the struct's own place.
        if name != "__all__" {
            push_segment(&mut pointer, &camel_case(name));
        }
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(inner, &pointer, fields),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(inner, &format!("{pointer}/{index}"), fields);
                }
            }
            ValidationErrorsKind::Field(list) => {
                for error in list {
                    let detail = error.message.clone().unwrap_or_else(|| error.code.clone());
                    fields.push(FieldError { pointer: pointer.clone(), detail: detail.into() });
                }
            }
        }
    }
}

/// The name on the wire of a field that is `snake_case` in code.
fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut raise = false;
    for c in name.chars() {
        if c == '_' {
            raise = true;
        } else if std::mem::take(&mut raise) {
            camel.push(c.to_ascii_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

#[cfg(test)]
mod tests;
