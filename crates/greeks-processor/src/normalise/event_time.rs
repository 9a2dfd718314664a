//! When a value was true: the broker's time, or the time of receipt where the broker gave none that can be believed.

use std::time::Duration;

use greeks_model::UnixNanos;

/// 2000-01-01T00:00:00Z. No market data of a live broker is older; zero and small numbers are not times.
const EARLIEST: UnixNanos = UnixNanos::from_millis(946_684_800_000);

/// How far the broker's clock may run before ours.
const TOLERANCE: Duration = Duration::from_secs(60);

/// What is to be made of the time in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventTime {
    /// The `event_time` of the row.
    pub(super) at: UnixNanos,
    /// Whether `at` is the time of receipt.
    pub(super) substituted: bool,
    /// The time the broker gave, to know the event by when it comes again. A time in the future is no use as
    /// `event_time`, but the same event will carry it again; a number before 2000 is not a time.
    pub(super) given: Option<UnixNanos>,
}

impl EventTime {
    pub(super) fn judge(claimed: Option<UnixNanos>, received_at: UnixNanos) -> Self {
        let given = claimed.filter(|time| *time >= EARLIEST);
        match given.filter(|time| *time <= received_at.saturating_add(TOLERANCE)) {
            Some(at) => Self { at, substituted: false, given },
            None => Self { at: received_at, substituted: true, given },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: UnixNanos = UnixNanos::from_millis(1_795_000_000_000);

    fn judge(claimed: UnixNanos) -> EventTime {
        EventTime::judge(Some(claimed), RECEIVED)
    }

    #[test]
    fn the_brokers_time_is_kept_when_it_can_be_believed() {
        for claimed in [EARLIEST, RECEIVED, UnixNanos::from_millis(1_795_000_060_000)] {
            assert_eq!(judge(claimed), EventTime { at: claimed, substituted: false, given: Some(claimed) });
        }
    }

    #[test]
    fn a_missing_or_ancient_time_becomes_the_time_of_receipt() {
        let substituted = EventTime { at: RECEIVED, substituted: true, given: None };
        assert_eq!(EventTime::judge(None, RECEIVED), substituted);
        for claimed in [UnixNanos::EPOCH, UnixNanos::from_nanos(-1), UnixNanos::from_nanos(EARLIEST.as_nanos() - 1)] {
            assert_eq!(judge(claimed), substituted);
        }
    }

    #[test]
    fn a_time_more_than_a_minute_ahead_becomes_the_time_of_receipt_but_still_names_the_event() {
        let ahead = UnixNanos::from_nanos(RECEIVED.as_nanos() + 60_000_000_001);
        assert_eq!(judge(ahead), EventTime { at: RECEIVED, substituted: true, given: Some(ahead) });
    }
}
