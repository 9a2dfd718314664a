//! What the committer makes of the errors of a database, by their codes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Database, WallClock, series, ticks};
use greeks_model::{Record, Seq, SnapshotLog, Uuid, testkit};
use greeks_store::{Committer, CommitterConfig, CommitterState, CommitterStatus, memory_log};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CALL: &str = "AAPL  261218C00232500";

type Run = JoinHandle<Result<Seq, greeks_store::CommitError>>;

fn start(
    database: &Database,
    log: impl SnapshotLog + 'static,
    change: impl FnOnce(&mut CommitterConfig),
) -> (Run, watch::Receiver<CommitterStatus>) {
    let mut config = CommitterConfig::new(database.config.clone(), "test");
    change(&mut config);
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    (tokio::spawn(committer.run()), status)
}

async fn until(status: &mut watch::Receiver<CommitterStatus>, state: CommitterState) -> CommitterStatus {
    let waiting = tokio::time::timeout(Duration::from_secs(60), status.wait_for(|status| status.state == state));
    let found = waiting.await.map(|found| found.unwrap().clone());
    found.unwrap_or_else(|_| panic!("not {state:?} but {:?}", status.borrow()))
}

fn rows(numbers: std::ops::Range<u32>) -> Vec<Record> {
    ticks(&series("5WT00001", CALL), numbers)
}

/// Every row for which `condition` holds is refused with `code`.
async fn refuse(database: &Database, condition: &str, code: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF {condition} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON greek_ticks FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    database.client().await.batch_execute(&sql).await.unwrap();
}

async fn accept(database: &Database) {
    database.client().await.batch_execute("DROP TRIGGER refuse ON greek_ticks").await.unwrap();
}

async fn stop(run: Run) {
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
}

