//! The ways of an order, from the customer's click to its end. Each one drives the world over the
//! public APIs and says how it must end.

use crate::{
    Failure,
    chance::Chance,
    client::{Api, order_of, text},
    until,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// The order saga.
pub const PROCESS_ORDER: &str = "process-order";
/// Its late arm.
pub const LATE: &str = "process-order.late";
/// What tells the order saga of money.
const PAID: &str = "payments.trigger.completed";

/// An order, the way that it went, and what the world was promised to be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The order.
    pub order_id: String,
    /// How it was to go.
    pub scenario: Scenario,
    /// Whether its money came when its saga had ended, and was for the late arm.
    pub is_late: bool,
    /// Webhooks that were sent.
    pub told: Vec<Told>,
}

/// A webhook, as its provider names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// The payment provider's event of this id.
    Payment(String),
    /// The courier's word, which has no id.
    Parcel(String),
}

/// How long people and providers take.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Longest pause before somebody does something.
    pub think_max: Duration,
    /// Of so many who think one acts when they are stirred.
    pub stirred_one_in: u64,
    /// After this time the provider tells of a payment that is to be late.
    pub late: Duration,
}

/// What those who think are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stir {
    /// To think; each time that the number changes, some of them act.
    Think(u64),
    /// To act, all of them, from now on.
    Act,
}

/// The pace of one order.
pub struct Pace {
    manners: Manners,
    chance: Chance,
    stir: watch::Receiver<Stir>,
}

impl Pace {
    /// Nobody thinks.
    pub fn at_once() -> Pace {
        let (think_max, late) = (Duration::ZERO, Duration::from_secs(4));
        let manners = Manners { think_max, stirred_one_in: 1, late };
        Pace::thoughtful(manners, Chance::of(0), watch::channel(Stir::Act).1)
    }

    /// Everybody thinks for up to a time, or until they are stirred.
    pub fn thoughtful(manners: Manners, chance: Chance, stir: watch::Receiver<Stir>) -> Pace {
        Pace { manners, chance, stir }
    }

    async fn think(&mut self) {
        let pause = self.chance.up_to(self.manners.think_max);
        let stirred = async {
            while *self.stir.borrow_and_update() != Stir::Act {
                // Without anybody to tell them, nobody thinks for longer than the time.
                let is_alone = self.stir.changed().await.is_err();
                if is_alone || self.chance.below(self.manners.stirred_one_in) == 0 {
                    break;
                }
            }
        };
        // It is over when the time is, or before.
        let _over = timeout(pause, stirred).await;
    }
}

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

    /// Whether it ends by a deadline.
    pub fn is_deadline(self) -> bool {
        matches!(self, Scenario::ApprovalDeadline | Scenario::PaymentDeadline)
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
    pub async fn play(self, api: &Api, order_id: &str, pace: &mut Pace) -> Result<Way, Failure> {
        let told = self.drive(api, order_id, pace).await?;
        let is_late = self.check(api, order_id).await?;
        Ok(Way { order_id: order_id.to_owned(), scenario: self, is_late, told })
    }

    async fn drive(self, api: &Api, order_id: &str, pace: &mut Pace) -> Result<Vec<Told>, Failure> {
        let mut order = Driven { api, order_id, pace, told: Vec::new() };
        let once = || json!({});
        let often = || json!({ "repeat": 5 });
        match self {
            Scenario::Normal => {
                order.customer("pay", once()).await?;
                order.deliver(&["picked_up", "in_transit", "delivered"]).await?;
            }
            Scenario::Approved => {
                order.decide(true).await?;
                order.customer("pay", once()).await?;
                order.deliver(&["delivered"]).await?;
            }
            Scenario::PaymentFailed => order.customer("fail", once()).await?,
            Scenario::Rejected => order.decide(false).await?,
            Scenario::ApprovalDeadline | Scenario::PaymentDeadline => (),
            Scenario::PaidAfterCancel => {
                // The customer pays now; the provider tells of it later than the cancel.
                let late_ms = order.pace.manners.late.as_millis();
                order.customer("pay", json!({ "delayMs": late_ms })).await?;
                order.cancel().await?;
            }
            Scenario::DeliveryFailed => {
                order.customer("pay", once()).await?;
                order.deliver(&["in_transit", "failed", "in_transit", "returned"]).await?;
            }
            Scenario::DuplicateWebhooks => {
                order.customer("pay", often()).await?;
                api.order_is(order_id, "shipped").await?;
                order.pace.think().await;
                order.courier("delivered", often()).await?;
            }
            Scenario::WebhookBeforeWait => {
                api.order_is(order_id, "awaiting_payment").await?;
                order.courier("delivered", once()).await?;
                order.customer("pay", once()).await?;
            }
        }
        Ok(order.told)
    }

    /// Checks how the order has ended, and says whether its money came late.
    ///
    /// # Errors
    /// It ended otherwise than it should.
    pub async fn check(self, api: &Api, order_id: &str) -> Result<bool, Failure> {
        let (order_status, saga_status) = self.ends();
        let order = api.order_is(order_id, order_status).await?;
        let saga = api.saga_is(PROCESS_ORDER, order_id, saga_status).await?;
        if order_status == "cancelled" && last_reason(&order).is_none() {
            return Err(format!("cancelled without a reason: {order}"));
        }
        // A runtime that was away for long has the payment before the cancel, and pays back by an
        // undo; which of the two it was stands in the journal.
        let is_late = self == Scenario::PaidAfterCancel && {
            let journal = api.journal(&text(&saga, "/id")?).await?;
            !journal.iter().any(|it| it["kind"] == "received" && it["event"] == PAID)
        };
        if is_late {
            api.saga_is(LATE, order_id, "completed").await?;
        }
        until("its refunds are as they should", api.patience(), || async {
            let order = api.order(order_id).await?;
            let count = order["refunds"].as_array().map_or(0, Vec::len);
            if count == self.refunds() { Ok(()) } else { Err(format!("{count} refunds")) }
        })
        .await?;
        Ok(is_late)
    }
}

