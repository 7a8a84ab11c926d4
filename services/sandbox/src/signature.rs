//! How the providers sign.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The value of `Stripe-Signature`: one `v1` per secret. The key is the whole secret, with its
/// `whsec_`, and the message `{t}.{body}` (Stripe's SDKs, `WebhookSignature`).
pub(crate) fn stripe(secrets: &[String], unix_s: u64, body: &str) -> String {
    secrets.iter().fold(format!("t={unix_s}"), |header, secret| {
        format!("{header},v1={}", signed(secret, unix_s, body))
    })
}

/// The value of the courier's `X-Signature`; `X-Timestamp` carries the time.
pub(crate) fn courier(secret: &str, unix_s: u64, body: &str) -> String {
    format!("sha256={}", signed(secret, unix_s, body))
}

fn signed(secret: &str, unix_s: u64, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{unix_s}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl dgst -sha256 -hmac whsec_test` over `1700000000.{"a":1}`.
    const KNOWN: &str = "38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";

    #[test]
    fn a_signature_is_what_openssl_makes_of_the_same_bytes() {
        let secrets = ["whsec_test".to_owned(), "whsec_test".to_owned()];
        let header = stripe(&secrets, 1_700_000_000, r#"{"a":1}"#);
        assert_eq!(header, format!("t=1700000000,v1={KNOWN},v1={KNOWN}"));
        assert_eq!(courier("whsec_test", 1_700_000_000, r#"{"a":1}"#), format!("sha256={KNOWN}"));
    }
}
