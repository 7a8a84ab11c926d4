//! Sales to customers who have several at once: all wait on the lane of their customer. The books
//! are another definition that hears of the same money.

use super::{
    add,
    messages::{
        Book, Booking, CancelOrder, Money, PayBack, Rate, Release, Reserve, ShipStock, Sold,
        TakeBack, Unrate,
    },
    overdue,
};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, Late, LateInput, Registry, Saga, event, events},
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// With this a price becomes what is to be paid: a number that no decimal form has exactly.
pub(crate) const TAX: f64 = 1.19;

/// One sale. Its key is its number, and it waits for money on the lane of its customer.
pub(crate) struct Sale;
impl Saga for Sale {
    const NAME: &'static str = "sale";
    type Input = Sold;
    /// The payment that it took.
    type Output = String;
    type Settings = ();

    fn events() -> Vec<Declared> {
        let money = event::<Money>().late(Late::Run("pay back"));
        events([event::<Sold>().starts(), money])
    }

    async fn run(ctx: Ctx, it: Sold) -> Result<String, Abort> {
        ctx.undo(CancelOrder::of(&it.sale));
        // Rating may lose, and its service may be silent: what it leaves is tidied up behind us.
        let rating = ctx.call(Rate::of(&it.sale)).undo(Unrate::of(&it.sale));
        let _ = ctx.race(rating, ctx.sleep(Duration::from_secs(600))).await?;
        ctx.call(Reserve::of(&it.sale)).undo(Release::of(&it.sale)).await?;
        let enough = Money::amount().at_least(&(it.price * TAX));
        let money = ctx.when::<Money>(&it.customer).filter(Money::sale().eq(&it.sale));
        let Some(money) = money.filter(enough).within(DAY).await? else {
            return Err(overdue("nobody paid"));
        };
        ctx.undo(PayBack { payment: money.payment.clone() });
        ctx.call(ShipStock::of(&it.sale)).undo(TakeBack::of(&it.sale)).await?;
        ctx.commit();
        ctx.publish("sale.shipped", &it.sale, &it.sale);
        ctx.publish("sale.closed", &it.sale, &it.sale);
        Ok(money.payment)
    }
}

/// Money for which there is no sale any more.
pub(crate) struct PayBackLate;
impl Saga for PayBackLate {
    const NAME: &'static str = "pay back";
    type Input = LateInput;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        Vec::new()
    }

    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        let money: Money =
            it.event.body.decode().map_err(|err| Abort::failed(format!("no money: {err}")))?;
        // Money that the bank does not take back is for a person.
        ctx.commit();
        ctx.call(PayBack { payment: money.payment }).await?;
        Ok(())
    }
}

/// One entry in the books for each payment.
pub(crate) struct Books;
impl Saga for Books {
    const NAME: &'static str = "books";
    type Input = Booking;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Booking>().starts()])
    }

    async fn run(ctx: Ctx, it: Booking) -> Result<(), Abort> {
        ctx.call(Book { payment: it.payment }).await?;
        Ok(())
    }
}

/// All of them, and then what is left when some are missing.
pub(crate) fn registries() -> Vec<Registry> {
    let mut whole = Registry::new("whole");
    add::<Sale>(&mut whole);
    add::<PayBackLate>(&mut whole);
    add::<Books>(&mut whole);
    let mut books = Registry::new("books alone");
    add::<Books>(&mut books);
    let mut sales = Registry::new("no books");
    add::<Sale>(&mut sales);
    add::<PayBackLate>(&mut sales);
    vec![whole, books, sales]
}
