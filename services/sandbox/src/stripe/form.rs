//! Form parameters with nested names, such as `line_items[0][price_data][currency]`.

use super::StripeError;
use std::collections::BTreeMap;

/// The parameters of a request by their full names.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Refuses a name that is not among the known shapes; in these `[]` stands for any index and
    /// `[*]` for any key.
    pub(super) fn read(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, StripeError> {
        for (name, _) in &pairs {
            if !known.iter().any(|shape| fits(name, shape)) {
                let error = StripeError::invalid(format!("Received unknown parameter: {name}"));
                return Err(error.code("parameter_unknown").param(name));
            }
        }
        Ok(Self(pairs.into_iter().collect()))
    }

    /// The same for the same parameters in any order.
    pub(super) fn canonical(&self) -> String {
        format!("{:?}", self.0)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, StripeError> {
        self.text(name).ok_or_else(|| {
            let error = StripeError::invalid(format!("Missing required param: {name}."));
            error.code("parameter_missing").param(name)
        })
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, StripeError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                let error = StripeError::invalid(format!("Invalid integer: {text}"));
                error.code("parameter_invalid_integer").param(name)
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// The value, when it is one of these.
    pub(super) fn one_of(&self, name: &str, values: &[&str]) -> Result<Option<&str>, StripeError> {
        match self.text(name) {
            Some(value) if !values.contains(&value) => {
                let expected = values.join(", ");
                let message = format!("Invalid {name}: must be one of {expected}");
                Err(StripeError::invalid(message).param(name))
            }
            found => Ok(found),
        }
    }

    /// What stands under `name[…]`.
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let under = |full: &str| {
            let key = full.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some(key.to_owned())
        };
        self.0.iter().filter_map(|(full, value)| Some((under(full)?, value.clone()))).collect()
    }

    /// The entries of a list, `name[0]`, `name[1]` …, as prefixes of their fields.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let holds = |prefix: &str| self.0.keys().any(|full| full.starts_with(prefix));
        (0..).map(|index| format!("{name}[{index}]")).take_while(|prefix| holds(prefix)).collect()
    }
}

fn fits(name: &str, shape: &str) -> bool {
    let (mut names, mut shapes) = (name.split('['), shape.split('['));
    loop {
        match (names.next(), shapes.next()) {
            (None, None) => return true,
            (Some(part), Some("]")) if is_index(part) => (),
            (Some(part), Some("*]")) if part.ends_with(']') => (),
            (Some(part), Some(expected)) if part == expected => (),
            _ => return false,
        }
    }
}

fn is_index(part: &str) -> bool {
    part.strip_suffix(']').is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let owned = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Params(owned.collect())
    }

    #[test]
    fn nested_names_fit_the_shapes_of_the_api() {
        for (name, shape, expected) in [
            ("mode", "mode", true),
            ("modes", "mode", false),
            ("mode[a]", "mode", false),
            ("metadata[order_id]", "metadata[*]", true),
            ("metadata", "metadata[*]", false),
            ("line_items[0][quantity]", "line_items[][quantity]", true),
            ("line_items[][quantity]", "line_items[][quantity]", true),
            ("line_items[a][quantity]", "line_items[][quantity]", false),
            ("line_items[0][amount]", "line_items[][quantity]", false),
        ] {
            assert_eq!(fits(name, shape), expected, "{name} {shape}");
        }
    }

    #[test]
    fn lists_and_maps_are_found_under_their_names() {
        let read = params(&[
            ("line_items[0][quantity]", "1"),
            ("line_items[1][quantity]", "2"),
            ("metadata[a]", "b"),
        ]);
        assert_eq!(read.list("line_items"), ["line_items[0]", "line_items[1]"]);
        assert_eq!(read.map("metadata"), BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    }
}
