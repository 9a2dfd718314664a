//! Duplicates, order and time.

use super::*;

#[test]
fn an_unusable_event_time_is_replaced_and_flagged() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    for (index, claimed) in [None, Some(UnixNanos::EPOCH), Some(at(100 + 60_001))].into_iter().enumerate() {
        let row = one(bench.quote(|u| (u.event_time, u.delta) = (claimed, Some(index as f64))));
        assert_eq!(row.event_time, at(100));
        assert!(row.flags.contains(Flags::EVENT_TIME_SUBSTITUTED));
    }
    let row = one(bench.quote(|u| (u.event_time, u.delta) = (Some(at(100 + 60_000)), Some(9.0))));
    assert_eq!((row.event_time, row.flags), (at(60_100), Flags::NONE));
}

#[test]
fn a_row_older_than_the_newest_is_kept_and_flagged_late() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let mut flags =
        |millis, delta| one(bench.quote(|u| (u.event_time, u.delta) = (Some(at(millis)), Some(delta)))).flags;
    assert_eq!(flags(50, 0.1), Flags::FIRST_AFTER_CONNECT);
    assert_eq!(flags(49, 0.2), Flags::LATE);
    assert_eq!(flags(50, 0.3), Flags::NONE);
    assert_eq!(flags(51, 0.4), Flags::NONE);
    assert_eq!(flags(50, 0.5), Flags::LATE);
}

#[test]
fn the_first_row_of_each_epoch_is_flagged_per_series() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let first = |row: &GreekSnapshot| row.flags.contains(Flags::FIRST_AFTER_CONNECT);
    assert!(first(&one(bench.quote(|u| u.delta = Some(0.1)))));
    bench.hold("A2", 1.0);
    let rows = bench.quote(|u| u.delta = Some(0.2));
    assert_eq!(rows.iter().map(first).collect::<Vec<_>>(), [false, true]);
    bench.reconnect();
    // The first message after the reconnect is suppressed as a duplicate: the first row that is stored has the flag.
    assert_eq!(bench.quote(|u| u.delta = Some(0.2)), []);
    let rows = bench.quote(|u| u.delta = Some(0.3));
    assert_eq!(rows.iter().map(first).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn the_same_event_twice_is_stored_once() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let same = |u: &mut QuoteUpdate| (u.delta, u.vega) = (Some(0.5), Some(-0.0));
    assert_eq!(bench.quote(same).len(), 1);
    assert_eq!(bench.quote(same), []);
    // What is ours does not make it another event: quantity, underlying price, flags, time of receipt.
    bench.hold("A1", 2.0);
    bench.underlying(|u| u.last_price = Some(6700.0));
    assert_eq!(
        bench.quote(|u| (u.delta, u.vega, u.received_at, u.flags) = (Some(0.5), Some(-0.0), at(999), Flags::FROZEN)),
        []
    );
    assert_eq!(bench.normaliser.counts().duplicates, 2);
    // What is the broker's does: the time, and each bit of a value.
    assert_eq!(bench.quote(|u| u.vega = Some(0.0)).len(), 1);
    assert_eq!(bench.quote(|u| (u.vega, u.event_time) = (Some(0.0), Some(at(91)))).len(), 1);
    assert_eq!(bench.normaliser.counts().duplicates, 2);
}

#[test]
fn what_a_reconnect_brings_once_more_is_stored_once_in_whatever_order() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let mut stored = |millis: i64| bench.quote(|u| (u.event_time, u.delta) = (Some(at(millis)), Some(0.1))).len();
    assert_eq!([91, 92, 93, 94, 95].map(&mut stored), [1; 5]);
    // The last two, in order; then the last three, newest first.
    assert_eq!([94, 95].map(&mut stored), [0; 2]);
    assert_eq!([95, 94, 93].map(&mut stored), [0; 3]);
    // Older than what is remembered beside the last: stored once more, late, and the last one is still known.
    assert_eq!([90, 91, 95].map(&mut stored), [1, 1, 0]);
    assert_eq!([90, 96, 96, 95].map(&mut stored), [0, 1, 0, 0]);
}

#[test]
fn a_value_that_comes_back_at_the_same_time_is_another_event() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| u.delta = Some(0.1));
    bench.quote(|u| u.delta = Some(0.2));
    assert_eq!(bench.quote(|u| u.delta = Some(0.1)).len(), 1);
}

