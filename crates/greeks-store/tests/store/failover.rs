//! A database that loses what it had acknowledged while the committer runs: a replica takes over that lacked the last commits.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Database, WallClock, eventually, open_journal, series, ticks};
use greeks_model::{Record, Seq, SnapshotSink};
use greeks_store::{
    Commit, CommitError, Committer, CommitterConfig, CommitterState, CommitterStatus, JournalLog, JournalLogWriter,
    JournalMonitor,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CALL: &str = "AAPL  261218C00232500";
const BEFORE: u32 = 300;
const AFTER: u32 = 400;

/// A committer at work on a journal, and what its observer has been told.
struct Work {
    sink: JournalLogWriter,
    monitor: JournalMonitor,
    run: JoinHandle<Result<Seq, CommitError>>,
    status: watch::Receiver<CommitterStatus>,
    told: Arc<Mutex<Vec<f64>>>,
    incarnation: String,
    _dir: tempfile::TempDir,
}

impl Work {
    fn start(database: &Database, segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = open_journal(dir.path(), segment_bytes, 1_000);
        let incarnation = greeks_model::SnapshotLog::incarnation(&journal.log).to_string();
        let (run, status, told) = run(database, journal.log);
        Self { sink: journal.writer, monitor: journal.monitor, run, status, told, incarnation, _dir: dir }
    }

    fn append(&mut self, numbers: std::ops::Range<u32>) {
        let records = ticks(&series("5WT00001", CALL), numbers);
        records.chunks(50).for_each(|some| self.sink.append(some).unwrap());
    }

    /// Waits until the database has so many rows, and returns what the committer says then.
    async fn stored(&mut self, rows: u32) -> CommitterStatus {
        let durable = Seq(u64::from(rows));
        let waiting = self.status.wait_for(|status| status.durable == durable);
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("stored").unwrap().clone()
    }

    /// What the database has is that of an earlier commit, and its sessions end.
    async fn fail_over(&self, database: &Database, lose: &str) {
        let client = database.client().await;
        client.batch_execute(&format!("BEGIN; {lose}; COMMIT")).await.unwrap();
        let name = format!("greekd writer {}", self.incarnation);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        client.execute(end, &[&name]).await.unwrap();
    }

    /// Ends the log and waits until everything is stored.
    async fn end(self) -> Vec<f64> {
        drop(self.sink);
        assert_eq!(self.run.await.unwrap().unwrap(), Seq(u64::from(AFTER)));
        let status = self.status.borrow().clone();
        assert_eq!((status.state, status.durable), (CommitterState::Finished, Seq(u64::from(AFTER))));
        self.told.lock().unwrap().clone()
    }
}

type Started = (JoinHandle<Result<Seq, CommitError>>, watch::Receiver<CommitterStatus>, Arc<Mutex<Vec<f64>>>);

fn run(database: &Database, log: JournalLog) -> Started {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let observer = move |commit: Commit<'_>| {
        seen.lock().unwrap().extend(commit.records.iter().map(|record| match record {
            Record::Snapshot(tick) => tick.quantity,
            other => panic!("{other:?}"),
        }));
    };
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(observer), Arc::new(WallClock));
    (tokio::spawn(committer.run()), status, told)
}

/// Every row from `first` on is there, once.
async fn assert_rows(database: &Database, first: i64) {
    let sql = "SELECT count(*), count(DISTINCT quantity), min(quantity)::bigint FROM greek_ticks WHERE quantity >= $1::bigint";
    let row = database.client().await.query_one(sql, &[&first]).await.unwrap();
    let rows = i64::from(AFTER) - first;
    assert_eq!((row.get(0), row.get(1), row.get(2)), (rows, rows, first));
}

