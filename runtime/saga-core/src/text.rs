//! Words of services, authors and libraries, as far as we keep and show them.

use std::borrow::Cow;

/// A reason in words: what a mail, a header and a line of a list have room for. An undo carries it
/// percent-encoded beside a body of [`PAYLOAD_BYTES_MAX`](crate::core::PAYLOAD_BYTES_MAX), and both
/// have to fit into one message. Counted as people count, so that a text has the same length in
/// every alphabet.
pub const REASON_CHARS_MAX: usize = 1000;

/// The code of a rejection: a word such as `out_of_stock`.
pub const CODE_CHARS_MAX: usize = 100;

/// What a library or a panic says is for whoever mends it: its beginning tells the kind.
const ERROR_CHARS_MAX: usize = 500;

/// Stands at the end of what was cut.
const MARK: char = '…';

/// At most so many characters; what is longer ends with a mark.
pub(crate) fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    if text.char_indices().nth(chars_max).is_none() {
        return text.into();
    }
    let kept = text.chars().take(chars_max.saturating_sub(1));
    Cow::Owned(kept.chain([MARK]).collect())
}

/// What a decoder says about a body, without what stands in the body: it quotes texts as `"…"`, and
/// the names that it does not know as `` `…` `` behind `unknown variant`.
pub(crate) fn masked(error: &str) -> String {
    const UNKNOWN: &str = "unknown variant `";
    let mut text = String::new();
    let mut rest = error;
    if let Some((before, name)) = rest.split_once(UNKNOWN)
        && let Some(end) = name.find("`, expected").or_else(|| name.rfind('`'))
    {
        text.extend([before, UNKNOWN]);
        text.push(MARK);
        rest = &name[end..];
    }
    // From the first quote to the last: what is quoted may hold quotes of its own.
    match (rest.find('"'), rest.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            text.push_str(&rest[..=first]);
            text.push(MARK);
            text.push_str(&rest[last..]);
        }
        _ => text.push_str(rest),
    }
    cut(&text, ERROR_CHARS_MAX).into_owned()
}
