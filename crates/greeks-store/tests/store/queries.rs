//! Reading back what was stored.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Database, WallClock, at, series, tick};
use greeks_model::{Flags, Record, Series, testkit};
use greeks_store::{Committer, CommitterConfig, Queries, SnapshotFilter, known_version};

const CALL: &str = "AAPL  261218C00232500";
const PUT: &str = "SPXW  261127P05000000";

async fn store(database: &Database, records: Vec<Record>) {
    let log = Box::new(testkit::MemoryLog::new(records));
    let config = CommitterConfig::new(database.config.clone(), "test");
    Committer::new(config, log, Box::new(()), Arc::new(WallClock)).0.run().await.unwrap();
}

/// 300 rows of three series over two months, some at the very same time; the quantity counts them in order of time.
async fn filled() -> (Database, Queries) {
    let database = Database::migrated().await;
    let lines = [series("5WT00001", CALL), series("5WT00002", CALL), series("5WT00001", PUT)];
    let start = at("2026-10-31T23:59:30Z");
    let records = (0..300_u32).map(|number| {
        let mut tick = tick(&lines[number as usize % 3], number);
        tick.event_time = start.saturating_add(Duration::from_secs(u64::from(number / 6)));
        Record::Snapshot(tick)
    });
    store(&database, records.collect()).await;
    let queries = Queries::new(&database.config, 2).unwrap();
    (database, queries)
}

fn filter(set: impl FnOnce(&mut SnapshotFilter)) -> SnapshotFilter {
    let mut filter = SnapshotFilter::default();
    set(&mut filter);
    filter
}

/// The quantities of all pages.
async fn pages(queries: &Queries, mut filter: SnapshotFilter) -> Vec<f64> {
    let mut found = Vec::new();
    loop {
        let page = queries.snapshots(&filter).await.unwrap();
        assert!(page.rows.len() <= filter.limit as usize);
        assert!(page.rows.is_sorted_by(|newer, older| newer.event_time >= older.event_time));
        found.extend(page.rows.iter().map(|row| row.quantity));
        match page.next {
            Some(next) => filter.cursor = Some(next.to_string().parse().unwrap()),
            None => return found,
        }
    }
}

fn sorted(mut quantities: Vec<f64>) -> Vec<f64> {
    quantities.sort_by(f64::total_cmp);
    quantities
}

#[tokio::test]
async fn pages_cover_every_row_once() {
    let (_database, queries) = filled().await;
    let all: Vec<f64> = (0..300).map(f64::from).collect();
    for limit in [7, 100, 300, 1000] {
        assert_eq!(sorted(pages(&queries, filter(|filter| filter.limit = limit)).await), all, "limit {limit}");
    }
    let of = |series: u32| (0..300).filter(|n| n % 3 == series).map(f64::from).collect::<Vec<_>>();
    let account = filter(|filter| (filter.account_id, filter.limit) = (Some("5WT00002".into()), 9));
    assert_eq!(sorted(pages(&queries, account).await), of(1));
    let put = filter(|filter| (filter.contract_key, filter.limit) = (Some(PUT.into()), 9));
    assert_eq!(sorted(pages(&queries, put).await), of(2));
    let both = filter(|filter| (filter.underlying, filter.limit) = (Some("AAPL".into()), 11));
    assert_eq!(pages(&queries, both).await.len(), 200);
    let nobody = filter(|filter| filter.broker = Some("ibkr".into()));
    assert_eq!(pages(&queries, nobody).await, Vec::<f64>::new());
}

#[tokio::test]
async fn times_bound_from_inclusive_to_exclusive() {
    let (_database, queries) = filled().await;
    let window = |series: Option<&str>| {
        filter(|filter| {
            filter.contract_key = series.map(str::to_owned);
            filter.from = Some(at("2026-10-31T23:59:35Z"));
            filter.to = Some(at("2026-10-31T23:59:37Z"));
        })
    };
    assert_eq!(sorted(pages(&queries, window(None)).await), (30..42).map(f64::from).collect::<Vec<_>>());
    assert_eq!(sorted(pages(&queries, window(Some(PUT))).await), [32.0, 35.0, 38.0, 41.0]);
}

