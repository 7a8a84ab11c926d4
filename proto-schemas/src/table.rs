//! The table: one line for each message, type ↔ subject ↔ reply.

use crate::{body, check::read_event, delivery, inventory, notifications, orders, payments};
use saga_core::message::{Event, Request};
use serde_json::Value;

/// One message of the table, for documents and for checks over all of them.
#[derive(Clone, Copy)]
pub struct Message {
    /// The name of the type.
    pub name: &'static str,
    /// The NATS subject.
    pub subject: &'static str,
    /// Who sends it, and what answers.
    pub kind: Kind,
    /// The JSON Schema of the body, as it is read.
    pub schema: fn() -> Value,
}

/// What a message is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The runtime asks a service.
    Request {
        /// The name of the reply's type.
        reply: &'static str,
        /// The JSON Schema of the reply, as it is written.
        reply_schema: fn() -> Value,
    },
    /// The world publishes it.
    Event,
    /// A person's decision, which the runtime announces.
    Decision,
}

/// A line makes a type a message: `request` a [`Request`] with its reply and a body read at the
/// door, `event` an [`Event`] with the key `/orderId`, `decision` an event that only the runtime
/// makes, `outcome` an event with an `impl` of its own, beside the type: it has several subjects,
/// or another key.
macro_rules! messages {
    ($($kind:ident $module:ident::$name:ident $subject:literal
        $(-> $reply_module:ident::$reply:ident)? $(check $check:ident)?;)*) => {
        $(messages!(@impl $kind $module $name $subject
            [$($reply_module::$reply)?] [$(, check $module::$check)?]);)*

        /// All messages, ordered as in the source.
        pub const MESSAGES: &[Message] = &[$(Message {
            name: stringify!($name),
            subject: $subject,
            kind: messages!(@kind $kind $($reply_module $reply)?),
            schema: messages!(@schema $kind $module $name),
        }),*];
    };
    (@impl request $module:ident $name:ident $subject:literal [$reply:ty] [$($check:tt)*]) => {
        impl Request for $module::$name {
            const SUBJECT: &'static str = $subject;
            type Reply = $reply;
        }
        body!(request $module::$name $($check)*);
    };
    (@impl event $module:ident $name:ident $subject:literal [] [$($check:tt)*]) => {
        impl Event for $module::$name {
            const SUBJECTS: &'static [&'static str] = &[$subject];
            const KEY: &'static str = "/orderId";

            fn decode(_: &str, body: &str) -> serde_json::Result<Self> {
                read_event(body)
            }
        }
        body!(event $module::$name $($check)*);
    };
    (@impl decision $module:ident $name:ident $subject:literal [] [$($check:tt)*]) => {
        impl Event for $module::$name {
            const SUBJECTS: &'static [&'static str] = &[$subject];
            const KEY: &'static str = "/orderId";
            const DECISION: bool = true;

            fn decode(_: &str, body: &str) -> serde_json::Result<Self> {
                read_event(body)
            }
        }
        body!(event $module::$name $($check)*);
    };
    (@impl outcome $module:ident $name:ident $subject:literal [] []) => {};
    (@kind request $module:ident $reply:ident) => {
        Kind::Request {
            reply: stringify!($reply),
            reply_schema: crate::schema::reply::<$module::$reply>,
        }
    };
    (@kind decision) => { Kind::Decision };
    (@kind $event:ident) => { Kind::Event };
    (@schema request $module:ident $name:ident) => { crate::schema::request::<$module::$name> };
    (@schema $event:ident $module:ident $name:ident) => { crate::schema::event::<$module::$name> };
}

messages! {
    request orders::CreateOrder "orders.create" -> orders::Order check check_amounts;
    request orders::CalculateRisk "orders.calculate-risk" -> orders::Risk;
    request orders::UpdateStatus "orders.update-status" -> orders::StatusUpdated;
    request orders::Approve "orders.approve" -> orders::Approved check check_reason;
    request orders::OpenTicket "orders.open-ticket" -> orders::Ticket;
    request payments::CreateSession "payments.create-session" -> payments::Session
        check check_session;
    request payments::ProcessPayment "payments.process" -> payments::PaymentState;
    request payments::RefundPayment "payments.refund" -> payments::Refund check check_refund;
    request payments::VoidSession "payments.void-session" -> payments::SessionVoided;
    request inventory::CheckAvailability "inventory.check-availability" -> inventory::Availability;
    request inventory::Reserve "inventory.reserve" -> inventory::Moved;
    request inventory::Release "inventory.release" -> inventory::Moved;
    request inventory::Ship "inventory.ship" -> inventory::Moved;
    request delivery::CreateShipment "delivery.create-shipment" -> delivery::ShipmentCreated;
    request delivery::CancelShipment "delivery.cancel-shipment" -> delivery::ShipmentCancelled;
    request delivery::GetStatus "delivery.get-status" -> delivery::DeliveryState;
    request notifications::SendNotification "notifications.send" -> notifications::NotificationSent;
    event orders::OrderCreated "orders.trigger.created" check check_created;
    decision orders::OrderApproved "orders.trigger.approved";
    outcome payments::PaymentDetails "payments.trigger.completed";
    outcome payments::PaymentDetails "payments.trigger.failed";
    outcome payments::PaymentRefunded "payments.trigger.refunded";
    outcome payments::PaymentDisputed "payments.trigger.disputed";
    event delivery::DeliveryUpdated "delivery.trigger.status-updated";
}