async fn assert_once(database: &Database, rows: i64, kept: i64) {
    let sql = "SELECT count(*) FROM greek_ticks";
    assert_eq!(database.count(sql).await, rows);
    assert_eq!(database.count("SELECT count(DISTINCT quantity) FROM greek_ticks").await, rows);
    assert_eq!(database.count("SELECT count(*) FROM ingest_quarantine").await, kept);
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_heals() {
    for code in ["53100", "53200"] {
        let database = Database::migrated().await;
        refuse(&database, "true", code).await;
        let begin = Instant::now();
        let (run, mut status) = start(&database, testkit::MemoryLog::new(rows(0..50)), |_| ());
        let full = until(&mut status, CommitterState::Full).await;
        assert!(full.last_error.unwrap().contains(code));
        accept(&database).await;
        assert_eq!(run.await.unwrap().unwrap(), Seq(50));
        assert!((5.0..15.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
        assert_once(&database, 50, 0).await;
    }
}

/// A state of trouble with writing does not flicker: a connection can be made all the while.
#[tokio::test]
async fn a_connection_alone_does_not_end_the_trouble() {
    let database = Database::migrated().await;
    refuse(&database, "true", "57014").await;
    let (run, mut status) = start(&database, testkit::MemoryLog::new(rows(0..50)), |_| ());
    until(&mut status, CommitterState::Retrying).await;
    for _ in 0..200 {
        assert_eq!(status.borrow().state, CommitterState::Retrying);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    accept(&database).await;
    assert_eq!(run.await.unwrap().unwrap(), Seq(50));
    assert_once(&database, 50, 0).await;
}

#[tokio::test]
async fn missing_rights_need_a_person_and_nothing_is_set_aside() {
    let database = Database::migrated().await;
    refuse(&database, "true", "42501").await;
    let (run, mut status) = start(&database, testkit::MemoryLog::new(rows(0..50)), |_| ());
    let needs = until(&mut status, CommitterState::NeedsOperator).await;
    assert!(needs.last_error.unwrap().contains("SQLSTATE 42501"));
    assert_once(&database, 0, 0).await;
    stop(run).await;
}

/// An internal error may pass: only after five tries the row is suspected.
#[tokio::test]
async fn an_internal_error_is_tried_again_and_then_the_row_is_looked_for() {
    for code in ["XX000", "GR001"] {
        let database = Database::migrated().await;
        let sql = "CREATE SEQUENCE tries; CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   PERFORM nextval('tries'); RETURN NULL; END $$; CREATE TRIGGER tries BEFORE UPDATE OF last_seq \
                   ON ingest_progress EXECUTE FUNCTION count_try()";
        database.client().await.batch_execute(sql).await.unwrap();
        refuse(&database, "NEW.quantity = 20", code).await;
        let begin = Instant::now();
        let (run, status) = start(&database, testkit::MemoryLog::new(rows(0..32)), |_| ());
        assert_eq!(run.await.unwrap().unwrap(), Seq(32));
        assert_eq!(status.borrow().quarantined, 1);
        assert_once(&database, 31, 1).await;
        assert!(begin.elapsed() > Duration::from_millis(50 + 100 + 200 + 400 + 800));
        let tries = database.count("SELECT last_value FROM tries").await;
        println!("{code}: {tries} transactions for one refused row of 32, in {:?}", begin.elapsed());
        assert!((5 + 6..=5 + 12).contains(&tries), "{tries}");
    }
}

#[tokio::test]
async fn a_hundred_in_a_row_are_set_aside_and_no_more() {
    let database = Database::migrated().await;
    refuse(&database, "NEW.quantity >= 30", "23514").await;
    let incarnation = Uuid::new_v4();
    let log = || testkit::MemoryLog::resume(incarnation, rows(0..300));
    let (run, mut status) = start(&database, log(), |config| config.policy.max_records = 50);
    let needs = until(&mut status, CommitterState::NeedsOperator).await;
    assert!(needs.last_error.unwrap().contains("too many records in a row are refused"));
    assert_eq!((needs.durable, needs.quarantined), (Seq(130), 100));
    assert_once(&database, 30, 100).await;
    stop(run).await;
    accept(&database).await;
    start(&database, log(), |_| ()).0.await.unwrap().unwrap();
    assert_once(&database, 200, 100).await;
}

#[tokio::test]
async fn when_more_than_one_percent_of_a_large_batch_is_refused_nothing_is_set_aside() {
    let database = Database::migrated().await;
    // Of 2,000 rows 20 are 1 %, and one more is too many.
    refuse(&database, "NEW.quantity >= 100 AND NEW.quantity::int % 90 = 0", "23502").await;
    let incarnation = Uuid::new_v4();
    let log = || testkit::MemoryLog::resume(incarnation, rows(0..2_000));
    let begin = Instant::now();
    let (run, mut status) = start(&database, log(), |_| ());
    let needs = until(&mut status, CommitterState::NeedsOperator).await;
    println!("21 of 2,000 refused: said after {:?}", begin.elapsed());
    assert!(needs.last_error.unwrap().contains("more than 1 % of 2000 records are refused"));
    assert_eq!(needs.quarantined, 0);
    stop(run).await;
    assert_once(&database, i64::try_from(needs.durable.0).unwrap(), 0).await;

    // 18 of the 1,820 that are left are fewer.
    refuse(&database, "NEW.quantity >= 400 AND NEW.quantity::int % 90 = 0", "23502").await;
    let (run, status) = start(&database, log(), |_| ());
    let last = tokio::time::timeout(Duration::from_secs(60), run).await;
    assert_eq!(last.unwrap_or_else(|_| panic!("{:?}", status.borrow())).unwrap().unwrap(), Seq(2_000));
    assert_once(&database, 1_982, 18).await;
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_when_that_is_asked_for() {
    let database = Database::empty().await;
    let (run, mut status) = start(&database, testkit::MemoryLog::new(rows(0..5)), |_| ());
    until(&mut status, CommitterState::NeedsOperator).await;
    stop(run).await;
    let (run, status) = start(&database, testkit::MemoryLog::new(rows(0..5)), |config| config.migrate = true);
    assert_eq!(run.await.unwrap().unwrap(), Seq(5));
    assert_eq!((status.borrow().state, status.borrow().last_error.clone()), (CommitterState::Finished, None));
    assert_once(&database, 5, 0).await;

    let sql = "INSERT INTO refinery_schema_history SELECT version + 1, 'later', applied_on, checksum \
               FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
    database.client().await.batch_execute(sql).await.unwrap();
    let (run, mut status) = start(&database, memory_log(10).1, |config| config.migrate = true);
    let needs = until(&mut status, CommitterState::NeedsOperator).await;
    let said = needs.last_error.unwrap();
    assert!(said.contains("the database has schema version") && said.contains("newer"), "{said}");
    stop(run).await;
}

#[tokio::test]
async fn a_column_of_another_type_is_named() {
    for (change, name) in [
        ("ALTER COLUMN rho TYPE real", "column rho of greek_ticks is float4 in the database, and float8 is needed"),
        ("ALTER COLUMN source_payload TYPE text", "column source_payload of greek_ticks is text"),
        ("RENAME COLUMN vega TO kappa", "column \"vega\" does not exist"),
    ] {
        let database = Database::migrated().await;
        let sql = format!(
            "DROP VIEW greek_snapshots, v_latest_greeks, v_positions CASCADE; ALTER TABLE greek_ticks {change}"
        );
        database.client().await.batch_execute(&sql).await.unwrap();
        let (run, mut status) = start(&database, testkit::MemoryLog::new(rows(0..5)), |_| ());
        let needs = until(&mut status, CommitterState::NeedsOperator).await;
        let reason = needs.last_error.unwrap();
        assert!(reason.contains(name), "{reason}");
        stop(run).await;
    }
}

/// What takes too long together is stored in parts, and no row of it goes to quarantine.
#[tokio::test]
async fn too_many_rows_for_one_statement_are_halved() {
    let database = Database::migrated().await;
    // The eleventh row of a transaction is one too many.
    let count = "set_config('test.rows', (coalesce(nullif(current_setting('test.rows', true), ''), '0')::int + 1)::text, \
                 true)::int > 10";
    refuse(&database, count, "57014").await;
    let (run, _) = start(&database, testkit::MemoryLog::new(rows(0..100)), |_| {});
    let ended = tokio::time::timeout(Duration::from_secs(30), run).await.expect("stored in parts");
    assert_eq!(ended.unwrap().unwrap(), Seq(100));
    assert_once(&database, 100, 0).await;
}
