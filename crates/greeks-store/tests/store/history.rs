//! What the book's figures were, in cases worked out by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use crate::book::{CALL, PUT, gap, held, second, series, store, tick};
use crate::support::{Database, WallClock};
use greeks_model::{Record, ShedRecord, SourceId};
use greeks_store::{HistoryFilter, InvalidHistory, Metric, Queries, QueryError};

const MINUTE: u64 = 60;

fn minutes(metric: Metric, from: u64, to: u64) -> HistoryFilter {
    HistoryFilter::new(metric, second(from * MINUTE), second(to * MINUTE), Duration::from_secs(MINUTE))
}

/// Value, lines covered, lines held of each bucket.
async fn values(queries: &Queries, filter: &HistoryFilter) -> Vec<(Option<f64>, u32, u32)> {
    let points = queries.history(filter).await.unwrap().points;
    assert!(points.is_sorted_by(|a, b| a.at < b.at));
    points.iter().map(|point| (point.value, point.covered, point.held)).collect()
}

const ALL: [Option<f64>; 5] = [Some(0.5), Some(0.25), Some(-1.5), Some(2.0), Some(200.0)];

#[tokio::test]
async fn each_metric_is_signed_by_the_position_and_in_its_unit() {
    let database = Database::migrated().await;
    let records = [held("ibkr", "U1", 1, &[(CALL, -3.0)]), tick(&series("ibkr", "U1", CALL), 2, ALL)];
    let queries = store(&database, &records).await;
    for (metric, expected) in [
        (Metric::Delta, -150.0),
        (Metric::DeltaDollars, -30_000.0),
        (Metric::Gamma1Pct, -30_000.0),
        (Metric::Theta, 450.0),
        (Metric::Vega, -600.0),
    ] {
        let history = queries.history(&minutes(metric, 0, 1)).await.unwrap();
        assert_eq!(history.points.len(), 1);
        let point = history.points[0];
        assert_eq!((point.at, point.value), (second(0), Some(expected)), "{metric}");
        assert_eq!((point.covered, point.held), (1, 1), "{metric}");
    }
}

#[tokio::test]
async fn a_line_counts_from_its_opening_to_its_close() {
    let database = Database::migrated().await;
    let (call, put) = (series("ibkr", "U1", CALL), series("ibkr", "U1", PUT));
    let delta = |value| [Some(value), None, None, None, None];
    let records = [
        held("ibkr", "U1", MINUTE, &[(CALL, 1.0)]),
        // Of before the opening, told after it: not held then.
        tick(&call, 50, delta(0.5)),
        tick(&call, 2 * MINUTE + 1, delta(0.25)),
        held("ibkr", "U1", 3 * MINUTE + 59, &[(CALL, 2.0), (PUT, 1.0)]),
        tick(&put, 4 * MINUTE, delta(-1.0)),
        // At the very end of minute 5 counts from minute 6 on.
        held("ibkr", "U1", 6 * MINUTE, &[(PUT, 1.0)]),
        held("ibkr", "U1", 7 * MINUTE + 30, &[]),
        // Values of a contract nobody holds any more.
        tick(&call, 8 * MINUTE, delta(0.75)),
    ];
    let queries = store(&database, &records).await;
    let expected = [
        (None, 0, 0), // nobody had said yet what is held
        (Some(50.0), 1, 1),
        (Some(25.0), 1, 1),
        (Some(50.0), 1, 2), // nothing known of the put
        (Some(-50.0), 2, 2),
        (Some(-50.0), 2, 2),
        (Some(-100.0), 1, 1),
        (Some(0.0), 0, 0), // closed: zero is known
        (Some(0.0), 0, 0),
    ];
    assert_eq!(values(&queries, &minutes(Metric::Delta, 0, 9)).await, expected);
    // Without prices of the underlying delta dollars are unknown, not zero.
    let dollars = values(&queries, &minutes(Metric::DeltaDollars, 4, 8)).await;
    assert_eq!(dollars, [(None, 0, 2), (None, 0, 2), (None, 0, 1), (Some(0.0), 0, 0)]);
}

