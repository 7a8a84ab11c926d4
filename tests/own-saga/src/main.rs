//! Has a parcel wrapped and thanks for it once it was opened, or after a day.

use saga_core::{
    abort::Abort,
    ctx::Ctx,
    message::{Event, Request},
    saga::{Declared, Registry, RegistryError, Saga, event, events},
};
use saga_host::config::Settings;
use serde::{Deserialize, Serialize};
use std::{process::ExitCode, time::Duration};

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

struct ThankYou;

impl Saga for ThankYou {
    const NAME: &'static str = "thank-you";
    type Input = Parcel;
    type Output = String;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Parcel>().starts(), event::<Opened>()])
    }

    async fn run(ctx: Ctx, parcel: Parcel) -> Result<String, Abort> {
        let Wrapped { paper } = ctx.call(Wrap { number: parcel.number.clone() }).await?;
        let a_day = Duration::from_secs(24 * 3600);
        let opened = ctx.when::<Opened>(&parcel.number).within(a_day).await?;
        ctx.publish("notifications.trigger.thanked", &parcel.number, &parcel);
        Ok(format!("{paper} paper, {}", if opened.is_some() { "opened" } else { "left closed" }))
    }
}

fn registry(_: &mut Settings<'_>) -> Result<Registry, RegistryError> {
    let mut registry = Registry::new(concat!("own-saga ", env!("CARGO_PKG_VERSION")));
    registry.register::<ThankYou>(&())?;
    Ok(registry)
}

fn main() -> ExitCode {
    saga_host::cli::main(registry)
}
