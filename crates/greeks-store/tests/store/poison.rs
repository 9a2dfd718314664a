//! Rows that the database refuses, wherever they stand in a batch: they are set aside, each once, and the others are stored.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;

use crate::support::{Database, WallClock, open_journal, series, tick, ticks};
use greeks_model::{Record, Seq, SnapshotSink, testkit};
use greeks_store::{Committer, CommitterConfig, CommitterState};

const CALL: &str = "AAPL  261218C00232500";
const BATCH: u32 = 33;

/// How a row is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// By a CHECK of the table, in the COPY.
    Check,
    /// By a trigger that raises an exception, in the COPY.
    Trigger,
    /// By a constraint that is looked at when the transaction ends.
    Late,
}

impl Refused {
    const ALL: [Self; 3] = [Self::Check, Self::Trigger, Self::Late];

    /// Rows whose quantity is in `poison` are refused. Each transaction of a committer, stored or not, takes one number of
    /// the sequence `tries`: what a sequence has given does not come back with a ROLLBACK.
    const SETUP: &str = "CREATE TABLE poison (quantity double precision PRIMARY KEY); CREATE SEQUENCE tries; \
        CREATE FUNCTION poisoned(double precision) RETURNS boolean LANGUAGE sql \
            AS 'SELECT EXISTS (SELECT FROM public.poison p WHERE p.quantity = $1)'; \
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF poisoned(NEW.quantity) THEN RAISE EXCEPTION 'this row is not wanted'; END IF; RETURN NEW; END $$; \
        CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            PERFORM nextval('tries'); RETURN NULL; END $$; \
        CREATE TRIGGER tries BEFORE UPDATE OF last_seq ON ingest_progress EXECUTE FUNCTION count_try()";

    fn how(self) -> (&'static str, &'static str) {
        match self {
            Self::Check => {
                ("ALTER TABLE greek_ticks ADD CONSTRAINT poisoned CHECK (NOT poisoned(quantity)) NOT VALID", "23514")
            }
            Self::Trigger => {
                ("CREATE TRIGGER poisoned BEFORE INSERT ON greek_ticks FOR EACH ROW EXECUTE FUNCTION refuse()", "P0001")
            }
            Self::Late => (
                "CREATE CONSTRAINT TRIGGER poisoned AFTER INSERT ON greek_ticks DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
                "P0001",
            ),
        }
    }

    async fn database(self) -> Database {
        let database = Database::migrated().await;
        database.client().await.batch_execute(&format!("{}; {}", Self::SETUP, self.how().0)).await.unwrap();
        database
    }
}

/// Stores `rows` rows from a journal in batches of `batch`, of which `bad` are refused; returns how many transactions that
/// took.
async fn store(database: &Database, how: Refused, rows: u32, batch: u32, bad: &[u32]) -> u32 {
    let client = database.client().await;
    let reset = "TRUNCATE greek_ticks, ingest_quarantine, ingest_progress, poison; ALTER SEQUENCE tries RESTART";
    client.batch_execute(reset).await.unwrap();
    let list: Vec<f64> = bad.iter().map(|row| f64::from(*row)).collect();
    client.execute("INSERT INTO poison SELECT unnest($1::float8[])", &[&list]).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let mut journal = open_journal(dir.path(), 1 << 20, 100);
    let sent = ticks(&series("5WT00001", CALL), 0..rows);
    journal.writer.append(&sent).unwrap();
    let mut config = CommitterConfig::new(database.config.clone(), "test");
    config.policy.max_records = batch as usize;
    let log = Box::new(journal.log);
    let (committer, status) = Committer::new(config, log, Box::new(()), Arc::new(WallClock));
    Box::new(journal.writer).close().unwrap();
    assert_eq!(committer.run().await.unwrap(), Seq(u64::from(rows)));

    let status = status.borrow().clone();
    assert_eq!(status.state, CommitterState::Finished);
    assert_eq!((status.rows_written, status.quarantined), (u64::from(rows) - bad.len() as u64, bad.len() as u64));
    let stored = client.query("SELECT quantity FROM greek_ticks ORDER BY seq", &[]).await.unwrap();
    let stored: Vec<f64> = stored.iter().map(|row| row.get(0)).collect();
    let good: Vec<f64> = (0..rows).filter(|row| !bad.contains(row)).map(f64::from).collect();
    assert_eq!(stored, good, "{how:?}: the others are stored, each once and in order; refused: {bad:?}");
    let kept = client.query("SELECT seq, sqlstate, record FROM ingest_quarantine ORDER BY seq", &[]).await.unwrap();
    assert_eq!(kept.len(), bad.len(), "{how:?}: {bad:?}");
    for (row, number) in kept.iter().zip(bad) {
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (i64::from(*number) + 1, how.how().1));
        assert_eq!(Record::decode(row.get(2)).unwrap(), sent[*number as usize]);
    }
    let tries: i64 = client.query_one("SELECT last_value FROM tries", &[]).await.unwrap().get(0);
    u32::try_from(tries).unwrap()
}

