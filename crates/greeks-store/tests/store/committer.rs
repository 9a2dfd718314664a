//! What the committer stores, and when.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Database, WallClock, at, eventually, series, tick, ticks};
use greeks_model::{
    Flags, GapReason, GapRecord, PositionsRecord, Record, Seq, ShedRecord, SnapshotSink, SourceId, UnixNanos, testkit,
};
use greeks_store::{Commit, CommitPolicy, Committer, CommitterConfig, CommitterState, memory_log};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const CALL: &str = "AAPL  261218C00232500";
const PUT: &str = "SPXW  261127P05000000";

/// Stores `records` and waits until all are.
async fn store(database: &Database, records: Vec<Record>) -> Seq {
    let log = Box::new(testkit::MemoryLog::new(records));
    let config = CommitterConfig::new(database.config.clone(), "test");
    Committer::new(config, log, Box::new(()), Arc::new(WallClock)).0.run().await.unwrap()
}

#[tokio::test]
async fn values_are_stored_bit_for_bit_and_unknown_is_null() {
    const COLUMNS: [&str; 8] =
        ["delta", "gamma", "theta", "vega", "rho", "implied_volatility", "option_price", "underlying_price"];
    let database = Database::migrated().await;
    let series = series("5WT00001", CALL);
    let special = [
        Some(0.0),
        Some(-0.0),
        None,
        Some(f64::MIN_POSITIVE),
        Some(5e-324),
        Some(-5e-324),
        Some(f64::MAX),
        Some(f64::MIN),
        Some(0.1 + 0.2),
        Some(1.0 / 3.0),
        Some(-1e-310),
        Some(f64::EPSILON),
    ];
    let mut runner = TestRunner::deterministic();
    let any_bits = proptest::option::of(proptest::num::u64::ANY.prop_map(f64::from_bits));
    let mut rows = Vec::new();
    for number in 0..400_u32 {
        let mut tick = tick(&series, number);
        let mut value = |place: usize| {
            special
                .get((number as usize + place) % 40)
                .copied()
                .unwrap_or_else(|| any_bits.new_tree(&mut runner).unwrap().current())
        };
        tick.delta = value(0);
        tick.gamma = value(1);
        tick.theta = value(2);
        tick.vega = value(3);
        tick.rho = value(4);
        tick.implied_volatility = value(5);
        tick.option_price = value(6);
        tick.underlying_price = value(7);
        tick.flags = Flags::LATE;
        rows.push(tick);
    }
    store(&database, rows.iter().cloned().map(Record::Snapshot).collect()).await;
    let list =
        COLUMNS.map(|column| format!("('x' || encode(float8send({column}), 'hex'))::bit(64)::bigint")).join(", ");
    let sql = format!("SELECT quantity, flags, {list} FROM greek_snapshots ORDER BY event_time");
    let stored = database.client().await.query(&sql, &[]).await.unwrap();
    assert_eq!(stored.len(), rows.len());
    let mut dropped = 0;
    for (row, sent) in stored.iter().zip(&rows) {
        let [delta, gamma, theta, vega, rho, iv, price] = sent.broker_values();
        let sent_values = [delta, gamma, theta, vega, rho, iv, price, sent.underlying_price];
        for (place, value) in sent_values.into_iter().enumerate() {
            let wanted = value.filter(|value| value.is_finite()).map(|value| value.to_bits().cast_signed());
            assert_eq!(row.get::<_, Option<i64>>(place + 2), wanted, "{} of {value:?}", COLUMNS[place]);
        }
        let non_finite = sent_values.iter().flatten().any(|value| !value.is_finite());
        dropped += i32::from(non_finite);
        let flags = Flags::LATE | if non_finite { Flags::NON_FINITE } else { Flags::NONE };
        assert_eq!(row.get::<_, i16>(1), flags.bits().cast_signed());
    }
    assert!(dropped > 0, "the case of NaN occurred");
}

