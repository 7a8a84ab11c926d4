//! Numbers as decimals: equal when their values are, whatever their length and form.

use std::{cmp::Ordering, fmt};

/// A number by its value: `digits × 10^exponent`. Zero has no digits and no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    is_negative: bool,
    /// The digits that count, with at most one dot between them, without zeros around.
    digits: Digits<'a>,
    /// Of the last digit.
    exponent: i64,
}

/// Digits that stand together, or on two sides of a dot.
#[derive(Clone, Copy, Debug)]
struct Digits<'a> {
    front: &'a str,
    back: &'a str,
}

impl<'a> Digits<'a> {
    fn iter(self) -> impl DoubleEndedIterator<Item = u8> + 'a {
        self.front.bytes().chain(self.back.bytes())
    }

    fn len(self) -> usize {
        self.front.len() + self.back.len()
    }
}

impl PartialEq for Digits<'_> {
    fn eq(&self, other: &Digits<'_>) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Digits<'_> {}

/// Exponents beyond it are no numbers that anyone can mean, and would not fit an `i64` everywhere.
const EXPONENT_MAX: i64 = 1_000_000_000;

/// So many digits and zeros are written out; what is longer is written with an exponent.
const PLAIN_DIGITS_MAX: i64 = 310;

impl<'a> Number<'a> {
    /// Takes a number as JSON writes it: that was checked before. None when its exponent is beyond
    /// all measure.
    pub(super) fn of(text: &'a str) -> Option<Number<'a>> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()?),
            None => (text, 0),
        };
        if EXPONENT_MAX < exponent.saturating_abs() {
            return None;
        }
        let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (front, back) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent = exponent - i64::try_from(back.len()).ok()?;
        let (mut front, mut back) = (front.trim_start_matches('0'), back);
        if front.is_empty() {
            back = back.trim_start_matches('0');
        }
        let before = front.len() + back.len();
        back = back.trim_end_matches('0');
        if back.is_empty() {
            front = front.trim_end_matches('0');
        }
        exponent += i64::try_from(before - front.len() - back.len()).ok()?;
        let digits = Digits { front, back };
        if digits.len() == 0 {
            return Some(Number { is_negative: false, digits, exponent: 0 });
        }
        Some(Number { is_negative, digits, exponent })
    }

    /// Written out without an exponent, as long as that is not longer than any number type is; a
    /// whole number has no dot.
    pub fn plain(self) -> String {
        let digits: String = self.digits.iter().map(char::from).collect();
        let sign = if self.is_negative { "-" } else { "" };
        // Of the digits stand before the dot; fewer than none are zeros behind it.
        let whole = self.exponent + digits.len() as i64;
        if whole.saturating_abs().max(self.exponent.saturating_abs()) > PLAIN_DIGITS_MAX {
            return self.to_string();
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        match usize::try_from(whole) {
            _ if digits.is_empty() => "0".to_owned(),
            Ok(0) | Err(_) => format!("{sign}0.{}{digits}", zeros(-whole)),
            Ok(whole) if whole < digits.len() => {
                format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
            }
            Ok(_) => format!("{sign}{digits}{}", zeros(self.exponent)),
        }
    }

    fn cmp_size(&self, other: &Number<'_>) -> Ordering {
        let place = |it: &Number<'_>| it.exponent.saturating_add(it.digits.len() as i64);
        let by_digits = || self.digits.iter().cmp(other.digits.iter());
        match (self.digits.len(), other.digits.len()) {
            (0, 0) => Ordering::Equal,
            (0, _) => Ordering::Less,
            (_, 0) => Ordering::Greater,
            _ => place(self).cmp(&place(other)).then_with(by_digits),
        }
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.cmp_size(other),
            (true, true) => other.cmp_size(self),
        }
    }
}

/// One form for each value, which is JSON.
impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Number { is_negative, digits: Digits { front, back }, exponent } = *self;
        if front.is_empty() && back.is_empty() {
            return f.write_str("0");
        }
        let sign = if is_negative { "-" } else { "" };
        match exponent {
            0 => write!(f, "{sign}{front}{back}"),
            _ => write!(f, "{sign}{front}{back}e{exponent}"),
        }
    }
}
