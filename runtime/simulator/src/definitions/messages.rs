//! The messages of all worlds.

use saga_core::{
    filter::Field,
    message::{Event, Request},
};
use serde::{Deserialize, Serialize};

/// Declares a request type whose only field says what it is about.
macro_rules! request {
    ($name:ident, $subject:literal, $reply:ty) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub(crate) struct $name {
            pub(crate) about: String,
        }
        impl Request for $name {
            const SUBJECT: &'static str = $subject;
            type Reply = $reply;
        }
        impl $name {
            pub(crate) fn of(about: &str) -> $name {
                $name { about: about.to_owned() }
            }
        }
    };
}

request!(Reserve, "stock.reserve", ());
request!(Release, "stock.release", ());
request!(ShipStock, "stock.ship", ());
request!(TakeBack, "stock.take-back", ());
request!(OpenSession, "pay.open", Session);
request!(VoidSession, "pay.void", ());
request!(Refund, "pay.refund", ());
request!(Mail, "mail.send", ());
request!(CancelOrder, "order.cancel", ());
request!(BookCourier, "courier.book", ());
request!(CancelCourier, "courier.cancel", ());
request!(Rate, "risk.rate", ());
request!(Unrate, "risk.unrate", ());

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) session: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: String,
    #[serde(default)]
    pub(crate) risky: bool,
}
impl Event for Placed {
    const SUBJECTS: &'static [&'static str] = &["shop.placed"];
    const KEY: &'static str = "/order";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Approved {
    pub(crate) order: String,
    pub(crate) approved: bool,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
}
impl Event for Approved {
    const SUBJECTS: &'static [&'static str] = &["shop.approved"];
    const KEY: &'static str = "/order";
    const DECISION: bool = true;
}

/// The announcement of a decision, to whoever only hears of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) order: String,
}
impl Event for Heard {
    const SUBJECTS: &'static [&'static str] = &["shop.approved"];
    const KEY: &'static str = "/order";
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Paid {
    pub(crate) session: String,
    #[serde(skip)]
    pub(crate) failed: bool,
}
impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["pay.completed", "pay.failed"];
    const KEY: &'static str = "/order";

    fn decode(subject: &str, body: &str) -> serde_json::Result<Paid> {
        let paid: Paid = serde_json::from_str(body)?;
        Ok(Paid { failed: subject == "pay.failed", ..paid })
    }
}
impl Paid {
    pub(crate) fn session() -> Field<Paid, String> {
        Field::at("/session")
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Tracked {
    pub(crate) status: String,
}
impl Event for Tracked {
    const SUBJECTS: &'static [&'static str] = &["courier.status"];
    const KEY: &'static str = "/order";
}

/// A sale of its own number to a customer who may have several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sold {
    pub(crate) sale: String,
    pub(crate) customer: String,
    pub(crate) price: f64,
}
impl Event for Sold {
    const SUBJECTS: &'static [&'static str] = &["sale.placed"];
    const KEY: &'static str = "/sale";
}

/// Money from a customer, who says for which sale.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Money {
    pub(crate) payment: String,
    pub(crate) amount: f64,
}
impl Event for Money {
    const SUBJECTS: &'static [&'static str] = &["bank.money"];
    const KEY: &'static str = "/customer";
}
impl Money {
    pub(crate) fn sale() -> Field<Money, String> {
        Field::at("/sale")
    }

    pub(crate) fn amount() -> Field<Money, f64> {
        Field::at("/amount")
    }
}

/// The same money as whoever keeps the books sees it: one entry for each payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Booking {
    pub(crate) payment: String,
}
impl Event for Booking {
    const SUBJECTS: &'static [&'static str] = &["bank.money"];
    const KEY: &'static str = "/payment";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) payment: String,
}
impl Request for Book {
    const SUBJECT: &'static str = "books.enter";
    type Reply = ();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PayBack {
    pub(crate) payment: String,
}
impl Request for PayBack {
    const SUBJECT: &'static str = "bank.pay-back";
    type Reply = ();
}
