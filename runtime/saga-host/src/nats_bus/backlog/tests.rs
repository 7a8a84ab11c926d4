use super::*;
use crate::groups::Groups;
use uuid::Uuid;

const MS: Duration = Duration::from_millis(1);

fn event(saga: u32, step: u32, subject: &str) -> Publication {
    Publication {
        saga: SagaId(Uuid::from_u128(u128::from(saga))),
        group: Group::NOBODYS,
        step: Path::root().child(step),
        id: format!("{saga}/{step}"),
        subject: subject.into(),
        key: "k".into(),
        body: "{}".into(),
    }
}

fn leaving(backlog: &mut Backlog, now: Instant) -> Vec<String> {
    backlog.ready(now).into_iter().map(|it| it.1.id.clone()).collect()
}

fn id(saga: u32, step: u32) -> EventId {
    id_of(&event(saga, step, ""))
}

#[test]
fn events_that_nobody_takes_hold_up_no_others_however_many_they_are() {
    let (mut now, mut backlog) = (Instant::now(), Backlog::default());
    (0..640).for_each(|it| backlog.add(event(it, 0, "nobody.hears")));
    for round in 0..20 {
        let tried = backlog.ready(now);
        let most = if round == 0 { PLACES } else { PLACES_DOUBTFUL };
        assert!(!tried.is_empty() && tried.len() <= most, "{} in round {round}", tried.len());
        let healthy = 1000 + round;
        if round > 0 {
            backlog.add(event(healthy, 0, "all.hear"));
            assert_eq!(leaving(&mut backlog, now), [format!("{healthy}/0")], "round {round}");
            backlog.taken(&id(healthy, 0), now);
            backlog.forget(&id(healthy, 0));
        }
        for (id, _) in tried {
            backlog.refused(&id, "no stream", now, |max| max);
        }
        now += 200 * MS;
    }
}

#[test]
fn events_of_a_saga_on_a_subject_and_key_go_in_order_and_nothing_else_waits() {
    let (now, mut backlog) = (Instant::now(), Backlog::default());
    for it in [event(1, 0, "a"), event(1, 1, "a"), event(1, 2, "b"), event(2, 0, "a")] {
        backlog.add(it);
    }
    assert_eq!(leaving(&mut backlog, now), ["1/0", "1/2", "2/0"]);
    backlog.refused(&id(1, 0), "full", now, |_| 0);
    assert_eq!(leaving(&mut backlog, now), [""; 0], "the second waits for the first");
    assert_eq!(leaving(&mut backlog, now + 100 * MS), ["1/0"]);
    backlog.taken(&id(1, 0), now);
    assert_eq!(leaving(&mut backlog, now), [""; 0], "until the core knows of it");
    backlog.forget(&id(1, 0));
    assert_eq!(leaving(&mut backlog, now), ["1/1"]);
}

#[test]
fn what_is_withdrawn_gives_its_place_back_and_leaves_nothing_behind() {
    let (now, mut backlog) = (Instant::now(), Backlog::default());
    (0..100).for_each(|it| backlog.add(event(it, 0, "a")));
    assert_eq!(backlog.ready(now).len(), PLACES);
    (0..50).for_each(|it| backlog.forget(&id(it, 0)));
    backlog.refused(&id(0, 0), "no stream", now, |max| max);
    assert_eq!(backlog.ready(now).len(), PLACES, "they are free again");
    (0..100).for_each(|it| backlog.forget(&id(it, 0)));
    assert!(backlog.ready(now + 100_000 * MS).is_empty());
    let Backlog { open, lines, subjects, due, sure, doubtful } = backlog;
    assert!(open.is_empty() && lines.is_empty() && subjects.is_empty() && due.is_empty());
    assert_eq!((sure.under_way, doubtful.under_way), (0, 0));
}

#[test]
fn pauses_double_up_to_their_bound_and_a_hurry_ends_them() {
    let (mut now, mut backlog) = (Instant::now(), Backlog::default());
    backlog.add(event(1, 0, "a"));
    let mut pauses = Vec::new();
    for _ in 0..11 {
        assert_eq!(backlog.ready(now).len(), 1);
        backlog.refused(&id(1, 0), "full", now, |max| max);
        let next = backlog.next().expect("it rests");
        pauses.push((next - now).as_millis());
        now = next;
    }
    // One is shorter: somebody is told when the refusals have lasted for 15 s.
    let doubled = [100, 200, 400, 800, 1600, 3200, 6400, 2_300, 25_600, 30_000, 30_000];
    assert_eq!(pauses, doubled);
    backlog.ready(now);
    backlog.refused(&id(1, 0), "full", now, |max| max);
    assert!(backlog.ready(now).is_empty());
    backlog.hurry(id(1, 0).0, now);
    assert_eq!(backlog.ready(now).len(), 1);
}