#[tokio::test]
async fn one_flat_row_shows_everything_that_was_sent() {
    let database = Database::migrated().await;
    let mut sent = tick(&series("5WT00001", "/6JZ26 261204P0.00665"), 3);
    sent.event_time = UnixNanos::from_nanos(at("2026-11-20T15:00:00.123456Z").as_nanos() + 789);
    sent.quantity = -2.0;
    sent.source_payload = Some(r#"{"delta": "NaN", "x": [1]}"#.into());
    store(&database, vec![Record::Snapshot(sent.clone()), Record::Snapshot(sent)]).await;
    let sql = "SELECT concat_ws('|', event_time, received_at, persisted_at > received_at, broker, account_id, underlying, \
               contract_key, expiration, strike, option_type, quantity, multiplier, delta, gamma IS NULL, flags, source_payload) \
               FROM greek_snapshots";
    let client = database.client().await;
    client.batch_execute("SET timezone = 'UTC'").await.unwrap();
    let rows = client.query(sql, &[]).await.unwrap();
    let row: String = rows[0].get(0);
    assert_eq!(
        row,
        "2026-11-20 15:00:00.123456+00|2026-11-20 15:00:00.003+00|t|tastytrade|5WT00001|6J|/6JZ26 261204P0.00665|\
         2026-12-04|0.00665|P|-2|100|0.5|t|0|{\"x\": [1], \"delta\": \"NaN\"}"
    );
    assert_eq!(rows.len(), 2, "equal rows are two rows: what is a duplicate is not decided here");
    assert_eq!(database.count("SELECT count(*) FROM series").await, 1);
}

#[tokio::test]
async fn months_get_their_partition_whatever_default_holds() {
    let database = Database::migrated().await;
    let client = database.client().await;
    let series = series("5WT00001", CALL);
    let mut times: Vec<_> =
        ["2018-02-05T21:00:00Z", "2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z"].map(at).into();
    // A row of that month sits in DEFAULT already, where it keeps the partition from being made.
    client
        .execute(
            "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
             VALUES ('2019-03-03 00:00+00', 1, now(), 1, 1)",
            &[],
        )
        .await
        .unwrap();
    times.push(at("2019-03-04T00:00:00Z"));
    let record = |time: &UnixNanos| {
        let mut tick = tick(&series, 1);
        tick.event_time = *time;
        Record::Snapshot(tick)
    };
    store(&database, times.iter().map(record).collect()).await;
    let sql = "SELECT tableoid::regclass::text FROM greek_ticks ORDER BY event_time";
    let tables: Vec<String> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(
        tables,
        [
            "greek_ticks_2018_02",
            "greek_ticks_2019_03",
            "greek_ticks_2019_03",
            "greek_ticks_2025_12",
            "greek_ticks_2026_01"
        ]
    );
    let now = greeks_store::Month::of(greeks_model::Clock::now(&WallClock));
    for by in -1..=2 {
        let known = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&now.plus(by).partition()]).await.unwrap();
        assert!(known.get::<_, bool>(0), "{}", now.plus(by));
    }
}

#[tokio::test]
async fn refused_records_go_to_quarantine_and_the_others_are_stored() {
    let database = Database::migrated().await;
    let series = series("5WT00001", CALL);
    let records = ticks(&series, 0..200);
    let rule = "ALTER TABLE greek_ticks ADD CHECK (quantity NOT IN (0, 77, 78, 199))";
    database.client().await.batch_execute(rule).await.unwrap();
    assert_eq!(store(&database, records.clone()).await, Seq(200));
    assert_eq!(database.count("SELECT count(DISTINCT seq) FROM greek_ticks").await, 196);
    assert_eq!(database.count("SELECT last_seq FROM ingest_progress WHERE closed_at IS NOT NULL").await, 200);
    let sql = "SELECT seq, sqlstate, record, message FROM ingest_quarantine ORDER BY seq";
    let rows = database.client().await.query(sql, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [1, 78, 79, 200]);
    for row in rows {
        assert_eq!(row.get::<_, String>(1), "23514");
        let number = usize::try_from(row.get::<_, i64>(0)).unwrap();
        assert_eq!(Record::decode(row.get(2)).unwrap(), records[number - 1]);
    }
}

