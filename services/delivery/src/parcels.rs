//! What is stored of parcels.
//!
//! | key | value |
//! |---|---|
//! | `parcel/<order id>` | [`Parcel`]: the order's newest |
//! | `said/<order id>` | what a courier said of an order before its next parcel was written down |
//! | `said-last/<order id>/…` | [`Word`]: the last of what was more than that, of a number or of all |
//! | `said-last/<order id>/<shipment id>/…` | the same of what came after that parcel was stopped |
//! | `hook/…` | webhooks (see `hooks`) |

use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::delivery::{DeliveryStatus, ShipmentStatus};
use serde::{Deserialize, Serialize};
use service_kit::{Outcome, Tx};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Words of one number that are kept whole until the order has its parcel. A courier has no more
/// to say of one.
const KEPT_OF_NUMBER_MAX: usize = 25;
/// Numbers of which words are kept whole for one order.
const KEPT_NUMBERS_MAX: usize = 100;
/// Rows of words that count no more which one commit takes away. A word leaves two at most, so each
/// that comes later takes away more than it could have left.
const FORGOTTEN_MAX: usize = 500;

/// One parcel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parcel {
    pub(crate) shipment_id: String,
    pub(crate) order_id: OrderId,
    pub(crate) tracking_number: String,
    pub(crate) status: ShipmentStatus,
    /// The courier's own id; absent for a parcel that no courier's API knows.
    pub(crate) courier_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    /// Whether it was to be stopped: another one may be under way from then on, whatever becomes of
    /// this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopped: bool,
}

impl Parcel {
    /// Whether another one may follow. Older releases wrote the status alone.
    pub(crate) fn makes_room(&self) -> bool {
        self.stopped || self.status == ShipmentStatus::Cancelled
    }

    /// Whether the order has this one: it was not stopped, or arrived all the same.
    pub(crate) fn is_there(&self) -> bool {
        !self.makes_room() || self.status == ShipmentStatus::Delivered
    }
}

pub(crate) fn of_order(tx: &Tx, order_id: &OrderId) -> Outcome<Option<Parcel>> {
    Ok(tx.get_json(parcel_key(order_id).as_bytes())?)
}

/// What was said of an order before its parcel was written down. An older release, which told all
/// of it at once, wrote the status alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Early {
    Told(ShipmentStatus),
    #[serde(rename_all = "camelCase")]
    Both {
        /// How far it is by what was told.
        told: ShipmentStatus,
        /// What turns out with the parcel, oldest first.
        kept: Vec<Word>,
    },
}

/// A courier's word of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Word {
    /// The webhook that brought it.
    pub(crate) hook: String,
    pub(crate) status: DeliveryStatus,
    /// The parcel's, by the courier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tracking_number: Option<String>,
}

/// Stores a parcel that is new. Its courier may have been faster with webhooks: those of which it
/// was not known whether they are of this parcel are handed back, to be said again.
pub(crate) fn insert(tx: &mut Tx, mut parcel: Parcel) -> Outcome<Vec<Word>> {
    let stopped = of_order(tx, &parcel.order_id)?;
    let (told, mut kept) = early(tx, &parcel.order_id)?;
    tx.delete(said_key(&parcel.order_id));
    // Of a parcel whose number we have made up ourselves is all that was said.
    let number = parcel.courier_id.as_ref().map(|_| parcel.tracking_number.as_str());
    let last = last_key(&parcel.order_id, stopped.as_ref(), number);
    kept.extend(tx.get_json::<Word>(last.as_bytes())?);
    forget_last(tx, &parcel)?;
    parcel.status = told;
    put(tx, &parcel)?;
    Ok(kept)
}

/// Goes on to take away what was said before the order's parcel was written down. While the order
/// has none, or one that was stopped, more may be said, and it waits.
pub(crate) fn forget(tx: &mut Tx, order_id: &OrderId) -> Outcome<()> {
    match of_order(tx, order_id)?.filter(|it| !it.makes_room()) {
        Some(parcel) => forget_last(tx, &parcel),
        None => Ok(()),
    }
}

