//! Amounts keep every digit, and refuse what is no plain decimal.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proto_schemas::{Amount, AmountError, Currency, sum_minor};

const CURRENCIES: [&str; 5] = ["USD", "EUR", "JPY", "BHD", "CLF"];

fn currency(code: &str) -> Currency {
    code.parse().expect("a currency")
}

#[track_caller]
fn refuse(json: &str) -> AmountError {
    let by_text = Amount::from_json(json).expect_err("no amount");
    assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
    by_text
}

#[test]
fn what_is_no_plain_decimal_is_refused() {
    for json in [
        "1e3",
        "1E3",
        "1e-2",
        "\"1e3\"",
        "00.1",
        "\"00.1\"",
        "\"01\"",
        "NaN",
        "\"NaN\"",
        "\"inf\"",
        "\"\"",
        "\".5\"",
        "\"5.\"",
        "\"+5\"",
        "\" 5\"",
        "\"5 \"",
        "\"5,00\"",
        "\"1_000\"",
        "\"0x10\"",
        "\"٣\"",
        "\"1.2.3\"",
        "\"--5\"",
        "\"-\"",
        "\"-.5\"",
        "\"\\u0031\"",
        "true",
        "null",
        "[]",
        "{}",
    ] {
        assert_eq!(refuse(json), AmountError::NotDecimal, "{json}");
    }
    for json in ["-0", "-0.00", "-5", "\"-5.00\"", "\"-0\""] {
        assert_eq!(refuse(json), AmountError::Negative, "{json}");
    }
    let forty = "9".repeat(40);
    for json in ["1000000000000000000", "\"0.000000000000000000\"", &forty] {
        assert_eq!(refuse(json), AmountError::TooManyDigits, "{json}");
    }
}

#[test]
fn numbers_lose_no_digit() {
    let amount: Amount = serde_json::from_str("9007199254740993.01").expect("18 digits");
    assert_eq!(amount.to_string(), "9007199254740993.01");
    assert_eq!(amount.minor(currency("USD")), Ok(900_719_925_474_099_301));
    let amount: Amount = serde_json::from_str("0.1").expect("a decimal");
    assert_eq!(amount.minor(currency("USD")), Ok(10));
}

#[test]
fn decimals_are_those_of_the_currency() {
    let minor =
        |text: &str, code: &str| Amount::parse(text).and_then(|it| it.minor(currency(code)));
    assert_eq!(minor("1.5", "USD"), Ok(150));
    assert_eq!(minor("1", "JPY"), Ok(1));
    assert_eq!(minor("1.234", "BHD"), Ok(1234));
    let many = |max, code| Err(AmountError::TooManyDecimals { max, currency: currency(code) });
    assert_eq!(minor("1.234", "USD"), many(2, "USD"));
    assert_eq!(minor("1.000", "USD"), many(2, "USD"));
    assert_eq!(minor("100.00", "JPY"), many(0, "JPY"));
    assert_eq!(minor("999999999999999999", "USD"), Err(AmountError::TooLarge));
}

#[test]
fn only_currencies_that_one_can_pay_in_are_known() {
    for code in ["usd", "US", "USDX", "XAU", "XXX", "XTS", "ZZZ", "", "ＵＳＤ"] {
        assert!(code.parse::<Currency>().is_err(), "{code}");
        assert!(serde_json::from_str::<Currency>(&format!("\"{code}\"")).is_err(), "{code}");
    }
}

#[test]
fn sums_do_not_overflow() {
    let largest = Amount::of_minor(Amount::MINOR_MAX, currency("USD")).expect("the largest");
    assert_eq!(sum_minor([(1, largest)], currency("USD")), Ok(Amount::MINOR_MAX));
    assert_eq!(sum_minor([(2, largest)], currency("USD")), Err(AmountError::TooLarge));
    assert_eq!(sum_minor([(u32::MAX, largest)], currency("USD")), Err(AmountError::TooLarge));
    let cent = Amount::parse("0.01").expect("a cent");
    assert_eq!(sum_minor([(1, largest), (1, cent)], currency("USD")), Err(AmountError::TooLarge));
}

proptest! {
    #[test]
    fn minor_units_come_back(minor in 0..=Amount::MINOR_MAX, at in 0..CURRENCIES.len()) {
        let currency = currency(CURRENCIES[at]);
        let amount = Amount::of_minor(minor, currency).expect("within the limit");
        prop_assert_eq!(amount.minor(currency), Ok(minor));
        let text = amount.to_string();
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        prop_assert_eq!(decimals, usize::from(currency.decimals()));
        let json = serde_json::to_string(&amount).expect("a string");
        prop_assert_eq!(&json, &format!("\"{text}\""));
        for json in [json, text] {
            let read: Amount = serde_json::from_str(&json).expect("an amount");
            prop_assert_eq!(read.minor(currency), Ok(minor));
        }
    }

    #[test]
    fn whatever_is_read_is_written_as_it_came(text in "[0-9.eE+-]{0,24}") {
        if let Ok(amount) = Amount::parse(&text) {
            prop_assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(text in ".{0,40}") {
        let _ = Amount::parse(&text);
        let _ = Amount::from_json(&text);
        let _ = serde_json::from_str::<Amount>(&text);
    }

    #[test]
    fn amounts_compare_by_value(whole in 0_u32.., cents in 0_u32..100, more in 0_u32..100) {
        let parse = |text: String| Amount::parse(&text).expect("an amount");
        prop_assert_eq!(parse(format!("{whole}")), parse(format!("{whole}.000")));
        let (a, b) = (parse(format!("{whole}.{cents:02}")), parse(format!("{whole}.{more:02}0")));
        prop_assert_eq!(a.cmp(&b), cents.cmp(&more));
        prop_assert!(a >= parse(whole.to_string()));
    }
}
