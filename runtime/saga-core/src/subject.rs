//! Which subjects the broker takes a message for.

/// Longer than any name that somebody reads, and far below what a line of the protocol holds.
const SUBJECT_BYTES_MAX: usize = 255;

/// Why no message can go to this subject: it is refused for ever, whoever publishes.
pub(crate) fn fault(subject: &str) -> Option<&'static str> {
    if subject.is_empty() {
        return Some("it is empty");
    }
    if SUBJECT_BYTES_MAX < subject.len() {
        return Some("it has more than 255 bytes");
    }
    if subject.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Some("it has white space or control characters");
    }
    if subject.starts_with('$') {
        return Some("what begins with $ is the broker's own");
    }
    let mut parts = subject.split('.');
    parts.find_map(|part| match part {
        "" => Some("a part between its dots is empty"),
        "*" | ">" => Some("it has a wildcard"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_the_broker_refuses_is_found_and_what_it_takes_is_not() {
        for good in ["a", "shop.told", "orders.trigger.approved", "a.b*c.d>", "käse.da"] {
            assert_eq!(fault(good), None, "{good}");
        }
        let long = "x".repeat(256);
        let bad = ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x", "*", "a.*.b", "a.>"];
        for bad in bad.into_iter().chain(["$JS.API.STREAM.DELETE.X", &long, "a\u{a0}b", "a\0"]) {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
    }
}
