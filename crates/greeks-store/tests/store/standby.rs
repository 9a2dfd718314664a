//! Two programs on one database: one writes, the other waits for its end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Database, WallClock, series, ticks};
use greeks_model::{Seq, SnapshotSink};
use greeks_store::{Committer, CommitterConfig, CommitterState, CommitterStatus, MemoryLogWriter, memory_log};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CALL: &str = "AAPL  261218C00232500";

type Run = JoinHandle<Result<Seq, greeks_store::CommitError>>;

fn start(database: &Database) -> (MemoryLogWriter, Run, watch::Receiver<CommitterStatus>) {
    let (sink, log) = memory_log(100_000);
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    (sink, tokio::spawn(committer.run()), status)
}

async fn until(status: &mut watch::Receiver<CommitterStatus>, what: &str, test: impl Fn(&CommitterStatus) -> bool) {
    let waiting = tokio::time::timeout(Duration::from_secs(30), status.wait_for(|status| test(status)));
    assert!(waiting.await.is_ok_and(|found| found.is_ok()), "{what}: {:?}", status.borrow());
}

/// Both receive the same; when the first has ended, in order or not, the second stores what it has.
#[tokio::test]
async fn the_second_writer_stands_by_and_takes_over() {
    let database = Database::migrated().await;
    let series = series("5WT00001", CALL);
    for killed in [false, true] {
        let before = database.count("SELECT count(*) FROM greek_ticks").await;
        let (mut first, run, mut status) = start(&database);
        first.append(&ticks(&series, 0..100)).unwrap();
        until(&mut status, "the first stores", |status| status.durable == Seq(100)).await;
        let (mut second, second_run, mut second_status) = start(&database);
        second.append(&ticks(&series, 100..200)).unwrap();
        until(&mut second_status, "the second stands by", |status| status.state == CommitterState::Standby).await;
        let reason = second_status.borrow().last_error.clone().unwrap();
        assert!(reason.contains("another program writes to this database: greekd writer"), "{reason}");
        // It keeps standing by, at the slowest pace.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let seen = second_status.borrow().clone();
        assert_eq!((seen.state, seen.durable), (CommitterState::Standby, Seq::ZERO));
        assert_eq!(database.count("SELECT count(*) FROM greek_ticks").await, before + 100);
        assert_eq!(database.count("SELECT count(*) FROM ingest_progress WHERE closed_at IS NULL").await, 1);

        let ended = Instant::now();
        if killed {
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
        } else {
            drop(first);
            run.await.unwrap().unwrap();
        }
        until(&mut second_status, "the second takes over", |status| status.durable == Seq(100)).await;
        println!("the second has stored {:?} after the first ended (killed: {killed})", ended.elapsed());
        assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
        drop(second);
        second_run.await.unwrap().unwrap();
        let sql =
            "SELECT count(*) = $1 AND count(DISTINCT seq) = $1 AND count(DISTINCT quantity) = 200 FROM greek_ticks";
        let row = database.client().await.query_one(sql, &[&(before + 200)]).await.unwrap();
        assert!(row.get::<_, bool>(0), "each row once");
        database.client().await.batch_execute("UPDATE ingest_progress SET closed_at = now()").await.unwrap();
    }
}

#[tokio::test]
async fn a_writer_frees_the_database_when_its_log_has_ended() {
    let database = Database::migrated().await;
    let begin = Instant::now();
    for number in 0..10 {
        let (mut sink, run, status) = start(&database);
        sink.append(&ticks(&series("5WT00001", CALL), number..number + 1)).unwrap();
        drop(sink);
        run.await.unwrap().unwrap();
        assert_eq!(status.borrow().state, CommitterState::Finished);
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1735550309 AND objid = 1801715716 \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(database.count(held).await, 0);
    }
    println!("ten writers one after the other: {:?}", begin.elapsed());
}