/// Takes away rows of what was more than is kept and came before this parcel: all of it was used
/// or is of others. What came after it was stopped is for the next, though it arrived all the same.
///
/// A flood may have left more rows than one commit should change. Those that stay count for no
/// other parcel, by their keys, and go with later words.
fn forget_last(tx: &mut Tx, parcel: &Parcel) -> Outcome<()> {
    let for_next = last_prefix(&parcel.order_id, Some(parcel));
    let all = last_prefix(&parcel.order_id, None);
    for (key, _) in tx.scan(all.as_bytes(), None, FORGOTTEN_MAX)? {
        if !key.starts_with(for_next.as_bytes()) {
            tx.delete(key);
        }
    }
    Ok(())
}

fn early(tx: &Tx, order_id: &OrderId) -> Outcome<(ShipmentStatus, Vec<Word>)> {
    Ok(match tx.get_json(said_key(order_id).as_bytes())? {
        None => (ShipmentStatus::Created, Vec::new()),
        Some(Early::Told(told)) => (told, Vec::new()),
        Some(Early::Both { told, kept }) => (told, kept),
    })
}

pub(crate) fn put(tx: &mut Tx, parcel: &Parcel) -> Outcome<()> {
    Ok(tx.put_json(parcel_key(&parcel.order_id), parcel)?)
}

/// What became of a courier's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    News,
    /// The parcel was there or further already.
    Old,
    /// It is of another parcel.
    OfAnother,
    /// Whether it is of another parcel turns out with the order's own.
    Kept,
    /// As much is kept already: of this and all that is more it is only known how far it comes.
    TooMuch,
}

/// Takes what the courier says of an order's parcel, by its tracking number if it names one.
///
/// Before there is a parcel nobody knows whether a number is the parcel's. One that was stopped
/// makes room for another, of which a courier may speak before it is written down: what does not
/// name the first is for the next. Only a store that may have forgotten the parcel believes it:
/// there none may ever come.
pub(crate) fn say(tx: &mut Tx, order_id: &OrderId, word: Word) -> Outcome<Said> {
    let Some(mut parcel) = of_order(tx, order_id)? else {
        return say_early(tx, order_id, None, word);
    };
    let number = word.tracking_number.as_deref();
    let is_another = number.map(|number| is_another(&parcel, number));
    match (parcel.makes_room(), is_another) {
        (true, None | Some(true)) => return say_early(tx, order_id, Some(&parcel), word),
        (false, Some(true)) => return Ok(Said::OfAnother),
        (_, Some(false)) | (false, None) => (),
    }
    let is_news = moves(parcel.status, word.status.into());
    if is_news {
        parcel.status = word.status.into();
        put(tx, &parcel)?;
    }
    Ok(news(is_news))
}

/// Takes what is said before the parcel that it may be of: the order's first, or the next after one
/// that was stopped.
fn say_early(
    tx: &mut Tx,
    order_id: &OrderId,
    stopped: Option<&Parcel>,
    word: Word,
) -> Outcome<Said> {
    let (mut told, mut kept) = early(tx, order_id)?;
    let said = if word.tracking_number.is_none() || tx.may_have_forgotten() {
        let is_news = moves(told, word.status.into());
        told = if is_news { word.status.into() } else { told };
        news(is_news)
    } else if has_room(&kept, &word) {
        kept.push(word);
        Said::Kept
    } else {
        note_last(tx, order_id, stopped, word)?;
        return Ok(Said::TooMuch);
    };
    tx.put_json(said_key(order_id), &Early::Both { told, kept })?;
    Ok(said)
}

/// Notes how far what is more than is kept comes, with its number and, for a parcel that has none
/// of the courier's, with all. A number has one row of some hundred bytes, however much is said of
/// it: fewer than the webhook itself leaves, so nothing has to be dropped that may be of the
/// order's own parcel. Lost are only steps on the way that a later one has overtaken.
fn note_last(tx: &mut Tx, order_id: &OrderId, stopped: Option<&Parcel>, word: Word) -> Outcome<()> {
    let of_all = last_key(order_id, stopped, None);
    if tx.get(of_all.as_bytes())?.is_none() {
        tracing::warn!(%order_id, "more is said of an order than is kept until it has its parcel");
    }
    for key in [of_all, last_key(order_id, stopped, word.tracking_number.as_deref())] {
        let last: Option<Word> = tx.get_json(key.as_bytes())?;
        if last.is_none_or(|it| moves(it.status.into(), word.status.into())) {
            tx.put_json(key, &word)?;
        }
    }
    Ok(())
}

