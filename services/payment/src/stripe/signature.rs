//! `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`
//! (docs.stripe.com/webhooks, stripe-python `_webhook.py`).
//!
//! Each `v1` is HMAC-SHA256 over `<t>.<raw body>`; the key is the secret as it stands, with its
//! `whsec_`. While a secret is being replaced there is one `v1` for each active secret, and we
//! know several secrets, so every pair is tried. Other schemes are ignored.

use chassis::config::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The header.
pub(crate) const SIGNATURE_HEADER: &str = "stripe-signature";
/// Older and newer webhooks are refused: Stripe's own tolerance, on both sides.
const TOLERANCE_S: u64 = 300;
/// Signatures in one header: one for each active secret, of which Stripe keeps few.
const SIGNATURES_MAX: usize = 16;

/// Why a webhook is not taken for genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSignature {
    #[error("the header Stripe-Signature is missing or malformed")]
    Malformed,
    #[error("no signature in Stripe-Signature fits the body")]
    Wrong,
    #[error("the webhook's timestamp is more than {TOLERANCE_S} seconds away")]
    Untimely,
}

/// Checks the signature over the body as it came, at `now_s`.
pub(crate) fn verify(
    header: Option<&str>,
    body: &[u8],
    secrets: &[Secret],
    now_s: i64,
) -> Result<(), BadSignature> {
    let (time_text, signatures) = header.and_then(read).ok_or(BadSignature::Malformed)?;
    let time_s: i64 = time_text.parse().map_err(|_| BadSignature::Malformed)?;
    let mut is_genuine = false;
    // Every pair is compared, so that the time taken says nothing about which one fits.
    for secret in secrets {
        for signature in &signatures {
            is_genuine |= mac(secret, time_text, body).verify_slice(signature).is_ok();
        }
    }
    if !is_genuine {
        return Err(BadSignature::Wrong);
    }
    if time_s.abs_diff(now_s) > TOLERANCE_S {
        return Err(BadSignature::Untimely);
    }
    Ok(())
}

/// The timestamp's text and all `v1` of the right length.
fn read(header: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let mut time = None;
    let mut signatures = Vec::new();
    for pair in header.split(',') {
        match pair.trim().split_once('=') {
            // Two of them would leave open which one was signed.
            Some(("t", _)) if time.is_some() => return None,
            Some(("t", text)) if is_digits(text) => time = Some(text),
            Some(("t", _)) => return None,
            Some(("v1", digits)) => {
                let mut signature = [0; 32];
                if hex::decode_to_slice(digits, &mut signature).is_ok() {
                    signatures.push(signature);
                }
            }
            _ => (),
        }
    }
    let is_fit = (1..=SIGNATURES_MAX).contains(&signatures.len());
    time.filter(|_| is_fit).map(|time| (time, signatures))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn mac(secret: &Secret, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// A header as Stripe makes it, for tests.
#[cfg(test)]
fn signed(secret: &Secret, body: &[u8], time_s: i64) -> String {
    let time = time_s.to_string();
    let signature = mac(secret, &time, body).finalize().into_bytes();
    format!("t={time},v1={}", hex::encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_795_147_738;
    const BODY: &[u8] = b"{\"id\":\"evt_1\"}";

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn check(header: &str, body: &[u8], at_s: i64) -> Result<(), BadSignature> {
        verify(Some(header), body, &[secret("whsec_old"), secret("whsec_new")], at_s)
    }

    #[test]
    fn any_of_our_secrets_fits_any_of_the_signatures() {
        for name in ["whsec_old", "whsec_new"] {
            let header = signed(&secret(name), BODY, NOW_S);
            assert_eq!(check(&header, BODY, NOW_S), Ok(()));
            let others = format!("v0=00,v1={},{header},v1={}", "0".repeat(64), "f".repeat(64));
            assert_eq!(check(&others, BODY, NOW_S), Ok(()));
        }
        let header = signed(&secret("whsec_other"), BODY, NOW_S);
        assert_eq!(check(&header, BODY, NOW_S), Err(BadSignature::Wrong));
    }

    #[test]
    fn the_time_may_be_away_by_300_seconds_on_either_side() {
        let header = signed(&secret("whsec_new"), BODY, NOW_S);
        for (at_s, wanted) in [
            (NOW_S + 300, Ok(())),
            (NOW_S - 300, Ok(())),
            (NOW_S + 301, Err(BadSignature::Untimely)),
            (NOW_S - 301, Err(BadSignature::Untimely)),
        ] {
            assert_eq!(check(&header, BODY, at_s), wanted, "{at_s}");
        }
    }

    #[test]
    fn a_changed_body_or_time_does_not_fit() {
        let header = signed(&secret("whsec_new"), BODY, NOW_S);
        assert_eq!(check(&header, b"{\"id\":\"evt_2\"}", NOW_S), Err(BadSignature::Wrong));
        assert_eq!(check(&header, b"{\"id\": \"evt_1\"}", NOW_S), Err(BadSignature::Wrong));
        let later = header.replace(&NOW_S.to_string(), &(NOW_S + 1).to_string());
        assert_eq!(check(&later, BODY, NOW_S), Err(BadSignature::Wrong));
    }

    #[test]
    fn a_malformed_header_is_refused_without_a_panic() {
        let good = signed(&secret("whsec_new"), BODY, NOW_S);
        let digits = "0".repeat(64);
        let many = format!("t={NOW_S}{}", format!(",v1={digits}").repeat(1_000));
        for bad in [
            "",
            ",",
            "=",
            "t=",
            "t=1",
            "v1=00",
            "t=x,v1=00",
            "t=-5,v1=00",
            &format!("t=99999999999999999999,v1={digits}"),
            &format!("{good},t=5"),
            &many,
        ] {
            assert_eq!(check(bad, BODY, NOW_S), Err(BadSignature::Malformed), "{bad:.40}");
        }
        assert_eq!(verify(None, BODY, &[], NOW_S), Err(BadSignature::Malformed));
        assert_eq!(verify(Some(&good), BODY, &[], NOW_S), Err(BadSignature::Wrong));
    }
}
