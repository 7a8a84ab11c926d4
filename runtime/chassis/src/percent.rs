//! Percent-encoding of texts in headers and URLs, as CloudEvents writes attributes in NATS headers
//! (its NATS protocol binding, 1.0.3, 3.1.3.2) and as RFC 3986 (2.1) writes passwords.

/// Encodes space, `"`, `%` and everything beyond visible ASCII.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes what is `%` and two hexadecimal digits. A text that is then no well-formed UTF-8 stays
/// as it came.
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let escaped = digits.and_then(|it| hex::decode(it).ok()).and_then(|it| it.first().copied());
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in ["zu spät", "100% \"sure\"", "plain", "a%2", "😀", ""] {
            assert_eq!(decoded(&encoded(text)), text);
        }
        assert_eq!(encoded("50%\"a/b\""), "50%25%22a/b%22");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["%", "%4", "%zz", "%+5", "%C0%A0"] {
            assert_eq!(decoded(text), text, "a sign is no digit, and overlong UTF-8 is refused");
        }
    }
}