/// `(log2 n + 1) * 2` transactions for each refused row of a batch of `batch`, and one for each batch.
fn bound(batch: u32, batches: u32, bad: usize) -> f64 {
    f64::from(batches) + (f64::from(batch).log2() + 1.0) * 2.0 * f64::from(u32::try_from(bad).unwrap())
}

#[tokio::test]
async fn a_refused_row_at_every_place_of_a_batch() {
    for how in Refused::ALL {
        let database = how.database().await;
        let mut most = 0;
        for place in 0..BATCH {
            let tries = store(&database, how, BATCH, BATCH, &[place]).await;
            assert!(f64::from(tries) <= bound(BATCH, 0, 1), "{how:?}, place {place}: {tries} transactions");
            most = most.max(tries);
        }
        println!("{how:?}: one refused row of {BATCH}, at every place: at most {most} transactions");
    }
}

#[tokio::test]
async fn every_row_of_a_batch_is_refused() {
    for how in Refused::ALL {
        let database = how.database().await;
        let all: Vec<u32> = (0..BATCH).collect();
        let tries = store(&database, how, BATCH, BATCH, &all).await;
        println!("{how:?}: all of {BATCH} refused: {tries} transactions");
        assert!(f64::from(tries) <= bound(BATCH, 1, all.len()), "{tries}");
    }
}

#[tokio::test]
async fn every_tenth_row_is_refused_at_random() {
    const ROWS: u32 = 1_000;
    for (how, seed) in Refused::ALL.into_iter().zip([1_u64, 2, 3]) {
        let database = how.database().await;
        // Knuth's MMIX generator: the same rows at every run.
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let bad: Vec<u32> = (0..ROWS).filter(|_| draw() % 10 == 0).collect();
        assert!((70..130).contains(&bad.len()), "{}", bad.len());
        let tries = store(&database, how, ROWS, 100, &bad).await;
        println!("{how:?}: {} of {ROWS} refused (seed {seed}): {tries} transactions", bad.len());
        assert!(f64::from(tries) <= bound(100, 10, bad.len()), "{tries}");
    }
}

/// Stores a row for each payload; tells the stored payloads in order, how many rows went to quarantine, and how many were
/// stored without theirs.
async fn store_payloads(database: &Database, payloads: &[String]) -> (Vec<Option<String>>, u64, u64) {
    let line = series("5WT00001", CALL);
    let row = |(number, payload): (u32, &String)| {
        let mut row = tick(&line, number);
        row.source_payload = Some(payload.as_str().into());
        Record::Snapshot(row)
    };
    let log = testkit::MemoryLog::new((0..).zip(payloads).map(row).collect());
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    committer.run().await.unwrap();
    let sql = "SELECT source_payload::text, delta FROM greek_snapshots ORDER BY quantity";
    let stored = database.client().await.query(sql, &[]).await.unwrap();
    assert!(stored.iter().all(|row| row.get::<_, Option<f64>>(1) == Some(0.5)), "the Greeks are there");
    let status = status.borrow().clone();
    (stored.iter().map(|row| row.get(0)).collect(), status.quarantined, status.payloads_refused)
}

/// The Greeks are what the row is for.
#[tokio::test]
async fn a_payload_that_is_no_jsonb_costs_the_payload_and_not_the_row() {
    let database = Database::migrated().await;
    let bad = [
        "nope",
        "",
        r#"{"a":"\u0000"}"#,
        r#"{"\u0000":1}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1"#,
        r#"{"a":1} x"#,
        r#"{"a":1e-20000}"#,
        r#"{"a":1e400000}"#,
        "{\"a\":\"\n\"}",
        "\u{feff}{}",
    ];
    // More in a row than refused ones may be, as from a source that makes no JSON at all.
    let mut payloads: Vec<String> = bad.map(String::from).into();
    payloads.push("[".repeat(20_000));
    payloads.extend((0..300).map(|number| format!("'{number}'")));
    let refused = payloads.len();
    let good = [r#"{"a": 1}"#, "[1]", r#"{"a": "\u00e9 \\u0000 \ud83d\ude00"}"#, "1.5", "null", r#"{"a": -0.1e3}"#];
    payloads.extend(good.map(String::from));
    let (stored, quarantined, without) = store_payloads(&database, &payloads).await;
    assert_eq!((stored.len(), quarantined), (payloads.len(), 0));
    assert_eq!(stored.iter().position(Option::is_some), Some(refused), "{:?}", &stored[..bad.len()]);
    assert!(stored[refused..].iter().all(Option::is_some), "{:?}", &stored[refused..]);
    assert_eq!(without, refused as u64);
}

/// Whatever else is wrong with it.
#[tokio::test]
async fn a_payload_that_the_database_refuses_by_itself_costs_no_row_either() {
    let database = Database::migrated().await;
    let sql = "ALTER TABLE greek_ticks ADD CHECK (NOT source_payload ? 'unwanted')";
    database.client().await.batch_execute(sql).await.unwrap();
    let payloads = ["{\"a\": 1}", "{\"unwanted\": 1}", "{\"b\": 1}"].map(String::from);
    let (stored, quarantined, without) = store_payloads(&database, &payloads).await;
    assert_eq!(stored, [Some(payloads[0].clone()), None, Some(payloads[2].clone())]);
    assert_eq!((quarantined, without), (0, 1));
}
