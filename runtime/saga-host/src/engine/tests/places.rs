//! What waits for the engine: how much of it, who goes first, and who leaves.

use super::*;
use crate::engine::handle::PLACE_BYTES;
use futures::FutureExt as _;
use std::{sync::atomic::Ordering, time::Instant};

#[tokio::test]
async fn a_flood_of_events_leaves_room_for_questions_which_are_refused_beyond_theirs() {
    let rig = rig().await;
    let (go, held) = blocking::channel::<()>();
    let handle = rig.engine.handle.clone();
    let holding = tokio::spawn(async move { handle.read(move |_| held.recv().is_ok()).await });
    let mut rooms = Vec::new();
    let is_full = loop {
        match tokio::time::timeout(Duration::from_millis(200), rig.engine.handle.room()).await {
            Ok(room) => rooms.push(room.expect("there is room")),
            Err(_) => break rooms.len() == EVENTS_MAX,
        }
    };
    assert!(is_full, "{} places", rooms.len());
    let mut asked = 0;
    let refused = loop {
        // Polled once, a question is in the inbox or refused.
        match rig.engine.handle.read(|core| core.store().position()).now_or_never() {
            Some(refused) => break refused,
            None => asked += 1,
        }
    };
    assert_eq!(refused, Err(Busy::Full));
    assert!((DOOR_WORK_MAX - 1..=DOOR_WORK_MAX).contains(&asked), "{asked} questions");
    let problem = crate::door::busy(Busy::Full);
    assert_eq!(problem.status(), 503);
    drop((rooms, go));
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn an_event_of_one_group_waits_for_one_of_another_however_many_wait() {
    let rig = rig_with(races()).await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let handled = Arc::new(AtomicU64::new(0));
    let mut settled = Vec::new();
    let count = |number: usize| {
        let (settle, is_settled) = oneshot::channel();
        let handled = handled.clone();
        let count = move |_| {
            let _gone = settle.send(handled.fetch_add(1, Ordering::Relaxed));
        };
        let input = match number {
            0 => Input::Arrived(off("e1")),
            _ => message(&format!("m{number}")),
        };
        (input, Box::new(count) as Settled, is_settled)
    };
    for number in (0..EVENTS_MAX).rev() {
        let (input, settle, is_settled) = count(number);
        handle.room().await.expect("there is room").event(input, settle);
        settled.push(is_settled);
    }
    drop(let_go);
    let last = settled.pop().expect("it was given").await.expect("it is settled");
    assert_eq!(last, 1, "it came last, and one went before it");
    for (number, it) in settled.into_iter().enumerate() {
        let before = if number == 0 { 0 } else { number as u64 + 1 };
        assert_eq!(it.await, Ok(before), "the others in their order");
    }
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn whoever_brings_few_finds_a_place_when_others_have_all_of_theirs() {
    let rig = rig_with(races()).await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let handled = Arc::new(AtomicU64::new(0));
    let counted = || {
        let (settle, is_settled) = oneshot::channel();
        let handled = handled.clone();
        let count = move |_| {
            let _gone = settle.send(handled.fetch_add(1, Ordering::Relaxed));
        };
        (Box::new(count) as Settled, is_settled)
    };
    let groups = handle.groups();
    let [many, few] = ["a.trigger.b", "parcels.trigger.off"].map(|it| groups.of_event(it));
    let mut given = 0;
    // It has all places that anybody may take, and those of its group.
    let shared = || {
        let room = tokio::task::unconstrained(handle.room()).now_or_never();
        room.map(|it| it.expect("the engine goes on"))
    };
    while let Some(room) = handle.own_room(many, 100).or_else(shared) {
        given += 1;
        room.event(message(&format!("m{given}")), counted().0);
    }
    assert_eq!(given, EVENTS_MAX + OWN_EVENTS_MAX);
    assert!(handle.own_room(few, PLACE_BYTES + 1).is_none(), "a large one waits in its line");
    let mut settled = Vec::new();
    while let Some(room) = handle.own_room(few, 100) {
        let (settle, is_settled) = counted();
        room.event(Input::Arrived(off(&format!("e{}", settled.len()))), settle);
        settled.push(is_settled);
    }
    assert_eq!(settled.len(), OWN_EVENTS_MAX);
    drop(let_go);
    for (number, it) in (1..).zip(settled) {
        let before = it.await.expect("it is settled");
        assert!(before <= number * 2, "{before} were handled before its event {number}");
    }
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn questions_do_not_keep_events_from_being_settled() {
    const QUESTIONS: usize = 200;
    let rig = rig().await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let (answering, answered) = watch::channel(0_usize);
    let slow = |_: usize| {
        let answering = answering.clone();
        handle.read(move |_| {
            // It takes the engine's time.
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            answering.send_modify(|it| *it += 1);
            *answering.borrow()
        })
    };
    let mut questions = Box::pin(futures::future::join_all((0..QUESTIONS).map(slow)));
    assert!(questions.as_mut().now_or_never().is_none(), "all of them are asked");
    drop(let_go);
    answered.clone().wait_for(|it| *it > 0).await.expect("the first one is answered");
    give(handle, "m1").await.await.expect("it is settled");
    let before = *answered.borrow();
    assert!(before < QUESTIONS / 10, "{before} questions went before it");
    let expected: Vec<_> = (1..=QUESTIONS).map(Ok).collect();
    assert_eq!(questions.await, expected, "all are answered, in order");
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn a_question_is_not_answered_when_its_asker_has_left() {
    let rig = rig().await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let asked = |_: usize| handle.read(|_| panic!("nobody waits for this"));
    let mut left = Box::pin(futures::future::join_all((0..10).map(asked)));
    assert!(left.as_mut().now_or_never().is_none(), "all of them are asked");
    drop(left);
    drop(let_go);
    holding.await.expect("no panic").expect("it is read");
    assert_eq!(handle.read(|core| core.store().position()).await, Ok(0), "it goes on");
}
