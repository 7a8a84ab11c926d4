//! An order from click to doorstep. It waits for a manager, for the customer's money and for the
//! courier; whatever goes wrong before the goods leave is undone.

use crate::doubt::{Doubt, News};
use proto_schemas::{
    OrderId,
    delivery::{
        CancelShipment, CreateShipment, DeliveryStatus, DeliveryUpdated, ShipmentCreated,
        ShipmentStatus,
    },
    inventory::{Release, Reserve, Ship},
    notifications::{NotificationKind, NotificationSent, SendNotification},
    orders::{
        CalculateRisk, OpenTicket, OrderApproved, OrderCreated, OrderStatus, Risk, Shipment,
        UpdateStatus,
    },
    payments::{
        CreateSession, Payment, PaymentDetails, PaymentState, ProcessPayment, RefundPayment,
        Session, SessionStatus, VoidSession,
    },
};
use saga_core::{
    abort::{Abort, Rejection},
    ctx::Ctx,
    id::Time,
    saga::{Declared, Late, Saga, event, events},
};
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// From this score on a manager is asked. Below it nobody ever is.
pub const RISK_REVIEW_MIN: u8 = 70;

/// How long the order waits for people and the world, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// For the manager.
    pub approval_ms: u64,
    /// For the customer's money.
    pub payment_ms: u64,
    /// Once more after that, for money that is on its way by then: bank transfers and debits take
    /// days.
    pub processing_ms: u64,
    /// For the courier, from the moment when the goods leave.
    pub delivery_ms: u64,
    /// How often the courier may fail to deliver before nothing more is awaited.
    pub delivery_attempts: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Limits {
        const DAY_MS: u64 = 24 * 3600 * 1000;
        Limits {
            approval_ms: DAY_MS,
            payment_ms: DAY_MS,
            processing_ms: 14 * DAY_MS,
            delivery_ms: 14 * DAY_MS,
            delivery_attempts: const { NonZeroU32::new(3).unwrap() },
        }
    }
}

/// What an order saga leaves behind when the goods have left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// How it ended.
    pub outcome: Outcome,
    /// The session that was paid: money that comes later by another one goes back.
    pub session_id: String,
}

/// How an order ended whose goods have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With the customer.
    Delivered,
    /// With the support.
    TicketOpened,
}

/// The order saga.
pub struct ProcessOrder;

impl Saga for ProcessOrder {
    const NAME: &'static str = "process-order";
    type Input = OrderCreated;
    type Output = Output;
    type Settings = Limits;

    fn events() -> Vec<Declared> {
        events([
            event::<OrderCreated>().starts().found_by("/customer/email"),
            event::<OrderApproved>(),
            event::<Payment>()
                .late_on(Payment::COMPLETED, Late::Run("process-order.late"))
                .late_on(Payment::FAILED, Late::Ignore),
            event::<DeliveryUpdated>().late(Late::Run("process-order.late-delivery")),
        ])
    }

    async fn run(ctx: Ctx<Limits>, order: OrderCreated) -> Result<Output, Abort> {
        // Registered first, done last: the order says how it ended, then the customer hears why. A
        // mailbox that refuses the mail is for a person, and does not hold the order up.
        ctx.undo(SendNotification::of(&order, NotificationKind::OrderCancelled));
        ctx.undo(UpdateStatus::of(&order, OrderStatus::Cancelled));

        let risk = ctx.call(CalculateRisk::of(&order)).await?;
        if risk.score >= RISK_REVIEW_MIN {
            approve(&ctx, &order, &risk).await?;
        }
        ctx.call(Reserve::of(&order)).undo(Release::of(&order)).await?;

        let confirm = mail(&ctx, SendNotification::of(&order, NotificationKind::OrderConfirmed));
        let session = ctx.call(CreateSession::of(&order)).undo(VoidSession::of(&order));
        let ((), session) = ctx.join(confirm, session).await?;

        let paid = pay(&ctx, &order, &risk, &session).await?;
        ctx.undo(RefundPayment::of(&paid));
        if differs(&order, &paid) && ctx.patched(OTHER_MONEY) {
            accept_other_money(&ctx, &order, &paid).await?;
        }
        ctx.call(UpdateStatus::of(&order, OrderStatus::Paid)).await?;

        let shipment =
            ctx.call(CreateShipment::of(&order)).undo(CancelShipment::of(&order)).await?;
        let seen = match ctx.patched(MONEY_BACK) {
            true => keep_for_money(&ctx, &order, &paid, None).await?,
            false => None,
        };
        let looked = ctx.now();
        ctx.call(Ship::of(&order)).undo(Release::of(&order)).await?;
        if looked.after_ms(LOOK_MS) < ctx.now() && ctx.patched(LOOKED_AGAIN) {
            keep_for_money(&ctx, &order, &paid, seen).await?;
        }
        ctx.commit();

        let outcome = deliver(&ctx, &order, shipment).await?;
        Ok(Output { outcome, session_id: paid.session_id })
    }
}

