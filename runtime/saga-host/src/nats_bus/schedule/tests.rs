use super::*;
use crate::groups::Groups;
use saga_core::{
    id::{Path, Time},
    message::Retry,
    payload::Payload,
};
use uuid::Uuid;

const MS: Duration = Duration::from_millis(1);

fn request(number: u32, subject: &str) -> Request {
    let saga = SagaId(Uuid::nil());
    Request {
        id: RequestId { saga, step: Path::root().child(number), is_undo: false },
        epoch: 0,
        subject: subject.into(),
        key: number.to_string(),
        body: Payload::null(),
        undo: None,
        attempt_class: 1,
        is_recovered: false,
        since: Time(0),
        retry: Retry::DEFAULT.into(),
        saga_key: "k".into(),
        began: Time(0),
    }
}

fn keys(sends: &[(Arc<Request>, u32)]) -> Vec<String> {
    sends.iter().map(|it| it.0.key.clone()).collect()
}

#[test]
fn pauses_double_up_to_their_bound() {
    let (start, mut schedule) = (Instant::now(), Schedule::default());
    schedule.add(Group::NOBODYS, request(0, "a"), start);
    let mut pauses = Vec::new();
    let mut at = start;
    for _ in 0..10 {
        assert_eq!(schedule.ready(at, |max| max).len(), 1);
        let next = schedule.next().expect("it is due again");
        pauses.push((next - at).as_millis());
        at = next;
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    schedule.ready(at, |_| 0);
    assert_eq!(schedule.next(), Some(at + 30_000 * MS), "silence is borne for half of it");
}

#[test]
fn what_has_failed_is_asked_again_soon_but_not_at_once() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    schedule.add(Group::NOBODYS, request(0, "a"), now);
    schedule.ready(now, |max| max);
    schedule.failed(&request(0, "a").id, "no", now, |_| 0);
    assert_eq!(schedule.next(), Some(now + 100 * MS));
    assert!(schedule.ready(now, |max| max).is_empty());
    assert_eq!(schedule.ready(now + 100 * MS, |max| max).len(), 1);
    assert_eq!(schedule.due.len(), 1);
}

#[test]
fn a_subject_has_so_many_places_and_gives_them_in_order() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    let many = u32::try_from(IN_FLIGHT_MAX).expect("it fits") + 2;
    (0..many).for_each(|it| schedule.add(Group::NOBODYS, request(it, "a"), now));
    schedule.add(Group::NOBODYS, request(many, "b"), now);
    assert_eq!(schedule.ready(now, |max| max).len(), IN_FLIGHT_MAX + 1, "b is not held up");
    schedule.failed(&request(0, "a").id, "no", now, |max| max);
    assert_eq!(keys(&schedule.ready(now, |max| max)), ["256"]);
    schedule.forget(&request(1, "a").id);
    assert_eq!(keys(&schedule.ready(now, |max| max)), ["257"]);
}

#[test]
fn an_answer_that_is_on_its_way_gives_its_place_back_and_is_waited_for() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    schedule.add(Group::NOBODYS, request(0, "a"), now);
    schedule.ready(now, |max| max);
    schedule.answered(&request(0, "a").id, None, now);
    assert_eq!(schedule.next(), Some(now + ANSWERED_PAUSE));
    assert_eq!(schedule.lines.get("a").map(|it| it.in_flight), Some(0));
    assert_eq!(schedule.ready(now + ANSWERED_PAUSE, |max| max).len(), 1);
}

#[test]
fn what_is_forgotten_is_never_sent_and_leaves_nothing_behind() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    (0..3).for_each(|it| schedule.add(Group::NOBODYS, request(it, "a"), now));
    schedule.forget(&request(1, "a").id);
    assert_eq!(keys(&schedule.ready(now, |max| max)), ["0", "2"]);
    schedule.forget(&request(0, "a").id);
    schedule.forget(&request(2, "a").id);
    assert!(schedule.ready(now + 1000 * MS, |max| max).is_empty());
    assert!(schedule.open.is_empty() && schedule.due.is_empty() && schedule.lines.is_empty());
}