#[test]
fn a_subject_that_is_taken_again_wakes_what_rests_some_at_a_time_and_each_once() {
    let (now, mut backlog) = (Instant::now(), Backlog::default());
    (0..40).for_each(|it| backlog.add(event(it, 0, "a")));
    let refuse = |backlog: &mut Backlog| {
        let tried = backlog.ready(now);
        tried.iter().for_each(|it| drop(backlog.refused(&it.0, "full", now, |max| max)));
        tried.len()
    };
    assert_eq!((refuse(&mut backlog), refuse(&mut backlog)), (40, 0));
    backlog.add(event(99, 0, "a"));
    backlog.ready(now);
    backlog.taken(&id(99, 0), now);
    assert_eq!(refuse(&mut backlog), WAKES);
    backlog.taken(&id(99, 0), now);
    backlog.taken(&id(99, 0), now);
    assert_eq!(refuse(&mut backlog), PLACES_DOUBTFUL);
    assert_eq!(refuse(&mut backlog), 40 - WAKES - PLACES_DOUBTFUL);
    backlog.taken(&id(99, 0), now);
    assert_eq!(refuse(&mut backlog), 0, "each was woken once");
    let later = now + 1000 * MS;
    let tried = backlog.ready(later);
    tried.iter().for_each(|it| drop(backlog.refused(&it.0, "full", later, |max| max)));
    backlog.taken(&id(99, 0), later);
    assert!(!backlog.ready(later).is_empty(), "what has rested to the end can be woken again");
}

#[test]
fn somebody_is_told_once_of_what_is_refused_for_long_and_again_after_a_retry() {
    let (start, mut backlog) = (Instant::now(), Backlog::default());
    backlog.add(event(1, 0, "a"));
    let told = |backlog: &mut Backlog, seconds: u64| {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(backlog.ready(now).len(), 1, "{seconds}");
        backlog.refused(&id(1, 0), "no stream", now, |_| 0).is_some()
    };
    let heard = [0, 14, 15, 40, 80].map(|it| told(&mut backlog, it));
    assert_eq!(heard, [false, false, true, false, false]);
    backlog.hurry(id(1, 0).0, start);
    assert!(!told(&mut backlog, 120) && told(&mut backlog, 160));
    let (_, known) = backlog.known(id(1, 0).0).remove(0);
    let failure = known.failure.expect("it failed");
    assert_eq!((known.attempts, failure.times, failure.reason.as_str()), (7, 7, "no stream"));
}

/// Pauses double: one that begins before could be over long after.
#[test]
fn somebody_is_told_in_time_however_long_the_pauses_are() {
    for random in [0, 1, 2] {
        let (start, mut backlog) = (Instant::now(), Backlog::default());
        backlog.add(event(1, 0, "a"));
        let mut now = start;
        loop {
            assert_eq!(backlog.ready(now).len(), 1);
            if backlog.refused(&id(1, 0), "no stream", now, |max| max * random / 2).is_some() {
                break;
            }
            let (_, known) = backlog.known(id(1, 0).0).remove(0);
            now = known.next_at.expect("it is tried again");
        }
        assert_eq!((now - start).as_secs(), REFUSED_TOLD.as_secs(), "{random}");
    }
}

/// Whether the broker would take it nobody knows.
#[test]
fn what_could_not_be_given_to_the_broker_is_not_refused() {
    let (start, mut backlog) = (Instant::now(), Backlog::default());
    backlog.add(event(1, 0, "a"));
    for it in 0..100 {
        let now = start + Duration::from_secs(it);
        assert_eq!(backlog.ready(now).len(), 1);
        backlog.away(&id(1, 0), now, |_| 0);
    }
    let (_, known) = backlog.known(id(1, 0).0).remove(0);
    assert!(known.failure.is_none() && known.attempts == 0);
    let now = start + Duration::from_secs(200);
    assert_eq!(backlog.ready(now).len(), 1);
    assert!(backlog.refused(&id(1, 0), "full", now, |_| 0).is_none());
}

#[test]
fn an_event_waits_for_few_of_others_however_many_wait() {
    let groups = Groups::of([("few".to_owned(), Vec::new())]);
    let (now, mut backlog) = (Instant::now(), Backlog::default());
    (0..1_000).for_each(|it| backlog.add(event(it, 0, "a")));
    assert_eq!(leaving(&mut backlog, now).len(), PLACES);
    backlog.add(Publication { group: groups.of_definition("few"), ..event(2_000, 0, "a") });
    (0..2).for_each(|it| backlog.taken(&id(it, 0), now));
    assert_eq!(leaving(&mut backlog, now), ["48/0", "2000/0"]);
}