/// The journal still has what the new primary lacks: it is stored again, though new rows come meanwhile or none do, and the
/// observer learns of each row once.
#[tokio::test]
async fn what_a_failover_has_lost_is_stored_again_from_the_journal() {
    let some = "UPDATE ingest_progress SET last_seq = 120; DELETE FROM greek_ticks WHERE quantity >= 120";
    for (what, lose, quiet) in [
        ("the last commits, while new rows come", some, false),
        ("the last commits, while no row comes", some, true),
        ("all there was", "DELETE FROM ingest_progress; DELETE FROM greek_ticks; DELETE FROM series", false),
    ] {
        let database = Database::migrated().await;
        let mut work = Work::start(&database, 64 << 20);
        work.append(0..BEFORE);
        work.stored(BEFORE).await;
        work.fail_over(&database, lose).await;
        if quiet {
            eventually(what, async || database.count("SELECT count(*) FROM greek_ticks").await == i64::from(BEFORE))
                .await;
        }
        work.append(BEFORE..AFTER);
        let told = work.end().await;
        assert!(told.into_iter().eq((0..AFTER).map(f64::from)), "{what}: each row once, in order");
        assert_rows(&database, 0).await;
        assert_eq!(database.count("SELECT count(*) FROM ingest_gaps").await, 0, "{what}");
        let mark = database.count("SELECT last_seq FROM ingest_progress WHERE closed_at IS NOT NULL").await;
        assert_eq!(mark, i64::from(AFTER), "{what}");
    }
}

/// The status goes back with the database, the observer is told nothing twice.
#[tokio::test]
async fn the_status_follows_the_database_back() {
    let database = Database::migrated().await;
    let mut work = Work::start(&database, 64 << 20);
    work.append(0..BEFORE);
    work.stored(BEFORE).await;
    // Nothing is written for now.
    let lock = database.client().await;
    lock.batch_execute("BEGIN; LOCK TABLE greek_ticks IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    lock.batch_execute("DELETE FROM greek_ticks WHERE quantity >= 120").await.unwrap();
    work.fail_over(&database, "UPDATE ingest_progress SET last_seq = 120").await;
    let status = work.stored(120).await;
    assert_eq!(status.rows_written, u64::from(BEFORE));
    assert!(work.told.lock().unwrap().iter().copied().eq((0..BEFORE).map(f64::from)));
    lock.batch_execute("COMMIT").await.unwrap();
    work.append(BEFORE..AFTER);
    assert!(work.end().await.into_iter().eq((0..AFTER).map(f64::from)));
    assert_rows(&database, 0).await;
}

/// What the journal has let go is lost, and said to be: where it lay, and how much.
#[tokio::test]
async fn what_the_journal_has_not_is_stated_as_a_gap() {
    let database = Database::migrated().await;
    let mut work = Work::start(&database, 8 << 10);
    work.append(0..BEFORE);
    work.stored(BEFORE).await;
    eventually("all but the last segments are released", async || work.monitor.usage().segments <= 2).await;
    let lose = "UPDATE ingest_progress SET last_seq = 20, updated_at = '2026-11-20T14:00:00Z'; \
                DELETE FROM greek_ticks WHERE quantity >= 20";
    work.fail_over(&database, lose).await;
    work.append(BEFORE..AFTER);
    let told = work.end().await;
    assert!(told.into_iter().eq((0..AFTER).map(f64::from)), "each row once, in order");
    let first = database.count("SELECT min(quantity)::bigint FROM greek_ticks WHERE quantity >= 20").await;
    assert!((21..i64::from(BEFORE)).contains(&first), "{first}");
    assert_rows(&database, first).await;
    let sql = "SELECT concat_ws(' ', source, kind, reason, events) FROM ingest_gaps \
               WHERE gap_from = '2026-11-20T14:00:00Z' AND gap_to = (SELECT received_at FROM greek_ticks WHERE quantity = $1::bigint)";
    let gap: String = database.client().await.query_one(sql, &[&first]).await.unwrap().get(0);
    assert_eq!(gap, format!("journal gap corrupt {}", first - 20));
}
