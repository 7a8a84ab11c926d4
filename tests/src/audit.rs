//! What must hold when every order has ended, seen from outside.

use crate::{Failure, client::Api, scenarios::Scenario};
use std::{collections::BTreeMap, fs::read_dir, path::Path};

/// The shelf from which every scenario takes.
pub const SKU: &str = "WIDGET-001";

/// An order and the way that it went.
pub type Way = (String, Scenario);

/// Checks goods, money and mails of these orders; `stock` is what stood on the shelf before them.
///
/// # Errors
/// Something was lost, or done twice.
pub async fn check(
    api: &Api,
    spool: &Path,
    stock: (u64, u64, u64),
    ways: &[Way],
) -> Result<(), Failure> {
    check_goods(api, stock, ways).await?;
    for (order_id, scenario) in ways {
        check_money(api, order_id, *scenario).await?;
    }
    check_mails(spool, ways)
}

/// Nothing appears or vanishes, nothing stays reserved, and what left is what was ordered.
async fn check_goods(api: &Api, before: (u64, u64, u64), ways: &[Way]) -> Result<(), Failure> {
    let after = api.stock(SKU).await?;
    let shipping = ways.iter().filter(|it| it.1.ships());
    let pieces: u64 = shipping.map(|it| u64::from(it.1.pieces())).sum();
    let expected = (before.0 - pieces, before.1, before.2 + pieces);
    if after == expected {
        return Ok(());
    }
    Err(format!("the shelf held {before:?}; it should hold {expected:?}, and holds {after:?}"))
}

async fn check_money(api: &Api, order_id: &str, scenario: Scenario) -> Result<(), Failure> {
    let effects = api.effects(order_id).await?;
    let count = |name: &str| effects[name].as_u64().unwrap_or_default();
    let refunds = scenario.refunds() as u64;
    let is_right = count("sessions") <= 1
        && count("refunds") == refunds
        && count("paymentsRefunded") == refunds
        && count("sessionsPaid") == u64::from(scenario.ships()) + refunds
        && count("shipments") - count("shipmentsCancelled") == u64::from(scenario.ships());
    if is_right {
        return Ok(());
    }
    Err(format!("{} {order_id}: the providers did {effects}", scenario.name()))
}

/// Each mail stands in the spool once, and no other.
fn check_mails(spool: &Path, ways: &[Way]) -> Result<(), Failure> {
    let failed = |err: std::io::Error| format!("failed to read {}: {err}", spool.display());
    let mut mails: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in read_dir(spool).map_err(failed)? {
        let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let about = name.split_once('@').and_then(|(id, _)| id.split_once('.'));
        if let Some((kind, order_id)) = about {
            mails.entry(order_id.to_owned()).or_default().push(kind.to_owned());
        }
    }
    for (order_id, scenario) in ways {
        let mut found = mails.remove(order_id).unwrap_or_default();
        found.sort();
        if found != scenario.mails() {
            return Err(format!("{} {order_id}: mails {found:?}", scenario.name()));
        }
    }
    Ok(())
}
