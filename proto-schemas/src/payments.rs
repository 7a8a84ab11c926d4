//! Payments: sessions at the provider, what became of them, and money that goes back.

use crate::{
    amount::Amount,
    body,
    check::{Fault, read_event},
    currency::Currency,
    orders::{OrderCreated, REASON_CHARS_MAX, check_charge},
    text::{OrderId, line},
};
use chrono::{DateTime, Utc};
use saga_core::{filter::Field, message::Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Error as _};
use validator::Validate;

/// Each amount fits its currency.
pub(crate) fn check_amount(amount: Amount, currency: Currency, faults: &mut Vec<Fault>) {
    if let Err(error) = amount.minor(currency) {
        faults.push(Fault::at("/amount", error));
    }
}

pub(crate) fn check_session(session: &CreateSession, faults: &mut Vec<Fault>) {
    check_charge("/amount", session.amount, session.currency, faults);
}

pub(crate) fn check_refund(refund: &RefundPayment, faults: &mut Vec<Fault>) {
    check_amount(refund.amount, refund.currency, faults);
}

/// `payments.create-session`: let the customer pay at the provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CreateSession {
    /// The order.
    pub order_id: OrderId,
    /// What is to be paid.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
}

impl CreateSession {
    /// A session over the total of this order.
    pub fn of(order: &OrderCreated) -> CreateSession {
        let OrderCreated { order_id, total, currency, .. } = order;
        CreateSession { order_id: order_id.clone(), amount: *total, currency: *currency }
    }
}

/// Answer of `payments.create-session`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The provider's own id, `cs_…` at Stripe.
    pub session_id: String,
    /// Where the customer pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the provider closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// `payments.process`: ask the provider now what became of this order's session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct ProcessPayment {
    /// The order.
    pub order_id: OrderId,
}

impl ProcessPayment {
    /// What became of the session of this order.
    pub fn of(order: &OrderCreated) -> ProcessPayment {
        ProcessPayment { order_id: order.order_id.clone() }
    }
}

/// Answer of `payments.process`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentState {
    /// The order.
    pub order_id: OrderId,
    /// The provider's id of the session.
    pub session_id: String,
    /// What the provider says.
    pub status: SessionStatus,
    /// The provider's id of the payment, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<String>,
    /// What of the payment is not with the customer again, nor on its way there, nor taken by the
    /// customer's bank. Absent while nothing is paid, and where that is not known: money goes back
    /// or is lost in another currency, or cannot be read, or some of it may be forgotten. Zero
    /// where all of it is known to be gone, whatever else is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<Amount>,
    /// Whether the customer's bank holds money of the payment by a dispute that is open: it may
    /// give that back. An inquiry takes no money.
    #[serde(default, skip_serializing_if = "is_no")]
    pub disputed: bool,
    /// The provider's ids of such disputes, as far as they are known: the first 20 by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<String>,
}

/// What became of a payment session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// The customer can still pay.
    Open,
    /// The customer is through, the money is on its way.
    Processing,
    /// Paid, or nothing was to be paid.
    Paid,
    /// The payment failed.
    Failed,
    /// Closed without a payment.
    Expired,
}

/// `payments.void-session`: close the session of an order, so that nobody can pay it any more. A
/// session that was paid or has expired, and none at all, is fine: what was paid is refunded apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct VoidSession {
    /// The order.
    pub order_id: OrderId,
}

impl VoidSession {
    /// Close the session of this order.
    pub fn of(order: &OrderCreated) -> VoidSession {
        VoidSession { order_id: order.order_id.clone() }
    }
}

/// Answer of `payments.void-session`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionVoided {
    /// The order.
    pub order_id: OrderId,
    /// What the session is now; absent when there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
}

/// `payments.refund`: pay back what was paid in a session, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct RefundPayment {
    /// The order.
    pub order_id: OrderId,
    /// The provider's id of the session that was paid.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub session_id: String,
    /// The provider's id of the payment; without it the provider is asked by the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub payment_id: Option<String>,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
}

