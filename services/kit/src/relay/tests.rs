use super::*;

fn flights(keys: &[(u64, &str)]) -> Flights {
    let mut flights = Flights::new();
    let now = Instant::now();
    for (number, key) in keys {
        flights.add(*number, (*key).into(), now);
    }
    flights
}

/// All that is due now, or will be when pauses are over.
fn due(flights: &mut Flights) -> Vec<u64> {
    let later = Instant::now() + Duration::from_secs(3_600);
    std::iter::from_fn(|| flights.take_due(later)).collect()
}

#[tokio::test]
async fn what_happened_later_waits_until_the_broker_has_what_happened_first() {
    let times = RelayTimes::default();
    let mut flights = flights(&[(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")]);
    assert_eq!(due(&mut flights), [1, 3]);
    // However often the broker refuses the first.
    for _ in 0..3 {
        flights.sent(1, false, &times);
        assert_eq!(due(&mut flights), [1]);
    }
    flights.sent(3, true, &times);
    flights.sent(1, true, &times);
    let mut next = due(&mut flights);
    next.sort_unstable();
    // The repeats of 1 and 3 are due some day too.
    assert_eq!(next, [1, 2, 3, 5]);
    // A receipt that beats the broker's acknowledgement counts as one.
    flights.remove(2);
    assert_eq!(due(&mut flights), [4]);
    flights.sent(2, true, &times);
    for number in [1, 3, 4, 5] {
        flights.remove(number);
    }
    assert!(flights.by_number.is_empty() && flights.due.is_empty() && flights.untaken.is_empty());
}

#[tokio::test]
async fn what_is_owed_again_is_read_again_and_not_sent_at_once() {
    let mut flights = flights(&[(7, "a")]);
    flights.read_to = Some(rows::numbered(rows::OUTSTANDING, 7));
    flights.has_more = false;
    flights.read_again(3);
    assert_eq!(flights.read_to, Some(rows::numbered(rows::OUTSTANDING, 2)));
    assert!(flights.has_more && flights.not_before > Instant::now());
    flights.read_again(5);
    assert_eq!(flights.read_to, Some(rows::numbered(rows::OUTSTANDING, 2)));
    // An older one of the same key goes too; the younger was on its way already.
    flights.add(3, "a".into(), Instant::now());
    assert_eq!(due(&mut flights).len(), 2);
}
