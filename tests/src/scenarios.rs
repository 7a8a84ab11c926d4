//! The ways of an order, from the customer's click to its end. Each one drives the world over the
//! public APIs and says how it must end.

use crate::{
    Failure,
    client::{Api, order_of, patience, text},
    until,
};
use serde_json::{Value, json};

/// The order saga.
pub const PROCESS_ORDER: &str = "process-order";
/// Its late arm.
pub const LATE: &str = "process-order.late";

/// One way of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// A low risk: nobody is asked, it is paid and delivered.
    Normal,
    /// A high risk: a manager approves.
    Approved,
    /// The payment fails.
    PaymentFailed,
    /// A manager rejects.
    Rejected,
    /// Nobody decides in time.
    ApprovalDeadline,
    /// Nobody pays in time.
    PaymentDeadline,
    /// The money comes when the order has been cancelled.
    PaidAfterCancel,
    /// The courier cannot deliver.
    DeliveryFailed,
    /// Everything is told five times.
    DuplicateWebhooks,
    /// The courier speaks before anybody listens.
    WebhookBeforeWait,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 10] = [
        Scenario::Normal,
        Scenario::Approved,
        Scenario::PaymentFailed,
        Scenario::Rejected,
        Scenario::ApprovalDeadline,
        Scenario::PaymentDeadline,
        Scenario::PaidAfterCancel,
        Scenario::DeliveryFailed,
        Scenario::DuplicateWebhooks,
        Scenario::WebhookBeforeWait,
    ];

    /// A short name for people.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Normal => "normal order",
            Scenario::Approved => "approved by a manager",
            Scenario::PaymentFailed => "payment failed",
            Scenario::Rejected => "rejected by a manager",
            Scenario::ApprovalDeadline => "approval deadline",
            Scenario::PaymentDeadline => "payment deadline",
            Scenario::PaidAfterCancel => "payment after cancel",
            Scenario::DeliveryFailed => "failed delivery",
            Scenario::DuplicateWebhooks => "duplicate webhooks",
            Scenario::WebhookBeforeWait => "webhook before its wait",
        }
    }

    /// Whether a manager has to be asked.
    fn is_risky(self) -> bool {
        matches!(self, Scenario::Approved | Scenario::Rejected | Scenario::ApprovalDeadline)
    }

    /// How the order and its saga must end.
    pub fn ends(self) -> (&'static str, &'static str) {
        match self {
            Scenario::Normal
            | Scenario::Approved
            | Scenario::DuplicateWebhooks
            | Scenario::WebhookBeforeWait => ("completed", "completed"),
            Scenario::DeliveryFailed => ("delivery_failed", "completed"),
            Scenario::PaymentFailed
            | Scenario::Rejected
            | Scenario::ApprovalDeadline
            | Scenario::PaymentDeadline
            | Scenario::PaidAfterCancel => ("cancelled", "cancelled"),
        }
    }

    /// How many refunds the order must show.
    pub fn refunds(self) -> usize {
        usize::from(self == Scenario::PaidAfterCancel)
    }

    /// Whether the goods leave for good.
    pub fn ships(self) -> bool {
        self.ends().1 == "completed"
    }

    /// The mails that must stand in the spool, by kind.
    pub fn mails(self) -> &'static [&'static str] {
        match self {
            Scenario::Normal
            | Scenario::Approved
            | Scenario::DuplicateWebhooks
            | Scenario::WebhookBeforeWait => &["order_completed", "order_confirmed"],
            Scenario::DeliveryFailed => &["order_confirmed"],
            Scenario::PaymentFailed | Scenario::PaymentDeadline | Scenario::PaidAfterCancel => {
                &["order_cancelled", "order_confirmed"]
            }
            Scenario::Rejected | Scenario::ApprovalDeadline => &["order_cancelled"],
        }
    }

    /// How many pieces it orders.
    pub fn pieces(self) -> u32 {
        if self.is_risky() { 1000 } else { 2 }
    }

    /// Places the order.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn place(self, api: &Api) -> Result<String, Failure> {
        let name = if self.is_risky() { "ann" } else { "bob" };
        api.place(&order_of(self.pieces(), self.is_risky(), name)).await
    }

    /// Plays the world until the order has ended, and checks how it did.
    ///
    /// # Errors
    /// It ended otherwise than it should.
    pub async fn play(self, api: &Api, order_id: &str) -> Result<(), Failure> {
        self.drive(api, order_id).await?;
        self.check(api, order_id).await
    }

    async fn drive(self, api: &Api, order_id: &str) -> Result<(), Failure> {
        let once = || json!({});
        let often = || json!({ "repeat": 5 });
        match self {
            Scenario::Normal => {
                pay(api, order_id, once()).await?;
                deliver(api, order_id, &["picked_up", "in_transit", "delivered"]).await
            }
            Scenario::Approved => {
                decide(api, order_id, true).await?;
                pay(api, order_id, once()).await?;
                deliver(api, order_id, &["delivered"]).await
            }
            Scenario::PaymentFailed => {
                let session = session_of(api, order_id).await?;
                api.customer(&session, "fail", once()).await
            }
            Scenario::Rejected => decide(api, order_id, false).await,
            Scenario::ApprovalDeadline | Scenario::PaymentDeadline => Ok(()),
            Scenario::PaidAfterCancel => {
                let session = session_of(api, order_id).await?;
                // The customer pays now; the provider tells of it later than the cancel.
                api.customer(&session, "pay", json!({ "delayMs": 4000 })).await?;
                let saga = api.saga_is(PROCESS_ORDER, order_id, "waiting").await?;
                let answer = api.make_move(&text(&saga, "/id")?, "cancel").await?;
                let is_done = matches!(answer.status.as_u16(), 200 | 202);
                if is_done { Ok(()) } else { Err(format!("cancel answered {answer}")) }
            }
            Scenario::DeliveryFailed => {
                pay(api, order_id, once()).await?;
                deliver(api, order_id, &["in_transit", "failed"]).await
            }
            Scenario::DuplicateWebhooks => {
                pay(api, order_id, often()).await?;
                api.order_is(order_id, "shipped").await?;
                api.courier(order_id, "delivered", often()).await
            }
            Scenario::WebhookBeforeWait => {
                api.order_is(order_id, "awaiting_payment").await?;
                api.courier(order_id, "delivered", once()).await?;
                pay(api, order_id, once()).await
            }
        }
    }

    async fn check(self, api: &Api, order_id: &str) -> Result<(), Failure> {
        let (order_status, saga_status) = self.ends();
        let order = api.order_is(order_id, order_status).await?;
        api.saga_is(PROCESS_ORDER, order_id, saga_status).await?;
        if order_status == "cancelled" && last_reason(&order).is_none() {
            return Err(format!("cancelled without a reason: {order}"));
        }
        if self == Scenario::PaidAfterCancel {
            api.saga_is(LATE, order_id, "completed").await?;
        }
        until("its refunds are as they should", patience(), || async {
            let order = api.order(order_id).await?;
            let count = order["refunds"].as_array().map_or(0, Vec::len);
            if count == self.refunds() { Ok(()) } else { Err(format!("{count} refunds")) }
        })
        .await
    }
}

