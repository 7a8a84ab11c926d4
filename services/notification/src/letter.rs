//! What a mail says.

use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    message::{
        Mailbox,
        header::{ContentType, MIME_VERSION_1_0},
    },
};
use proto_schemas::{
    Amount, Currency, OrderId, Personal,
    notifications::{NotificationKind, SendNotification},
    written_address,
};
use serde::{Deserialize, Serialize};
use service_kit::Rejection;
use std::fmt::Write as _;

/// Characters of a reason in a mail: a sentence or two for a customer, not a log.
const REASON_CHARS_MAX: usize = 500;

/// One mail, as it is stored until it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    order_id: OrderId,
    kind: NotificationKind,
    to: Personal,
    name: Personal,
    total: Amount,
    currency: Currency,
    tracking_number: Option<String>,
    /// Why the order ended without goods.
    reason: Option<String>,
    /// The `Date` of the mail: when it was asked for, the same however often it is sent.
    at: DateTime<Utc>,
}

impl Letter {
    pub(crate) fn new(
        request: SendNotification,
        reason: Option<String>,
        at: DateTime<Utc>,
    ) -> Letter {
        let SendNotification { order_id, kind, to, name, total, currency, tracking_number } =
            request;
        Letter { order_id, kind, to, name, total, currency, tracking_number, reason, at }
    }

    /// What stands before the `@` of the Message-ID: there is one mail of a kind for an order.
    pub(crate) fn name(&self) -> String {
        name(self.kind, &self.order_id)
    }

    /// The mail. Its Message-ID is `<kind>.<orderId>@<domain of the sender>`.
    pub(crate) fn compose(&self, from: &Mailbox) -> Result<Message, Rejection> {
        // The parser's error would repeat the address. A letter of an older release may have one
        // that is no longer taken.
        let address = written_address(&self.to).and_then(|it| it.parse::<Address>().ok());
        let address = address.ok_or_else(|| refused("the address cannot be written to"))?;
        let to = Mailbox::new(Some(one_line(&self.name)), address);
        Message::builder()
            .message_id(Some(format!("<{}>", message_id(&self.name(), from))))
            .date(self.at.into())
            .from(from.clone())
            .to(to)
            .subject(self.subject())
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text())
            .map_err(|_| refused("the mail cannot be built"))
    }

    fn subject(&self) -> String {
        let what = match self.kind {
            NotificationKind::OrderConfirmed => "is confirmed",
            NotificationKind::OrderCompleted => "is delivered",
            NotificationKind::OrderCancelled => "is cancelled",
        };
        format!("Your order {} {what}", self.order_id)
    }

    fn text(&self) -> String {
        let Letter { order_id, total, currency, .. } = self;
        let mut text = format!("Hello {},\n\n", one_line(&self.name));
        let body = match self.kind {
            NotificationKind::OrderConfirmed => {
                format!(
                    "We have your order {order_id} over {total} {currency}. \
                     We send it as soon as it is paid.\n"
                )
            }
            NotificationKind::OrderCompleted => {
                format!("Your order {order_id} is delivered. Enjoy!\n")
            }
            NotificationKind::OrderCancelled => format!(
                "Your order {order_id} over {total} {currency} is cancelled. \
                 What you have paid, you get back.\n"
            ),
        };
        text.push_str(&body);
        // Writing to a string cannot fail.
        if let Some(reason) = &self.reason {
            let _ = write!(text, "\nThe reason: {}\n", one_line(reason));
        }
        if let Some(number) = &self.tracking_number {
            let _ = write!(text, "\nTracking number: {}\n", one_line(number));
        }
        text
    }
}

/// The Message-ID of a mail from this sender, without angle brackets.
pub(crate) fn message_id(name: &str, from: &Mailbox) -> String {
    format!("{name}@{}", from.email.domain())
}

pub(crate) fn name(kind: NotificationKind, order_id: &OrderId) -> String {
    format!("{}.{order_id}", kind.name())
}

fn refused(reason: &str) -> Rejection {
    Rejection::new("bad_address", reason).status(422)
}

