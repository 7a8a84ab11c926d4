//! Whose store: a wrong one, an empty one, an old one, and a second runtime.

use crate::world::{Second, World, text};
use chassis::claim::take_over;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The instance that a refusal names after this word.
fn named<'a>(said: &'a str, before: &str) -> &'a str {
    let rest = said.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {said}")).1;
    rest.get(..36).expect("an instance")
}

#[tokio::test]
async fn a_start_on_an_empty_directory_is_refused_and_takes_no_payment() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    let empty = world.empty_place("empty");
    let said = world.refused(&empty).await;
    assert!(said.contains("the broker knows"), "{said}");
    // While it is started so again and again, the payment comes.
    world.pay("o1").await;
    world.refused(&empty).await;
    world.start().await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn an_operator_may_give_a_store_up_for_another_by_the_command_of_the_refusal() {
    let mut world = World::with_runtime().await;
    world.stop();
    let place = world.empty_place("other");
    let said = world.refused(&place).await;
    let from = named(&said, "take-over --from ").to_owned();
    let right = world.data_dir();
    world.set("FERMATA_DATA_DIR", &place.to_string_lossy());
    let other = "00000000-0000-4000-8000-000000000001";
    let tell = |instance: &str| {
        world.cli(&["take-over", "--from", instance, "--reason", "its disk is lost"])
    };
    // A word for a store that nobody knows would be found out at the next refusal only.
    let told = tell(other);
    assert_eq!(told.status.code(), Some(1), "{}", text(&told.stderr));
    let known = format!("its start was refused for {from} (which the broker knows)");
    assert!(text(&told.stderr).contains(&known), "{}", text(&told.stderr));
    world.refused(&place).await;
    let told = tell(&from);
    assert!(told.status.success(), "{}", text(&told.stderr));
    world.start().await;
    assert!(world.log().contains("its disk is lost"), "it is logged");
    world.kill();
    world.start().await;
    world.stop();
    // Now the first one is the wrong one.
    world.refused(right.as_ref()).await;
}

#[tokio::test]
async fn a_second_runtime_is_refused_with_a_store_of_its_own_and_with_a_copy() {
    let mut world = World::with_runtime().await;
    world.stop();
    let copy = world.copy_of_the_store("copy");
    world.start().await;
    let said = world.refused(&world.empty_place("empty")).await;
    assert!(said.contains("another fermata"), "{said}");
    let said = world.refused(&copy).await;
    assert!(said.contains("another fermata"), "{said}");
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
}

