//! Answers that are more than a body.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{Json, answer_header};

/// Items of a page when the caller does not say.
const PAGE_ITEMS_DEFAULT: u16 = 50;

/// 201 with the place of what was created.
#[derive(Debug)]
pub struct Created<T> {
    /// Sent as `Location`.
    pub location: String,
    /// What was created.
    pub body: T,
}

/// 202: it is durable and will be done.
#[derive(Debug)]
pub struct Accepted<T>(pub T);

/// One page of a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// The cursor of the next page; null when this is the last.
    pub next: Option<String>,
}

/// What every list takes: how many items, and from where.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Most items of the page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    #[schemars(range(min = 1, max = 200))]
    pub limit: u16,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// For lists that have more parameters than these two: the default of their own `limit`.
#[must_use]
pub fn page_items_default() -> u16 {
    PAGE_ITEMS_DEFAULT
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.body)).into_response();
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

macro_rules! documented_as {
    ($name:ident, $status:expr $(, $header:literal $about:literal)?) => {
        impl<T: JsonSchema> OperationOutput for $name<T> {
            type Inner = T;

            fn operation_response(
                ctx: &mut GenContext,
                operation: &mut Operation,
            ) -> Option<ApiResponse> {
                let response = Json::<T>::operation_response(ctx, operation);
                $(let response = response.map(|mut it| {
                    it.headers.insert($header.to_owned(), answer_header::<String>(ctx, $about));
                    it
                });)?
                response
            }

            fn inferred_responses(
                ctx: &mut GenContext,
                operation: &mut Operation,
            ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
                let response = Self::operation_response(ctx, operation);
                let code = Some(ApiStatus::Code($status.as_u16()));
                response.into_iter().map(|it| (code.clone(), it)).collect()
            }
        }
    };
}

documented_as!(Created, StatusCode::CREATED, "Location" "Where it is.");
documented_as!(Accepted, StatusCode::ACCEPTED);
