//! The currencies of the provider's documentation: their list, and its exceptions one after the
//! other, as they stand there. What we believe of them elsewhere is not asked.

use super::StripeError;

/// In which a customer can be charged: the list for an account of the United States, then what one
/// of the United Arab Emirates has besides.
const PRESENTMENT: [&str; 2] = [
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bif bmd bnd bob brl bsd bwp byn bzd \
     cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf \
     gtq gyd hkd hnl htg huf idr ils inr isk jmd jpy kes kgs khr kmf krw kyd kzt lak lbp lkr lrd \
     lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk \
     php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs top \
     try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw",
    "bhd jod kwd omr tnd",
];
const ZERO_DECIMAL: &str = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf";
/// The last digit has to be 0.
const THREE_DECIMAL: &str = "bhd jod kwd omr tnd";
/// Have become zero-decimal, and are written with two decimals that are always `00`. The second is
/// in the list of zero-decimal ones as well; this rule is the one that holds for a charge.
const WRITTEN_WITH_00: &str = "isk ugx";
/// As a customer reads them.
const MINIMUMS: &str = "0.50 usd, 2.00 aed, 0.50 ars, 0.50 aud, 0.50 brl, 0.50 cad, 0.50 chf, \
     0.50 cop, 15.00 czk, 2.50 dkk, 0.50 eur, 0.30 gbp, 4.00 hkd, 175.00 huf, 0.50 idr, 0.50 ils, \
     0.50 inr, 50 jpy, 50 krw, 10.00 mxn, 2.00 myr, 3.00 nok, 0.50 nzd, 0.50 php, 2.00 pln, \
     2.00 ron, 0.50 rub, 3.00 sek, 0.50 sgd, 10.00 thb, 0.50 zar";

/// Digits of an amount where not every way to pay is a card.
fn digits_max(currency: &str) -> usize {
    match currency {
        "idr" => 12,
        "cop" => 10,
        "inr" => 9,
        _ => 8,
    }
}

fn has(list: &str, currency: &str) -> bool {
    list.split_ascii_whitespace().any(|it| it == currency)
}

/// The amount as a customer reads it, such as `10.50 USD`.
pub(crate) fn shown(amount: i64, currency: &str) -> String {
    let name = currency.to_ascii_uppercase();
    let digits = amount.to_string();
    let at = |decimals: usize| {
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        (whole.to_owned(), part.to_owned())
    };
    let (whole, part) = match currency {
        it if has(WRITTEN_WITH_00, it) => match at(2) {
            (whole, part) if part == "00" => (whole, String::new()),
            broken => broken,
        },
        it if has(ZERO_DECIMAL, it) => (digits, String::new()),
        it if has(THREE_DECIMAL, it) => at(3),
        _ => at(2),
    };
    let point = if part.is_empty() { "" } else { "." };
    format!("{whole}{point}{part} {name}")
}

/// Whether a session over this can be opened.
pub(super) fn check_charge(amount: i64, currency: &str) -> Result<(), StripeError> {
    if !PRESENTMENT.iter().any(|list| has(list, currency)) {
        let message = format!("Invalid currency: {currency}. Stripe does not support it.");
        return Err(StripeError::invalid(message).param("currency"));
    }
    check_digits(amount, currency)?;
    // Free of charge needs no payment.
    if 0 < amount && is_below_minimum(amount, currency) {
        let message = format!(
            "The Checkout Session's total amount due must add up to at least the minimum of \
             {currency}."
        );
        return Err(StripeError::invalid(message).code("amount_too_small"));
    }
    let digits_max = digits_max(currency);
    if amount.to_string().len() > digits_max {
        let most = shown(10_i64.pow(u32::try_from(digits_max).unwrap_or(8)) - 1, currency);
        let message =
            format!("The Checkout Session's total amount due must be no more than {most}.");
        return Err(StripeError::invalid(message).code("amount_too_large"));
    }
    Ok(())
}

/// Whether such an amount can be written at all; a refund has no other limits.
pub(super) fn check_digits(amount: i64, currency: &str) -> Result<(), StripeError> {
    let zeros = match currency {
        it if has(WRITTEN_WITH_00, it) => "00",
        it if has(THREE_DECIMAL, it) => "0",
        _ => "",
    };
    if amount == 0 || amount.to_string().ends_with(zeros) {
        return Ok(());
    }
    let message = format!("Invalid amount: in {currency} it has to end in {zeros}.");
    Err(StripeError::invalid(message).code("invalid_charge_amount").param("amount"))
}

fn is_below_minimum(amount: i64, currency: &str) -> bool {
    let listed = MINIMUMS.split(", ").filter_map(|it| it.split_once(' '));
    let plain = |text: &str| text.replace('.', "").parse::<i64>().unwrap_or_default();
    let minimum = listed.filter(|(_, of)| *of == currency).map(|(text, _)| plain(text)).next();
    minimum.is_some_and(|minimum| amount < minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_reads_what_the_documentation_says() {
        for (amount, currency, expected) in [
            (1000, "usd", "10.00 USD"),
            (5, "eur", "0.05 EUR"),
            (500, "jpy", "500 JPY"),
            (500, "isk", "5 ISK"),
            (500, "ugx", "5 UGX"),
            (1000, "mga", "1000 MGA"),
            (5120, "kwd", "5.120 KWD"),
            (1045, "huf", "10.45 HUF"),
        ] {
            assert_eq!(shown(amount, currency), expected);
        }
    }

    #[test]
    fn what_stripe_refuses_is_refused() {
        let code = |amount, currency| {
            check_charge(amount, currency).map_err(|error| error.body()["error"]["code"].clone())
        };
        for (amount, currency) in
            [(50, "usd"), (99_999_999, "usd"), (50, "jpy"), (100, "isk"), (10, "kwd"), (0, "usd")]
        {
            assert_eq!(code(amount, currency), Ok(()), "{amount} {currency}");
        }
        for (amount, currency, expected) in [
            (49, "usd", "amount_too_small"),
            (17_499, "huf", "amount_too_small"),
            (100_000_000, "usd", "amount_too_large"),
            (1_000_000_000, "inr", "amount_too_large"),
            (1050, "isk", "invalid_charge_amount"),
            (5124, "kwd", "invalid_charge_amount"),
        ] {
            assert_eq!(code(amount, currency), Err(expected.into()), "{amount} {currency}");
        }
        assert!(check_charge(1000, "iqd").is_err());
    }
}