impl RefundPayment {
    /// Pay back all of this payment.
    pub fn of(paid: &PaymentDetails) -> RefundPayment {
        RefundPayment {
            order_id: paid.order_id.clone(),
            session_id: paid.session_id.clone(),
            payment_id: paid.payment_id.clone(),
            amount: paid.amount,
            currency: paid.currency,
        }
    }
}

/// Answer of `payments.refund`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    /// The provider's id, `re_…` at Stripe.
    pub refund_id: String,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
    /// What the provider says of it.
    pub status: RefundStatus,
}

/// Where a refund stands, in the provider's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// On its way.
    Pending,
    /// The customer has to do something first.
    RequiresAction,
    /// With the customer.
    Succeeded,
    /// The customer's bank refused it.
    Failed,
    /// Taken back.
    Canceled,
}

impl RefundStatus {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            RefundStatus::Pending => "pending",
            RefundStatus::RequiresAction => "requires_action",
            RefundStatus::Succeeded => "succeeded",
            RefundStatus::Failed => "failed",
            RefundStatus::Canceled => "canceled",
        }
    }

    /// Whether money goes or went back.
    pub fn stands(self) -> bool {
        !matches!(self, RefundStatus::Failed | RefundStatus::Canceled)
    }

    /// The later of two states: news come in any order, and a refund that was with the customer
    /// can still fail.
    #[must_use]
    pub fn later(self, other: RefundStatus) -> RefundStatus {
        let rank = |status| match status {
            RefundStatus::Pending => 0,
            RefundStatus::RequiresAction => 1,
            RefundStatus::Succeeded => 2,
            RefundStatus::Failed | RefundStatus::Canceled => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Where a dispute stands: the customer's bank takes the money back, or wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// Somebody has to answer it at the provider.
    NeedsResponse,
    /// The bank looks at the answer.
    UnderReview,
    /// Over: the money is gone.
    Lost,
    /// Over without a verdict.
    Closed,
    /// Over: the money stays.
    Won,
}

impl DisputeStatus {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            DisputeStatus::NeedsResponse => "needs_response",
            DisputeStatus::UnderReview => "under_review",
            DisputeStatus::Lost => "lost",
            DisputeStatus::Closed => "closed",
            DisputeStatus::Won => "won",
        }
    }

    /// Whether the bank has not decided yet.
    pub fn is_open(self) -> bool {
        matches!(self, DisputeStatus::NeedsResponse | DisputeStatus::UnderReview)
    }

    /// The later of two states of which nobody knows when they were said. A dispute goes back too:
    /// an inquiry becomes a chargeback, and what was over opens again.
    #[must_use]
    pub fn later(self, other: DisputeStatus) -> DisputeStatus {
        let rank = |status| match status {
            DisputeStatus::NeedsResponse => 0,
            DisputeStatus::UnderReview => 1,
            DisputeStatus::Lost => 2,
            DisputeStatus::Closed => 3,
            DisputeStatus::Won => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// What became of a payment: `payments.trigger.completed` or `payments.trigger.failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Payment {
    /// Paid, or nothing was to be paid.
    #[serde(rename = "payments.trigger.completed")]
    Completed(PaymentDetails),
    /// Failed or expired.
    #[serde(rename = "payments.trigger.failed")]
    Failed(PaymentDetails),
}

/// The body of both payment events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PaymentDetails {
    /// The order.
    pub order_id: OrderId,
    /// The provider's id of the session.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub session_id: String,
    /// The provider's id of the payment, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub payment_id: Option<String>,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = REASON_CHARS_MAX))]
    pub reason: Option<String>,
}

impl Payment {
    /// The subject of a completed payment.
    pub const COMPLETED: &'static str = "payments.trigger.completed";
    /// The subject of a failed or expired payment.
    pub const FAILED: &'static str = "payments.trigger.failed";

    /// The provider's id of the session.
    pub fn session_id() -> Field<Payment, String> {
        Field::at("/sessionId")
    }