/// An order whose world is played.
struct Driven<'a> {
    api: &'a Api,
    order_id: &'a str,
    pace: &'a mut Pace,
    told: Vec<Told>,
}

impl Driven<'_> {
    async fn decide(&mut self, approved: bool) -> Result<(), Failure> {
        self.api.order_is(self.order_id, "awaiting_approval").await?;
        self.pace.think().await;
        until("the manager is asked", self.api.patience(), || async {
            let answer = self.api.approve(self.order_id, approved).await?;
            // 200: it was durable already, and only its answer was lost.
            let is_done = matches!(answer.status.as_u16(), 200 | 202);
            if is_done { Ok(()) } else { Err(answer.to_string()) }
        })
        .await
    }

    /// The customer does this in the payment session, once the saga holds for it.
    async fn customer(&mut self, does: &str, how: Value) -> Result<(), Failure> {
        let order = self.api.order_is(self.order_id, "awaiting_payment").await?;
        let session = text(&order, "/paymentSessionId")?;
        self.pace.think().await;
        let ids = self.api.customer(&session, does, how).await?;
        self.told.extend(ids.into_iter().map(Told::Payment));
        Ok(())
    }

    async fn courier(&mut self, status: &str, how: Value) -> Result<(), Failure> {
        self.api.courier(self.order_id, status, how).await?;
        self.told.push(Told::Parcel(status.to_owned()));
        Ok(())
    }

    async fn deliver(&mut self, statuses: &[&str]) -> Result<(), Failure> {
        let (api, order_id) = (self.api, self.order_id);
        api.order_is(order_id, "shipped").await?;
        for status in statuses {
            self.pace.think().await;
            self.courier(status, json!({})).await?;
            // In order, as a courier would: the next word follows when this one was heard.
            until("the order shows the courier's word", api.patience(), || async {
                let order = api.order(order_id).await?;
                let shown = &order["shipment"]["status"];
                if shown == status { Ok(()) } else { Err(format!("it shows {shown}")) }
            })
            .await?;
        }
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        let saga = self.api.saga_is(PROCESS_ORDER, self.order_id, "waiting").await?;
        let answer = self.api.make_move(&text(&saga, "/id")?, "cancel").await?;
        let is_done = matches!(answer.status.as_u16(), 200 | 202);
        if is_done { Ok(()) } else { Err(format!("cancel answered {answer}")) }
    }
}

fn last_reason(order: &Value) -> Option<&str> {
    order["history"].as_array()?.last()?["reason"].as_str()
}

/// Plays every scenario once, side by side and without a pause.
///
/// # Errors
/// One of them ended otherwise than it should; the message names it.
pub async fn play_all(api: &Api) -> Result<Vec<Way>, Failure> {
    let mut runs = JoinSet::new();
    for scenario in Scenario::ALL {
        let api = api.clone();
        runs.spawn(async move {
            let order_id = scenario.place(&api).await?;
            let res = scenario.play(&api, &order_id, &mut Pace::at_once()).await;
            res.map_err(|why| format!("{}: {why}", scenario.name()))
        });
    }
    let mut ways = Vec::new();
    while let Some(run) = runs.join_next().await {
        ways.push(run.map_err(|err| err.to_string())??);
    }
    Ok(ways)
}
