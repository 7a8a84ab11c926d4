//! Every currency there is, from the order to the refund. What the customer reads at the provider,
//! which has its own table of currencies, is compared with what the order says.

use super::order_at;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto_schemas::{Amount, Currency};
use serde_json::{Value, json};
use system_tests::{
    Failure,
    client::{Api, As, text},
    shared::system,
    stack::Stack,
    until,
    wire::Wire,
};

/// At once: enough to be done soon, few enough for the doors' limits.
const AT_ONCE: usize = 8;

/// All that ISO 4217 knows and one can pay in.
fn currencies() -> Vec<Currency> {
    let letters = || 'A'..='Z';
    let codes = letters().flat_map(|a| {
        letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c])))
    });
    codes.filter_map(|code| code.parse().ok()).collect()
}

#[tokio::test]
async fn every_currency_is_charged_and_paid_back_as_the_order_says_or_refused_at_the_door()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let wire = Wire::of(stack, "fermata").await?;
    let all = currencies();
    assert!(100 < all.len(), "they are there: {all:?}");
    let (api, wire) = (&api, &wire);
    let tried = stream::iter(all).map(|it| async move {
        let (charged, known) =
            (charged_and_paid_back(api, wire, it).await?, is_known(stack, api, it));
        let known = known.await?;
        if charged == known {
            Ok(charged)
        } else {
            Err(format!("{it}: {charged} here, {known} there"))
        }
    });
    let charged: Vec<bool> = tried.buffer_unordered(AT_ONCE).try_collect().await?;
    assert!(100 < charged.iter().filter(|it| **it).count(), "most can be charged");
    Ok(())
}

/// Whether an order over 1000 goes all the way; `false` when its currency is refused at the door.
async fn charged_and_paid_back(
    api: &Api,
    wire: &Wire,
    currency: Currency,
) -> Result<bool, Failure> {
    let mut order = order_at("1000", false);
    order["currency"] = json!(currency);
    let url = format!("{}/api/orders", api.urls().order);
    let answer = api.post(As::Anyone, &url, &order).await?;
    if answer.status == 422 {
        let refused = answer.expect(422)?;
        assert_eq!(refused["errors"][0]["pointer"], "/currency", "{currency}: {refused}");
        return Ok(false);
    }
    let order_id = text(&answer.expect(201)?, "/orderId")?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    let session = text(&order, "/paymentSessionId")?;
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    let paid = read(&api.effects(&order_id).await?["paid"])?;
    assert_eq!(paid, (amount_of(&order)?, currency.to_string()), "{currency}: what was asked for");

    let body = json!({
        "orderId": order_id, "sessionId": session, "amount": order["total"], "currency": currency,
    });
    let said = wire.ask("payments.refund", &format!("{order_id}/back"), &body).await?;
    assert_eq!((&said.outcome[..], &said.body["amount"]), ("ok", &order["total"]), "{currency}");
    let refunded = read(&api.effects(&order_id).await?["refunded"])?;
    assert_eq!(refunded, paid, "{currency}: what went back");
    until(&format!("the refund stands on {order_id}"), api.patience(), || async {
        let order = api.order(&order_id).await?;
        let is_so = order["refunds"][0]["amount"] == order["total"];
        if is_so { Ok(()) } else { Err(order.to_string()) }
    })
    .await?;
    Ok(true)
}

/// Whether the provider opens a session in this currency for anybody.
async fn is_known(stack: &Stack, api: &Api, currency: Currency) -> Result<bool, Failure> {
    let code = currency.code().to_ascii_lowercase();
    let form = [
        ("mode", "payment"),
        ("success_url", "https://shop.example/ok"),
        ("line_items[0][price_data][currency]", &code),
        ("line_items[0][price_data][unit_amount]", "1000000"),
        ("line_items[0][price_data][product_data][name]", "Anything"),
    ];
    let url = format!("{}/v1/checkout/sessions", api.urls().sandbox);
    let asked = reqwest::Client::new().post(url).bearer_auth(&stack.env()["STRIPE_API_KEY"]);
    let answer = asked.form(&form).send().await.map_err(|err| err.to_string())?;
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.map_err(|err| err.to_string())?;
    match (status, said["error"]["param"].as_str()) {
        (200, _) => Ok(true),
        (400, Some("currency")) => Ok(false),
        _ => Err(format!("{currency}: {said}")),
    }
}

fn amount_of(order: &Value) -> Result<Amount, Failure> {
    Amount::parse(&text(order, "/total")?).map_err(|err| err.to_string())
}

/// The one amount of a list such as `["10.50 USD"]`.
fn read(list: &Value) -> Result<(Amount, String), Failure> {
    let shown = text(list, "/0")?;
    let (amount, currency) = shown.split_once(' ').ok_or_else(|| format!("no amount: {list}"))?;
    Ok((Amount::parse(amount).map_err(|err| err.to_string())?, currency.to_owned()))
}