    /// What both outcomes carry.
    pub fn details(&self) -> &PaymentDetails {
        match self {
            Payment::Completed(details) | Payment::Failed(details) => details,
        }
    }
}

/// `payments.trigger.refunded`: money goes back, whoever has sent it back, or something became of
/// that. The payment service publishes it once for each status of each refund, so that the order
/// can show it. The key is the refund's id; that of a later status is `<refund id>/<status>`, as
/// are all after a restore of the service. A refund that has no id yet is told with its sum in
/// minor units: `<id of ours>/<sum>`.
///
/// An amount of zero takes back what was told of a refund that had no id yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefunded {
    /// The order.
    pub order_id: OrderId,
    /// The provider's id of the session that was paid.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub session_id: String,
    /// The provider's id of the refund.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub refund_id: String,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
    /// What the provider says of it.
    pub status: RefundStatus,
}

/// `payments.trigger.disputed`: the customer's bank takes a payment back, or wants to. The payment
/// service publishes it at each change of each dispute. The key is the dispute's id; that of a
/// later change is `<dispute id>/<revision>.<status>`, as are all after a restore of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PaymentDisputed {
    /// The order.
    pub order_id: OrderId,
    /// The provider's id of the session that was paid.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub session_id: String,
    /// The provider's id of the dispute.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub dispute_id: String,
    /// How much is disputed.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
    /// Where it stands.
    pub status: DisputeStatus,
    /// Why, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = REASON_CHARS_MAX))]
    pub reason: Option<String>,
    /// Whether somebody has to look at the dispute anew: it is the first that is told of it, an
    /// inquiry of the bank has become a chargeback, or what was over is open again.
    #[serde(default)]
    pub is_new: bool,
    /// Grows with what is told of the dispute: the highest is the newest. Absent from an older
    /// release.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
}

fn is_no(answer: &bool) -> bool {
    !answer
}

pub(crate) fn is_zero(revision: &u32) -> bool {
    *revision == 0
}

fn check_disputed(disputed: &PaymentDisputed, faults: &mut Vec<Fault>) {
    check_amount(disputed.amount, disputed.currency, faults);
}

fn check_refunded(refunded: &PaymentRefunded, faults: &mut Vec<Fault>) {
    check_amount(refunded.amount, refunded.currency, faults);
}

/// An amount that the currency cannot have was not paid.
fn check_paid(paid: &PaymentDetails, faults: &mut Vec<Fault>) {
    check_amount(paid.amount, paid.currency, faults);
}

body!(event PaymentDetails, check check_paid);

body!(event PaymentRefunded, check check_refunded);

body!(event PaymentDisputed, check check_disputed);

impl PaymentRefunded {
    /// The subject.
    pub const SUBJECT: &'static str = "payments.trigger.refunded";
}

impl Event for PaymentRefunded {
    const SUBJECTS: &'static [&'static str] = &[PaymentRefunded::SUBJECT];
    const KEY: &'static str = "/refundId";

    fn decode(_: &str, body: &str) -> serde_json::Result<PaymentRefunded> {
        read_event(body)
    }
}

impl PaymentDisputed {
    /// The subject.
    pub const SUBJECT: &'static str = "payments.trigger.disputed";
}

impl Event for PaymentDisputed {
    const SUBJECTS: &'static [&'static str] = &[PaymentDisputed::SUBJECT];
    const KEY: &'static str = "/disputeId";

    fn decode(_: &str, body: &str) -> serde_json::Result<PaymentDisputed> {
        read_event(body)
    }
}

impl Event for Payment {
    const SUBJECTS: &'static [&'static str] = &[Payment::COMPLETED, Payment::FAILED];
    const KEY: &'static str = "/orderId";

    fn decode(subject: &str, body: &str) -> serde_json::Result<Payment> {
        match subject {
            Payment::COMPLETED => read_event(body).map(Payment::Completed),
            Payment::FAILED => read_event(body).map(Payment::Failed),
            _ => Err(serde_json::Error::custom("the subject is none of a payment")),
        }
    }
}
