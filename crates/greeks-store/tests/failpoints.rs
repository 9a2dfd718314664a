//! The process ends at each named point, at the first and the third time of passing it, and once more there when it goes
//! on: what follows stores every row, each once.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;

use greeks_model::{GapReason, GapRecord, Record, SnapshotSink, SourceId};
use greeks_store::{Committer, CommitterConfig, DatabaseConfig, FAILPOINTS};
use support::{Database, WallClock, at, open_journal, series, tick};

/// How the child learns what to do: the database, the journal, the point, the action and whether to append.
const TASK: &str = "GREEKS_STORE_FAILPOINT_TASK";
const ROWS: u32 = 120;
const SIGABRT: i32 = 6;

/// Ticks of two series and two months, one that is refused, and a gap every 30.
/// The row that goes to quarantine.
const REFUSED: u32 = 45;

fn records() -> Vec<Record> {
    let lines = ["AAPL  261218C00232500", "AAPL  261218P00232500"].map(|contract| series("5WT00001", contract));
    let mut records = Vec::new();
    for number in 0..ROWS {
        let mut tick = tick(&lines[usize::from(number >= 60)], number);
        if number >= 90 {
            tick.event_time = at("2024-03-01T00:00:00Z");
        }
        records.push(Record::Snapshot(tick));
        if number % 30 == 29 {
            let from = at("2026-11-20T15:00:00Z").saturating_add(std::time::Duration::from_secs(number.into()));
            let source = SourceId::new("tastytrade").unwrap();
            records.push(Record::Gap(GapRecord { source, from, to: None, reason: GapReason::Silence, count: None }));
        }
    }
    records
}

/// Not a test of its own: the process that is killed. Appends and stores, or stores what was left.
#[tokio::test]
async fn child() {
    let Some(task) = std::env::var_os(TASK) else { return };
    let task = task.into_string().unwrap();
    let [database, dir, point, action, fresh] = task.split('|').collect::<Vec<_>>()[..] else { panic!("{task}") };
    if !point.is_empty() {
        fail::cfg(point, action).unwrap();
    }
    let mut journal = open_journal(std::path::Path::new(dir), 1 << 20, 100);
    if fresh == "fresh" {
        records().chunks(11).for_each(|some| journal.writer.append(some).unwrap());
    }
    let mut logs: Vec<_> = journal.leftovers.into_iter().map(|leftover| leftover.log).collect();
    logs.push(journal.log);
    Box::new(journal.writer).close().unwrap();
    for log in logs {
        let mut config = CommitterConfig::new(DatabaseConfig::parse(database).unwrap(), "test");
        config.policy.max_records = 20;
        Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock)).0.run().await.unwrap();
    }
}

fn run(database: &Database, dir: &std::path::Path, point: &str, action: &str, fresh: bool) -> Option<i32> {
    let host = database.server.private.socket_dir().display();
    let name = database.config.database();
    let fresh = if fresh { "fresh" } else { "" };
    let task = format!("host={host} user=greekd dbname={name}|{}|{point}|{action}|{fresh}", dir.display());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, task)
        .output()
        .unwrap();
    let ended = child.status.success() || child.status.signal() == Some(SIGABRT);
    assert!(ended, "{point} {action}: {}", String::from_utf8_lossy(&child.stderr));
    child.status.signal()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_ends_at_every_point_and_nothing_is_lost_or_doubled() {
    let mut killed = 0;
    // One server for all of them.
    let _server = support::server().await;
    for point in FAILPOINTS {
        for (time, action) in ["return", "2*off->return"].into_iter().enumerate() {
            let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
            let rule = format!("ALTER TABLE greek_ticks ADD CHECK (quantity <> {REFUSED})");
            database.client().await.batch_execute(&rule).await.unwrap();
            let dir_path = dir.path().to_owned();
            let (first, again) = tokio::task::block_in_place(|| {
                let first = run(&database, &dir_path, point, action, true);
                // The one that follows is killed at the same place, and only the third comes to the end.
                let again = run(&database, &dir_path, point, "return", false);
                run(&database, &dir_path, "", "", false);
                (first, again)
            });
            assert!(time > 0 || first == Some(SIGABRT), "{point} is never passed");
            killed += u32::from(first.is_some()) + u32::from(again.is_some());
            let sql = "SELECT concat_ws(' ', count(*), count(DISTINCT seq), count(DISTINCT quantity), \
                       (SELECT count(*) FROM ingest_gaps), (SELECT string_agg(seq::text, ' ') FROM ingest_quarantine), \
                       (SELECT max(last_seq) FROM ingest_progress)) FROM greek_ticks";
            let found: String = database.client().await.query_one(sql, &[]).await.unwrap().get(0);
            assert_eq!(found, "119 119 119 4 47 124", "{point}, {action}");
        }
    }
    println!("{} points, {killed} processes killed, nothing lost or doubled", FAILPOINTS.len());
}