#[test]
fn a_new_form_of_a_request_begins_anew() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    schedule.add(Group::NOBODYS, request(0, "a"), now);
    schedule.ready(now, |max| max);
    schedule.add(Group::NOBODYS, request(0, "b"), now);
    let sends = schedule.ready(now, |max| max);
    assert_eq!((sends[0].0.subject.as_str(), sends[0].1), ("b", 1));
    let told: Vec<_> = schedule.attempts(SagaId(Uuid::nil())).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.attempts, 1);
}

#[test]
fn a_service_that_answers_again_wakes_what_waits_for_it_some_at_a_time_and_each_once() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    (0..40).for_each(|it| schedule.add(Group::NOBODYS, request(it, "a"), now));
    schedule.add(Group::NOBODYS, request(99, "a"), now);
    schedule.ready(now, |max| max);
    let fail = |schedule: &mut Schedule, it: u32| {
        schedule.failed(&request(it, "a").id, "nobody listens", now, |max| max)
    };
    (0..40).for_each(|it| drop(fail(&mut schedule, it)));
    assert!(schedule.ready(now, |max| max).is_empty(), "all of them rest");
    schedule.answered(&request(99, "a").id, None, now);
    let woken = schedule.ready(now, |max| max);
    assert_eq!(woken.len(), WAKES);
    for (request, _) in woken {
        schedule.answered(&request.id, None, now);
        schedule.forget(&request.id);
    }
    let woken = schedule.ready(now, |max| max);
    assert_eq!(woken.len(), 40 - WAKES, "each answer wakes some more");
    for (request, _) in &woken {
        schedule.failed(&request.id, "nobody listens", now, |max| max);
    }
    schedule.answered(&request(99, "a").id, None, now);
    assert!(schedule.ready(now, |max| max).is_empty(), "each is woken once");
    let failures: Vec<u32> = schedule
        .attempts(SagaId(Uuid::nil()))
        .filter_map(|it| it.1.failure)
        .map(|it| it.times)
        .collect();
    assert_eq!(failures, [2; 24]);
}

#[test]
fn a_hurry_means_now_and_silence_is_a_failure_that_is_told() {
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    schedule.add(Group::NOBODYS, request(0, "a"), now);
    schedule.ready(now, |max| max);
    assert_eq!(schedule.ready(now + 500 * MS, |max| max).len(), 1);
    assert!(schedule.ready(now + 501 * MS, |max| max).is_empty());
    schedule.hurry(SagaId(Uuid::nil()), now + 501 * MS);
    assert_eq!(schedule.ready(now + 501 * MS, |max| max).len(), 1);
    let told = schedule.attempts(SagaId(Uuid::nil())).next().expect("it is open").1;
    let failure = told.failure.expect("it was not answered");
    assert_eq!((told.attempts, failure.times, failure.reason.as_str()), (3, 1, NO_ANSWER));
    schedule.forget(&request(0, "a").id);
    let told = schedule.attempts(SagaId(Uuid::nil())).next().expect("it is remembered").1;
    assert_eq!((told.next_at, told.failure.map(|it| it.times)), (None, Some(1)));
}

#[test]
fn a_request_waits_for_few_of_others_to_its_service_however_many_wait() {
    let groups = Groups::of(["a", "b"].map(|it| (it.to_owned(), Vec::new())));
    let [many, few] = ["a", "b"].map(|it| groups.of_definition(it));
    let (now, mut schedule) = (Instant::now(), Schedule::default());
    for number in 0..10_000 {
        schedule.add(many, request(number, "a"), now);
    }
    assert_eq!(schedule.ready(now, |max| max).len(), IN_FLIGHT_MAX);
    schedule.add(few, request(20_000, "a"), now);
    assert!(schedule.ready(now, |max| max).is_empty(), "all places are taken");
    for number in 0..2 {
        schedule.answered(&request(number, "a").id, None, now);
    }
    assert_eq!(keys(&schedule.ready(now, |max| max)), ["256", "20000"]);
}
