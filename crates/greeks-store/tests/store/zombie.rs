//! A backend that outlives its client and commits late, twenty times: no row is stored twice. And the control, which is a
//! writer without the fence.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Database, WallClock, client, eventually, series, ticks};
use greeks_model::{Record, Seq, Uuid, testkit};
use greeks_store::{Committer, CommitterConfig};
use tokio_postgres::NoTls;

const CALL: &str = "AAPL  261218C00232500";
const KILLS: u32 = 20;
/// Rows that each life of a writer finds anew.
const ROWS: u32 = 10;

/// A COMMIT that moves the mark takes 300 ms, and nothing but the mark keeps a row from being stored twice.
async fn slow_database() -> Database {
    let database = Database::migrated().await;
    let sql = "ALTER TABLE greek_ticks DROP CONSTRAINT greek_ticks_pkey; \
               CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   PERFORM pg_sleep(0.3); RETURN NULL; END $$; \
               CREATE CONSTRAINT TRIGGER slowly AFTER UPDATE OF last_seq ON ingest_progress \
                   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slowly()";
    database.client().await.batch_execute(sql).await.unwrap();
    database
}

/// Waits until a writer that was not seen before is in its COMMIT; those before it may still be in theirs.
async fn committing(database: &Database, client: &tokio_postgres::Client, seen: &Mutex<HashSet<i32>>) {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'";
    eventually("a slow COMMIT", || async {
        let sleeping = client.query(sql, &[&database.config.database()]).await.unwrap();
        let mut seen = seen.lock().unwrap();
        sleeping.iter().any(|row| seen.insert(row.get(0)))
    })
    .await;
}

/// Rows, and how many of them are there more than once.
async fn stored(database: &Database) -> (i64, i64) {
    let sql = "SELECT count(*), count(*) - count(DISTINCT quantity) FROM greek_ticks";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_writer_killed_in_its_commit_and_started_again_stores_each_row_once() {
    let database = slow_database().await;
    let watcher = database.client().await;
    let (series, incarnation) = (series("5WT00001", CALL), Uuid::new_v4());
    let start = |rows: u32| {
        let log = testkit::MemoryLog::resume(incarnation, ticks(&series, 0..rows));
        let config = CommitterConfig::new(database.config.clone(), "test");
        tokio::spawn(Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock)).0.run())
    };
    let (mut found, seen) = (0, Mutex::default());
    for kill in 1..=KILLS {
        let run = start(kill * ROWS);
        committing(&database, &watcher, &seen).await;
        // At another point of the COMMIT each time.
        tokio::time::sleep(Duration::from_millis(u64::from(kill) * 10)).await;
        run.abort();
        assert!(run.await.is_err(), "killed in its COMMIT");
        // The next one starts at once, beside the backend that is still committing.
        let mark = "SELECT last_seq FROM ingest_progress";
        found += u32::from(database.count(mark).await < i64::from(kill * ROWS));
    }
    let last = start(KILLS * ROWS).await.unwrap().unwrap();
    assert_eq!(last, Seq(u64::from(KILLS * ROWS)));
    let (rows, doubled) = stored(&database).await;
    println!(
        "{KILLS} writers killed, {found} times the next one met a COMMIT under way: {rows} rows, {doubled} doubled"
    );
    assert_eq!((rows, doubled), (i64::from(KILLS * ROWS), 0));
    assert!(found >= 10, "{found}");
}

/// What one would write at first: the mark is read when the connection is made, and set with the rows.
async fn naive(config: tokio_postgres::Config, incarnation: Uuid, records: Vec<Record>) {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let work = async move {
        let sql = "SELECT last_seq FROM ingest_progress WHERE incarnation = $1";
        let mark: i64 = client.query_one(sql, &[&incarnation]).await.unwrap().get(0);
        client.batch_execute("BEGIN").await.unwrap();
        for (seq, record) in (1_i64..).zip(&records).skip(usize::try_from(mark).unwrap()) {
            let Record::Snapshot(tick) = record else { panic!("{record:?}") };
            let sql = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
                       VALUES ('2026-11-20 15:00+00', $1, now(), 1, $2)";
            client.execute(sql, &[&seq, &tick.quantity]).await.unwrap();
        }
        let last = i64::try_from(records.len()).unwrap();
        let sql = "UPDATE ingest_progress SET last_seq = $2 WHERE incarnation = $1";
        client.execute(sql, &[&incarnation, &last]).await.unwrap();
        client.batch_execute("COMMIT").await.unwrap();
    };
    // Carried by this task, so that its end is the end of the socket.
    tokio::select! { biased; () = work => (), _ = connection => () }
}

/// The control: the test above sees what it is there to see.
#[tokio::test]
async fn without_the_fence_rows_are_doubled() {
    let database = slow_database().await;
    let (watcher, incarnation) = (client(&database.driver).await, Uuid::new_v4());
    let register = "INSERT INTO ingest_progress (incarnation, last_seq, instance) VALUES ($1, 0, 'naive')";
    watcher.execute(register, &[&incarnation]).await.unwrap();
    let series = series("5WT00001", CALL);
    let start = |rows: u32| tokio::spawn(naive(database.driver.clone(), incarnation, ticks(&series, 0..rows)));
    let seen = Mutex::default();
    for kill in 1..=KILLS {
        let run = start(kill * ROWS);
        committing(&database, &watcher, &seen).await;
        run.abort();
        assert!(run.await.is_err(), "killed in its COMMIT");
    }
    start(KILLS * ROWS).await.unwrap();
    let (rows, doubled) = stored(&database).await;
    println!("without the fence: {rows} rows, {doubled} doubled");
    assert!(doubled > 0 && rows == doubled + i64::from(KILLS * ROWS), "{rows}, {doubled}");
}
