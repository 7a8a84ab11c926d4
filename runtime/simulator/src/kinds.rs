//! The kinds of worlds: who lives there, what comes, and how often what goes wrong.

use crate::{
    definitions::{people, sales, shop},
    steps::{Sizes, Weights},
};
use saga_core::saga::Registry;
use serde_json::{Value, json};

/// A kind of world.
pub struct Kind {
    /// By which `--kind` finds it.
    pub name: &'static str,
    /// The definitions of its binaries: the first one has all of them.
    pub registries: fn() -> Vec<Registry>,
    /// What is started by hand: definition, key and input, by a choice and a running number.
    pub start: fn(u8, u32) -> (&'static str, String, Value),
    /// What comes from outside: a subject and a body, by name, key, id and body.
    pub event: fn(u8, u8, u8, u8) -> (&'static str, Value),
    /// How often each step happens.
    pub weights: Weights,
    /// How many different events there are.
    pub sizes: Sizes,
    /// The longest script.
    pub steps_max: usize,
}

impl Kind {
    /// Publishers keep what they have told until it is receipted.
    pub(crate) fn has_outbox(&self) -> bool {
        self.weights.resend != 0
    }
}

/// Case n is of kind n, modulo their number.
pub const KINDS: [Kind; 6] = [SHOP, SALES, PEOPLE, STUCK, CLOCKS, STORES];

const SHOP: Kind = Kind {
    name: "shop",
    registries: shop::registries,
    start: |which, number| {
        let key = format!("by hand {number}");
        match which % 3 {
            0 => ("Looks", key, Value::Null),
            1 => ("Busy", key, Value::Null),
            _ => {
                let mail = format!("M{}@Example.com", number % 2);
                ("order", key, json!({ "order": "k1", "risky": true, "mail": mail }))
            }
        }
    },
    event: |name, key, _, body| {
        let key = format!("k{}", key + 1);
        match name {
            0 => {
                let mail = format!("m{body}@example.com");
                ("shop.placed", json!({ "order": key, "risky": body == 0, "mail": mail }))
            }
            1 => ("pay.completed", json!({ "order": key, "session": format!("s{body}") })),
            2 => ("pay.failed", json!({ "order": key, "session": format!("s{body}") })),
            3 => ("courier.status", json!({ "order": key, "status": format!("at {body}") })),
            _ => ("shop.approved", json!({ "order": key, "approved": true, "by": "nobody" })),
        }
    },
    weights: Weights {
        start: 40,
        event: 120,
        serve: 300,
        lose: 10,
        refuse: 8,
        useless: 6,
        again: 30,
        publish: 30,
        refuse_subject: 2,
        pass: 30,
        fall: 10,
        behind: 10,
        moves: 60,
        terminate: 1,
        decide: 60,
        decide_again: 5,
        offer: 40,
        unreadable: 20,
        search: 30,
        restart: 10,
        deploy: 10,
        ..Weights::NONE
    },
    sizes: Sizes { names: 5, keys: 2, ids: 40, bodies: 2 },
    steps_max: 150,
};

/// Each sale has a number of its own, and two customers share all sales, so that several wait on
/// one lane.
const SALES: Kind = Kind {
    name: "sales",
    registries: sales::registries,
    start: |_, number| {
        let (sale, customer) = (format!("by hand {number}"), format!("c{}", number % 2));
        let input = json!({ "sale": sale, "customer": customer, "price": 1.28 });
        ("sale", sale, input)
    },
    event: |name, key, id, body| {
        let (sale, customer) = (format!("s{}", id % 6), format!("c{}", id % 2));
        if name == 0 {
            let price = 1.28 + f64::from(key);
            return ("sale.placed", json!({ "sale": sale, "customer": customer, "price": price }));
        }
        // Sometimes it is the price with its tax to the last bit, sometimes it is too little.
        let amount = if body == 0 { 1.0 } else { (1.28 + f64::from(key)) * sales::TAX };
        let payment = format!("p{id}.{key}.{body}");
        let body = json!({
            "customer": customer, "sale": sale, "payment": payment, "amount": amount
        });
        ("bank.money", body)
    },
    weights: Weights {
        event: 200,
        serve: 200,
        lose: 20,
        refuse: 20,
        useless: 4,
        again: 20,
        silence: 10,
        publish: 20,
        refuse_subject: 10,
        pass: 30,
        fall: 5,
        behind: 5,
        moves: 40,
        offer: 10,
        restart: 20,
        deploy: 25,
        ..Weights::NONE
    },
    sizes: Sizes { names: 3, keys: 2, ids: 24, bodies: 3 },
    steps_max: 80,
};

const PEOPLE: Kind = Kind {
    name: "people",
    registries: people::registries,
    start: |_, number| ("hurry", format!("by hand {number}"), Value::Null),
    event: |name, key, _, body| {
        let key = format!("k{key}");
        match name {
            0 | 1 => ("shop.placed", json!({ "order": key, "risky": body == 0 })),
            _ => ("shop.approved", json!({ "order": key, "approved": true, "by": "nobody" })),
        }
    },
    weights: Weights {
        start: 30,
        event: 40,
        serve: 60,
        lose: 5,
        useless: 2,
        again: 5,
        publish: 40,
        pass: 40,
        fall: 5,
        behind: 5,
        moves: 60,
        terminate: 1,
        decide: 120,
        decide_again: 60,
        offer: 5,
        restart: 20,
        deploy: 25,
        ..Weights::NONE
    },
    sizes: Sizes { names: 3, keys: 3, ids: 30, bodies: 2 },
    steps_max: 60,
};

/// Services that are silent, events that the broker refuses, with a word or without, and operators
/// who give up what does not get on.
const STUCK: Kind = Kind {
    name: "stuck",
    weights: Weights {
        event: 160,
        serve: 240,
        lose: 20,
        refuse: 10,
        useless: 2,
        again: 10,
        silence: 30,
        publish: 60,
        refuse_subject: 30,
        pass: 20,
        moves: 40,
        waive: 60,
        restart: 10,
        deploy: 5,
        ..Weights::NONE
    },
    ..SALES
};

/// A clock that is set wrong by minutes or a year, and right again, while deadlines run.
const CLOCKS: Kind = Kind {
    name: "clocks",
    weights: Weights {
        event: 120,
        serve: 200,
        silence: 5,
        publish: 30,
        pass: 60,
        fall: 5,
        jump: 40,
        accept_clock: 4,
        behind: 10,
        moves: 20,
        restart: 20,
        ..Weights::NONE
    },
    ..SALES
};

/// A copy of the store is put back later, or the store of another instance has its place for a
/// while, and publishers owe again what is lost.
const STORES: Kind = Kind {
    name: "stores",
    weights: Weights {
        event: 200,
        serve: 160,
        lose: 10,
        refuse: 5,
        again: 30,
        publish: 20,
        pass: 20,
        moves: 20,
        offer: 10,
        restart: 10,
        deploy: 5,
        copy: 25,
        restore: 20,
        other_store: 15,
        resend: 60,
        ..Weights::NONE
    },
    ..SALES
};
