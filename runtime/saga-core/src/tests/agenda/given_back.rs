//! What the code of a saga was never shown goes back when the code is over.

use super::*;
use crate::{
    codec::{decode, encode},
    head::Head,
    journal::{Hold, Turn},
    scope::Either,
    store::{Batch, Row, Table},
    tests::fixtures::{Release, Tracked},
};
use serde::{Deserialize, Serialize};

/// An event under a key of its own, and what became of it.
fn told(rig: &mut Rig, name: &str, key: &str, session: &str) -> Outcome {
    rig.tickets += 1;
    let body = json!({ "order": key, "session": session, "status": session });
    let arrival = Arrival {
        ticket: rig.tickets,
        name: name.to_owned(),
        id: format!("t{}", rig.tickets),
        source: "pay".to_owned(),
        key: None,
        body: Payload::of(&body).unwrap(),
        at: rig.now,
    };
    rig.core.handle(rig.now, Input::Arrived(arrival)).unwrap();
    let effects = rig.core.commit().unwrap();
    let verdicts = effects.into_iter().find_map(|it| match it {
        Effect::Ack { verdicts, .. } => Some(verdicts),
        _ => None,
    });
    verdicts.unwrap()[0].outcome
}

/// How code is over when it has all signs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Ends {
    Completes,
    Fails,
    FailsAndOwesAnUndo,
}

/// Gathers so many signs, unless it is paid before.
struct Gathers;
impl Saga for Gathers {
    const NAME: &'static str = "Gathers";
    type Input = (u32, Ends);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>(), event::<Paid>()])
    }
    async fn run(ctx: Ctx, (signs, ends): (u32, Ends)) -> Result<(), Abort> {
        if ends == Ends::FailsAndOwesAnUndo {
            ctx.undo(Release::of("o1"));
        }
        let sign = |it: u32| ctx.when::<Tracked>(&it.to_string()).forever();
        let signs = ctx.join_all((0..signs).map(sign).collect::<Vec<_>>());
        match ctx.race(signs, ctx.when::<Paid>("money").forever()).await? {
            Either::First(_) if ends != Ends::Completes => {
                Err(Abort::failed("all signs are there"))
            }
            _ => Ok(()),
        }
    }
}

/// One that is paused, and was told so many signs and then of money, with the money's position.
fn paused(signs: u32, ends: Ends) -> (Rig, SagaId, u64) {
    let mut rig = Rig::with(only::<Gathers>());
    rig.start("Gathers", json!([signs, ends]));
    let saga = rig.saga();
    rig.moves(saga, Action::Pause);
    for it in 0..signs {
        told(&mut rig, "courier.status", &it.to_string(), "ok");
    }
    let money = rig.core.store().position() + 1;
    assert_eq!(told(&mut rig, "pay.completed", "money", "s"), Outcome::Consumed);
    (rig, saga, money)
}

/// All that is left is done, and what is asked is answered.
fn finish(rig: &mut Rig) {
    rig.go_on();
    for undo in std::mem::take(&mut rig.asked) {
        rig.answer(&undo);
    }
    rig.go_on();
}

fn gathered(signs: u32, ends: Ends) -> (Status, Outcome) {
    let (mut rig, saga, money) = paused(signs, ends);
    rig.moves(saga, Action::Resume);
    finish(&mut rig);
    (rig.core.head(saga).unwrap().unwrap().status, rig.ruled(money))
}

/// However many facts were held, a saga that ends ends, and the money that it never saw goes
/// back to its lane (here nobody is there for it).
#[test]
fn a_saga_that_completes_where_a_piece_of_a_resume_ends_has_ended() {
    for signs in 126..131 {
        assert_eq!(
            gathered(signs, Ends::Completes),
            (Status::Completed, Outcome::Unclaimed),
            "{signs}"
        );
    }
}

#[test]
fn a_saga_that_gives_up_where_a_piece_of_a_resume_ends_has_ended() {
    for signs in 126..131 {
        assert_eq!(
            gathered(signs, Ends::FailsAndOwesAnUndo),
            (Status::Cancelled, Outcome::Unclaimed),
            "{signs}"
        );
    }
}