#[test]
fn duplicates_are_known_across_reconnects_and_per_account() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| u.delta = Some(0.1));
    bench.reconnect();
    bench.hold("A2", 1.0);
    let row = one(bench.quote(|u| u.delta = Some(0.1)));
    assert_eq!(row.series.account_id, account("A2"));
}

#[test]
fn an_account_that_is_followed_no_longer_has_no_rows_until_it_is_told_again() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.hold("A2", -6.0);
    assert_eq!(bench.quote(|u| u.delta = Some(0.1)).len(), 2);
    assert_eq!(bench.push(SourceEvent::Unfollowed(vec![account("A2"), account("A3")])), []);
    let row = one(bench.quote(|u| u.delta = Some(0.2)));
    assert_eq!(row.series.account_id, account("A1"));
    // The same positions as before are news, and what was accepted is known.
    assert_eq!(bench.hold("A2", -6.0).len(), 1);
    assert_eq!(bench.quote(|u| (u.event_time, u.delta) = (Some(at(91)), Some(0.2))).len(), 2);
    assert_eq!(bench.quote(|u| (u.event_time, u.delta) = (Some(at(91)), Some(0.2))), []);
}

#[test]
fn duplicates_are_known_after_a_position_was_closed_and_opened_again() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| u.delta = Some(0.1));
    bench.answer("A1", vec![]);
    bench.hold("A1", 1.0);
    assert_eq!(bench.quote(|u| u.delta = Some(0.1)), []);
}

#[test]
fn identical_values_without_a_time_are_two_events() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    for claimed in [None, None, Some(UnixNanos::EPOCH), Some(UnixNanos::EPOCH)] {
        assert_eq!(bench.quote(|u| (u.event_time, u.delta) = (claimed, Some(0.1))).len(), 1);
    }
    // The time of receipt, taken for want of a better one, does not make the next event its duplicate either.
    assert_eq!(bench.quote(|u| (u.event_time, u.delta) = (Some(at(100)), Some(0.1))).len(), 1);
}

#[test]
fn a_time_in_the_future_still_tells_duplicates_across_reconnects() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let ahead = |received: i64| {
        move |u: &mut QuoteUpdate| {
            (u.event_time, u.received_at, u.delta) = (Some(at(500_000)), at(received), Some(0.1));
        }
    };
    assert_eq!(one(bench.quote(ahead(100))).event_time, at(100));
    bench.reconnect();
    assert_eq!(bench.quote(ahead(200)), []);
    // Now the clocks agree; it is still the same event.
    assert_eq!(bench.quote(ahead(500_000)), []);
}

#[test]
fn seeded_rows_are_not_stored_again_and_make_older_ones_late() {
    let mut first = bench();
    first.hold("A1", 1.0);
    let mut stored =
        one(first
            .quote(|u| (u.delta, u.event_time) = (Some(0.1), Some(UnixNanos::from_nanos(at(90).as_nanos() + 1_999)))));
    // The database keeps microseconds.
    stored.event_time = UnixNanos::from_micros(stored.event_time.as_micros());

    let mut second = bench();
    second.normaliser.seed(&stored);
    second.hold("A1", 1.0);
    let again = |u: &mut QuoteUpdate| {
        (u.delta, u.event_time) = (Some(0.1), Some(UnixNanos::from_nanos(at(90).as_nanos() + 1_500)))
    };
    assert_eq!(second.quote(again), []);
    let row = one(second.quote(|u| (u.delta, u.event_time) = (Some(0.2), Some(at(90)))));
    assert_eq!(row.flags, Flags::LATE | Flags::FIRST_AFTER_CONNECT);

    // Controls: without the seed, with another source's seed, and with a row whose time was substituted.
    let mut foreign = stored.clone();
    foreign.series = Arc::new(Series { broker: SourceId::new("other").unwrap(), ..(*stored.series).clone() });
    let mut substituted = stored.clone();
    substituted.flags |= Flags::EVENT_TIME_SUBSTITUTED;
    for seed in [None, Some(foreign), Some(substituted)] {
        let mut control = bench();
        seed.iter().for_each(|row| control.normaliser.seed(row));
        control.hold("A1", 1.0);
        assert_eq!(control.quote(again).len(), 1);
    }
}
