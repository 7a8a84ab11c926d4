//! The saga `thank-you` of `tests/own-saga` as its author may have changed it: what a deploy over
//! open sagas brings. The setting `CHANGE` says how it was changed.

use saga_core::{
    abort::Abort,
    ctx::Ctx,
    message::{Event, Request},
    saga::{Declared, Registry, RegistryError, Saga, event, events},
};
use saga_host::config::Settings;
use serde::{Deserialize, Serialize};
use std::{process::ExitCode, str::FromStr, time::Duration};

/// A call more, before the wait.
const INSERTED: u8 = 0;
/// Another value in the request.
const ANOTHER_VALUE: u8 = 1;
/// No call at all.
const LEFT_OUT: u8 = 2;
/// The event of the end is published before the wait.
const PUBLISHED_EARLY: u8 = 3;
/// Only the output is put together in another way, which no recorded turn has decided.
const OUTPUT: u8 = 4;

/// Their names in the setting.
const CHANGES: [&str; 5] = ["inserted", "another-value", "left-out", "published-early", "output"];

#[derive(Clone)]
struct Change(usize);

impl FromStr for Change {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Change, &'static str> {
        CHANGES.iter().position(|it| *it == name).map(Change).ok_or("no such change")
    }
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Parcel {
    number: String,
}

#[derive(Deserialize)]
struct Opened {}

#[derive(Serialize, Deserialize, PartialEq)]
struct Wrap {
    number: String,
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    paper: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Weigh {
    number: String,
}

impl Event for Parcel {
    const SUBJECTS: &'static [&'static str] = &["notifications.trigger.parcel-left"];
    const KEY: &'static str = "/number";
}

impl Event for Opened {
    const SUBJECTS: &'static [&'static str] = &["notifications.trigger.parcel-opened"];
    const KEY: &'static str = "/number";
}

impl Request for Wrap {
    const SUBJECT: &'static str = "own.wrap-parcel";
    type Reply = Wrapped;
}

impl Request for Weigh {
    const SUBJECT: &'static str = "own.weigh-parcel";
    type Reply = serde_json::Value;
}

struct ThankYou<const CHANGE: u8>;

impl<const CHANGE: u8> Saga for ThankYou<CHANGE> {
    const NAME: &'static str = "thank-you";
    type Input = Parcel;
    type Output = String;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Parcel>().starts(), event::<Opened>()])
    }

    async fn run(ctx: Ctx, parcel: Parcel) -> Result<String, Abort> {
        const THANKED: &str = "notifications.trigger.thanked";
        let mark = if CHANGE == ANOTHER_VALUE { "!" } else { "" };
        let mut paper = "no".to_owned();
        if CHANGE != LEFT_OUT {
            paper = ctx.call(Wrap { number: format!("{}{mark}", parcel.number) }).await?.paper;
        }
        if CHANGE == INSERTED {
            ctx.call(Weigh { number: parcel.number.clone() }).await?;
        }
        if CHANGE == PUBLISHED_EARLY {
            ctx.publish(THANKED, &parcel.number, &parcel);
        }
        let a_day = Duration::from_secs(24 * 3600);
        let opened = ctx.when::<Opened>(&parcel.number).within(a_day).await?;
        if CHANGE != PUBLISHED_EARLY {
            ctx.publish(THANKED, &parcel.number, &parcel);
        }
        if CHANGE == OUTPUT {
            paper = paper.to_uppercase();
        }
        Ok(format!("{paper} paper, {}", if opened.is_some() { "opened" } else { "left closed" }))
    }
}

fn registry(settings: &mut Settings<'_>) -> Result<Registry, RegistryError> {
    let mut registry = Registry::new(concat!("changed-saga ", env!("CARGO_PKG_VERSION")));
    let change = settings.value("CHANGE", Change(usize::from(OUTPUT)), &CHANGES.join(", "));
    let register = [
        Registry::register::<ThankYou<INSERTED>>,
        Registry::register::<ThankYou<ANOTHER_VALUE>>,
        Registry::register::<ThankYou<LEFT_OUT>>,
        Registry::register::<ThankYou<PUBLISHED_EARLY>>,
        Registry::register::<ThankYou<OUTPUT>>,
    ];
    register[change.0](&mut registry, &())?;
    Ok(registry)
}

fn main() -> ExitCode {
    saga_host::cli::main(registry)
}
