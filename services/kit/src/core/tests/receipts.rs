//! Events are owed until the runtime has them, and again when it has lost them.

use super::*;

#[test]
fn a_receipt_settles_an_event_and_a_restore_owes_it_again() {
    let mut it = Driven::new();
    it.told(call("k", 1));
    let receipt = |epoch, position, ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        heard(Receipt { ids, epoch, position, ..Receipt::default() })
    };
    it.feed(receipt(0, 50, &["ORD-1/reserved", "of another life"]));
    assert!(matches!(it.owed.as_slice(), [Output::Receipted(numbers)] if *numbers == [1]));
    assert_eq!(it.events(), 0);
    // The same again changes nothing.
    it.feed(receipt(0, 60, &["ORD-1/reserved"]));

    // Restored to a position after the receipt's: it is there.
    restored(&mut it, 1, 70);
    assert_eq!(it.events(), 0);
    // Restored to one before it: it is owed again.
    restored(&mut it, 2, 49);
    assert_eq!(it.events(), 1);
    // Whoever still lives in an older epoch cannot settle it.
    it.feed(receipt(1, 90, &["ORD-1/reserved"]));
    assert_eq!(it.events(), 1);
    it.feed(receipt(2, 51, &["ORD-1/reserved"]));
    assert_eq!(it.events(), 0);

    // It is forgotten after a week, with its id.
    it.now = at(6);
    it.feed(Input::Sweep);
    it.told(call("later", 1));
    assert_eq!(it.events(), 0);
    it.now = at(8);
    it.feed(Input::Sweep);
    it.told(call("much later", 1));
    assert_eq!(it.events(), 1);
}

fn heard(receipt: Receipt) -> Input {
    Input::Receipt { receipt, objection: None }
}

fn restored(it: &mut Driven, epoch: u64, position: u64) {
    it.owed.clear();
    it.feed(heard(Receipt { epoch, position, ..Receipt::default() }));
    let again = it.owed.drain(..).find_map(|output| match output {
        Output::Again(input) => Some(input),
        _ => None,
    });
    it.feed(again.unwrap());
}

#[test]
fn a_restore_owes_thousands_again_in_steps_and_a_restart_between_two_loses_none() {
    // How many steps are done when the process dies; after three nothing is left to do.
    for steps in 0..=3 {
        let mut it = Driven::new();
        let ids = told(&mut it, 1_200);
        it.feed(heard(Receipt { ids, position: 9, ..Receipt::default() }));
        it.owed.clear();
        it.feed(heard(Receipt { epoch: 1, position: 3, ..Receipt::default() }));
        assert_eq!(owed_again(&mut it, steps), 1_200.min(steps * 500), "{steps} steps");
        let mut it = it.reopened();
        it.feed(Input::Resume);
        let left = 1_200 - 1_200.min(steps * 500);
        assert_eq!(owed_again(&mut it, usize::MAX), left, "after {steps} steps");
        assert_eq!(it.db.scan(crate::rows::OUTSTANDING, None, 9_999).unwrap().len(), 1_200);

        // It is done once: the next start owes nothing.
        let mut it = it.reopened();
        it.feed(Input::Resume);
        assert!(it.owed.is_empty());
    }
}

/// The ids of so many events that the service has told of.
fn told(it: &mut Driven, events: u32) -> Vec<String> {
    let ids: Vec<_> = (0..events).map(|n| format!("event {n}")).collect();
    let told = ids.clone();
    let write = move |tx: &mut Tx, _| {
        for id in told {
            let (subject, key) = ("inventory.trigger.n".to_owned(), "k".to_owned());
            let event = NewEvent { id, subject, key, body: json!({}), at: at(0) };
            assert!(publish(tx, event).unwrap());
        }
        Box::new(|| ()) as Released
    };
    it.feed(Input::Write(Box::new(write)));
    ids
}

/// Takes so many steps of a resend at most, and counts what they owe.
fn owed_again(it: &mut Driven, steps: usize) -> usize {
    let (mut owed, mut left) = (0, steps);
    while let Some(output) = it.owed.pop() {
        match output {
            Output::Again(input) if left > 0 => {
                left -= 1;
                it.feed(input);
            }
            Output::Owed(numbers) => owed += numbers.len(),
            _ => (),
        }
    }
    owed
}
