//! A desk with the shop behind it.

use super::shop::{SESSION, Shop, services, session};
use crate::{Settings, register};
use saga_core::{
    core::HeadQuery,
    effect::{Refusal, Reply, Request, Verdict},
    fold::Status,
    head::Head,
    id::SagaId,
    input::{Action, Arrival},
    journal::Entry,
    payload::Payload,
    render::render,
    saga::Registry,
    testing::{Desk, Services},
};
use serde_json::{Value, json};

pub(super) const PLACED: &str = "orders.trigger.created";
pub(super) const PAID: &str = "payments.trigger.completed";
pub(super) const UNPAID: &str = "payments.trigger.failed";
pub(super) const TRACKED: &str = "delivery.trigger.status-updated";

/// Everything around the only order, `o1`.
pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) services: Services,
}

/// The definitions, with the settings that they have by themselves.
pub(super) fn registry() -> Registry {
    registry_with(&Settings::default())
}

pub(super) fn registry_with(settings: &Settings) -> Registry {
    let mut registry = Registry::new("test");
    register(&mut registry, settings).unwrap();
    registry.check().unwrap();
    registry
}

pub(super) fn order() -> Value {
    json!({
        "orderId": "o1",
        "items": [{ "sku": "WIDGET-001", "quantity": 2, "price": "50.00" }],
        "total": "100.00",
        "currency": "USD",
        "customer": { "name": "Ada Lovelace", "email": "ada@example.com" },
        "newCustomer": false,
        "shippingAddress": {
            "street": "12 St James's Square", "city": "London", "zip": "SW1Y 4JH", "country": "GB"
        }
    })
}

/// The body of both payment events.
pub(super) fn payment(session: &str) -> Value {
    json!({
        "orderId": "o1", "sessionId": session, "paymentId": format!("pi_{session}"),
        "amount": "100.00", "currency": "USD"
    })
}

pub(super) fn tracked(status: &str) -> Value {
    json!({ "orderId": "o1", "status": status, "trackingNumber": "TRACK-1" })
}

/// Making one.
impl World {
    /// A shop in which nothing has happened yet.
    pub(super) fn new(services: Services) -> World {
        World { desk: Desk::new(registry()), services }
    }

    /// The order was placed, and waits for its payment.
    pub(super) fn awaiting_payment() -> World {
        World::new(services(10)).placed()
    }

    /// The order was placed, and waits for a manager.
    pub(super) fn awaiting_approval() -> World {
        World::new(services(70)).placed()
    }

    /// Something else was paid than what the order costs, and it waits for a manager.
    pub(super) fn holding_other_money(amount: &str, currency: &str) -> World {
        let mut world = World::awaiting_payment();
        let mut paid = payment(SESSION);
        (paid["amount"], paid["currency"]) = (json!(amount), json!(currency));
        world.desk.event(PAID, paid);
        world.settle();
        world
    }

    /// The order was paid, and by now only this much of the money has not gone back.
    pub(super) fn paid_and_left(stays: &'static str) -> World {
        let services = services(10).on("payments.process", move |_| {
            let mut known = session("paid");
            known["stays"] = json!(stays);
            Ok(known)
        });
        World::new(services).placed().paid()
    }

    /// The order was paid, and by now the customer's bank holds the money.
    pub(super) fn paid_and_disputed() -> World {
        World::awaiting_payment().ledger_says("100.00", true).paid()
    }

    /// From now on the payment service says this of the money that was paid.
    pub(super) fn ledger_says(mut self, stays: &'static str, disputed: bool) -> World {
        let services = std::mem::take(&mut self.services);
        self.services = services.on("payments.process", move |_| {
            let mut known = session("paid");
            (known["stays"], known["disputed"]) = (json!(stays), json!(disputed));
            Ok(known)
        });
        self
    }

