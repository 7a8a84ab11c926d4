//! How far intake has come: the time up to which every event that the broker took is durable here.
//!
//! A deadline fires only when the tide has passed it, so an event that was published before the
//! deadline always comes first, however long the runtime was down or behind.

use saga_core::id::Time;
use std::collections::BTreeMap;

/// What the broker says of the stream and its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// When it was asked, by our clock.
    pub(super) asked_at: Time,
    /// Nothing is undelivered, and nothing unacknowledged.
    pub(super) is_empty: bool,
    /// Up to this delivery everything is acknowledged.
    pub(super) floor: u64,
}

/// What happens to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// We began to pull: what was delivered before went to somebody else, or got lost.
    Began {
        /// The last delivery before.
        delivered: u64,
        /// The last sequence of the stream.
        last: u64,
    },
    /// A message came.
    Came {
        /// Its sequence in the stream.
        sequence: u64,
        /// The number of this delivery.
        delivery: u64,
        /// When the broker took it.
        published: Time,
    },
    /// A message is durable.
    Durable {
        /// Its sequence in the stream.
        sequence: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Afloat {
    published: Time,
    is_durable: bool,
}

/// The tide itself: pure, so that its rules can be tested.
#[derive(Debug, Default)]
pub(super) struct Tide {
    /// Deliveries up to this one may have been lost: until the consumer's floor has passed them,
    /// what comes later says nothing about them.
    unsettled: Option<u64>,
    /// The number of the last delivery.
    delivery: u64,
    /// What came and is not yet behind us, by sequence.
    afloat: BTreeMap<u64, Afloat>,
    /// The last sequence of the stream when we began; nothing once that has been reached.
    start: Option<u64>,
    has_begun: bool,
    watermark: Time,
}

impl Tide {
    /// Up to when everything is durable; nothing before intake has caught up with its start.
    pub(super) fn watermark(&self) -> Option<Time> {
        (self.has_begun && self.start.is_none()).then_some(self.watermark)
    }

    /// Whether intake has reached what the stream held when it began.
    pub(super) fn is_caught_up(&self) -> bool {
        self.has_begun && self.start.is_none()
    }

    pub(super) fn flow(&mut self, flow: Flow) {
        match flow {
            Flow::Began { delivered, last } => {
                self.afloat.clear();
                self.has_begun = true;
                self.delivery = delivered;
                self.unsettled = Some(delivered);
                self.start = Some(last);
            }
            Flow::Came { sequence, delivery, published } => {
                if delivery != self.delivery + 1 {
                    self.unsettled = self.unsettled.max(Some(delivery.saturating_sub(1)));
                }
                self.delivery = delivery;
                self.afloat.insert(sequence, Afloat { published, is_durable: false });
            }
            Flow::Durable { sequence } => {
                if let Some(it) = self.afloat.get_mut(&sequence) {
                    it.is_durable = true;
                }
                self.sink();
            }
        }
    }

    /// What the broker said when it was asked.
    pub(super) fn standing(&mut self, standing: Standing) {
        if self.unsettled.is_some_and(|it| it <= standing.floor) {
            self.unsettled = None;
        }
        self.sink();
        if self.has_begun && standing.is_empty {
            self.unsettled = None;
            self.start = None;
            self.rise(standing.asked_at);
        }
    }

    /// Leaves behind what is durable, up to the first that is not.
    fn sink(&mut self) {
        if self.unsettled.is_some() {
            return;
        }
        while let Some(entry) = self.afloat.first_entry().filter(|it| it.get().is_durable) {
            let (sequence, it) = entry.remove_entry();
            if self.start.is_some_and(|last| last <= sequence) {
                self.start = None;
            }
            self.rise(it.published);
        }
    }

    /// The clock was set back: it goes through the time again that it has told already, and nobody
    /// knows yet what is published in it.
    pub(super) fn fall(&mut self, now: Time) {
        self.watermark = self.watermark.min(Time(now.0.saturating_sub(1)));
    }

    /// Another event may have the same millisecond: only what is before it is certain.
    fn rise(&mut self, at: Time) {
        self.watermark = self.watermark.max(Time(at.0.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(sequence: u64, delivery: u64, published: u64) -> Flow {
        Flow::Came { sequence, delivery, published: Time(published) }
    }

    fn durable(sequence: u64) -> Flow {
        Flow::Durable { sequence }
    }

    fn empty(asked_at: u64) -> Standing {
        Standing { asked_at: Time(asked_at), is_empty: true, floor: u64::MAX }
    }

    fn floor(floor: u64) -> Standing {
        Standing { asked_at: Time(u64::MAX), is_empty: false, floor }
    }

    fn begun(delivered: u64, last: u64) -> Tide {
        let mut tide = Tide::default();
        tide.flow(Flow::Began { delivered, last });
        tide
    }

    #[test]
    fn nothing_is_known_before_the_backlog_of_the_start_is_durable() {
        let mut tide = begun(0, 2);
        assert_eq!(tide.watermark(), None);
        tide.standing(floor(0));
        tide.flow(came(1, 1, 100));
        tide.flow(came(2, 2, 200));
        tide.flow(durable(1));
        assert_eq!(tide.watermark(), None, "one of two");
        tide.flow(durable(2));
        assert_eq!(tide.watermark(), Some(Time(199)));
    }

    #[test]
    fn an_empty_stream_moves_the_tide_to_the_time_of_the_question() {
        let mut tide = begun(5, 9);
        tide.standing(floor(4));
        assert_eq!(tide.watermark(), None, "somebody else's delivery is not acknowledged");
        tide.standing(empty(2_000));
        assert_eq!(tide.watermark(), Some(Time(1_999)));
        tide.standing(floor(5));
        assert_eq!(tide.watermark(), Some(Time(1_999)), "something is pending");
    }

    #[test]
    fn the_tide_stops_at_the_first_event_that_is_not_durable() {
        let mut tide = begun(0, 0);
        tide.standing(empty(10));
        tide.flow(came(1, 1, 100));
        tide.flow(came(2, 2, 200));
        tide.flow(durable(2));
        assert_eq!(tide.watermark(), Some(Time(9)));
        tide.flow(durable(1));
        assert_eq!(tide.watermark(), Some(Time(199)));
    }

    #[test]
    fn a_delivery_that_got_lost_holds_the_tide_until_it_is_settled() {
        let mut tide = begun(0, 0);
        tide.standing(empty(10));
        tide.flow(came(2, 2, 200));
        tide.flow(durable(2));
        assert_eq!(tide.watermark(), Some(Time(9)), "delivery 1 never came");
        tide.standing(floor(0));
        assert_eq!(tide.watermark(), Some(Time(9)));
        tide.flow(came(1, 3, 100));
        tide.flow(durable(1));
        tide.standing(floor(3));
        assert_eq!(tide.watermark(), Some(Time(199)));
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_tide_with_it() {
        let mut tide = begun(0, 0);
        tide.standing(empty(9_000));
        tide.fall(Time(1_000));
        assert_eq!(tide.watermark(), Some(Time(999)), "an event may come that is not taken yet");
        tide.standing(empty(2_000));
        assert_eq!(tide.watermark(), Some(Time(1_999)));
        tide.fall(Time(3_000));
        assert_eq!(tide.watermark(), Some(Time(1_999)), "it never rises with the clock alone");
    }

    #[test]
    fn beginning_anew_waits_for_the_backlog_again_and_never_goes_back() {
        let mut tide = begun(0, 0);
        tide.standing(empty(1_000));
        tide.flow(Flow::Began { delivered: 0, last: 3 });
        assert_eq!(tide.watermark(), None);
        tide.standing(empty(500));
        assert_eq!(tide.watermark(), Some(Time(999)));
    }
}
