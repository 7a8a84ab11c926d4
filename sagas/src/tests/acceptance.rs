//! Days and weeks, by a clock that a test turns: `tests/ACCEPTANCE.md` says which line of the order
//! system is which test.

use super::{
    shop::services,
    world::{PLACED, World, order, registry_with},
};
use crate::{Settings, process_order::Limits};
use saga_core::{fold::Status, testing::Desk};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An order that has 60 days for everything.
fn patient(risk_score: u8) -> World {
    let ms = u64::try_from((60 * DAY).as_millis()).unwrap();
    let process_order =
        Limits { approval_ms: ms, payment_ms: ms, delivery_ms: ms, ..Limits::default() };
    let desk = Desk::new(registry_with(&Settings { process_order }));
    let mut world = World { desk, services: services(risk_score) };
    world.desk.event(PLACED, order());
    world.settle();
    world
}

/// The host is away for so long: nobody looks at the clock meanwhile.
fn away(mut world: World, time: Duration) -> World {
    let before = world.order();
    world.desk.skip(time);
    world.desk.restart();
    assert_eq!(world.order(), before, "as it was");
    world
}

#[test]
fn line_08_an_order_goes_on_where_it_was_days_after_its_host_went_down() {
    let world = away(patient(70), 45 * DAY).decided(true);
    let world = away(world, 45 * DAY).paid();
    let world = away(world, 45 * DAY).tracked("in_transit");
    let world = away(world, 10 * DAY).tracked("delivered");
    let shop = world.ends(Status::Completed);
    assert_eq!((shop.status(), shop.shipped, shop.mails("order_completed")), ("completed", 2, 1));

    let mut world = away(patient(70), 61 * DAY);
    world.desk.tick();
    world.settle();
    let shop = world.ends(Status::Cancelled);
    assert_eq!((shop.status(), shop.mails("order_cancelled")), ("cancelled", 1));
}

#[test]
fn line_20_a_day_after_its_question_an_order_is_cancelled_and_not_a_millisecond_before() {
    let day_ms = u64::try_from(DAY.as_millis()).unwrap();
    for mut world in [World::awaiting_approval(), World::awaiting_payment()] {
        world.desk.wait_ms(day_ms - 1);
        world.settle();
        assert_eq!(world.order().status, Status::Waiting);
        world.desk.wait_ms(1);
        world.settle();
        let shop = world.ends(Status::Cancelled);
        assert_eq!((shop.status(), shop.mails("order_cancelled")), ("cancelled", 1));
        assert_eq!((shop.reserved, shop.has_session), (0, false), "nothing is held any more");
    }
    let mut world = World::awaiting_delivery();
    world.desk.wait_ms(14 * day_ms - 1);
    world.settle();
    assert_eq!(world.order().status, Status::Waiting);
    world.desk.wait_ms(1);
    world.settle();
    let shop = world.ends(Status::Completed);
    assert_eq!((shop.status(), shop.tickets), ("delivery_failed", 1));
}
