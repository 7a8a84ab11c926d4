//! The courier's signature: `X-Signature: sha256=<hex>` is HMAC-SHA256 over `<X-Timestamp>.<raw
//! body>`; the key is the secret's bytes, the timestamp is in unix seconds.

use chassis::config::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The header with the signature.
pub(crate) const SIGNATURE_HEADER: &str = "x-signature";
/// The header with the time of signing.
pub(crate) const TIMESTAMP_HEADER: &str = "x-timestamp";
/// Older and newer webhooks are refused.
const TOLERANCE_S: u64 = 300;

/// Why a webhook is not taken for genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSignature {
    #[error("the header X-Signature or X-Timestamp is missing or malformed")]
    Malformed,
    #[error("the signature in X-Signature does not fit the body")]
    Wrong,
    #[error("the webhook's timestamp is more than {TOLERANCE_S} seconds away")]
    Untimely,
}

/// Checks the signature over the body as it came, at `now_s`.
pub(crate) fn verify(
    signature: Option<&str>,
    timestamp: Option<&str>,
    body: &[u8],
    secrets: &[Secret],
    now_s: i64,
) -> Result<(), BadSignature> {
    let (signature, timestamp) = signature.zip(timestamp).ok_or(BadSignature::Malformed)?;
    let is_digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
    let time_s: Option<i64> = timestamp.parse().ok().filter(|_| is_digits);
    let mut given = [0; 32];
    let digits = signature.strip_prefix("sha256=").ok_or(BadSignature::Malformed)?;
    hex::decode_to_slice(digits, &mut given).map_err(|_| BadSignature::Malformed)?;
    let time_s = time_s.ok_or(BadSignature::Malformed)?;
    let mut is_genuine = false;
    for secret in secrets {
        is_genuine |= mac(secret, timestamp, body).verify_slice(&given).is_ok();
    }
    if !is_genuine {
        return Err(BadSignature::Wrong);
    }
    if time_s.abs_diff(now_s) > TOLERANCE_S {
        return Err(BadSignature::Untimely);
    }
    Ok(())
}

fn mac(secret: &Secret, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// The two headers as the courier makes them, for tests.
#[cfg(test)]
pub(crate) fn signed(secret: &Secret, body: &[u8], time_s: i64) -> (String, String) {
    let time = time_s.to_string();
    let signature = mac(secret, &time, body).finalize().into_bytes();
    (format!("sha256={}", hex::encode(signature)), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_795_147_738;
    const BODY: &[u8] = b"{\"orderId\":\"o-1\"}";

    fn check(signature: &str, time: &str, body: &[u8], now_s: i64) -> Result<(), BadSignature> {
        let secrets = [Secret::new("old".into()), Secret::new("new".into())];
        verify(Some(signature), Some(time), body, &secrets, now_s)
    }

    /// The signature was made with `openssl dgst -sha256 -hmac new`.
    #[test]
    fn a_signature_of_another_tool_is_taken() {
        let signature = "sha256=e51b9652548a5aeab990e850a409feb9ae67964651059d17809475d9735fffcb";
        assert_eq!(check(signature, "1795147738", BODY, NOW_S), Ok(()));
    }

    #[test]
    fn either_secret_fits_within_300_seconds_on_either_side() {
        for name in ["old", "new"] {
            let (signature, time) = signed(&Secret::new(name.into()), BODY, NOW_S);
            assert_eq!(check(&signature, &time, BODY, NOW_S + 300), Ok(()));
            assert_eq!(check(&signature, &time, BODY, NOW_S - 300), Ok(()));
            let late = check(&signature, &time, BODY, NOW_S + 301);
            assert_eq!(late, Err(BadSignature::Untimely));
            let early = check(&signature, &time, BODY, NOW_S - 301);
            assert_eq!(early, Err(BadSignature::Untimely));
        }
    }

    #[test]
    fn what_was_changed_or_malformed_is_refused() {
        let (signature, time) = signed(&Secret::new("new".into()), BODY, NOW_S);
        let other_time = (NOW_S + 1).to_string();
        assert_eq!(check(&signature, &other_time, BODY, NOW_S), Err(BadSignature::Wrong));
        assert_eq!(check(&signature, &time, b"{}", NOW_S), Err(BadSignature::Wrong));
        let (foreign, _) = signed(&Secret::new("other".into()), BODY, NOW_S);
        assert_eq!(check(&foreign, &time, BODY, NOW_S), Err(BadSignature::Wrong));
        let bare = signature.trim_start_matches("sha256=");
        for (signature, time) in [
            (bare, time.as_str()),
            ("sha256=", &time),
            ("sha256=zz", &time),
            (&signature, ""),
            (&signature, "-5"),
            (&signature, "+5"),
            (&signature, "99999999999999999999"),
        ] {
            let refused = check(signature, time, BODY, NOW_S);
            assert_eq!(refused, Err(BadSignature::Malformed), "{signature} {time}");
        }
        assert_eq!(verify(None, Some(&time), BODY, &[], NOW_S), Err(BadSignature::Malformed));
    }
}
