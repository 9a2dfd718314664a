//! What a row costs that no other machine would make cheaper: round trips and syncs of a commit, bytes on disk. Alone in
//! its program, with a server of its own, so that nobody else is counted.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use greeks_model::{AccountId, GreekSnapshot, PositionsRecord, Record, Series, SnapshotSink, SourceId, UnixNanos};
use greeks_store::greeks_journal::Options;
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{Committer, CommitterConfig, DatabaseConfig, journal_log, memory_log, migrate};
use support::{WallClock, at, client, eventually, series, tick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

const SERIES: u32 = 500;
/// Primes, by which each round of the series is in another order than the ones before.
const STEPS: [u32; 7] = [7_879, 7_883, 7_901, 7_907, 7_919, 7_927, 7_933];
/// Enough of each series for pages of its own in the index: fewer look dearer than they are.
const ROWS: u32 = 150_000;
/// Commits of one row each, and those before them: the first find no series, no partition and nothing prepared.
const COMMITS: u64 = 40;
const FIRST: u64 = 10;

/// Counts how often what the server said had to be heard before more was said to it.
#[derive(Default)]
struct Turns {
    server_spoke: AtomicBool,
    count: AtomicU64,
}

/// Stands between a client and the server's socket; returns the directory that the client connects to.
fn relay(server: PathBuf, port: u16, turns: &Arc<Turns>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let name = format!(".s.PGSQL.{port}");
    let listener = UnixListener::bind(dir.path().join(&name)).unwrap();
    let turns = Arc::clone(turns);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = UnixStream::connect(server.join(&name)).await.unwrap().into_split();
            tokio::spawn(pass(from_client, to_server, Arc::clone(&turns), false));
            tokio::spawn(pass(from_server, to_client, Arc::clone(&turns), true));
        }
    });
    dir
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, turns: Arc<Turns>, is_server: bool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if turns.server_spoke.swap(is_server, Ordering::SeqCst) && !is_server {
            turns.count.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// As a busy book has them: one series after the other, every value known.
fn rows() -> Vec<Record> {
    let contract = |number: u32| series("5WT00001", &format!("SPXW  261218C{:08}", 5_000_000 + number * 5_000));
    let all: Vec<Arc<Series>> = (0..SERIES).map(contract).collect();
    let row = |number: u32| {
        let step = STEPS[usize::try_from(number / SERIES).unwrap() % STEPS.len()];
        let place = usize::try_from(number * step % SERIES).unwrap();
        let mut row: GreekSnapshot = tick(&all[place], number);
        let value = f64::from(number).sin();
        (row.delta, row.gamma, row.theta, row.vega) = (Some(value), Some(value * 0.1), Some(-value), Some(value * 0.3));
        (row.rho, row.implied_volatility) = (Some(value * 0.01), Some(0.2));
        (row.option_price, row.underlying_price) = (Some(value + 10.0), Some(6_600.0));
        Record::Snapshot(row)
    };
    // In October their ids are given, so that those are in no order of the rows.
    let mut first: Vec<GreekSnapshot> = all.iter().map(|series| tick(series, 0)).collect();
    first.iter_mut().for_each(|row| row.event_time = at("2026-10-15T15:00:00Z"));
    first.into_iter().map(Record::Snapshot).chain((0..ROWS).map(row)).collect()
}

/// An account of so many lines, seen for the first time.
fn positions(account: &str, lines: u32) -> Record {
    let line = |number: u32| (series(account, &format!("SPXW  261218C{:08}", 5_000_000 + number * 5_000)), 1.0);
    Record::Positions(PositionsRecord {
        source: SourceId::new("tastytrade").unwrap(),
        account_id: AccountId::new(account).unwrap(),
        observed_at: UnixNanos::from_millis(1_763_650_800_000),
        positions: (0..lines).map(line).collect(),
    })
}

#[tokio::test]
async fn a_commit_is_two_round_trips_and_one_sync_and_an_account_as_many_whatever_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let server = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let driver = server.create_database("price").await.unwrap();
    migrate(&DatabaseConfig::new(driver.clone())).await.unwrap();
    let (port, host) = (driver.get_ports()[0], socket_directory(&driver));
    let turns = Arc::new(Turns::default());
    let between = relay(host, port, &turns);
    let mut config = tokio_postgres::Config::new();
    config.host_path(between.path()).port(port).dbname("price").user(driver.get_user().unwrap());
    if let Some(password) = driver.get_password() {
        config.password(password);
    }

    let (mut sink, log) = memory_log(1_000);
    let config = CommitterConfig::new(DatabaseConfig::new(config), "price");
    let (committer, mut status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    let running = tokio::spawn(committer.run());
    let series = series("5WT00001", "AAPL  261218C00232500");
    let (mut before, watch) = ((0, 0), client(&driver).await);
    for number in 1..=FIRST + COMMITS {
        sink.append(&[Record::Snapshot(tick(&series, u32::try_from(number).unwrap()))]).unwrap();
        status.wait_for(|status| status.durable.0 == number).await.unwrap();
        if number == FIRST {
            before = (syncs(&watch).await, turns.count.load(Ordering::SeqCst));
        }
    }
    let round_trips = turns.count.load(Ordering::SeqCst) - before.1;
    let mut of_positions = Vec::new();
    for (record, lines) in (FIRST + COMMITS + 1..).zip([2, 2, 500]) {
        let before = turns.count.load(Ordering::SeqCst);
        sink.append(&[positions(&format!("5WT{record:05}"), lines)]).unwrap();
        status.wait_for(|status| status.durable.0 == record).await.unwrap();
        of_positions.push(turns.count.load(Ordering::SeqCst) - before);
    }
    assert_eq!(of_positions[1], of_positions[2], "the size of an account makes no difference: {of_positions:?}");
    Box::new(sink).close().unwrap();
    running.await.unwrap().unwrap();
    // A backend tells what it has done once a second, and when it ends.
    let told = || async { syncs(&watch).await >= before.0 + COMMITS };
    eventually("the server tells of the syncs", told).await;
    let synced = syncs(&watch).await - before.0;
    println!("{COMMITS} commits: {round_trips} round trips, {synced} syncs of the WAL");
    assert_eq!(round_trips, 2 * COMMITS);
    // The end has a few of its own, and the WAL writer may sync by itself five times a second.
    assert!(synced < 2 * COMMITS, "{synced}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_row_takes_no_more_bytes_than_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let server = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let driver = server.create_database("bytes").await.unwrap();
    let config = DatabaseConfig::new(driver.clone());
    migrate(&config).await.unwrap();
    let rows = rows();
    let watch = client(&driver).await;
    watch.batch_execute("SELECT greekd_make_partition('2026-11-01')").await.unwrap();
    let wal = async || {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
        watch.query_one(sql, &[]).await.unwrap().get::<_, f64>(0)
    };
    let before = wal().await;
    let journal = tempfile::tempdir().unwrap();
    let logs = journal_log(journal.path(), Options::default()).unwrap();
    let mut writer = logs.writer;
    rows.chunks(500).for_each(|rows| writer.append(rows).unwrap());
    let in_journal = written(journal.path());
    Box::new(writer).close().unwrap();
    let committer =
        Committer::new(CommitterConfig::new(config, "bytes"), Box::new(logs.log), Box::new(()), Arc::new(WallClock));
    committer.0.run().await.unwrap();
    let wal = wal().await - before;
    let sizes = "SELECT pg_relation_size('greek_ticks_2026_11')::float8, pg_indexes_size('greek_ticks_2026_11')::float8, \
                 (SELECT count(*) FROM greek_ticks_2026_11)";
    let sizes = watch.query_one(sizes, &[]).await.unwrap();
    let (heap, index, stored): (f64, f64, i64) = (sizes.get(0), sizes.get(1), sizes.get(2));
    assert_eq!(stored, i64::from(ROWS));
    let per_row = |bytes: f64| bytes / f64::from(ROWS);
    let [heap, index, wal, in_journal] = [heap, index, wal, in_journal].map(per_row);
    println!("bytes a row: heap {heap:.1}, index {index:.1}, WAL {wal:.1}, journal {in_journal:.1}");
    for (name, bytes, before) in
        [("heap", heap, 149.0), ("index", index, 72.5), ("WAL", wal, 295.5), ("journal", in_journal, 184.4)]
    {
        // Less is news as well: then this is to be told.
        assert!((bytes / before - 1.0).abs() <= 0.05, "{name}: {bytes:.1} bytes a row, {before} before");
    }
    server.stop().await.unwrap();
}

/// Up to the end of the last record; behind it a segment is all zeros.
fn written(journal: &Path) -> f64 {
    let files = std::fs::read_dir(journal).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let ends = files.map(|bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    f64::from(u32::try_from(ends.sum::<usize>()).unwrap())
}

fn socket_directory(driver: &tokio_postgres::Config) -> PathBuf {
    match &driver.get_hosts()[0] {
        tokio_postgres::config::Host::Unix(path) => path.clone(),
        tokio_postgres::config::Host::Tcp(host) => panic!("{host}"),
    }
}

async fn syncs(client: &tokio_postgres::Client) -> u64 {
    // PostgreSQL 18 counts them elsewhere.
    let sql = match client.query_one("SELECT current_setting('server_version_num')::int", &[]).await.unwrap().get(0) {
        180_000.. => "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'",
        0..180_000 => "SELECT wal_sync FROM pg_stat_wal",
        other => panic!("{other}"),
    };
    client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).unsigned_abs()
}
