//! How many sagas are open, and where they stand.

use crate::{
    Failure,
    audit::{SKU, checks, evidence::Shelf},
    client::Api,
};
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How often is counted.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a saga stands that has not ended.
const OPEN: [&str; 4] = ["running", "waiting", "compensating", "attention"];

/// The phases that are told apart: an open saga's status, and what one that waits holds for.
const PHASES: [&str; 7] = [
    "running",
    "waiting for approval",
    "waiting for payment",
    "waiting for delivery",
    "waiting",
    "compensating",
    "attention",
];

/// Those of [`PHASES`] in which a saga does something, or waits for an answer.
const AT_WORK: [&str; 2] = ["running", "compensating"];

/// Open sagas by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census([usize; PHASES.len()]);

impl Census {
    /// In all phases.
    pub fn open(&self) -> usize {
        self.0.iter().sum()
    }

    /// Those that do something or wait for an answer, as of now.
    pub fn at_work(&self) -> usize {
        self.phases().filter(|it| AT_WORK.contains(&it.0)).map(|it| it.1).sum()
    }

    fn phases(&self) -> impl Iterator<Item = (&'static str, usize)> {
        PHASES.into_iter().zip(self.0)
    }

    fn add(&mut self, phase: &str) {
        if let Some(place) = PHASES.iter().position(|it| *it == phase) {
            self.0[place] += 1;
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open", self.open())?;
        for (number, (phase, count)) in self.phases().filter(|it| it.1 > 0).enumerate() {
            write!(f, "{}{count} {phase}", if number == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// Counts once.
///
/// # Errors
/// The runtime is away.
pub async fn count(api: &Api) -> Result<Census, Failure> {
    let mut census = Census::default();
    for status in OPEN {
        let base = format!("{}/api/sagas?status={status}&limit=200", api.urls().runtime);
        let mut url = base.clone();
        loop {
            let page = api.glance(&url).await?;
            for saga in page["items"].as_array().into_iter().flatten() {
                census.add(phase_of(status, saga));
            }
            match page["next"].as_str() {
                Some(next) => url = format!("{base}&cursor={next}"),
                None => break,
            }
        }
    }
    Ok(census)
}

fn phase_of<'a>(status: &'a str, saga: &Value) -> &'a str {
    match (status, saga["waits"][0]["event"].as_str().unwrap_or_default()) {
        ("waiting", "orders.trigger.approved") => "waiting for approval",
        ("waiting", it) if it.starts_with("payments.") => "waiting for payment",
        ("waiting", "delivery.trigger.status-updated") => "waiting for delivery",
        _ => status,
    }
}

/// What is seen from time to time, as far as the processes are there.
pub struct Watch {
    /// The last count.
    pub census: watch::Receiver<Census>,
    /// The first time that pieces were lost or too many; nothing as long as all is well.
    pub fault: watch::Receiver<Option<Arc<str>>>,
}

impl Watch {
    /// Begins to look, until nobody wants to know any more.
    pub fn start(api: Api, before: Shelf) -> Watch {
        let (counted, census) = watch::channel(Census::default());
        let (found, fault) = watch::channel(None);
        tokio::spawn(async move {
            while !counted.is_closed() {
                if let Ok(census) = count(&api).await {
                    counted.send_replace(census);
                }
                if let Some(why) = pieces(&api, before).await {
                    found.send_if_modified(|it| it.is_none() && it.replace(why.into()).is_none());
                }
                sleep(PAUSE).await;
            }
        });
        Watch { census, fault }
    }
}

/// Pieces that appeared or vanished, if the warehouse is there to say.
async fn pieces(api: &Api, before: Shelf) -> Option<String> {
    let stock = api.glance(&format!("{}/api/stock/{SKU}", api.urls().warehouse)).await.ok()?;
    let count = |field: &str| stock[field].as_u64();
    let now = (count("available")?, count("reserved")?, count("shipped")?);
    checks::sum(before, now).pop()
}
