//! Customers, managers and couriers: enough orders are under way at any time, and each is played to
//! its end.

use super::plan::Size;
use crate::{
    Failure,
    chance::Chance,
    client::Api,
    scenarios::{Manners, Pace, Scenario, Stir, Way},
};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// Orders under way for each hundred that must be: some are placed and their sagas not begun,
/// others have ended and their customers have not looked yet.
const UNDER_WAY_PERCENT: usize = 140;
/// Orders at once that a crowd places: more would be a flood, and no crowd.
const PLACED_AT_ONCE_MAX: usize = 20;

/// All orders of a run.
pub struct Crowd {
    api: Api,
    size: Size,
    manners: Manners,
    seed: u64,
    /// The ways of the orders, in the order in which they are placed.
    scenarios: Vec<Scenario>,
    placed: usize,
    under_way: JoinSet<Result<Way, Failure>>,
    ways: Vec<Way>,
    stir: Arc<watch::Sender<Stir>>,
}

impl Crowd {
    /// Nobody has ordered yet.
    pub fn new(api: Api, size: Size, manners: Manners, seed: u64) -> Crowd {
        let stir = Arc::new(watch::channel(Stir::Think(0)).0);
        let scenarios = scenarios(size.orders, &mut Chance::fork(seed, 0));
        let (under_way, ways) = (JoinSet::new(), Vec::new());
        Crowd { api, size, manners, seed, scenarios, placed: 0, under_way, ways, stir }
    }

    /// Places orders until enough are under way, and as many as there should be when this part of
    /// the kills is done.
    pub fn fill(&mut self, kills_done: usize, kills: usize) {
        let due = self.size.orders * kills_done / kills.max(1);
        let enough = self.size.open_min * UNDER_WAY_PERCENT / 100;
        for _ in 0..PLACED_AT_ONCE_MAX {
            if self.placed < due || self.under_way.len() < enough {
                self.place();
            }
        }
    }

    fn place(&mut self) {
        let number = self.placed;
        self.placed += 1;
        let scenario = self.scenarios.get(number).copied().unwrap_or_else(|| extra(number));
        let chance = Chance::fork(self.seed, number as u64 + 1_000);
        let mut pace = Pace::thoughtful(self.manners, chance, self.stir.subscribe());
        let api = self.api.clone();
        self.under_way.spawn(async move {
            let order_id = scenario.place(&api).await?;
            let played = scenario.play(&api, &order_id, &mut pace).await;
            played.map_err(|why| format!("{} {order_id}: {why}", scenario.name()))
        });
    }

    /// Takes the orders that have ended.
    ///
    /// # Errors
    /// One ended otherwise than it should.
    pub fn take_ended(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.ways.push(ended.map_err(|err| err.to_string())??);
        }
        Ok(())
    }

    /// Places what is left, and nobody thinks any more: gives all ways when all orders have ended.
    ///
    /// # Errors
    /// One ended otherwise than it should.
    pub async fn finish(mut self) -> Result<Vec<Way>, Failure> {
        while self.placed < self.size.orders {
            self.place();
        }
        self.stir.send_replace(Stir::Act);
        while let Some(ended) = self.under_way.join_next().await {
            self.ways.push(ended.map_err(|err| err.to_string())??);
        }
        Ok(self.ways)
    }

    /// Lets some of those who think act, whenever it is called.
    pub fn stirrer(&self) -> impl Fn() + Send + Sync + 'static {
        let stir = Arc::clone(&self.stir);
        move || {
            stir.send_modify(|it| {
                if let Stir::Think(number) = it {
                    *number += 1;
                }
            });
        }
    }

    /// Orders that were placed.
    pub fn placed(&self) -> usize {
        self.placed
    }
}

/// All ways alike. Those that wait for a deadline are in the first half, or the run would have to
/// wait for the last of them.
fn scenarios(count: usize, chance: &mut Chance) -> Vec<Scenario> {
    let all = Scenario::ALL.into_iter().cycle().take(count);
    let (mut first, mut then): (Vec<_>, Vec<_>) = all.partition(|it| it.is_deadline());
    chance.shuffle(&mut then);
    let half = (count / 2).saturating_sub(first.len()).min(then.len());
    first.extend(then.drain(..half));
    chance.shuffle(&mut first);
    first.extend(then);
    first
}

/// The way of an order beyond those that were asked for.
fn extra(number: usize) -> Scenario {
    let all = Scenario::ALL.into_iter().filter(|it| !it.is_deadline()).collect::<Vec<_>>();
    all[number % all.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_are_alike_and_deadlines_come_first() {
        let ways = scenarios(60, &mut Chance::of(7));
        for scenario in Scenario::ALL {
            assert_eq!(ways.iter().filter(|it| **it == scenario).count(), 6, "{scenario:?}");
        }
        let last = ways.iter().rposition(|it| it.is_deadline());
        assert!(last < Some(30), "a deadline at {last:?}");
        assert!((0..100).all(|number| !extra(number).is_deadline()));
    }
}
