//! How deep JSON may be nested, asked before anything reads it.
//!
//! Readers that look at each level stop at 128, those that pass a value on as raw text take any
//! depth, and whoever gets it next may not. So every door asks here first.

/// Levels of arrays and objects: no message of ours has ten. serde_json reads 127, and what comes
/// in is shown again inside lists and envelopes of a few levels.
pub const DEPTH_MAX: usize = 100;

/// Whether arrays and objects are nested deeper than [`DEPTH_MAX`]. Takes any bytes and never
/// recurses; what is no JSON is left to whoever reads it.
#[must_use]
pub fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => depth += 1,
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => (),
        }
        if DEPTH_MAX < depth {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(is_too_deep("{\"a\":".repeat(100_000).as_bytes()));
        assert!(is_too_deep("[".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn what_stands_in_strings_or_side_by_side_has_no_depth() {
        let brackets = "[".repeat(1_000);
        assert!(!is_too_deep(format!("\"{brackets}\"").as_bytes()));
        assert!(!is_too_deep(format!("[\"a\\\"{brackets}\"]").as_bytes()));
        assert!(!is_too_deep("[],{}".repeat(1_000).as_bytes()));
        assert!(is_too_deep(format!("[\"a\\\\\",{brackets}]").as_bytes()));
    }
}