    /// From now on the payment service names these disputes, by which the bank holds the money.
    pub(super) fn ledger_names(mut self, disputes: &'static [&'static str]) -> World {
        let services = std::mem::take(&mut self.services);
        self.services = services.on("payments.process", move |_| {
            let mut known = session("paid");
            (known["stays"], known["disputed"]) = (json!("100.00"), json!(true));
            known["disputes"] = json!(disputes);
            Ok(known)
        });
        self
    }

    /// The order was paid, and the warehouse has not said for a while that the goods left.
    pub(super) fn shipping_slowly() -> World {
        let mut world = World::awaiting_payment().ledger_says("100.00", false);
        world.desk.event(PAID, payment(SESSION));
        world.settle_without("inventory.ship");
        world.desk.wait_s(60);
        world
    }

    /// What was not answered yet is.
    pub(super) fn settled(mut self) -> World {
        self.settle();
        self
    }

    /// The order was paid and sent, and waits for the courier.
    pub(super) fn awaiting_delivery() -> World {
        World::awaiting_payment().paid()
    }

    /// The customer has placed the order, and it has gone as far as it could.
    pub(super) fn placed(mut self) -> World {
        self.desk.event(PLACED, order());
        self.settle();
        self
    }

    /// The session was paid.
    pub(super) fn paid(mut self) -> World {
        self.pay(SESSION);
        self
    }

    /// From now on the provider says this of the session, when it is asked.
    pub(super) fn provider_says(mut self, status: &'static str) -> World {
        let services = std::mem::take(&mut self.services);
        self.services = services.on("payments.process", move |_| Ok(session(status)));
        self
    }

    /// The courier said this.
    pub(super) fn tracked(mut self, status: &str) -> World {
        self.desk.event(TRACKED, tracked(status));
        self.settle();
        self
    }

    /// The payment service tells of refund `re_1`, under this key.
    pub(super) fn refunded(mut self, key: &str, status: &str) -> World {
        let body = json!({
            "orderId": "o1", "sessionId": SESSION, "refundId": "re_1",
            "amount": "100.00", "currency": "USD", "status": status
        });
        self.tell("payments.trigger.refunded", key, &body);
        self
    }

    /// The payment service tells of dispute `du_1`, under this key.
    pub(super) fn disputed(mut self, key: &str, status: &str) -> World {
        let body = json!({
            "orderId": "o1", "sessionId": SESSION, "disputeId": "du_1", "amount": "100.00",
            "currency": "USD", "status": status, "reason": "fraudulent", "isNew": key == "du_1"
        });
        self.tell("payments.trigger.disputed", key, &body);
        self
    }

    /// A manager decided.
    pub(super) fn decided(mut self, approved: bool) -> World {
        self.look_at_order();
        self.desk.decide(approved, "as I see fit").unwrap();
        self.settle();
        self
    }

    /// Nothing came for a while.
    pub(super) fn waited_h(mut self, hours: u64) -> World {
        self.desk.wait_s(hours * 3600);
        self.settle();
        self
    }

    /// An operator cancelled.
    pub(super) fn cancelled(mut self) -> World {
        self.make(Action::Cancel).unwrap();
        self.settle();
        self
    }
}

/// What happens in it.
impl World {
    /// Services answer until nothing is asked.
    pub(super) fn settle(&mut self) {
        self.settle_but(|_| false);
    }

    /// Services answer until only this subject is asked.
    pub(super) fn settle_without(&mut self, subject: &str) {
        self.settle_but(|it| it.subject == subject);
    }

    /// Services answer everything else.
    pub(super) fn settle_but(&mut self, is_left: impl Fn(&Request) -> bool) {
        self.desk.publish_all();
        while let Some(request) = self.desk.requests().into_iter().find(|it| !is_left(it)) {
            let answer = self.services.ask(&request);
            self.desk.answer(&request.id, answer);
            self.desk.publish_all();
        }
    }

    /// One service answers one request. False when none is asked.
    pub(super) fn serve_one(&mut self) -> bool {
        let Some(request) = self.desk.requests().into_iter().next() else { return false };
        let answer = self.services.ask(&request);
        self.desk.answer(&request.id, answer);
        true
    }

    /// A payment event with an id of its own, and what follows.
    pub(super) fn pay(&mut self, session: &str) -> Vec<Verdict> {
        let verdicts = self.desk.event(PAID, payment(session));
        self.settle();
        verdicts
    }