/// What a manager sees before deciding: nothing personal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    order_id: &'a OrderId,
    total: String,
    currency: String,
    pieces: u64,
    new_customer: bool,
    country: &'a str,
    risk_score: u8,
    reasons: &'a [String],
}

async fn approve(ctx: &Ctx<Limits>, order: &OrderCreated, risk: &Risk) -> Result<(), Abort> {
    let awaiting = UpdateStatus {
        risk_score: Some(risk.score),
        ..UpdateStatus::of(order, OrderStatus::AwaitingApproval)
    };
    ctx.call(awaiting).await?;
    let review = Review {
        order_id: &order.order_id,
        total: order.total.to_string(),
        currency: order.currency.to_string(),
        pieces: order.items.iter().map(|it| u64::from(it.quantity)).sum(),
        new_customer: order.new_customer,
        country: &order.shipping_address.country,
        risk_score: risk.score,
        reasons: &risk.reasons,
    };
    let title = format!("Approve order {} over {} {}", order.order_id, order.total, order.currency);
    let refused = |by: &str| format!("rejected by {by}");
    ask_manager(ctx, order, title, &review, refused, "nobody approved the order in time").await
}

/// Holds for a manager's yes. A no, and that nobody says anything in time, end the order with these
/// words.
async fn ask_manager(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    title: String,
    facts: &impl Serialize,
    refused: impl FnOnce(&str) -> String,
    in_silence: &str,
) -> Result<(), Abort> {
    let limit = Duration::from_millis(ctx.settings().approval_ms);
    let asked = ctx.when::<OrderApproved>(&order.order_id).ask(title, facts).within(limit);
    match asked.await? {
        Some(it) if it.approved => Ok(()),
        Some(OrderApproved { by, reason, .. }) => {
            let reason = reason.unwrap_or_default();
            Err(Abort::rejected(format!("{}: {reason}", refused(&by))))
        }
        None => Err(Abort::deadline(in_silence)),
    }
}

/// Holds for the payment of this very session.
async fn pay(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    risk: &Risk,
    session: &Session,
) -> Result<PaymentDetails, Abort> {
    let awaiting = UpdateStatus {
        risk_score: Some(risk.score),
        payment_session_id: Some(session.session_id.clone()),
        ..UpdateStatus::of(order, OrderStatus::AwaitingPayment)
    };
    ctx.call(awaiting).await?;
    let payment = match told(ctx, order, session, ctx.settings().payment_ms).await? {
        None if ctx.patched(ASKED_AT_LAST) => ask_at_last(ctx, order, session).await?,
        payment => payment,
    };
    match payment {
        Some(Payment::Completed(paid)) => Ok(paid),
        Some(Payment::Failed(failed)) => {
            let reason = failed.reason.unwrap_or_else(|| "no reason given".to_owned());
            Err(Abort::failed(format!("the payment failed: {reason}")))
        }
        None => Err(Abort::deadline("the payment did not come in time")),
    }
}

/// Marks the runs in which the provider is asked before an order is given up for want of money.
const ASKED_AT_LAST: &str = "the provider is asked before an order is given up";
/// For the word of money of which the payment service knows: its outbox has it.
const WORD_MS: u64 = 3600 * 1000;

/// Holds until something is told of this very session.
async fn told(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    session: &Session,
    limit_ms: u64,
) -> Result<Option<Payment>, Abort> {
    let payment = ctx
        .when::<Payment>(&order.order_id)
        .filter(Payment::session_id().eq(&session.session_id))
        .within(Duration::from_millis(limit_ms));
    payment.await
}

