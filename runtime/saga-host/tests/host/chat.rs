//! A definition that makes long journals: it asks the same service again and again.

use saga_core::{
    abort::Abort,
    ctx::Ctx,
    message::{Event, Request},
    saga::{Declared, Saga, event, events},
};
use serde::{Deserialize, Serialize};

/// Services of one's own answer below this prefix.
pub const SUBJECT: &str = "own.chat";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talk {
    pub name: String,
    pub turns: usize,
    /// Records that each turn makes beside its call.
    pub asides: usize,
    /// Of the body of each call.
    pub bytes: usize,
}

impl Event for Talk {
    const SUBJECTS: &'static [&'static str] = &["orders.trigger.talk"];
    const KEY: &'static str = "/name";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Say {
    turn: usize,
    text: String,
}

impl Request for Say {
    const SUBJECT: &'static str = SUBJECT;
    type Reply = serde_json::Value;
}

pub struct Chat;

impl Saga for Chat {
    const NAME: &'static str = "chat";
    type Input = Talk;
    type Output = usize;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Talk>().starts()])
    }

    async fn run(ctx: Ctx<()>, talk: Talk) -> Result<usize, Abort> {
        for turn in 0..talk.turns {
            (0..talk.asides).for_each(|_| ctx.undo(Say { turn, text: "aside".into() }));
            ctx.call(Say { turn, text: "x".repeat(talk.bytes) }).await?;
        }
        ctx.commit();
        Ok(talk.turns)
    }
}