/// Whether one more word is kept. Each number has room of its own, so that much that is said of one
/// leaves room for the others.
fn has_room(kept: &[Word], word: &Word) -> bool {
    let number = |word: &Word| word.tracking_number.as_deref().map(plain);
    let (mut others, own) = (BTreeSet::new(), number(word));
    let mut of_own = 0;
    for it in kept.iter().map(number) {
        if it == own {
            of_own += 1;
        } else {
            others.insert(it);
        }
    }
    of_own < KEPT_OF_NUMBER_MAX && others.len() < KEPT_NUMBERS_MAX
}

fn news(is_news: bool) -> Said {
    if is_news { Said::News } else { Said::Old }
}

/// Whether the number is not the parcel's. One that we have made up ourselves says nothing of the
/// courier's.
fn is_another(parcel: &Parcel, tracking_number: &str) -> bool {
    parcel.courier_id.is_some() && plain(&parcel.tracking_number) != plain(tracking_number)
}

/// A number as it is compared: couriers write the same with and without spaces and hyphens.
fn plain(number: &str) -> String {
    number.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a parcel goes from one status to the other. Webhooks come in any order, so what is
/// behind is old news. A failed attempt may be followed by another one; what was delivered or came
/// back stays so, and a parcel that was stopped can still turn out to be one of these.
pub(crate) fn moves(from: ShipmentStatus, to: ShipmentStatus) -> bool {
    use ShipmentStatus::{Cancelled, Created, Delivered, Failed, PickedUp, Returned};
    match (from, to) {
        (Delivered | Returned, _) | (_, Created) => false,
        (_, Delivered | Returned) => true,
        (Cancelled, _) => false,
        (_, Cancelled) => true,
        (Failed, PickedUp) => false,
        (Failed, to) => to != Failed,
        (_, Failed) => true,
        (from, to) => rank(to) > rank(from),
    }
}

fn rank(status: ShipmentStatus) -> u8 {
    match status {
        ShipmentStatus::Created => 0,
        ShipmentStatus::PickedUp => 1,
        ShipmentStatus::InTransit => 2,
        ShipmentStatus::OutForDelivery => 3,
        ShipmentStatus::Failed => 4,
        ShipmentStatus::Delivered | ShipmentStatus::Returned | ShipmentStatus::Cancelled => 5,
    }
}

fn parcel_key(order_id: &OrderId) -> String {
    format!("parcel/{order_id}")
}

fn said_key(order_id: &OrderId) -> String {
    format!("said/{order_id}")
}

/// A number can be longer than a key should be.
fn last_key(order_id: &OrderId, stopped: Option<&Parcel>, number: Option<&str>) -> String {
    let hash = number.map(|it| hex::encode(Sha256::digest(plain(it))));
    format!("{}{}", last_prefix(order_id, stopped), hash.as_deref().unwrap_or("all"))
}

/// What came after one parcel was stopped is told apart from what came after another, or before
/// the first.
fn last_prefix(order_id: &OrderId, stopped: Option<&Parcel>) -> String {
    let after = stopped.map(|it| format!("{}/", it.shipment_id)).unwrap_or_default();
    format!("said-last/{order_id}/{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row for each status from which a parcel goes: `G` where it goes there.
    #[test]
    fn the_table_of_moves() {
        use ShipmentStatus::*;
        let all =
            [Created, PickedUp, InTransit, OutForDelivery, Failed, Delivered, Returned, Cancelled];
        let table = all.map(|from| {
            all.map(|to| if moves(from, to) { 'G' } else { '.' }).iter().collect::<String>()
        });
        let wanted = [
            ".GGGGGGG", // created
            "..GGGGGG", // picked_up
            "...GGGGG", // in_transit
            "....GGGG", // out_for_delivery
            "..GG.GGG", // failed
            "........", // delivered
            "........", // returned
            ".....GG.", // cancelled
        ];
        assert_eq!(table, wanted);
    }
}
