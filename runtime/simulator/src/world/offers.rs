//! What was not used is offered again, twice each time, as a program does that had no answer.

use super::{World, choose};
use crate::blame::checked;
use saga_core::{
    core::Seen,
    effect::{Outcome, Refusal, Reply, Verdict},
    id::{Position, Time},
    input::{Arrival, Command, Input, Unreadable},
    payload::Payload,
    store::Store,
    testing::admin,
};
use serde_json::json;
use std::collections::BTreeMap;

const CHECKER: &str = "an_offer_is_taken_once_or_changes_nothing";

impl World {
    /// One that nobody wanted, or any other.
    pub(super) fn offer(&mut self, which: u8) {
        let is_left = |it: &Verdict| matches!(it.outcome, Outcome::Unclaimed | Outcome::DeadLetter);
        let of = |seen: &Seen| seen.identity.iter().flat_map(|it| &it.verdicts).any(is_left);
        let (left, taken): (Vec<Seen>, Vec<Seen>) = self.desk.events().into_iter().partition(of);
        let from = if left.is_empty() || which.is_multiple_of(4) { &taken } else { &left };
        let Some(position) = choose(from, which / 4).map(|it| it.position) else { return };
        let (first, again) = self.offer_twice(position, None);
        checked(CHECKER, || match first {
            Ok(Reply::Taken(_) | Reply::TakenBefore(_)) => {
                // Nobody took it back to where nobody wants it.
                if again != Ok(Reply::TakenBefore(position)) {
                    assert!(self.desk.events().iter().any(|it| it.position == position && of(it)));
                }
            }
            Err(refusal) => assert_eq!(again, Err(refusal), "a refusal changes nothing"),
            other => panic!("{other:?}"),
        });
    }

    fn offer_twice(
        &mut self,
        position: Position,
        reread: Option<Result<Arrival, String>>,
    ) -> (Result<Reply, Refusal>, Result<Reply, Refusal>) {
        let (reason, reread) = ("again".to_owned(), reread.map(Box::new));
        let offer = Command::Offer { position, reason, reread };
        let first = self.desk.ask(admin(), offer.clone());
        let before: Vec<_> = self.desk.store().all_rows().map(|it| it.1.clone()).collect();
        let again = self.desk.ask(admin(), offer);
        if !matches!(again, Ok(Reply::Taken(_))) {
            let rows = self.desk.store().all_rows().map(|it| it.1);
            checked(CHECKER, || assert!(rows.eq(&before), "what is not taken in changes no row"));
        }
        (first, again)
    }

    pub(super) fn unreadable(&mut self, key: u8, id: u8, body: u8) {
        let (key, id) = (format!("k{}", key + 1), format!("id {id}"));
        let status = json!({ "order": key, "status": format!("at {body}") });
        let (name, source) = ("courier.status".to_owned(), "courier".to_owned());
        let body = Payload::of(&status).expect("a value has a JSON form");
        let before = self.desk.store().position();
        self.desk.input(Input::Unreadable(Unreadable {
            ticket: 0,
            name: name.clone(),
            id: id.clone(),
            body: body.text().to_owned(),
            is_base64: false,
            headers: BTreeMap::new(),
            published_at: Time(5),
            reason: "an older build could not read it".to_owned(),
        }));
        let at = self.desk.store().position();
        if before == at {
            return;
        }
        let event = Arrival { ticket: 0, name, id, source, key: None, body, at: Time(5) };
        let is_known = self.dead.iter().any(|it| it.1.id == event.id && it.1.body == event.body);
        checked(CHECKER, || assert!(!is_known, "it came before, and is a duplicate"));
        self.dead.push((at, event));
    }

    pub(super) fn offer_unreadable(&mut self, which: u8, is_read: bool) {
        let Some((position, event)) = choose(&self.dead, which).cloned() else { return };
        let offered = |world: &World| {
            world.desk.core().offered(position).expect("a memory store can be read")
        };
        let events = self.desk.events().len();
        let was_offered = offered(self).is_some();
        let reread = if is_read { Ok(event) } else { Err("it is not JSON".to_owned()) };
        let (first, again) = self.offer_twice(position, Some(reread));
        let row = offered(self);
        checked(CHECKER, || {
            assert_eq!(first.is_ok(), row.is_some(), "{first:?}");
            match first {
                Ok(Reply::Taken(_)) => {
                    assert!(!was_offered && is_read);
                    let at = row.expect("it was just seen").event;
                    let event = self.desk.core().event(at).expect("a memory store can be read");
                    assert!(event.is_some_and(|it| it.identity.is_some()), "it is in force");
                }
                Ok(reply) => assert!(was_offered && reply == Reply::TakenBefore(position)),
                Err(refusal) => {
                    assert_eq!(again, Err(refusal));
                    assert_eq!(self.desk.events().len(), events, "nothing was taken in");
                    return;
                }
            }
            assert_eq!(again, Ok(Reply::TakenBefore(position)));
        });
    }
}
