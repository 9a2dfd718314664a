//! A log of which an earlier run has stored a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::{Arc, Mutex};

use crate::support::{Database, WallClock, open_journal, series, ticks};
use async_trait::async_trait;
use greeks_model::{Batch, LogError, Record, Seq, SnapshotLog, SnapshotSink, Uuid, testkit};
use greeks_store::{Commit, Committer, CommitterConfig, CommitterState};

const CALL: &str = "AAPL  261218C00232500";

/// What a log was asked for and what it was told to let go.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<(Vec<u64>, Vec<u64>)>>);

struct Watched<L>(L, Asked);

#[async_trait]
impl<L: SnapshotLog> SnapshotLog for Watched<L> {
    fn incarnation(&self) -> Uuid {
        self.0.incarnation()
    }

    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError> {
        self.1.0.lock().unwrap().0.push(after.0);
        self.0.next(after, max).await
    }

    async fn release(&mut self, upto: Seq) -> Result<(), LogError> {
        self.1.0.lock().unwrap().1.push(upto.0);
        self.0.release(upto).await
    }
}

/// Stores a log; returns its last number, the quantities told to the observer, and what was asked of the log.
async fn store(database: &Database, log: impl SnapshotLog + 'static) -> (Seq, Vec<f64>, Asked) {
    let (asked, told) = (Asked::default(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&told);
    let observer = move |commit: Commit<'_>| {
        seen.lock().unwrap().extend(commit.records.iter().map(|record| match record {
            Record::Snapshot(tick) => tick.quantity,
            other => panic!("{other:?}"),
        }));
    };
    let config = CommitterConfig::new(database.config.clone(), "test");
    let log = Box::new(Watched(log, asked.clone()));
    let (committer, status) = Committer::new(config, log, Box::new(observer), Arc::new(WallClock));
    let last = committer.run().await.unwrap();
    let status = status.borrow().clone();
    assert_eq!((status.state, status.durable), (CommitterState::Finished, last));
    let told = told.lock().unwrap().clone();
    (last, told, asked)
}

async fn assert_rows(database: &Database, rows: i64) {
    let sql = "SELECT count(*) = $1 AND count(DISTINCT quantity) = $1 AND max(quantity) = $1 - 1 FROM greek_ticks";
    assert!(database.client().await.query_one(sql, &[&rows]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn what_is_stored_is_neither_read_nor_told_again() {
    let database = Database::migrated().await;
    let records = ticks(&series("5WT00001", CALL), 0..300);
    let incarnation = Uuid::new_v4();
    let log = |upto: usize| testkit::MemoryLog::resume(incarnation, records[..upto].to_vec());
    let (_, told, asked) = store(&database, log(200)).await;
    assert_eq!((told.len(), asked.0.lock().unwrap().0[0]), (200, 0));
    let (last, told, asked) = store(&database, log(300)).await;
    assert_eq!(last, Seq(300));
    assert!(told.into_iter().eq((200..300).map(f64::from)), "only what is new");
    let asked = asked.0.lock().unwrap().clone();
    assert_eq!((asked.0[0], asked.1[0]), (200, 200), "read from the mark on, and what came before released");
    assert_rows(&database, 300).await;

    // A power cut took the end of the journal, and the database has it.
    let (last, told, asked) = store(&database, log(250)).await;
    assert_eq!((last, told), (Seq(300), vec![]));
    assert_eq!(asked.0.lock().unwrap().0, [300]);
    assert_rows(&database, 300).await;
}

#[tokio::test]
async fn the_files_of_what_is_stored_go_at_once() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let mut journal = open_journal(dir.path(), 64 << 10, 1_000);
    let records = ticks(&series("5WT00001", CALL), 0..3_000);
    records.chunks(50).for_each(|some| journal.writer.append(some).unwrap());
    let incarnation = journal.log.incarnation();
    drop(journal);
    // The earlier run has stored all of them and was killed before it released any.
    store(&database, testkit::MemoryLog::resume(incarnation, records)).await;
    let leftover = open_journal(dir.path(), 64 << 10, 1_000).leftovers.remove(0);
    let (last, told, asked) = store(&database, leftover.log).await;
    assert_eq!((last, told.len()), (Seq(3_000), 0));
    // Once at the start, and once more at the end, which finds nothing left to do.
    let mut released = asked.0.lock().unwrap().1.clone();
    released.dedup();
    assert_eq!(released, [3_000]);
    assert_rows(&database, 3_000).await;
    assert!(open_journal(dir.path(), 64 << 10, 1_000).leftovers.is_empty());
}

/// After a restore from a backup the mark is behind what the journal has let go: the rest is stored all the same.
#[tokio::test]
async fn a_mark_that_went_back_does_not_stop_the_rest() {
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let mut journal = open_journal(dir.path(), 64 << 10, 1_000);
    let records = ticks(&series("5WT00001", CALL), 0..3_000);
    records.chunks(50).for_each(|some| journal.writer.append(some).unwrap());
    let incarnation = journal.log.incarnation();
    journal.log.release(Seq(2_000)).await.unwrap();
    drop(journal);
    store(&database, testkit::MemoryLog::resume(incarnation, records[..2_500].to_vec())).await;
    let back = "UPDATE ingest_progress SET last_seq = 500; DELETE FROM greek_ticks WHERE quantity >= 500";
    database.client().await.batch_execute(back).await.unwrap();
    let leftover = open_journal(dir.path(), 64 << 10, 1_000).leftovers.remove(0);
    let first = leftover.found.first;
    assert!((600..=2_001).contains(&first), "{first}");
    let (last, told, _) = store(&database, leftover.log).await;
    assert_eq!((last, told.first().copied()), (Seq(3_000), Some(f64::from(u32::try_from(first).unwrap() - 1))));
    let rows = 500 + 3_000 - (i64::try_from(first).unwrap() - 1);
    assert_eq!(database.count("SELECT count(DISTINCT quantity) FROM greek_ticks").await, rows);
    assert_eq!(database.count("SELECT count(*) FROM greek_ticks").await, rows);
}