/// However much was held, and though the process dies between two pieces of it.
#[test]
fn a_cancel_or_a_terminate_gives_back_no_more_events_at_once_than_other_inputs() {
    for (action, status) in
        [(Action::Cancel, Status::Cancelled), (Action::Terminate, Status::Terminated)]
    {
        let (mut rig, saga, money) = paused(300, Ends::FailsAndOwesAnUndo);
        rig.most = (0, 0);
        rig.moves(saga, action);
        rig.is_bounded();
        assert!(!rig.core.head(saga).unwrap().unwrap().status.is_ended(), "{action:?}");
        let store = rig.core.store().store.clone();
        let mut rig = Rig::over(store, only::<Gathers>(), Limits::default(), rig.now);
        rig.commit();
        rig.go_on();
        // Its undos are asked for when it is no longer paused.
        rig.moves(saga, Action::Resume);
        finish(&mut rig);
        assert_eq!(rig.core.head(saga).unwrap().unwrap().status, status);
        let journal = rig.core.journal(saga).unwrap();
        let back = journal.iter().filter(|it| it.turn == Turn::Held(Hold::GivenBack));
        let ruled = back.filter_map(|it| match &it.fact {
            Fact::Received { event_at, .. } => Some(rig.ruled(*event_at)),
            _ => None,
        });
        let unclaimed = ruled.filter(|it| *it == Outcome::Unclaimed).count();
        assert_eq!((unclaimed, rig.ruled(money)), (301, Outcome::Unclaimed), "{action:?}");
    }
}

/// A store in which an older build left a saga whose code gave up, and that never ended: its
/// row does not say that something is to be given back.
#[test]
fn a_saga_that_an_older_build_left_compensating_for_ever_ends() {
    for retries in [true, false] {
        let (mut rig, saga, money) = paused(128, Ends::Fails);
        rig.moves(saga, Action::Resume);
        assert_eq!(rig.core.head(saga).unwrap().unwrap().status, Status::Compensating);
        // As the older build wrote the row: `telling` was false as soon as the code was over.
        let mut store = rig.core.store().store.clone();
        let key = (Table::Open, saga.as_bytes().to_vec());
        let value = store.all_rows().find(|it| *it.0 == key).unwrap().1.clone();
        let head = Head { telling: false, ..decode(&value).unwrap() };
        let row = Row { table: Table::Open, key: key.1, value: Some(encode(&head).unwrap()) };
        let batch = Batch { rows: vec![row], ..Batch::default() };
        store.append(batch).unwrap();
        let mut rig = Rig::over(store, only::<Gathers>(), Limits::default(), rig.now);
        rig.commit();
        rig.go_on();
        if retries {
            rig.moves(saga, Action::Retry);
            rig.go_on();
        }
        let status = rig.core.head(saga).unwrap().unwrap().status;
        let ends = (status, rig.ruled(money));
        assert_eq!(ends, (Status::Cancelled, Outcome::Unclaimed), "{retries}");
    }
}

/// Whatever a person does between two pieces.
#[test]
fn what_a_person_does_between_two_pieces_keeps_no_saga_from_its_end() {
    let actions = [Action::Pause, Action::Resume, Action::Cancel, Action::Terminate, Action::Retry];
    for first in [Action::Cancel, Action::Terminate, Action::Resume] {
        for then in actions {
            let (mut rig, saga, money) = paused(260, Ends::FailsAndOwesAnUndo);
            rig.moves(saga, first);
            for _ in 0..3 {
                rig.moves(saga, then);
            }
            rig.go_on();
            rig.moves(saga, Action::Resume);
            finish(&mut rig);
            let status = rig.core.head(saga).unwrap().unwrap().status;
            let journal = rig.core.journal(saga).unwrap();
            let held = journal
                .iter()
                .filter(|it| matches!(&it.turn, Turn::Held(hold) if *hold != Hold::GivenBack));
            assert!(status.is_ended(), "{first:?} {then:?} {status:?}");
            assert_eq!(
                (held.count(), rig.ruled(money)),
                (0, Outcome::Unclaimed),
                "{first:?} {then:?}"
            );
        }
    }
}

/// How a terminated saga is shown while it gives back.
#[test]
fn a_terminated_saga_that_gives_back_is_not_shown_as_running() {
    let (mut rig, saga, _) = paused(300, Ends::FailsAndOwesAnUndo);
    rig.moves(saga, Action::Terminate);
    let head = rig.core.head(saga).unwrap().unwrap();
    assert_eq!(head.status, Status::Compensating, "what it took goes back");
}

/// However fast: whoever reads the log knows by it that the entry was written again.
#[test]
fn the_turn_of_a_fact_that_was_held_is_later_than_the_fact() {
    let (mut rig, saga, _) = paused(3, Ends::Completes);
    rig.moves(saga, Action::Resume);
    for entry in rig.core.journal(saga).unwrap() {
        let Turn::Done { at, .. } = entry.turn else { continue };
        let was_held = matches!(entry.fact, Fact::Received { .. });
        assert_eq!(was_held, entry.at < at, "{entry:?}");
    }
}