/// Nothing was told in time: the customer may have paid all the same, as the word of it is late, or
/// the money is on its way. What the provider says becomes the word that was awaited.
async fn ask_at_last(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    session: &Session,
) -> Result<Option<Payment>, Abort> {
    let mut known = ctx.call(ProcessPayment::of(order)).await?;
    if known.status == SessionStatus::Processing {
        let payment = told(ctx, order, session, ctx.settings().processing_ms).await?;
        if payment.is_some() {
            return Ok(payment);
        }
        known = ctx.call(ProcessPayment::of(order)).await?;
    }
    if known.status == SessionStatus::Paid && known.session_id == session.session_id {
        return told(ctx, order, session, WORD_MS).await;
    }
    Ok(None)
}

/// Marks the runs in which money that is not the order's is held for a person.
const OTHER_MONEY: &str = "other money is held for a person";

/// Whether something else was paid than what the order costs.
fn differs(order: &OrderCreated, paid: &PaymentDetails) -> bool {
    (order.total, order.currency) != (paid.amount, paid.currency)
}

/// What a manager sees of money that is not what the order costs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtherMoney<'a> {
    order_id: &'a OrderId,
    total: String,
    currency: String,
    paid: String,
    paid_currency: String,
    session_id: &'a str,
    payment_id: Option<&'a str>,
}

/// Holds for a manager: the order goes on with what was paid, or all of that goes back. When nobody
/// says anything it goes back too.
async fn accept_other_money(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    paid: &PaymentDetails,
) -> Result<(), Abort> {
    let OrderCreated { order_id, total, currency, .. } = order;
    let money = format!("{} {}", paid.amount, paid.currency);
    let facts = OtherMoney {
        order_id,
        total: total.to_string(),
        currency: currency.to_string(),
        paid: paid.amount.to_string(),
        paid_currency: paid.currency.to_string(),
        session_id: &paid.session_id,
        payment_id: paid.payment_id.as_deref(),
    };
    let title = format!("Accept {money} for order {order_id} over {total} {currency}, or pay back");
    let refused = |by: &str| format!("{money} was not accepted by {by}");
    let in_silence = format!("nobody accepted {money} in time");
    ask_manager(ctx, order, title, &facts, refused, &in_silence).await
}

/// Marks the runs in which it is looked, before the goods leave, whether their money is still here.
const MONEY_BACK: &str = "money that went back sends no goods";
/// Marks the runs in which it is looked once more behind a slow warehouse.
const LOOKED_AGAIN: &str = "money is looked for again when the goods were held up";
/// Marks the runs in which it is looked once more behind a manager's yes.
const LOOKED_BEHIND_A_YES: &str = "money is looked for again behind a yes";
/// So long a look is believed. What happens at the provider is told within seconds, so in less
/// than this another look would see no more.
const LOOK_MS: u64 = 5 * 1000;

/// What a manager sees of an order whose money is not here any more, or may not stay.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MoneyBack<'a> {
    order_id: &'a OrderId,
    paid: String,
    currency: String,
    session_id: &'a str,
    payment_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    disputes: &'a [String],
}

/// Somebody may have given all the money back, or the customer's bank has taken it or holds it,
/// while the order was held up. Then the goods stay, unless a manager has them sent all the same.
/// What a manager has `seen` is not asked again, what has become of it since is. What goes back
/// in part is for the customer and who did so; what a bank holds of it, nobody knows yet.
async fn keep_for_money(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    paid: &PaymentDetails,
    mut seen: Option<Doubt>,
) -> Result<Option<Doubt>, Abort> {
    loop {
        let known: Result<PaymentState, Rejection> = ctx.call(ProcessPayment::of(order)).await;
        // One that knows nothing of the payment says nothing against it.
        let doubt = known.ok().and_then(|it| Doubt::of(ctx, paid, it));
        let news = doubt.as_ref().and_then(|it| it.since(ctx, seen.as_ref()));
        let Some(news) = news else { return Ok(doubt) };
        ask_for_goods(ctx, order, paid, &news).await?;
        if !ctx.patched(LOOKED_BEHIND_A_YES) {
            return Ok(doubt);
        }
        seen = doubt;
    }
}

