//! Rule 5: a decision that the journal does not hold is one that the code asks for in addition; so
//! dropping each one stands for a call inserted at each await of the code. Rule 17: each value of a
//! journal that is changed is found.

use super::fixtures::{Order, Refund, shop};
use crate::{
    abort::Abort,
    ctx::Ctx,
    fold::fold,
    input::Action,
    journal::{Decision, Entry, Turn},
    replay::{Live, ReplayError, code},
    saga::{Declared, Saga},
    testing::Desk,
};
use serde_json::{Value, json};
use std::{cell::Cell, future::poll_fn};

/// Journals of the order saga, for each of its paths.
fn journals() -> Vec<(&'static str, Vec<Entry>)> {
    let mut journals = Vec::new();
    let mut keep = |name, desk: &Desk| journals.push((name, desk.journal()));
    let begun = |risky: bool| {
        let mut desk = Desk::new(shop());
        desk.start("order", "o1", json!({ "order": "o1", "risky": risky }));
        desk
    };
    let paid = || {
        let mut desk = begun(false);
        desk.reply("stock.reserve", Value::Null);
        desk.reply("pay.open", json!({ "session": "s1" }));
        desk.reply("mail.send", Value::Null);
        desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
        desk
    };
    let mut desk = begun(true);
    desk.decide(false, "no").unwrap();
    desk.undone("mail.send");
    keep("rejected", &desk);
    let mut desk = begun(true);
    desk.wait_s(86_400);
    keep("nobody approved", &desk);
    let mut desk = begun(false);
    desk.reply("stock.reserve", Value::Null);
    desk.reject("mail.send", "no_address");
    desk.wait_s(30);
    desk.undone("pay.void");
    keep("no mail", &desk);
    let mut desk = paid();
    desk.moved(Action::Pause);
    desk.moved(Action::Resume);
    desk.moved(Action::Cancel);
    keep("cancelled", &desk);
    let mut desk = paid();
    desk.reply("courier.book", Value::Null);
    desk.reply("stock.ship", Value::Null);
    desk.event("courier.status", json!({ "order": "o1", "status": "delivered" }));
    keep("delivered", &desk);
    journals
}

fn replay(journal: &[Entry]) -> Result<(), ReplayError> {
    Live::replay(code::<Order>(), journal).map(|_| ())
}

fn diverges(journal: &[Entry], what: &str) {
    let res = replay(journal);
    assert!(matches!(res, Err(ReplayError::Diverged { .. })), "{what}: {res:?}");
}

/// The journal with other decisions in one of its turns.
fn with(journal: &[Entry], turn: usize, decisions: Vec<Decision>) -> Vec<Entry> {
    let mut mutant = journal.to_vec();
    let Turn::Done { at, .. } = mutant[turn].turn else { panic!("a turn") };
    mutant[turn].turn = Turn::Done { at, decisions };
    mutant
}

fn decided(entry: &Entry) -> &[Decision] {
    match &entry.turn {
        Turn::Done { decisions, .. } => decisions,
        Turn::Held(_) => &[],
    }
}

#[test]
fn every_journal_of_the_order_replays() {
    for (name, journal) in journals() {
        assert_eq!(replay(&journal), Ok(()), "{name}");
    }
}

#[test]
fn a_decision_more_or_less_diverges_wherever_it_is() {
    let (mut dropped, mut added) = (0, 0);
    for (name, journal) in journals() {
        for (turn, entry) in journal.iter().enumerate() {
            let decisions = decided(entry);
            for at in 0..decisions.len() {
                let mut less = decisions.to_vec();
                let gone = less.remove(at);
                diverges(&with(&journal, turn, less), &format!("{name}: dropped {gone}"));
                dropped += 1;
            }
            for at in 0..=decisions.len() {
                let mut more = decisions.to_vec();
                more.insert(at, Decision::Patch { id: "never asked".to_owned() });
                diverges(&with(&journal, turn, more), &format!("{name}: turn {turn} at {at}"));
                added += 1;
            }
        }
    }
    println!("{dropped} dropped, {added} added");
    assert!(30 < dropped, "only {dropped} decisions were dropped");
}

#[test]
fn a_turn_cut_short_is_found_and_a_cut_between_turns_is_a_journal() {
    for (name, journal) in journals() {
        for turn in 0..journal.len() {
            let at_boundary = &journal[..=turn];
            assert_eq!(replay(at_boundary), Ok(()), "{name}: the first {turn} turns");
            let decisions = decided(&journal[turn]);
            for keep in 0..decisions.len() {
                let torn = with(at_boundary, turn, decisions[..keep].to_vec());
                diverges(&torn, &format!("{name}: turn {turn} torn after {keep}"));
            }
        }
    }
}

#[test]
fn the_same_decisions_follow_from_every_prefix() {
    for (name, journal) in journals() {
        for turn in 1..journal.len() {
            let mut live = Live::replay(code::<Order>(), &journal[..turn]).unwrap();
            let entry = &journal[turn];
            let Turn::Done { at, decisions } = &entry.turn else { continue };
            let applied = live.turn(entry.at, *at, &entry.fact).unwrap();
            let expected = crate::replay::Applied::Decided(decisions.clone());
            assert_eq!(applied, expected, "{name}: turn {turn}");
        }
    }
}

