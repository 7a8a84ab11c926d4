//! What a provider sends, read as far as it can be read. Its signature was checked over the bytes;
//! of the text we take a few fields, and a name that was cut inside an emoji may not hide a
//! payment.

use serde_json::Value;
use std::borrow::Cow;

/// Stands for what no text can hold.
const UNKNOWN: &str = "\\ufffd";
/// `\u` and four digits.
const ESCAPE_BYTES: usize = 6;

/// The body as a tree. What is no UTF-8, and each half of a character, is read as U+FFFD. Nothing,
/// when it is no JSON all the same.
#[must_use]
pub fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| {
        let text = String::from_utf8_lossy(body);
        serde_json::from_str(&mended(&text)).ok()
    })
}

/// JSON text without halves of characters.
fn mended(text: &str) -> Cow<'_, str> {
    let mut mended = Cow::Borrowed("");
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        let bytes = match (unit(escape), escape.get(ESCAPE_BYTES..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 2 * ESCAPE_BYTES,
            (Some(0xd800..0xe000), _) => {
                mended += before;
                mended += UNKNOWN;
                rest = &escape[ESCAPE_BYTES..];
                continue;
            }
            (Some(_), _) => ESCAPE_BYTES,
            // The backslash, and what it escapes.
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended += &rest[..at + bytes];
        rest = &rest[at + bytes..];
    }
    mended += rest;
    mended
}

/// The unit of UTF-16 that an escape names.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_whole_is_read_as_it_is_and_halves_are_marked() {
        let read = |text: &str| json(text.as_bytes());
        assert_eq!(read(r#"{"a":"\ud83d\ude00"}"#), Some(json!({ "a": "😀" })));
        assert_eq!(read(r#"{"id":"x","a":"thank you \ud83d"}"#).expect("JSON")["id"], "x");
        assert_eq!(
            read(r#"["\ude00","\ud83d\ud83d\ude00"]"#),
            Some(json!(["\u{fffd}", "\u{fffd}😀"]))
        );
        assert_eq!(
            read(r#"["\\ud83d","\ud83d","é\"\ud83dx"]"#),
            Some(json!(["\\ud83d", "\u{fffd}", "é\"\u{fffd}x"]))
        );
        assert_eq!(json(b"[\"\xff\"]"), Some(json!(["\u{fffd}"])));
        for text in ["", "{", r#"["\ud8"#, r#"["\ud83d\"#, "\\", r#"["\u12"]"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