#[tokio::test]
async fn positions_are_stored_when_they_change_and_gaps_when_they_are_better_known() {
    let database = Database::migrated().await;
    let source = SourceId::new("tastytrade").unwrap();
    let (call, put) = (series("5WT00001", CALL), series("5WT00001", PUT));
    let observed_at = at("2026-11-20T15:00:00Z");
    let positions = |held: &[(&Arc<_>, f64)]| {
        Record::Positions(PositionsRecord {
            source: source.clone(),
            account_id: call.account_id.clone(),
            observed_at,
            positions: held.iter().map(|(series, quantity)| (Arc::clone(*series), *quantity)).collect(),
        })
    };
    let gap = |to, count| {
        Record::Gap(GapRecord { source: source.clone(), from: observed_at, to, reason: GapReason::Silence, count })
    };
    let shed = Record::Shed(ShedRecord { source: source.clone(), from: observed_at, to: observed_at, count: 9 });
    let mut first = vec![positions(&[(&call, 2.0)]), gap(None, None), positions(&[(&call, 2.0), (&put, -1.0)])];
    first.extend(ticks(&call, 0..3));
    store(&database, first).await;
    // Another start of the program compares with what is stored.
    store(&database, vec![positions(&[(&put, -1.0)]), gap(Some(at("2026-11-20T15:01:00Z")), Some(4)), shed]).await;
    let client = database.client().await;
    let sql = "SELECT concat_ws(' ', contract_key, previous_quantity, quantity) FROM positions_history \
               ORDER BY positions_history_id";
    let changes: Vec<String> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(changes, [format!("{CALL} 0 2"), format!("{PUT} 0 -1"), format!("{CALL} 2 0")]);
    let sql = "SELECT concat_ws(' ', kind, reason, gap_to - gap_from, events) FROM ingest_gaps ORDER BY kind";
    let gaps: Vec<String> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(gaps, ["gap silence 00:01:00 4", "shed shed 00:00:00 9"]);
    assert_eq!(database.count("SELECT count(*) FROM greek_ticks").await, 3);
}

/// Sizes of the commits, and the time from the append to the acknowledgement.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(usize, Instant)>>>);

impl Seen {
    fn observer(&self) -> Box<dyn greeks_store::CommitObserver> {
        let seen = self.clone();
        Box::new(move |commit: Commit<'_>| seen.0.lock().unwrap().push((commit.records.len(), Instant::now())))
    }

    fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|(size, _)| *size).collect()
    }

    async fn wait_for(&self, records: usize) {
        eventually("commits", || async { self.sizes().iter().sum::<usize>() >= records }).await;
    }
}