fn last_reason(order: &Value) -> Option<&str> {
    order["history"].as_array()?.last()?["reason"].as_str()
}

async fn decide(api: &Api, order_id: &str, approved: bool) -> Result<(), Failure> {
    api.order_is(order_id, "awaiting_approval").await?;
    until("the manager is asked", patience(), || async {
        let answer = api.approve(order_id, approved).await?;
        // 200: it was durable already, and only its answer was lost.
        let is_done = matches!(answer.status.as_u16(), 200 | 202);
        if is_done { Ok(()) } else { Err(answer.to_string()) }
    })
    .await
}

/// The payment session of the order, once its saga holds for it.
async fn session_of(api: &Api, order_id: &str) -> Result<String, Failure> {
    let order = api.order_is(order_id, "awaiting_payment").await?;
    text(&order, "/paymentSessionId")
}

async fn pay(api: &Api, order_id: &str, how: Value) -> Result<(), Failure> {
    let session = session_of(api, order_id).await?;
    api.customer(&session, "pay", how).await
}

async fn deliver(api: &Api, order_id: &str, statuses: &[&str]) -> Result<(), Failure> {
    api.order_is(order_id, "shipped").await?;
    for status in statuses {
        api.courier(order_id, status, json!({})).await?;
        // In order, as a courier would: the next word follows when this one was heard.
        until("the order shows the courier's word", patience(), || async {
            let order = api.order(order_id).await?;
            let shown = &order["shipment"]["status"];
            if shown == status { Ok(()) } else { Err(format!("it shows {shown}")) }
        })
        .await?;
    }
    Ok(())
}
