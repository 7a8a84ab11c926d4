//! Checkout sessions.

use super::{
    StripeError,
    form::Params,
    idempotency::Keyed,
    money,
    refunds::{PAGE_LEN, PAGE_LEN_MAX},
};
use crate::{
    office::{Office, new_id, now_s},
    world::{PaymentStatus, Record, Session, SessionStatus},
};
use axum::{
    Form, Json,
    extract::{Path, Query, State, rejection::FormRejection},
    http::{HeaderMap, Uri},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type Pairs = Result<Form<Vec<(String, String)>>, FormRejection>;

/// Stripe takes 30 minutes to 24 hours from now, and 24 hours when nothing is said.
const EXPIRES_S_MIN: u64 = 30 * 60;
const EXPIRES_S_MAX: u64 = 24 * 60 * 60;
/// A caller that computed the time a moment ago is not refused for that moment.
const EXPIRES_SLACK_S: u64 = 60;
/// Stripe's ids have as many characters.
const SESSION_ID_CHARS: usize = 58;

const KNOWN: [&str; 24] = [
    "mode",
    "success_url",
    "cancel_url",
    "client_reference_id",
    "customer_email",
    "expires_at",
    "currency",
    "locale",
    "submit_type",
    "ui_mode",
    "customer_creation",
    "billing_address_collection",
    "payment_method_types[]",
    "expand[]",
    "metadata[*]",
    "payment_intent_data[metadata][*]",
    "payment_intent_data[description]",
    "line_items[][quantity]",
    "line_items[][price_data][currency]",
    "line_items[][price_data][unit_amount]",
    "line_items[][price_data][product_data][name]",
    "line_items[][price_data][product_data][description]",
    "line_items[][price_data][product_data][metadata][*]",
    "line_items[][price_data][tax_behavior]",
];

pub(super) async fn create(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    uri: Uri,
    pairs: Pairs,
) -> Result<Response, StripeError> {
    let params = Params::read(form(pairs)?, &KNOWN)?;
    Keyed::read(&headers, uri.path(), &params)?.act(&office, |_| {
        let session = opened(&params)?;
        Ok((rendered(&session), vec![Record::Session(session)]))
    })
}

pub(super) async fn retrieve(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StripeError> {
    let found = office.look(|world| world.session(&id).map(rendered));
    found.map(Json).ok_or_else(|| StripeError::missing("checkout.session", &id, "session"))
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    status: Option<SessionStatus>,
    #[serde(rename = "created[gte]")]
    created_gte: Option<u64>,
    limit: Option<usize>,
    starting_after: Option<String>,
}

/// Newest first.
pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Query(query): Query<ListQuery>,
) -> Json<Value> {
    let limit = query.limit.unwrap_or(PAGE_LEN).clamp(1, PAGE_LEN_MAX);
    let found: Vec<Value> = office.look(|world| {
        let sessions = world.sessions().into_iter();
        let newer =
            |it: &&Session| query.starting_after.as_ref().is_some_and(|last| it.id != *last);
        let skipped = usize::from(query.starting_after.is_some());
        let left = sessions.skip_while(newer).skip(skipped);
        let of = |it: &&Session| {
            query.status.is_none_or(|status| it.status == status)
                && query.created_gte.is_none_or(|since_s| since_s <= it.created_s)
        };
        left.filter(of).take(limit + 1).map(rendered).collect()
    });
    let has_more = found.len() > limit;
    let data: Vec<Value> = found.into_iter().take(limit).collect();
    let url = "/v1/checkout/sessions";
    Json(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
}

pub(super) async fn expire(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    pairs: Pairs,
) -> Result<Response, StripeError> {
    // A POST without parameters has no content type either.
    let pairs = match pairs {
        Err(FormRejection::InvalidFormContentType(_)) => Vec::new(),
        pairs => form(pairs)?,
    };
    let params = Params::read(pairs, &["expand[]"])?;
    Keyed::read(&headers, uri.path(), &params)?.act(&office, |world| {
        let session = world.session(&id);
        let session =
            session.ok_or_else(|| StripeError::missing("checkout.session", &id, "session"))?;
        let expired = expired(session).map_err(|status| {
            let message = format!(
                "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout \
                 Session has a status of `{status}`."
            );
            StripeError::invalid(message).executed()
        })?;
        Ok((rendered(&expired), vec![Record::Session(expired)]))
    })
}

/// The session after it has expired, or the status for which it cannot.
fn expired(session: &Session) -> Result<Session, &'static str> {
    match session.status {
        SessionStatus::Open => Ok(Session { status: SessionStatus::Expired, ..session.clone() }),
        SessionStatus::Complete => Err("complete"),
        SessionStatus::Expired => Err("expired"),
    }
}

pub(super) fn form(pairs: Pairs) -> Result<Vec<(String, String)>, StripeError> {
    match pairs {
        Ok(Form(pairs)) => Ok(pairs),
        Err(FormRejection::InvalidFormContentType(_)) => Err(StripeError::invalid(
            "The request body must be form-encoded (application/x-www-form-urlencoded).",
        )),
        Err(other) => Err(StripeError::invalid(format!("Invalid form: {other}"))),
    }
}

fn opened(params: &Params) -> Result<Session, StripeError> {
    params.required("mode")?;
    params.one_of("mode", &["payment"])?;
    let (amount_total, currency) = priced(params)?;
    let created_s = now_s();
    Ok(Session {
        id: new_id("cs_test_", SESSION_ID_CHARS),
        created_s,
        expires_s: expiry(params, created_s)?,
        amount_total,
        currency,
        client_reference_id: params.text("client_reference_id").map(str::to_owned),
        customer_email: params.text("customer_email").map(str::to_owned),
        metadata: params.map("metadata"),
        success_url: params.required("success_url")?.to_owned(),
        cancel_url: params.text("cancel_url").map(str::to_owned),
        status: SessionStatus::Open,
        payment_status: PaymentStatus::Unpaid,
        payment_intent: None,
    })
}

/// The sum of the line items, and the one currency that they all name.
fn priced(params: &Params) -> Result<(i64, String), StripeError> {
    let items = params.list("line_items");
    if items.is_empty() {
        params.required("line_items")?;
    }
    let (mut total, mut currency) = (0_i64, None);
    for item in &items {
        let price = format!("{item}[price_data]");
        params.required(&format!("{price}[product_data][name]"))?;
        let named = params.required(&format!("{price}[currency]"))?.to_lowercase();
        if currency.get_or_insert_with(|| named.clone()) != &named {
            return Err(StripeError::invalid("All line items must have the same currency."));
        }
        let amount = amount(params, &format!("{price}[unit_amount]"), 0)?;
        let quantity = amount_or(params, &format!("{item}[quantity]"), 1)?;
        let sum = amount.checked_mul(quantity).and_then(|it| total.checked_add(it));
        total = sum.ok_or_else(|| {
            StripeError::invalid("The total is too large.").code("amount_too_large")
        })?;
    }
    let currency = currency.unwrap_or_default();
    money::check_charge(total, &currency)?;
    Ok((total, currency))
}

fn amount(params: &Params, name: &str, min: i64) -> Result<i64, StripeError> {
    params.required(name)?;
    amount_or(params, name, min)
}

/// A number that is at least `min`, which is also the default.
fn amount_or(params: &Params, name: &str, min: i64) -> Result<i64, StripeError> {
    let value = params.integer(name)?.unwrap_or(min);
    if value < min {
        let message = format!("This value must be greater than or equal to {min}.");
        return Err(StripeError::invalid(message).code("parameter_invalid_integer").param(name));
    }
    Ok(value)
}

fn expiry(params: &Params, created_s: u64) -> Result<u64, StripeError> {
    let Some(asked) = params.integer("expires_at")? else {
        return Ok(created_s + EXPIRES_S_MAX);
    };
    let ahead_s = u64::try_from(asked).unwrap_or_default().saturating_sub(created_s);
    if ahead_s + EXPIRES_SLACK_S < EXPIRES_S_MIN || ahead_s > EXPIRES_S_MAX + EXPIRES_SLACK_S {
        let message = "The `expires_at` timestamp must be at least 30 minutes and less than 24 \
                       hours from Checkout Session creation.";
        return Err(StripeError::invalid(message).param("expires_at"));
    }
    Ok(created_s + ahead_s)
}

/// The session as Stripe shows it.
pub(crate) fn rendered(session: &Session) -> Value {
    let open = session.status == SessionStatus::Open;
    let url = open.then(|| format!("https://checkout.stripe.com/c/pay/{}", session.id));
    json!({
        "id": session.id,
        "object": "checkout.session",
        "amount_subtotal": session.amount_total,
        "amount_total": session.amount_total,
        "cancel_url": session.cancel_url,
        "client_reference_id": session.client_reference_id,
        "created": session.created_s,
        "currency": session.currency,
        "customer_details": session.customer_email.as_ref().map(|email| json!({ "email": email })),
        "customer_email": session.customer_email,
        "expires_at": session.expires_s,
        "livemode": false,
        "metadata": session.metadata,
        "mode": "payment",
        "payment_intent": session.payment_intent,
        "payment_method_types": ["card"],
        "payment_status": session.payment_status,
        "status": session.status,
        "success_url": session.success_url,
        "url": url,
    })
}
