//! Headers that may stand in a request once.

use axum::http::{HeaderMap, HeaderValue};

/// A header that decides something stands there more than once: whoever looked at the request
/// before us may have gone by another one than we would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} stands there twice")]
pub struct Repeated(&'static str);

/// The only header of this name, if there is one.
///
/// # Errors
/// There are several, also if all of them say the same.
pub fn single<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<Option<&'h HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Repeated(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_stands_there_twice_is_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, "X-Signature"), Ok(None));
        let value = HeaderValue::from_static("a");
        headers.append("x-signature", value.clone());
        assert_eq!(single(&headers, "X-Signature"), Ok(Some(&value)));
        headers.append("X-SIGNATURE", value);
        let refused = single(&headers, "X-Signature").expect_err("also if both are equal");
        assert_eq!(refused.to_string(), "the header X-Signature stands there twice");
    }
}