/// Without line breaks and other control characters, whatever came through an older door.
fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(REASON_CHARS_MAX).map(visible).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proto_schemas::orders::CreateOrder;

    pub(crate) fn letter(to: &str, name: &str, reason: Option<&str>) -> Letter {
        Letter {
            order_id: "o-1".parse().unwrap(),
            kind: NotificationKind::OrderCancelled,
            to: to.into(),
            name: name.into(),
            total: Amount::parse("100.00").unwrap(),
            currency: Currency::USD,
            tracking_number: None,
            reason: reason.map(str::to_owned),
            at: DateTime::UNIX_EPOCH,
        }
    }

    pub(crate) fn from() -> Mailbox {
        "Orders <orders@shop.example>".parse().unwrap()
    }

    fn written(letter: &Letter) -> String {
        String::from_utf8(letter.compose(&from()).unwrap().formatted()).unwrap()
    }

    /// The names of the headers, continuation lines left out.
    fn headers(mail: &str) -> Vec<String> {
        let (head, _) = mail.split_once("\r\n\r\n").expect("a head and a body");
        let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        lines.map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect()
    }

    #[test]
    fn a_cancellation_says_why() {
        let mail = written(&letter("ada@example.com", "Ada", Some("payment timed out")));
        assert!(mail.contains("Message-ID: <order_cancelled.o-1@shop.example>\r\n"), "{mail}");
        assert!(mail.contains("To: Ada <ada@example.com>\r\n"), "{mail}");
        assert!(mail.contains("MIME-Version: 1.0\r\n"), "{mail}");
        assert!(mail.contains("The reason: payment timed out"), "{mail}");
    }

    #[test]
    fn hostile_names_and_reasons_stay_in_their_place() {
        let plain = headers(&written(&letter("ada@example.com", "Ada", None)));
        for name in [
            "Ada\r\nBcc: eve@evil.example",
            "Ada\nBcc: eve@evil.example",
            "Ada\rBcc: eve@evil.example",
            "Ada\" <eve@evil.example>, \"",
            "Ada <eve@evil.example>",
            "=?utf-8?q?Ada=0D=0ABcc:_eve@evil.example?=",
            "Ada\u{2028}Bcc: eve@evil.example",
            "Ada, eve@evil.example",
            "\0",
        ] {
            let letter = letter("ada@example.com", name, Some(name));
            let mail = letter.compose(&from()).unwrap();
            let envelope: Vec<_> = mail.envelope().to().iter().map(ToString::to_string).collect();
            assert_eq!(envelope, ["ada@example.com"], "{name:?}");
            assert_eq!(headers(&written(&letter)), plain, "{name:?}");
        }
    }

    #[test]
    fn hostile_addresses_are_refused_without_repeating_them() {
        for to in [
            "ada@example.com\r\nBcc: eve@evil.example",
            "ada@example.com\nRCPT TO:<eve@evil.example>",
            "ada@example.com, eve@evil.example",
            "ada@example.com> <eve@evil.example",
            "ada",
            "",
            "@",
        ] {
            let refused = letter(to, "Ada", None).compose(&from()).expect_err(to);
            assert_eq!(refused.reason(), "the address cannot be written to");
        }
    }

    /// What the shop's door says of an address, and what becomes of a mail to it.
    #[test]
    fn what_the_door_takes_can_be_written_to() {
        let user = |count| format!("{}@example.com", "u".repeat(count));
        // 64 + 1 + 185 + 4 = 254.
        let longest = format!("{}@{}.com", "u".repeat(64), vec!["d".repeat(61); 3].join("."));
        for (to, written) in [
            ("ada@example.com", Some("ada@example.com")),
            ("ada+shop@sub.example.com", Some("ada+shop@sub.example.com")),
            ("o'hara@example.com", Some("o'hara@example.com")),
            ("root@localhost", Some("root@localhost")),
            ("ada@exämple.de", Some("ada@xn--exmple-cua.de")),
            ("ada@例え.jp", Some("ada@xn--r8jz45g.jp")),
            (&user(64), Some(&*user(64))),
            (&longest, Some(&*longest)),
            (&user(65), None),
            (&format!("{longest}m"), None),
            ("a..b@example.com", None),
            (".ada@example.com", None),
            ("ada.@example.com", None),
            ("\"a b\"@example.com", None),
            ("\"ada\"@example.com", None),
            ("ädä@example.com", None),
            ("ada@example..com", None),
            ("ada@example.com.", None),
            ("ada@-example.com", None),
            ("ada@[127.0.0.1]", None),
            ("ada@127.0.0.1", None),
            ("ada@[IPv6:2001:db8::1]", None),
            ("ada@[2001:db8::1]", None),
            ("ada(comment)@example.com", None),
            ("ada@example.com\n", None),
            (" ada@example.com", None),
        ] {
            assert_eq!(written_address(to).as_deref(), written, "{to:?}");
            let composed = letter(to, "Ada", None).compose(&from());
            assert_eq!(composed.is_ok(), is_taken(to), "{to:?}");
            let Ok(mail) = composed else { continue };
            let sent: Vec<_> = mail.envelope().to().iter().map(ToString::to_string).collect();
            assert_eq!(sent, [written.unwrap_or_default()], "{to:?}");
            assert!(mail.formatted().is_ascii(), "{to:?}: any mail server takes it");
        }
    }

    /// Whether the doors take it: the order's, and that of this procedure.
    fn is_taken(to: &str) -> bool {
        let order = serde_json::json!({
            "items": [{ "sku": "A", "quantity": 1, "price": "1.00" }], "total": "1.00",
            "customer": { "name": "Ada", "email": to },
            "shippingAddress": { "street": "s", "city": "c", "zip": "z", "country": "GB" },
        });
        let mail = serde_json::json!({
            "orderId": "o-1", "kind": "order_confirmed", "to": to, "name": "Ada",
            "total": "1.00", "currency": "USD",
        });
        let of_order = proto_schemas::read::<CreateOrder>(order.to_string().as_bytes()).is_ok();
        let of_mail = proto_schemas::read::<SendNotification>(mail.to_string().as_bytes()).is_ok();
        assert_eq!(of_order, of_mail, "{to:?}: all doors say the same");
        of_order
    }

    #[test]
    fn debug_shows_nothing_personal() {
        let shown = format!("{:?}", letter("ada@example.com", "Ada Lovelace", None));
        assert!(!shown.contains("ada@") && !shown.contains("Lovelace"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_adds_a_header(name in any::<String>(), reason in any::<String>()) {
            let plain = headers(&written(&letter("ada@example.com", "Ada", None)));
            let hostile = letter("ada@example.com", &name, Some(&reason));
            prop_assert_eq!(hostile.compose(&from()).unwrap().envelope().to().len(), 1);
            prop_assert_eq!(headers(&written(&hostile)), plain);
            prop_assert!(written(&hostile).is_ascii());
        }
    }
}