#[test]
fn a_changed_value_diverges_wherever_it_is() {
    let mut changed = 0;
    for (name, journal) in journals() {
        for (turn, entry) in journal.iter().enumerate() {
            let decisions = serde_json::to_value(decided(entry)).unwrap();
            for pointer in leaves(&decisions, "") {
                let mut other = decisions.clone();
                change(other.pointer_mut(&pointer).unwrap());
                let Ok(decisions) = serde_json::from_value(other) else { continue };
                let mutant = with(&journal, turn, decisions);
                // Lengths of time and how a call is retried are what a deploy may change.
                let may_change = ["/within_ms", "/ms", "_ms", "_ms_max", "/retry/abort"];
                let in_ask = pointer.contains("/ask/");
                if in_ask || may_change.iter().any(|it| pointer.ends_with(it)) {
                    assert_eq!(replay(&mutant), Ok(()), "{name}: turn {turn} {pointer}");
                } else {
                    diverges(&mutant, &format!("{name}: turn {turn} {pointer}"));
                    changed += 1;
                }
            }
        }
    }
    println!("{changed} values changed");
    assert!(100 < changed, "only {changed} values were changed");
}

#[test]
fn the_fold_of_every_prefix_knows_what_the_code_holds_for() {
    for (name, journal) in journals() {
        for turn in 1..=journal.len() {
            let prefix = &journal[..turn];
            let live = Live::replay(code::<Order>(), prefix).unwrap().state();
            let folded = fold(prefix);
            let steps = |state: &crate::fold::State| {
                let waits = state.waits.iter().map(|it| it.step.clone());
                let calls = state.calls.keys().cloned();
                let undos = state.undos.iter().chain(&state.owed).map(|it| it.step.clone());
                (waits.collect::<Vec<_>>(), calls.collect::<Vec<_>>(), undos.collect::<Vec<_>>())
            };
            assert_eq!(steps(&live), steps(&folded), "{name}: the first {turn}");
        }
    }
}

thread_local! {
    /// The poll at which [`Meddled`] asks for more: before the code's own poll, or after it.
    static MEDDLES_AT: Cell<(usize, bool)> = const { Cell::new((usize::MAX, false)) };
}

/// Code that asks for one undo more in one of its turns.
struct Meddled<S>(std::marker::PhantomData<S>);
impl<S: Saga> Saga for Meddled<S> {
    const NAME: &'static str = S::NAME;
    type Input = S::Input;
    type Output = S::Output;
    type Settings = S::Settings;

    fn events() -> Vec<Declared> {
        S::events()
    }

    async fn run(ctx: Ctx<S::Settings>, input: S::Input) -> Result<S::Output, Abort> {
        let mut run = Box::pin(S::run(ctx.clone(), input));
        let mut polls = 0;
        poll_fn(|cx| {
            let meddles = |is_after| MEDDLES_AT.get() == (polls, is_after);
            if meddles(false) {
                ctx.undo(Refund::of("o1"));
            }
            let polled = run.as_mut().poll(cx);
            if meddles(true) {
                ctx.undo(Refund::of("o1"));
            }
            polls += 1;
            polled
        })
        .await
    }
}

#[test]
fn a_step_inserted_into_any_stored_turn_diverges() {
    let mut inserted = 0;
    for (name, journal) in journals() {
        let turns = journal.iter().filter(|it| it.fact.is_for_code()).count();
        MEDDLES_AT.set((usize::MAX, false));
        assert!(Live::replay(code::<Meddled<Order>>(), &journal).is_ok(), "{name}");
        for (turn, is_after) in (0..turns).flat_map(|it| [(it, false), (it, true)]) {
            MEDDLES_AT.set((turn, is_after));
            let res = Live::replay(code::<Meddled<Order>>(), &journal).map(|_| ());
            let diverges = matches!(res, Err(ReplayError::Diverged { .. }));
            assert!(diverges, "{name}: turn {turn}: {res:?}");
            inserted += 1;
        }
    }
    println!("{inserted} inserted");
}

/// JSON pointers of all strings, numbers and booleans.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(idx, it)| leaves(it, &format!("{at}/{idx}"))).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|it| it.0 != "k");
            fields.flat_map(|(name, it)| leaves(it, &format!("{at}/{name}"))).collect()
        }
        Value::Null => Vec::new(),
        _ => vec![at.to_owned()],
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::String(it) if it == "cancelled" => json!("failed"),
        Value::String(it) if it.parse::<crate::id::Path>().is_ok() => json!(format!("{it}.7")),
        Value::String(it) => json!(format!("{it}x")),
        Value::Number(it) => json!(it.as_u64().unwrap() + 1),
        Value::Bool(it) => json!(!it),
        it => it.clone(),
    };
}