/// Asks a manager whether the goods leave all the same.
async fn ask_for_goods(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    paid: &PaymentDetails,
    news: &News,
) -> Result<(), Abort> {
    let OrderCreated { order_id, .. } = order;
    let News { what, is_gone, disputes } = news;
    let money = format!("{} {}", paid.amount, paid.currency);
    let facts = MoneyBack {
        order_id,
        paid: paid.amount.to_string(),
        currency: paid.currency.to_string(),
        session_id: &paid.session_id,
        payment_id: paid.payment_id.as_deref(),
        disputes,
    };
    let whole = if *is_gone { "All" } else { "The payment" };
    let title = format!("{whole} of {money} for order {order_id} {what}: ship it all the same?");
    let why = format!("{money} {what}");
    let refused = |by: &str| format!("{why}, and {by} keeps the goods");
    let in_silence = format!("{why}, and nobody had the goods sent");
    ask_manager(ctx, order, title, &facts, refused, &in_silence).await
}

/// Holds for the courier, and records each status on the order. Couriers try again: a failure is
/// told to the support, and ends nothing unless it was the last one.
async fn deliver(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    shipment: ShipmentCreated,
) -> Result<Outcome, Abort> {
    let ShipmentCreated { shipment_id, tracking_number } = shipment;
    let at = |status, order_status| UpdateStatus {
        status: order_status,
        shipment: Some(Shipment {
            shipment_id: shipment_id.clone(),
            tracking_number: tracking_number.clone(),
            status,
        }),
        ..UpdateStatus::on(&order.order_id)
    };
    let Limits { delivery_ms, delivery_attempts, .. } = ctx.settings();
    let (due, mut failures) = (ctx.now().after_ms(*delivery_ms), 0);
    ctx.call(at(ShipmentStatus::Created, Some(OrderStatus::Shipped))).await?;
    loop {
        let left = until(due, ctx.now());
        let Some(update) = ctx.when::<DeliveryUpdated>(&order.order_id).within(left).await? else {
            let reason = "the delivery is overdue";
            let failed = UpdateStatus {
                reason: Some(reason.to_owned()),
                ..UpdateStatus::of(order, OrderStatus::DeliveryFailed)
            };
            ctx.call(failed).await?;
            open_ticket(ctx, order, reason, &tracking_number).await?;
            return Ok(Outcome::TicketOpened);
        };
        let status = ShipmentStatus::from(update.status);
        match update.status {
            DeliveryStatus::PickedUp
            | DeliveryStatus::InTransit
            | DeliveryStatus::OutForDelivery => {
                let again = (0 < failures).then_some(OrderStatus::Shipped);
                ctx.call(at(status, again)).await?;
            }
            DeliveryStatus::Delivered => {
                let completed = SendNotification {
                    tracking_number: Some(tracking_number.clone()),
                    ..SendNotification::of(order, NotificationKind::OrderCompleted)
                };
                ctx.call(at(status, Some(OrderStatus::Completed))).await?;
                mail(ctx, completed).await?;
                return Ok(Outcome::Delivered);
            }
            DeliveryStatus::Failed | DeliveryStatus::Returned => {
                let returned = update.status == DeliveryStatus::Returned;
                let reason = if returned { "the parcel came back" } else { "the delivery failed" };
                let mut failed = at(status, Some(OrderStatus::DeliveryFailed));
                failed.reason = Some(reason.to_owned());
                ctx.call(failed).await?;
                failures += 1;
                let is_last = returned
                    || delivery_attempts.get() <= failures
                    || !ctx.patched("couriers-try-again");
                if returned || failures == 1 {
                    open_ticket(ctx, order, reason, &tracking_number).await?;
                }
                if is_last {
                    return Ok(Outcome::TicketOpened);
                }
            }
        }
    }
}

async fn open_ticket(
    ctx: &Ctx<Limits>,
    order: &OrderCreated,
    reason: &str,
    tracking_number: &str,
) -> Result<(), Abort> {
    let tracking_number = Some(tracking_number.to_owned());
    let ticket = OpenTicket { tracking_number, ..OpenTicket::of(order, reason) };
    ctx.call(ticket).await?;
    Ok(())
}

/// Sends a mail that tells what has happened. A mailbox that refuses it changes nothing of that, so
/// only the notification service keeps the refusal.
async fn mail(ctx: &Ctx<Limits>, mail: SendNotification) -> Result<(), Abort> {
    let _: Result<NotificationSent, Rejection> = ctx.call(mail).await;
    Ok(())
}

fn until(due: Time, now: Time) -> Duration {
    Duration::from_millis(due.0.saturating_sub(now.0))
}