#[tokio::test]
async fn last_rows_come_back_as_they_went_in() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    assert_eq!(queries.last_rows().await.unwrap(), []);
    let mut newest = tick(&series("5WT00001", "/6JZ26 261204P0.00665"), 5);
    newest.gamma = Some(-0.0);
    newest.rho = Some(5e-324);
    newest.flags = Flags::DELAYED | Flags::FIRST_AFTER_CONNECT;
    newest.source_payload = Some(r#"{"x": 1}"#.into());
    let mut late = newest.clone();
    late.event_time = tick(&newest.series, 1).event_time;
    let other = tick(&series("5WT00002", CALL), 9);
    let records = [&tick(&newest.series, 0), &newest, &late, &other].map(|tick| Record::Snapshot(tick.clone()));
    store(&database, records.to_vec()).await;
    let last = queries.last_rows().await.unwrap();
    assert_eq!(last, [newest.clone(), other], "the newest by event_time, one per series");
    assert_eq!(last[0].gamma.map(f64::to_bits), newest.gamma.map(f64::to_bits));
    assert_eq!(database.count("SELECT count(*) FROM v_latest_greeks").await, 2);
}

#[tokio::test]
async fn a_closed_connection_of_the_pool_is_replaced_unnoticed() {
    let (database, queries) = filled().await;
    queries.check().await.unwrap();
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name = 'greekd' AND datname = current_database()";
    assert!(database.count(sql).await >= 1);
    assert_eq!(queries.snapshots(&SnapshotFilter::default()).await.unwrap().rows.len(), 100);
}

#[tokio::test]
async fn the_check_tells_what_the_database_is() {
    let (database, queries) = filled().await;
    let check = queries.check().await.unwrap();
    assert_eq!(check.schema_version, Some(known_version()));
    assert!(check.writable && check.fsync && check.may_create && check.server_version_num >= 140_000, "{check:?}");
    assert_eq!(check.may_store, Some(true));
    let empty = Database::empty().await;
    let client = empty.client().await;
    let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = on", empty.config.database());
    client.batch_execute(&sql).await.unwrap();
    let check = Queries::new(&empty.config, 1).unwrap().check().await.unwrap();
    assert_eq!((check.schema_version, check.may_store, check.writable), (None, None, false));

    let partitions = queries.partitions().await.unwrap();
    let rows: Vec<(&str, u64)> = partitions
        .iter()
        .filter(|partition| partition.rows > 0 || partition.month.is_none())
        .map(|partition| (partition.table.as_str(), partition.rows))
        .collect();
    // The default partition sorts behind the years.
    assert_eq!(rows, [("greek_ticks_2026_10", 180), ("greek_ticks_2026_11", 120), ("greek_ticks_default", 0)]);
    drop(database);
}

/// What was worked out of the rows of a series is not changed behind it: who wants another underlying changes the series.
#[tokio::test]
async fn a_series_keeps_the_underlying_it_was_first_stored_with() {
    let database = Database::migrated().await;
    let first: Vec<_> = (1..=8).map(|number| series(&format!("5WT0000{number}"), PUT)).collect();
    let mend = |first: &Arc<Series>| Arc::new(Series { underlying: "SPX".into(), ..Series::clone(first) });
    let mended: Vec<_> = first.iter().map(mend).collect();
    // All in one commit.
    let rows = |series: &[Arc<Series>], second| -> Vec<Record> {
        series.iter().map(|series| Record::Snapshot(tick(series, second))).collect()
    };
    store(&database, [rows(&first, 0), rows(&mended, 1)].concat()).await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let of = async |underlying: &str| {
        let rows = queries.snapshots(&filter(|filter| filter.underlying = Some(underlying.into()))).await.unwrap().rows;
        rows.len()
    };
    assert_eq!(database.count("SELECT count(*) FROM series").await, 8);
    assert_eq!((of("SPXW").await, of("SPX").await), (16, 0));
    // As `migrations/README.md` has it.
    let by_hand = "UPDATE series SET underlying = 'SPX' WHERE underlying = 'SPXW'; DELETE FROM portfolio_minutes";
    database.client().await.batch_execute(by_hand).await.unwrap();
    store(&database, rows(&mended, 2)).await;
    assert_eq!((of("SPXW").await, of("SPX").await), (0, 24));
}
