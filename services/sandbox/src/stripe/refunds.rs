//! Refunds.

use super::{StripeError, form::Params, idempotency::Keyed, money, sessions::form};
use crate::{
    office::{Office, new_id, now_s},
    world::{Payment, Record, Refund, World},
};
use axum::{
    Form, Json,
    extract::{Query, State, rejection::FormRejection},
    http::{HeaderMap, Uri},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Stripe's length of a page, and its longest.
pub(super) const PAGE_LEN: usize = 10;
pub(super) const PAGE_LEN_MAX: usize = 100;

const KNOWN: [&str; 5] = ["payment_intent", "amount", "reason", "metadata[*]", "expand[]"];
const REASONS: [&str; 3] = ["duplicate", "fraudulent", "requested_by_customer"];

pub(super) async fn create(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    uri: Uri,
    pairs: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, StripeError> {
    let params = Params::read(form(pairs)?, &KNOWN)?;
    Keyed::read(&headers, uri.path(), &params)?.act(&office, |world| {
        let id = params.required("payment_intent")?;
        let asked = params.integer("amount")?;
        if asked.is_some_and(|amount| amount < 1) {
            let error = StripeError::invalid("This value must be greater than or equal to 1.");
            return Err(error.code("parameter_invalid_integer").param("amount"));
        }
        let reason = params.one_of("reason", &REASONS)?.map(str::to_owned);
        let (payment, amount) = match world.payment(id) {
            Some(payment) => refundable(world, payment, asked)?,
            None => unseen(id, asked, &params)?,
        };
        let refund = Refund { reason, metadata: params.map("metadata"), ..made(&payment, amount) };
        Ok((rendered(&refund), vec![Record::Payment(payment), Record::Refund(refund)]))
    })
}

/// A new refund of so much.
pub(crate) fn made(payment: &Payment, amount: i64) -> Refund {
    Refund {
        id: new_id("re_", 24),
        created_s: now_s(),
        payment_intent: payment.id.clone(),
        charge: payment.charge.clone(),
        amount,
        currency: payment.currency.clone(),
        reason: None,
        metadata: BTreeMap::new(),
        failed: false,
    }
}

/// The payment, and how much of it goes back.
pub(crate) fn refundable(
    world: &World,
    payment: &Payment,
    asked: Option<i64>,
) -> Result<(Payment, i64), StripeError> {
    let id = &payment.id;
    if !payment.succeeded {
        let message =
            format!("This PaymentIntent ({id}) does not have a successful charge to refund.");
        return Err(StripeError::invalid(message).param("payment_intent").executed());
    }
    let charged_back = world.charged_back(id);
    let left = payment.captured - world.refunded(id) - charged_back;
    if charged_back > 0 && left < asked.unwrap_or(1) {
        let message = format!(
            "The charge you're attempting to refund, {}, has been charged back. Check the disputes \
             documentation to learn how to respond to the dispute.",
            payment.charge
        );
        return Err(StripeError::invalid(message).code("charge_disputed").executed());
    }
    if left <= 0 {
        let message = format!("Charge {} has already been refunded.", payment.charge);
        return Err(StripeError::invalid(message).code("charge_already_refunded").executed());
    }
    let amount = asked.unwrap_or(left);
    if amount > left {
        let message = format!(
            "Refund amount ({amount} minor units) is greater than unrefunded amount on charge \
             ({left} minor units)"
        );
        return Err(StripeError::invalid(message).param("amount").executed());
    }
    money::check_digits(amount, &payment.currency)?;
    Ok((payment.clone(), amount))
}

/// A test may sign the webhook of a payment itself. Its payment intent is honoured: what is asked
/// back first is what was captured, so that asking twice is found out.
fn unseen(id: &str, asked: Option<i64>, params: &Params) -> Result<(Payment, i64), StripeError> {
    if !id.starts_with("pi_") {
        let error = StripeError::invalid(format!("No such payment_intent: '{id}'"));
        return Err(error.code("resource_missing").param("payment_intent"));
    }
    let captured = asked.unwrap_or(0);
    let payment = Payment {
        id: id.to_owned(),
        charge: new_id("ch_", 24),
        order_id: params.text("metadata[order_id]").map(str::to_owned),
        currency: "usd".to_owned(),
        captured,
        succeeded: true,
    };
    Ok((payment, captured))
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    payment_intent: Option<String>,
    limit: Option<usize>,
    starting_after: Option<String>,
}

pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, StripeError> {
    let Some(payment_intent) = query.payment_intent else {
        return Err(StripeError::invalid("The sandbox lists refunds by payment_intent only."));
    };
    let limit = query.limit.unwrap_or(PAGE_LEN).clamp(1, PAGE_LEN_MAX);
    let found: Vec<Value> = office.look(|world| {
        let refunds = world.refunds_of(&payment_intent);
        let newer =
            |refund: &&Refund| query.starting_after.as_ref().is_some_and(|id| refund.id != *id);
        let skipped = usize::from(query.starting_after.is_some());
        refunds.skip_while(newer).skip(skipped).take(limit + 1).map(rendered).collect()
    });
    let has_more = found.len() > limit;
    let data: Vec<Value> = found.into_iter().take(limit).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": has_more, "url": "/v1/refunds" })))
}

/// The refund as Stripe shows it.
pub(crate) fn rendered(refund: &Refund) -> Value {
    json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": null,
        "charge": refund.charge,
        "created": refund.created_s,
        "currency": refund.currency,
        "metadata": refund.metadata,
        "payment_intent": refund.payment_intent,
        "reason": refund.reason,
        "receipt_number": null,
        "status": if refund.failed { "failed" } else { "succeeded" },
    })
}
