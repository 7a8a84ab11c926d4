//! Amounts go to the payment provider in its own units, and what it would refuse is refused here.

use proptest::{
    prelude::{prop_assert, prop_assert_eq, proptest},
    sample::select,
};
use proto_schemas::{Amount, ChargeError, Currency, Refusal, orders::CreateOrder, read};
use serde_json::json;

fn units(amount: &str, code: &str) -> Result<u64, String> {
    let currency: Currency = code.parse().expect("a currency");
    let amount = Amount::parse(amount).expect("an amount");
    currency.to_units(amount).map_err(|error| error.to_string())
}

#[test]
fn units_are_those_of_the_provider_and_not_those_of_iso() {
    for (amount, code, expected) in [
        ("10", "USD", 1000),
        ("0.50", "EUR", 50),
        ("500", "JPY", 500),
        // ISO 4217 has no decimals for these two, the provider two.
        ("1000", "ISK", 100_000),
        ("5", "UGX", 500),
        // And the other way round.
        ("1000", "MGA", 1000),
        ("1000.00", "MGA", 1000),
        // In these two payouts are whole, charges are not.
        ("175.25", "HUF", 17_525),
        ("800.45", "TWD", 80_045),
        ("5.12", "KWD", 5120),
        ("5.120", "KWD", 5120),
    ] {
        assert_eq!(units(amount, code), Ok(expected), "{amount} {code}");
        let currency: Currency = code.parse().expect("a currency");
        let back = currency.of_units(expected).expect("an amount");
        assert_eq!(back, Amount::parse(amount).expect("an amount"), "{amount} {code}");
        assert!(back.minor(currency).is_ok(), "{back} has the decimals of {code}");
    }
}

#[test]
fn what_lies_between_two_steps_has_no_units() {
    for (amount, code, expected) in [
        ("1.005", "USD", "must have at most 2 decimals in USD"),
        ("10.5", "ISK", "must have at most 0 decimals in ISK"),
        ("10.50", "MGA", "must be a multiple of 1.00 in MGA, which the payment provider asks for"),
        ("5.124", "KWD", "must be a multiple of 0.010 in KWD, which the payment provider asks for"),
        ("1", "IQD", "must be a currency in which the payment provider charges, and IQD is none"),
    ] {
        assert_eq!(units(amount, code), Err(expected.to_owned()), "{amount} {code}");
    }
    let isk: Currency = "ISK".parse().expect("a currency");
    assert!(isk.of_units(15_050).is_err(), "nobody has paid 150.50 ISK");
}

/// Places an order over this total and tells the one fault.
fn fault_of(total: &str, code: &str) -> Option<(String, String)> {
    let body = json!({
        "items": [{ "sku": "WIDGET-001", "quantity": 1, "price": total }],
        "total": total,
        "currency": code,
        "customer": { "name": "Ada Lovelace", "email": "ada@example.com" },
        "shippingAddress":
            { "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US" },
    });
    match read::<CreateOrder>(body.to_string().as_bytes()) {
        Ok(_) => None,
        Err(Refusal::Faults(faults)) => {
            let [fault] = &faults[..] else { panic!("{total} {code}: {faults:?}") };
            Some((fault.pointer.clone(), fault.detail.clone()))
        }
        Err(Refusal::NotJson(why)) => panic!("{why}"),
    }
}

#[test]
fn the_door_refuses_what_cannot_be_charged_and_says_what_can() {
    for (total, code) in [
        ("0.50", "USD"),
        ("999999.99", "USD"),
        ("0.01", "BAM"),
        ("50", "JPY"),
        ("1", "ISK"),
        ("999999", "ISK"),
        ("9999999999.99", "IDR"),
        ("175.00", "HUF"),
    ] {
        assert_eq!(fault_of(total, code), None, "{total} {code}");
    }
    let whose = "which is what the payment provider takes";
    for (total, code, pointer, detail) in [
        ("0.49", "USD", "/total", format!("must be 0.50 to 999999.99 in USD, {whose}")),
        ("1000000.00", "USD", "/total", format!("must be 0.50 to 999999.99 in USD, {whose}")),
        ("49", "JPY", "/total", format!("must be 50 to 99999999 in JPY, {whose}")),
        ("174.99", "HUF", "/total", format!("must be 175.00 to 999999.99 in HUF, {whose}")),
        ("1000000", "ISK", "/total", format!("must be 1 to 999999 in ISK, {whose}")),
        ("100000.00", "KWD", "/total", format!("must be 0.010 to 99999.990 in KWD, {whose}")),
    ] {
        assert_eq!(fault_of(total, code), Some((pointer.to_owned(), detail)), "{total} {code}");
    }
    let (pointer, _) = fault_of("100.000", "IQD").expect("a fault");
    assert_eq!(pointer, "/currency");
    let (pointer, _) = fault_of("5.124", "KWD").expect("a fault");
    assert_eq!(pointer, "/total");
}

proptest! {
    #[test]
    fn units_come_back(
        units in 0..=999_999_999_999_u64,
        code in select(vec!["USD", "JPY", "ISK", "UGX", "MGA", "KWD", "IDR"]),
    ) {
        let currency: Currency = code.parse().expect("a currency");
        match currency.of_units(units) {
            Ok(amount) => match currency.to_units(amount) {
                Ok(again) => prop_assert_eq!(again, units),
                Err(error) => prop_assert!(matches!(error, ChargeError::Step { .. }), "{error}"),
            },
            Err(error) => prop_assert!(matches!(error, ChargeError::Amount(_)), "{error}"),
        }
    }
}