#[tokio::test]
async fn values_are_carried_as_far_as_the_lookback_and_never_through_silence() {
    let database = Database::migrated().await;
    let ours = series("ibkr", "U1", CALL);
    let theirs = series("tastytrade", "T1", CALL);
    let delta = |value| [Some(value), None, None, None, None];
    let records = [
        held("ibkr", "U1", 1, &[(CALL, 1.0)]),
        tick(&ours, 30, delta(0.5)),
        gap("ibkr", MINUTE + 30, Some(4 * MINUTE)),
        tick(&ours, 3 * MINUTE + 10, delta(0.25)), // what a gap lets through is heard
        held("tastytrade", "T1", 6 * MINUTE, &[(CALL, 1.0)]),
        tick(&theirs, 6 * MINUTE, delta(1.0)),
        gap("ibkr", 7 * MINUTE, None),
        gap("journal", 9 * MINUTE, Some(10 * MINUTE)),
    ];
    let queries = store(&database, &records).await;
    let both = [
        (Some(50.0), 1, 1),
        (Some(50.0), 1, 1), // the gap has only begun
        (None, 0, 1),       // wholly inside
        (Some(25.0), 1, 1),
        (Some(25.0), 1, 1), // heard again, nothing new
        (Some(25.0), 1, 1),
        (Some(125.0), 2, 2),
        (Some(100.0), 1, 2), // one is silent: of the other alone
        (Some(100.0), 1, 2),
        (None, 0, 2), // whose records were damaged nobody knows
        (Some(100.0), 1, 2),
    ];
    let filter = minutes(Metric::Delta, 0, 11);
    assert_eq!(values(&queries, &filter).await, both);
    let history = queries.history(&filter).await.unwrap();
    let gaps: Vec<_> = history.gaps.iter().map(|gap| (gap.source.as_str(), gap.from, gap.to)).collect();
    let expected = [
        ("journal", second(9 * MINUTE), Some(second(10 * MINUTE))),
        ("ibkr", second(7 * MINUTE), None),
        ("ibkr", second(MINUTE + 30), Some(second(4 * MINUTE))),
    ];
    assert_eq!(gaps, expected);

    let mut one = minutes(Metric::Delta, 5, 8);
    one.broker = Some("tastytrade".into());
    let history = queries.history(&one).await.unwrap();
    assert_eq!(history.points.iter().map(|point| point.value).collect::<Vec<_>>(), [None, Some(100.0), Some(100.0)]);
    assert_eq!(history.gaps.len(), 0, "the other broker's gap is not ours");

    // From minute 3 a value lives for as long as the lookback: into the bucket that begins no later than that.
    let mut short = minutes(Metric::Delta, 3, 7);
    (short.broker, short.lookback) = (Some("ibkr".into()), Duration::from_secs(50));
    let lived = [(Some(25.0), 1, 1), (Some(25.0), 1, 1), (None, 0, 1), (None, 0, 1)];
    assert_eq!(values(&queries, &short).await, lived);
    short.lookback = Duration::from_secs(49);
    assert_eq!(values(&queries, &short).await[1], (None, 0, 1));
}

#[tokio::test]
async fn what_was_shed_is_not_carried_through_and_nobody_held_in_silence_is_not_zero() {
    let database = Database::migrated().await;
    let records = [
        held("ibkr", "U1", 1, &[(CALL, 1.0)]),
        tick(&series("ibkr", "U1", CALL), 2, ALL),
        Record::Shed(ShedRecord {
            source: SourceId::new("ibkr").unwrap(),
            from: second(MINUTE),
            to: second(2 * MINUTE),
            count: 7,
        }),
        held("ibkr", "U1", 2 * MINUTE, &[]),
        gap("ibkr", 3 * MINUTE, Some(4 * MINUTE)),
    ];
    let queries = store(&database, &records).await;
    let expected = [(Some(50.0), 1, 1), (None, 0, 1), (Some(0.0), 0, 0), (None, 0, 0), (Some(0.0), 0, 0)];
    assert_eq!(values(&queries, &minutes(Metric::Delta, 0, 5)).await, expected);
}

#[tokio::test]
async fn nothing_is_told_of_times_to_come_and_bad_ranges_are_refused() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let now = greeks_model::Clock::now(&WallClock);
    let later = now.saturating_add(Duration::from_secs(600));
    let filter = HistoryFilter::new(Metric::Vega, now, later, Duration::from_secs(MINUTE));
    let points = queries.history(&filter).await.unwrap().points;
    // A minute may have begun between the two looks at the clock.
    assert!((1..=2).contains(&points.len()), "{points:?}");
    assert!(points[0].at <= now && points[0].value.is_none());
    for (from, to, step, expected) in [
        (5, 5, 60, InvalidHistory::Range),
        (6, 5, 60, InvalidHistory::Range),
        (0, 5, 0, InvalidHistory::Step),
        (0, 60, 1, InvalidHistory::TooMany { points: 3_600 }),
    ] {
        let mut filter = minutes(Metric::Delta, from, to);
        filter.step = Duration::from_secs(step);
        match queries.history(&filter).await {
            Err(QueryError::History(found)) => assert_eq!(found, expected),
            other => panic!("{other:?}"),
        }
    }
}
