//! How risky an order is: points from 0 to 100, from the fields of the order alone.
//!
//! | what | points |
//! |---|---|
//! | every order | 30 |
//! | a customer whom the shop sees for the first time | 25 |
//! | the total: one point for each full 1/40 of the currency's large amount | 0 to 40 |
//! | a line of [`BULK_QUANTITY_MIN`] pieces or more | 10 |
//!
//! [`REVIEW_MIN`] points and more ask a manager. So 100.00 USD of a known customer make 30 and
//! pass; a new customer is reviewed from 3,750.00 USD on, a known one from 10,000.00 USD on; and
//! 50,000.00 USD of a new customer make 95.
//!
//! The large amount of a currency stands in [`large_minor`], in minor units. A currency that is
//! not listed has 10,000 of its major unit, which errs on the careful side for small units.

use proto_schemas::Currency;
use proto_schemas::orders::{CalculateRisk, Risk};

/// From this score on a manager is asked.
pub const REVIEW_MIN: u8 = 70;

const EVERY_ORDER: u8 = 30;
const NEW_CUSTOMER: u8 = 25;
const TOTAL_MAX: u8 = 40;
const BULK: u8 = 10;
/// More pieces of one thing than a household needs: bought to be sold again, or with a stolen card.
const BULK_QUANTITY_MIN: u32 = 100;
const SCORE_MAX: u8 = 100;
/// For currencies that are not listed, in major units.
const LARGE_MAJOR: u64 = 10_000;

/// The amount at which the total gets all its points, in minor units.
fn large_minor(currency: Currency) -> u64 {
    match currency.code() {
        "USD" | "EUR" | "GBP" | "CHF" | "CAD" | "AUD" => 1_000_000,
        "JPY" => 1_500_000,
        "INR" => 80_000_000,
        "CNY" => 7_000_000,
        _ => LARGE_MAJOR * 10_u64.pow(u32::from(currency.decimals())),
    }
}

/// The score of an order and what made it.
#[must_use]
pub fn score(order: &CalculateRisk) -> Risk {
    let mut points = EVERY_ORDER;
    let mut reasons = Vec::new();
    if order.new_customer {
        points += NEW_CUSTOMER;
        reasons.push(format!("a new customer: {NEW_CUSTOMER}"));
    }
    let for_total = total_points(order);
    if for_total > 0 {
        points += for_total;
        reasons.push(format!("a total of {} {}: {for_total}", order.total, order.currency));
    }
    if order.items.iter().any(|item| item.quantity >= BULK_QUANTITY_MIN) {
        points += BULK;
        reasons.push(format!("{BULK_QUANTITY_MIN} pieces or more of one thing: {BULK}"));
    }
    Risk { score: points.min(SCORE_MAX), reasons }
}

fn total_points(order: &CalculateRisk) -> u8 {
    // A request is checked before it comes here; a total that does not fit its currency is as
    // suspicious as one can be.
    let Ok(total) = order.total.minor(order.currency) else { return TOTAL_MAX };
    let scaled = u128::from(total) * u128::from(TOTAL_MAX);
    let points = scaled / u128::from(large_minor(order.currency));
    u8::try_from(points).unwrap_or(TOTAL_MAX).min(TOTAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn points(total: &str, currency: &str, new_customer: bool, quantity: u32) -> u8 {
        let order = json!({
            "orderId": "o-1",
            "items": [{ "sku": "A", "quantity": quantity, "price": "1" }],
            "total": total,
            "currency": currency,
            "newCustomer": new_customer,
            "country": "US",
        });
        score(&serde_json::from_value(order).expect("an order")).score
    }

    #[test]
    fn a_hundred_of_a_known_customer_is_low_and_fifty_thousand_of_a_new_one_high() {
        assert_eq!(points("100.00", "USD", false, 1), 30);
        assert_eq!(points("50000.00", "USD", true, 1), 95);
        assert!(points("50000.00", "USD", true, 1) >= REVIEW_MIN);
    }

    #[test]
    fn the_score_rises_by_single_points_around_the_review() {
        assert_eq!(points("3749.99", "USD", true, 1), 69);
        assert_eq!(points("3750.00", "USD", true, 1), 70);
        assert_eq!(points("4000.00", "USD", true, 1), 71);
        assert_eq!(points("9999.99", "USD", false, 1), 69);
        assert_eq!(points("10000.00", "USD", false, 1), 70);
    }

    #[test]
    fn bulk_is_counted_by_the_line() {
        assert_eq!(points("100.00", "USD", false, 99), 30);
        assert_eq!(points("100.00", "USD", false, 100), 40);
    }

    #[test]
    fn thresholds_are_those_of_the_currency() {
        assert_eq!(points("1500000", "JPY", false, 1), 70);
        assert_eq!(points("800000.00", "INR", false, 1), 70);
        assert_eq!(points("10000.000", "KWD", false, 1), 70);
        assert_eq!(points("9999.999", "KWD", false, 1), 69);
        assert_eq!(points("10000", "SEK", false, 1), 70);
    }

    #[test]
    fn the_score_never_leaves_its_range() {
        assert_eq!(points("999999999999999.99", "USD", true, 1_000_000), 100);
        assert_eq!(points("0.01", "USD", false, 1), 30);
    }
}