#[tokio::test]
async fn the_policy_commits_at_once_while_tokens_last_and_gathers_then() {
    let database = Database::migrated().await;
    let series = series("5WT00001", CALL);
    let (mut sink, log) = memory_log(1000);
    let seen = Seen::default();
    let mut config = CommitterConfig::new(database.config.clone(), "test");
    config.policy.rate = 0.001;
    config.policy.burst = 2;
    config.policy.max_delay = Duration::from_millis(300);
    assert_eq!((config.policy.max_waiting, config.policy.max_records), (50, 2_000));
    let (committer, status) = Committer::new(config, Box::new(log), seen.observer(), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    for (expected, range) in [(1, 0..1), (2, 1..2)] {
        sink.append(&ticks(&series, range)).unwrap();
        seen.wait_for(expected).await;
    }
    // No token left: what comes within the delay goes together.
    let begin = Instant::now();
    sink.append(&ticks(&series, 2..5)).unwrap();
    sink.append(&ticks(&series, 5..12)).unwrap();
    seen.wait_for(12).await;
    assert!(begin.elapsed() >= Duration::from_millis(300));
    // Fifty do not wait.
    let begin = Instant::now();
    sink.append(&ticks(&series, 12..72)).unwrap();
    seen.wait_for(72).await;
    assert!(begin.elapsed() < Duration::from_millis(300));
    Box::new(sink).close().unwrap();
    assert_eq!(run.await.unwrap().unwrap(), Seq(72));
    assert_eq!(seen.sizes(), [1, 1, 10, 60]);
    let status = status.borrow().clone();
    assert_eq!((status.state, status.durable, status.rows_written), (CommitterState::Finished, Seq(72), 72));
}

#[tokio::test]
async fn single_rows_are_durable_within_milliseconds() {
    let database = Database::migrated().await;
    let series = series("5WT00001", CALL);
    let (mut sink, log) = memory_log(1000);
    let seen = Seen::default();
    let config = CommitterConfig::new(database.config.clone(), "test");
    assert_eq!(config.policy, CommitPolicy::default());
    let (committer, _) = Committer::new(config, Box::new(log), seen.observer(), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    let mut took = Vec::new();
    for number in 0..60_u32 {
        let begin = Instant::now();
        sink.append(&ticks(&series, number..number + 1)).unwrap();
        seen.wait_for(number as usize + 1).await;
        took.push(seen.0.lock().unwrap()[number as usize].1 - begin);
    }
    drop(sink);
    run.await.unwrap().unwrap();
    took.drain(..10); // connecting, the first plan of each statement
    took.sort();
    println!("append to acknowledgement of one row: p50 {:?}, p95 {:?}", took[25], took[47]);
    assert!(took[47] < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn a_database_that_needs_a_person_is_named_and_nothing_is_lost() {
    let database = Database::empty().await;
    let (mut sink, log) = memory_log(100);
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, mut status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    sink.append(&ticks(&series("5WT00001", CALL), 0..3)).unwrap();
    let needs = status.wait_for(|status| status.state == CommitterState::NeedsOperator).await.unwrap().clone();
    let said = needs.last_error.unwrap();
    assert!(said.contains("schema version 0") && said.contains("greekd db migrate"), "{said}");
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(status.borrow_and_update().state, CommitterState::Stopped);
    assert!(sink.append(&[]).is_err(), "the log's reader is gone");
}

#[tokio::test]
async fn a_committer_that_is_dropped_says_that_it_has_ended() {
    let database = Database::migrated().await;
    let (_sink, log) = memory_log(100);
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, mut status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    status.wait_for(|status| status.state == CommitterState::Connected).await.unwrap();
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(status.borrow_and_update().state, CommitterState::Stopped);
    assert!(status.changed().await.is_err(), "nothing follows");
}

#[tokio::test]
async fn a_backlog_is_stored_in_large_commits() {
    const ROWS: u32 = 60_000;
    let database = Database::migrated().await;
    let lines: Vec<_> =
        (0..500).map(|strike| series("5WT00001", &format!("AAPL  261218C{:08}", 100_000 + strike * 500))).collect();
    let records = (0..ROWS).map(|number| Record::Snapshot(tick(&lines[number as usize * 7 % 500], number))).collect();
    let seen = Seen::default();
    let config = CommitterConfig::new(database.config.clone(), "test");
    let log = Box::new(testkit::MemoryLog::new(records));
    let begin = Instant::now();
    Committer::new(config, log, seen.observer(), Arc::new(WallClock)).0.run().await.unwrap();
    let rate = f64::from(ROWS) / begin.elapsed().as_secs_f64();
    println!("backlog of {ROWS} rows of 500 series: {rate:.0} rows/s");
    assert!(seen.sizes().iter().all(|size| *size == 2_000));
    assert_eq!(database.count("SELECT count(DISTINCT series_id) FROM greek_ticks").await, 500);
    assert!(rate > 5_000.0, "{rate}");
}
