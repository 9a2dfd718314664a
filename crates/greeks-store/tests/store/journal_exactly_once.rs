//! A journal between pipeline and database: over restarts every row is stored once, and what was lost is stated.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;

use crate::support::{Database, WallClock, eventually, open_journal, series, ticks};
use async_trait::async_trait;
use greeks_model::{Batch, LogError, Record, Seq, SinkError, SnapshotLog, SnapshotSink, Uuid};
use greeks_store::{Committer, CommitterConfig, CommitterStatus, JournalLogs};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CALL: &str = "AAPL  261218C00232500";
const SEGMENT: u64 = 64 << 10;

fn open(dir: &Path, segments: u64) -> JournalLogs {
    open_journal(dir, SEGMENT, segments)
}

fn rows(numbers: std::ops::Range<u32>) -> Vec<Record> {
    ticks(&series("5WT00001", CALL), numbers)
}

type Run = JoinHandle<Result<Seq, greeks_store::CommitError>>;

fn commit(database: &Database, log: impl SnapshotLog + 'static) -> (Run, watch::Receiver<CommitterStatus>) {
    let mut config = CommitterConfig::new(database.config.clone(), "test");
    config.policy.max_records = 100;
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    (tokio::spawn(committer.run()), status)
}

/// Rows, distinct rows, distinct numbers, first and last, and whether the numbers rise with the rows.
async fn stored(database: &Database) -> (Vec<i64>, bool) {
    let sql = "SELECT count(*), count(DISTINCT quantity), count(DISTINCT seq), coalesce(min(quantity), 0)::bigint, \
               coalesce(max(quantity), 0)::bigint, \
               coalesce(bool_and(seq_rank = row_rank), true) \
               FROM (SELECT *, rank() OVER (ORDER BY seq) AS seq_rank, rank() OVER (ORDER BY quantity) AS row_rank \
                     FROM greek_ticks) AS t";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    ((0..5).map(|column| row.get(column)).collect(), row.get(5))
}

fn once(rows: i64) -> (Vec<i64>, bool) {
    (vec![rows, rows, rows, 0, rows - 1], true)
}

/// A log under a name of its own: as if numbers were counted anew at every start.
struct Renamed<L>(L, Uuid);

#[async_trait]
impl<L: SnapshotLog> SnapshotLog for Renamed<L> {
    fn incarnation(&self) -> Uuid {
        self.1
    }

    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError> {
        self.0.next(after, max).await
    }

    async fn release(&mut self, upto: Seq) -> Result<(), LogError> {
        self.0.release(upto).await
    }
}

/// Five runs, each of which appends rows and ends in the middle of storing them, then one that stores the rest.
async fn five_runs(database: &Database, dir: &Path, under_its_own_name: bool) {
    const RUNS: u32 = 5;
    const ROWS: u32 = 2_000;
    for run in 0..=RUNS {
        let mut journal = open(dir, 1_000);
        for (place, leftover) in journal.leftovers.into_iter().enumerate() {
            let last = leftover.found.last;
            let (stored, mut status) = match under_its_own_name {
                true => commit(database, leftover.log),
                false => commit(database, Renamed(leftover.log, Uuid::new_v4())),
            };
            // Now and then the end comes while an older run is stored.
            if run < RUNS && place > 0 && run % 2 == 0 {
                let half = Seq(leftover.found.first + (last - leftover.found.first) / 2);
                status.wait_for(|status| status.durable >= half).await.unwrap();
                stored.abort();
                assert!(stored.await.unwrap_err().is_cancelled());
                break;
            }
            assert_eq!(stored.await.unwrap().unwrap(), Seq(last));
        }
        if run == RUNS {
            break;
        }
        let first = run * ROWS;
        (0..ROWS).step_by(40).for_each(|at| journal.writer.append(&rows(first + at..first + at + 40)).unwrap());
        // An odd run stores some of its own rows; an even one leaves them all to the next.
        if run % 2 == 1 {
            let (stored, mut status) = commit(database, journal.log);
            status.wait_for(|status| status.durable >= Seq(u64::from(ROWS / 3))).await.unwrap();
            stored.abort();
            assert!(stored.await.unwrap_err().is_cancelled());
        }
    }
}

#[tokio::test]
async fn over_restarts_each_row_is_stored_once_and_in_order() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    five_runs(&database, dir.path(), true).await;
    assert_eq!(stored(&database).await, once(10_000));
    let progress = "SELECT count(*) FROM ingest_progress WHERE closed_at IS NOT NULL";
    assert_eq!(database.count(progress).await, 5, "every incarnation came to its end");
    assert!(open(dir.path(), 1_000).leftovers.is_empty(), "what is stored is gone");
}