    /// The payment service's event with this key, and what follows.
    fn tell(&mut self, name: &str, key: &str, body: &Value) {
        self.desk.arrive(Arrival {
            ticket: 0,
            name: name.to_owned(),
            id: format!("{name}/{key}"),
            source: "payments".to_owned(),
            key: Some(key.to_owned()),
            body: Payload::of(body).unwrap(),
            at: self.desk.now(),
        });
        self.settle();
    }

    /// The provider's event with this id, and what follows.
    pub(super) fn pay_as(&mut self, id: &str, session: &str) -> Vec<Verdict> {
        let verdicts = self.desk.event_again(id, PAID, payment(session));
        self.settle();
        verdicts
    }

    /// An operator moves the order's saga.
    pub(super) fn make(&mut self, action: Action) -> Result<Reply, Refusal> {
        self.look_at_order();
        self.desk.make(action)
    }
}

/// What is to be seen of it.
impl World {
    /// The order's saga.
    pub(super) fn order(&self) -> Head {
        self.sagas().into_iter().find(|it| it.definition == "process-order").unwrap()
    }

    pub(super) fn look_at_order(&mut self) {
        let order = self.order().id;
        self.desk.look_at(order);
    }

    /// All sagas, in the order in which they began.
    pub(super) fn sagas(&self) -> Vec<Head> {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        let mut heads = self.desk.core().heads(&query).unwrap();
        heads.sort_by_key(|it| self.journal(it.id)[0].position);
        heads
    }

    /// Those that handle a late payment.
    pub(super) fn late_arms(&self) -> Vec<Head> {
        self.sagas().into_iter().filter(|it| it.definition == "process-order.late").collect()
    }

    pub(super) fn journal(&self, saga: SagaId) -> Vec<Entry> {
        self.desk.core().journal(saga).unwrap()
    }

    pub(super) fn journals(&self) -> Vec<(Head, Vec<Entry>)> {
        self.sagas().into_iter().map(|it| (it.clone(), self.journal(it.id))).collect()
    }

    /// The services' stores.
    pub(super) fn shop(&self) -> Shop {
        Shop::after(self.services.ledger())
    }

    /// The order's saga has ended so, and the shop is as it should be then.
    pub(super) fn ends(&self, status: Status) -> Shop {
        assert_eq!(self.order().status, status, "{}", self.text());
        let heads = self.sagas();
        assert!(heads.iter().all(|it| it.status.is_ended()), "{}", self.text());
        self.shop()
    }

    /// Everything that happened, as text.
    pub(super) fn text(&self) -> String {
        let mut parts: Vec<String> =
            self.journals().iter().map(|(head, it)| saga(head, it)).collect();
        let events = self.desk.events();
        let events: Vec<String> = events
            .iter()
            .map(|it| {
                let identity = it.identity.iter();
                let verdicts = identity.flat_map(|it| &it.verdicts).map(verdict);
                let verdicts = verdicts.collect::<Vec<String>>().join(", ");
                format!("{} {}: {verdicts}", it.event.id, it.event.name)
            })
            .collect();
        parts.push(format!("== events\n{}", events.join("\n")));
        let acts = self.services.ledger().0.iter();
        let acts = acts.map(|it| match &it.why {
            Some(why) => format!("{} ({why})", it.subject),
            None => it.subject.clone(),
        });
        parts.push(format!("== services did\n{}", acts.collect::<Vec<String>>().join("\n")));
        parts.join("\n\n") + "\n"
    }
}

fn saga(head: &Head, journal: &[Entry]) -> String {
    let reason = head.reason.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
    let title = format!("== {} of {}: {}{reason}", head.definition, head.key, head.status.as_str());
    format!("{title}\n{}", render(journal))
}

fn verdict(verdict: &Verdict) -> String {
    let definition = verdict.definition.as_deref().unwrap_or("all");
    let outcome = serde_json::to_value(verdict.outcome).unwrap();
    format!("{definition} {}", outcome.as_str().unwrap())
}