/// Starts one over each of these in the same moment, until one serves and the other has said why it
/// does not. Both end with it.
async fn race(world: &World, places: [&Path; 2]) -> String {
    let mut both = places.map(|it| world.second(it));
    let began = Instant::now();
    loop {
        let there = [world.is_there(&both[0]).await, world.is_there(&both[1]).await];
        assert!(there != [true, true], "both serve");
        let refused = both.each_mut().map(Second::refusal);
        match (there, refused) {
            ([true, _], [None, Some(said)]) | ([_, true], [Some(said), None]) => return said,
            (_, [Some(one), Some(other)]) => panic!("both are refused: {one}\n{other}"),
            _ => assert!(began.elapsed() < Duration::from_secs(60), "nobody gives way"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_two_copies_that_start_in_the_same_moment_one_serves_and_the_other_says_why() {
    let mut world = World::with_runtime().await;
    world.stop();
    let (one, other) = (world.copy_of_the_store("one"), world.copy_of_the_store("other"));
    for _ in 0..12 {
        let said = race(&world, [&one, &other]).await;
        assert!(said.contains("another fermata") && said.contains("stop that one"), "{said}");
    }
}

#[tokio::test]
async fn of_two_new_stores_that_meet_a_new_broker_in_the_same_moment_one_serves() {
    for _ in 0..4 {
        let world = World::new().await;
        let said = race(&world, [&world.empty_place("one"), &world.empty_place("other")]).await;
        assert!(said.contains("another fermata") && said.contains("stop that one"), "{said}");
    }
}

#[tokio::test]
async fn a_runtime_that_slept_while_a_copy_took_its_place_ends() {
    let mut world = World::with_runtime().await;
    world.stop();
    let copy = world.copy_of_the_store("copy");
    world.start().await;
    world.signal("-STOP");
    let mut other = world.second(&copy);
    world.until("the copy serves", async |it| it.is_there(&other).await).await;
    world.signal("-CONT");
    let status = world.ended().await;
    assert_eq!(status.code(), Some(78));
    assert!(world.log().contains("begun to use a copy"), "{}", world.log());
    assert!(other.is_running(), "the one that took its place goes on");
}

#[tokio::test]
async fn a_runtime_that_was_killed_is_back_at_once() {
    let mut world = World::with_runtime().await;
    for _ in 0..3 {
        world.kill();
        let began = Instant::now();
        world.start().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert!(!world.log().contains("take-over"), "{}", world.log());
}

#[tokio::test]
async fn a_start_says_in_one_line_which_store_it_has_opened() {
    let mut world = World::with_runtime().await;
    world.order("o1").await;
    // Nobody takes its call.
    world.until("it has begun", async |it| !it.events("started").await.is_empty()).await;
    world.stop();
    world.start().await;
    let log = world.log();
    let opened: Vec<_> = log.lines().filter(|it| it.contains("the store is open")).collect();
    let [first, second] = opened[..] else { panic!("{log}") };
    let instance = named(first, "instance=");
    let dir = format!("dir={}", world.data_dir());
    for part in [&dir, instance, "epoch=0", "calls_owed=1", "publishes_owed=0"] {
        assert!(second.contains(part), "{part} is not in {second}");
    }
    for (line, position) in [(first, "position=0 "), (second, "last_commit_ago=")] {
        assert!(line.contains(position), "{line}");
    }
    assert!(!second.contains("position=0 "), "{second}");
}

#[tokio::test]
async fn a_store_that_was_restored_from_a_backup_begins_an_epoch_and_says_where() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    let backup = world.copy_of_the_store("backup");
    world.start().await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
    world.stop();
    world.restore(&backup);
    let mut notices = world.tester.subscribe("fermata.epoch").await.unwrap();
    world.tester.flush().await.unwrap();
    world.start().await;
    assert!(world.log().contains("the store is OLDER"), "{}", world.log());
    let notice: Value = serde_json::from_slice(&notices.next().await.unwrap().payload).unwrap();
    assert_eq!(notice["epoch"], 1, "{notice}");
    assert_eq!(notice["position"], notice["opened_at"], "{notice}");
    assert_eq!(notice["opened_in"], 0, "{notice}");
    // What was lost is sent again by whoever has it.
    world.until_status("o1", "waiting").await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
    world.stop();
    world.start().await;
    let olders = world.log().matches("the store is OLDER").count();
    assert_eq!(olders, 1, "it is once");
}

/// A service that answers notices with what it knows.
async fn objector(world: &World, known: Value) -> tokio::task::JoinHandle<()> {
    let mut notices = world.tester.subscribe("fermata.epoch").await.unwrap();
    world.tester.flush().await.unwrap();
    let client = world.tester.clone();
    tokio::spawn(async move {
        while let Some(notice) = notices.next().await {
            let reply = notice.reply.expect("it asks");
            client.publish(reply, known.to_string().into()).await.unwrap();
        }
    })
}

#[tokio::test]
async fn when_the_broker_has_lost_its_disk_the_services_are_the_witness() {
    let mut world = World::new().await;
    let theirs = "00000000-0000-4000-8000-00000000000a";
    let known = json!({ "instance": theirs, "epoch": 2, "position": 70 });
    let service = objector(&world, known).await;
    let place = world.empty_place("wrong");
    let said = world.refused(&place).await;
    assert!(said.contains("a service knows"), "{said}");
    assert_eq!(named(&said, "take-over --from "), theirs);
    service.abort();
    // A service that comes later is heard, too, and the broker has the right one again.
    world.launch();
    world.until("it is ready", async |it| it.is_ready().await).await;
    let _late = objector(&world, json!({ "instance": theirs, "epoch": 2, "position": 70 })).await;
    assert_eq!(world.ended().await.code(), Some(78));
    let said = world.refused(world.data_dir().as_ref()).await;
    assert!(said.contains("the broker knows"), "{said}");
}

/// Waits until a runtime says that it asks the services, or that it asks them no more.
async fn heard(notices: &mut async_nats::Subscriber, asks: bool) {
    let notice = async {
        loop {
            let notice = notices.next().await.expect("the broker is there");
            let notice: Value = serde_json::from_slice(&notice.payload).unwrap();
            if notice["asks"] == asks {
                break;
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(60), notice).await;
    heard.unwrap_or_else(|_| panic!("nobody says asks={asks}"));
}

#[tokio::test]
async fn a_store_that_the_broker_does_not_know_asks_the_services_whatever_it_was_told() {
    let mut world = World::new().await;
    let [theirs, another] = [10, 11].map(uuid::Uuid::from_u128);
    let place = world.empty_place("other");
    let knows = |instance: uuid::Uuid| json!({ "instance": instance, "epoch": 2, "position": 70 });
    let service = objector(&world, knows(another)).await;
    world.refused(&place).await;
    service.abort();
    let _service = objector(&world, knows(theirs)).await;
    world.refused(&place).await;
    let mut notices = world.tester.subscribe("fermata.epoch").await.unwrap();
    world.tester.flush().await.unwrap();
    let told = |from| take_over(&place, from, "its disk is lost").unwrap();
    told(another);
    let said = world.refused(&place).await;
    assert!(said.contains("a service knows"), "{said}");
    heard(&mut notices, true).await;
    told(theirs);
    world.set("FERMATA_DATA_DIR", &place.to_string_lossy());
    world.start().await;
    // Otherwise the service would believe none of its receipts.
    heard(&mut notices, false).await;
    assert!(world.is_ready().await);
}

#[tokio::test]
async fn a_service_that_was_receipted_by_what_the_store_has_lost_makes_it_begin_an_epoch() {
    let mut world = World::with_runtime().await;
    let mut notices = world.tester.subscribe("fermata.epoch").await.unwrap();
    world.tester.flush().await.unwrap();
    let notice: Value = serde_json::from_slice(&notices.next().await.unwrap().payload).unwrap();
    let known = json!({ "instance": notice["instance"], "epoch": 0, "position": 1_000 });
    let _service = objector(&world, known).await;
    let begun = loop {
        let notice = notices.next().await.unwrap();
        let notice: Value = serde_json::from_slice(&notice.payload).unwrap();
        if notice["epoch"] != 0 {
            break notice;
        }
    };
    assert_eq!(begun["epoch"], 1, "{begun}");
    // Nonsense changes nothing, and ends nothing.
    for known in [
        json!({ "instance": notice["instance"], "epoch": u64::MAX, "position": 0 }),
        json!({ "instance": notice["instance"], "epoch": -1 }),
    ] {
        let _service = objector(&world, known).await;
        let next: Value = serde_json::from_slice(&notices.next().await.unwrap().payload).unwrap();
        assert_eq!(next["epoch"], 1, "{next}");
    }
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    // Known since its claim was renewed: another store that somebody remembers ends it no more.
    world.kill();
    world.start().await;
    let other = "00000000-0000-4000-8000-00000000000a";
    let _service = objector(&world, json!({ "instance": other, "epoch": 0, "position": 9 })).await;
    notices.next().await.unwrap();
    notices.next().await.unwrap();
    assert!(world.is_ready().await);
}

#[tokio::test]
async fn an_illegible_event_that_comes_again_is_one_dead_letter() {
    let mut world = World::with_runtime().await;
    world.publish("orders.trigger.created", &[("Nats-Msg-Id", "x")], "{").await;
    let dead = async |it: &World| it.events("dead_letter").await.len() == 1;
    world.until("it is dead", dead).await;
    world.kill();
    world.publish("orders.trigger.created", &[("Nats-Msg-Id", "x")], "{").await;
    world.start().await;
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
    assert_eq!(world.events("dead_letter").await.len(), 1);
}

/// As after its disk was full: it answers, and takes nothing.
#[tokio::test]
async fn a_broker_that_takes_nothing_is_told_until_it_does() {
    let world = World::with_runtime().await;
    world.limit_records(1).await;
    world.order("o1").await;
    let says_why = async |it: &World| {
        let (status, body) = it.call("GET", "/readyz", None, None).await;
        status == 503 && body.to_string().contains("the broker takes nothing: ")
    };
    world.until("it says so", says_why).await;
    world.limit_records(4 << 10).await;
    world.until("it is ready again", async |it| it.is_ready().await).await;
}

/// It has noted its run, or the broker has its record: neither makes a copy of the store.
#[tokio::test]
async fn a_death_at_the_record_makes_the_store_no_copy_of_itself() {
    let mut world = World::new().await;
    world.set("FERMATA_ENV", "development");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    for point in ["claim.before-record", "claim.after-record"] {
        world.set("FERMATA_CRASH_AT", &format!("{point}:1"));
        world.launch();
        assert!(!world.ended().await.success(), "it dies at {point}");
        world.set("FERMATA_CRASH_AT", "nowhere:1");
        world.start().await;
        assert!(!world.log().contains("the store is OLDER"), "{point}: {}", world.log());
        world.stop();
    }
    world.start().await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
}