/// The control: the comparison above sees what it is there to see.
#[tokio::test]
async fn were_the_incarnation_not_known_again_rows_would_be_doubled() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    five_runs(&database, dir.path(), false).await;
    let (found, _) = stored(&database).await;
    assert!(found[0] > found[1], "{found:?}");
    assert_eq!(found[1], 10_000);
}

/// The other control.
#[tokio::test]
async fn were_records_released_before_they_are_stored_rows_would_be_lost() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let mut journal = open(dir.path(), 1_000);
    (0..4_000).step_by(40).for_each(|at| journal.writer.append(&rows(at..at + 40)).unwrap());
    journal.log.release(Seq(3_000)).await.unwrap();
    drop(journal);
    let leftover = open(dir.path(), 1_000).leftovers.remove(0);
    commit(&database, leftover.log).0.await.unwrap().unwrap();
    assert!(stored(&database).await.0[0] < 4_000);
}

#[tokio::test]
async fn rows_stream_through_to_the_database_and_their_files_go() {
    const ROWS: u32 = 30_000;
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let JournalLogs { mut writer, log, monitor, .. } = open(dir.path(), 1_000);
    let (stored_all, _) = commit(&database, log);
    let feeder = std::thread::spawn(move || {
        (0..ROWS).step_by(30).for_each(|at| writer.append(&rows(at..at + 30)).unwrap());
        Box::new(writer).close().unwrap();
    });
    assert_eq!(stored_all.await.unwrap().unwrap(), Seq(u64::from(ROWS)));
    feeder.join().unwrap();
    assert_eq!(stored(&database).await, once(i64::from(ROWS)));
    assert!(monitor.usage().segments <= 1, "{:?}", monitor.usage());
}

#[tokio::test]
async fn what_a_full_journal_gave_up_is_one_row_with_the_exact_count() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let JournalLogs { mut writer, log, monitor, .. } = open(dir.path(), 4);
    let (mut accepted, mut given_up, mut number) = (0, 0, 0);
    let mut append = |writer: &mut greeks_store::JournalLogWriter| {
        number += 1;
        match writer.append(&rows(number - 1..number)) {
            Ok(()) => accepted += 1,
            Err(SinkError::Full { given_up: places }) => given_up += i64::try_from(places.len()).unwrap(),
            Err(error) => panic!("{error:?}"),
        }
        (accepted, given_up)
    };
    while append(&mut writer).1 < 1_000 {}
    // Room comes by storing.
    let (run, mut status) = commit(&database, log);
    status.wait_for(|status| status.durable.0 > 900).await.unwrap();
    eventually("room", || {
        let before = monitor.given_up();
        append(&mut writer);
        std::future::ready(monitor.given_up() == before)
    })
    .await;
    let (accepted, given_up) = append(&mut writer);
    Box::new(writer).close().unwrap();
    run.await.unwrap().unwrap();
    assert_eq!(database.count("SELECT count(*) FROM greek_ticks").await, accepted);
    let shed = "SELECT events FROM ingest_gaps WHERE kind = 'shed' AND source = 'tastytrade'";
    let rows = database.client().await.query(shed, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [given_up]);
}

#[tokio::test]
async fn damaged_records_become_one_gap_and_the_rest_is_stored() {
    const ROWS: u32 = 3_000;
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let mut journal = open(dir.path(), 1_000);
    journal.writer.append(&rows(0..100)).unwrap();
    (100..ROWS).step_by(100).for_each(|at| journal.writer.append(&rows(at..at + 100)).unwrap());
    drop(journal);
    let mut files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    files.sort();
    let mut content = std::fs::read(&files[1]).unwrap();
    content[10_000..40_000].fill(0x5A);
    std::fs::write(&files[1], content).unwrap();

    let leftover = open(dir.path(), 1_000).leftovers.remove(0);
    let [hole] = leftover.found.gaps.as_slice() else { panic!("{:?}", leftover.found) };
    let lost = i64::try_from(hole.to - hole.from + 1).unwrap();
    assert!((100..300).contains(&lost), "{lost}");
    let (from, last) = (hole.from, leftover.found.last);
    assert_eq!(commit(&database, leftover.log).0.await.unwrap().unwrap(), Seq(last));
    assert_eq!(stored(&database).await.0[..2], [i64::from(ROWS) - lost; 2]);
    let sql = format!(
        "SELECT count(*) FROM ingest_gaps WHERE source = 'journal' AND kind = 'gap' AND reason = 'corrupt' \
         AND events = {lost} AND gap_from = (SELECT max(received_at) FROM greek_ticks WHERE quantity < {}) \
         AND gap_to = (SELECT min(received_at) FROM greek_ticks WHERE quantity >= {})",
        from - 1,
        from - 1,
    );
    assert_eq!(database.count(&sql).await, 1);
    assert_eq!(database.count("SELECT count(*) FROM ingest_gaps").await, 1);
}
