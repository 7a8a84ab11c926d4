//! What the service is told at start.

use chassis::config::{Secret, Source};
use proto_schemas::OrderId;

const API_BASE: &str = "https://api.stripe.com";
const SUCCESS_URL: &str = "https://shop.example/orders/{orderId}/paid";
const CANCEL_URL: &str = "https://shop.example/orders/{orderId}";
const URL_EXPECTED: &str = "an http or https URL without a slash at its end";
const PAGE_EXPECTED: &str = "an http or https URL; {orderId} in it becomes the order's id";
const ORDER_ID_MARK: &str = "{orderId}";

/// The settings of the payment service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `STRIPE_API_BASE`.
    pub api_base: String,
    /// `STRIPE_API_KEY`.
    pub api_key: Secret,
    /// `STRIPE_WEBHOOK_SECRET`: several while one replaces the other.
    pub webhook_secrets: Vec<Secret>,
    /// `PAYMENT_SUCCESS_URL`: where the customer lands after paying.
    pub success_url: String,
    /// `PAYMENT_CANCEL_URL`: where the customer lands after turning back.
    pub cancel_url: String,
}

impl Settings {
    /// Reads the settings.
    pub fn read(source: &mut Source) -> Option<Settings> {
        let api_base = url(source, "STRIPE_API_BASE", API_BASE, URL_EXPECTED);
        let api_key = source.secret("STRIPE_API_KEY", "the provider's secret key, sk_…");
        let secrets = "a comma-separated list of the endpoint's signing secrets, whsec_…";
        let webhook_secrets = source.secrets("STRIPE_WEBHOOK_SECRET", secrets);
        let success_url = url(source, "PAYMENT_SUCCESS_URL", SUCCESS_URL, PAGE_EXPECTED);
        let cancel_url = url(source, "PAYMENT_CANCEL_URL", CANCEL_URL, PAGE_EXPECTED);
        Some(Settings {
            api_base: api_base?.trim_end_matches('/').to_owned(),
            api_key: api_key?,
            webhook_secrets: webhook_secrets?,
            success_url: success_url?,
            cancel_url: cancel_url?,
        })
    }
}

/// A page's address for this order.
pub(crate) fn page(template: &str, order_id: &OrderId) -> String {
    template.replace(ORDER_ID_MARK, order_id.as_str())
}

fn url(source: &mut Source, name: &str, default: &str, expected: &str) -> Option<String> {
    let text = source.or(name, default.to_owned(), expected)?;
    let is_web =
        ["http://", "https://"].iter().any(|it| text.len() > it.len() && text.starts_with(it));
    if is_web { Some(text) } else { source.fault(name, "found no such URL".into(), expected) }
}
