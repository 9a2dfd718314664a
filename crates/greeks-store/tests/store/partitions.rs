//! Months: every row finds its own, whatever the calendar, a reader or an operator does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Database, at, series, tick};
use greeks_model::testkit::ManualClock;
use greeks_model::{Clock, GreekSnapshot, Record, Seq, Series, SnapshotSink, UnixNanos};
use greeks_store::metrics::DEFAULT_PARTITION_ROWS;
use greeks_store::{Committer, CommitterConfig, CommitterState, CommitterStatus, MemoryLogWriter, Month, memory_log};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CALL: &str = "AAPL  261218C00232500";
/// What a lock may cost, and what a busy machine may add.
const LOCK: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(1_500);

/// A committer that runs, with a clock that stands.
struct Running {
    sink: MemoryLogWriter,
    appended: u64,
    clock: Arc<ManualClock>,
    status: watch::Receiver<CommitterStatus>,
    task: JoinHandle<()>,
    series: Arc<Series>,
}

impl Running {
    fn start(database: &Database, now: UnixNanos) -> Self {
        let (sink, log) = memory_log(10_000);
        let clock = Arc::new(ManualClock::at(now));
        let mut config = CommitterConfig::new(database.config.clone(), "test");
        // As one that stores what was left beside one that streams.
        config.exclusive = false;
        let (committer, status) =
            Committer::new(config, Box::new(log), Box::new(()), Arc::clone(&clock) as Arc<dyn Clock>);
        let task = tokio::spawn(async move { assert!(committer.run().await.is_ok()) });
        Self { sink, appended: 0, clock, status, task, series: series("5WT00001", CALL) }
    }

    fn row(&self, event_time: UnixNanos) -> GreekSnapshot {
        let mut row = tick(&self.series, 1);
        row.event_time = event_time;
        row
    }

    /// Stores a row for each time, in one batch; returns how long it took.
    async fn store(&mut self, times: &[UnixNanos]) -> Duration {
        let begin = Instant::now();
        let rows: Vec<_> = times.iter().map(|time| Record::Snapshot(self.row(*time))).collect();
        self.sink.append(&rows).unwrap();
        self.appended += rows.len() as u64;
        let upto = Seq(self.appended);
        let stored = self.status.wait_for(|status| status.durable >= upto);
        drop(tokio::time::timeout(Duration::from_secs(45), stored).await.unwrap().unwrap());
        begin.elapsed()
    }

    async fn stop(self) {
        Box::new(self.sink).close().unwrap();
        self.task.await.unwrap();
    }
}

/// Lets the program's own timers pass; what is under way must have ended.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Rows that are not in the partition of their month.
async fn strays(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM greek_ticks WHERE tableoid::regclass::text \
               <> 'greek_ticks_' || to_char(event_time AT TIME ZONE 'UTC', 'YYYY_MM')";
    database.count(sql).await
}

async fn rows(database: &Database) -> i64 {
    database.count("SELECT count(*) FROM greek_ticks").await
}

const DEFAULT: &str = "SELECT count(*) FROM greek_ticks_default";

/// Before, at and after midnight, in microseconds.
const AROUND: [i64; 8] = [-86_400_000_000, -3_600_000_000, -1_000, -1, 0, 1, 1_000, 86_399_999_999];

#[tokio::test]
async fn twenty_four_month_ends() {
    let database = Database::migrated().await;
    let client = database.client().await;
    let mut running = Running::start(&database, at("2027-01-15T12:00:00Z"));
    let (mut month, mut stored): (Month, _) = ("2027-01".parse().unwrap(), 0);
    running.store(&[at("2027-01-15T12:00:00Z")]).await;
    for _ in 0..24 {
        let next = month.plus(1);
        let midnight = at(&format!("{next}-01T00:00:00Z"));
        // An operator's mistake, or a month for which the program did not run.
        client.batch_execute(&format!("DROP TABLE IF EXISTS {}", next.partition())).await.unwrap();
        pass(Duration::from_secs(61)).await;
        running.clock.set(UnixNanos::from_micros(midnight.as_micros() - 1));
        let times = AROUND.map(|by| UnixNanos::from_micros(midnight.as_micros() + by));
        running.store(&times).await;
        // And one by one, as they come when nothing is busy.
        for time in times {
            running.clock.set(time);
            running.store(&[time]).await;
        }
        stored += 2 * AROUND.len();
        month = next;
    }
    // New York's and London's clocks change on these days, where a month in local time would end an hour off.
    let changes = ["2027-03-14", "2027-03-28", "2027-10-31", "2027-11-07", "2028-03-12", "2028-10-29", "2028-11-05"];
    let hours: Vec<_> =
        changes.iter().flat_map(|day| (0..24).map(move |hour| at(&format!("{day}T{hour:02}:59:59Z")))).collect();
    running.store(&hours).await;
    running.stop().await;
    assert_eq!(month.to_string(), "2029-01");
    assert_eq!(strays(&database).await, 0);
    assert_eq!(database.count(DEFAULT).await, 0);
    // The 29th of February 2028: a whole day, and the last moment of its month.
    let leap = "SELECT count(*) FROM greek_ticks_2028_02 WHERE event_time >= '2028-02-29 00:00+00'";
    assert_eq!(database.count(leap).await, 8);
    assert_eq!(rows(&database).await, i64::try_from(stored + hours.len()).unwrap() + 1);
}

#[tokio::test]
async fn any_time_that_can_be_stored_has_its_month() {
    let database = Database::migrated().await;
    let mut running = Running::start(&database, at("2026-11-20T15:00:00Z"));
    let times = [
        UnixNanos::from_nanos(i64::MIN),
        at("1677-09-30T23:59:59.999999Z"),
        at("1677-10-01T00:00:00Z"),
        at("1969-12-31T23:59:59.999999Z"),
        at("1970-01-01T00:00:00Z"),
        at("1999-12-31T23:59:59.999999Z"),
        at("2000-01-01T00:00:00Z"),
        at("2018-02-05T21:00:00Z"),
        at("2262-03-31T23:59:59.999999Z"),
        UnixNanos::from_nanos(i64::MAX),
    ];
    running.store(&times).await;
    running.stop().await;
    assert_eq!(strays(&database).await, 0);
    assert_eq!(rows(&database).await, 10);
    let sql = "SELECT count(DISTINCT tableoid) FROM greek_ticks";
    assert_eq!(database.count(sql).await, 9, "nine months, of which 1677 and 2262 have two each");
}

#[tokio::test]
async fn a_reader_holds_up_a_commit_for_no_longer_than_the_lock_timeout() {
    let database = Database::migrated().await;
    let mut running = Running::start(&database, at("2026-11-20T15:00:00Z"));
    running.store(&[at("2026-11-20T15:00:00Z")]).await;
    let mut reader = database.client().await;
    let reading = reader.transaction().await.unwrap();
    reading.query_one("SELECT count(*) FROM greek_snapshots", &[]).await.unwrap();
    // Four months at once, then another one: the lock is waited for once.
    let months = ["2018-02-05", "2018-03-05", "2018-04-05", "2018-05-05"];
    let took = running.store(&months.map(|day| at(&format!("{day}T21:00:00Z")))).await;
    println!("commit of four months that cannot be made: {took:?}");
    assert!(took >= LOCK, "{took:?}: the reader was not in the way");
    assert!(took < LOCK + SLACK, "{took:?}");
    let took = running.store(&[at("2018-06-05T21:00:00Z"), at("2018-02-06T21:00:00Z")]).await;
    assert!(took < SLACK, "{took:?}");
    assert_eq!(database.count(DEFAULT).await, 6);
    drop(reading);
    // Once the reader has gone every row finds its month, without a commit of that month.
    pass(Duration::from_secs(61)).await;
    running.store(&[at("2026-11-20T15:00:01Z")]).await;
    running.stop().await;
    assert_eq!((database.count(DEFAULT).await, strays(&database).await, rows(&database).await), (0, 0, 8));
}

/// Puts `count` rows of the month into DEFAULT, stored at different times.
async fn fill_default(database: &Database, month: Month, count: i32) {
    let sql = format!(
        "INSERT INTO greek_ticks_default (event_time, seq, received_at, persisted_at, series_id, flags, quantity, delta, \
         source_payload) SELECT '{month}-01 00:00+00'::timestamptz + n * interval '1 minute', n, '2026-11-20 15:00+00', \
         '2026-11-20 15:00+00'::timestamptz + n * interval '1 second', n % 7, n % 100, n, 0.1 * n, \
         jsonb_build_object('n', n) FROM generate_series(0, {count} - 1) n"
    );
    database.client().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn rows_in_default_are_moved_as_they_are() {
    let database = Database::migrated().await;
    // An ordinary month, the one that a commit wants as well, and one ahead that the program makes by itself.
    for month in ["2019-03", "2018-02", "2026-12"] {
        fill_default(&database, month.parse().unwrap(), 3_000).await;
    }
    let client = database.client().await;
    let all = "SELECT md5(string_agg(t::text, ' ' ORDER BY event_time, seq)) FROM greek_ticks t";
    let before: String = client.query_one(all, &[]).await.unwrap().get(0);
    let mut running = Running::start(&database, at("2026-11-20T15:00:00Z"));
    running.status.wait_for(|status| status.state == CommitterState::Connected).await.unwrap();
    crate::support::eventually("DEFAULT is empty", || async { database.count(DEFAULT).await == 0 }).await;
    let after: String = client.query_one(all, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
    running.store(&[at("2018-02-05T21:00:00Z"), at("2019-03-31T23:59:59.999999Z")]).await;
    running.stop().await;
    assert_eq!((strays(&database).await, rows(&database).await), (0, 9_002));
    let left = "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conrelid = 'greek_ticks_2019_03'::regclass";
    assert_eq!(database.count(left).await, 0, "the bounds of the month are checked once, by the partition");
}

#[tokio::test]
async fn while_rows_move_readers_see_each_once_and_writers_are_not_refused() {
    const EACH: i32 = 3_000;
    let database = Database::migrated().await;
    let first: Month = "2019-01".parse().unwrap();
    for by in 0..12 {
        fill_default(&database, first.plus(by), EACH).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (reader, writer, watcher) = (database.client().await, database.client().await, database.client().await);
    let stopped = Arc::clone(&stop);
    let reading = tokio::spawn(async move {
        let mut looks = 0;
        while !stopped.load(Ordering::SeqCst) {
            // Rows below this are those that move; the writer's are above it.
            let sql = "SELECT count(*), sum(seq)::bigint FROM greek_ticks WHERE seq < 100000";
            let row = reader.query_one(sql, &[]).await.unwrap();
            assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (36_000, 12 * 2_999 * 1_500));
            looks += 1;
        }
        looks
    });
    let stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut written = 0_i64;
        let sql = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) VALUES \
                   ('2019-01-15'::timestamptz + $1 * interval '1 month', $2, now(), 1, 1)";
        let insert = writer.prepare(sql).await.unwrap();
        while !stopped.load(Ordering::SeqCst) {
            writer.execute(&insert, &[&((written % 12) as f64), &(1_000_000 + written)]).await.unwrap();
            written += 1;
        }
        written
    });
    let running = Running::start(&database, at("2026-11-20T15:00:00Z"));
    let moved = || async { watcher.query_one(DEFAULT, &[]).await.unwrap().get::<_, i64>(0) == 0 };
    crate::support::eventually("DEFAULT is empty", moved).await;
    stop.store(true, Ordering::SeqCst);
    let (looks, written) = (reading.await.unwrap(), writing.await.unwrap());
    running.stop().await;
    println!("{looks} looks and {written} rows written while 12 months moved");
    assert!(looks > 3 && written > 12, "{looks} looks, {written} rows");
    assert_eq!((strays(&database).await, rows(&database).await), (0, 36_000 + written));
}

#[tokio::test]
async fn a_writer_that_comes_while_its_month_is_made_is_not_refused() {
    let database = Database::migrated().await;
    let (mut reader, maker) = (database.client().await, database.client().await);
    let (writer, watcher) = (database.client().await, database.client().await);
    let waiting = async |count: i64| {
        let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                   WHERE NOT granted AND datname = current_database()";
        let waits = || async { watcher.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == count };
        crate::support::eventually("they wait", waits).await;
    };
    let reading = reader.transaction().await.unwrap();
    reading.query_one(DEFAULT, &[]).await.unwrap();
    // Holds what it could get, and waits for the reader.
    let made = tokio::spawn(async move { maker.query_one("SELECT greekd_make_partition('2030-01-01')", &[]).await });
    waiting(1).await;
    let sql = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
               VALUES ('2030-01-15', 1, now(), 1, 1)";
    let written = tokio::spawn(async move { writer.execute(sql, &[]).await });
    waiting(2).await;
    drop(reading);
    assert!(made.await.unwrap().unwrap().get::<_, bool>(0));
    assert_eq!(written.await.unwrap().unwrap(), 1);
    assert_eq!((strays(&database).await, rows(&database).await), (0, 1));
}

#[tokio::test]
async fn two_programs_that_need_the_same_months_refuse_each_other_nothing() {
    let database = Database::migrated().await;
    let now = at("2026-11-20T15:00:00Z");
    let mut programs = [Running::start(&database, now), Running::start(&database, now)];
    let first: Month = "2019-01".parse().unwrap();
    for by in 0..40 {
        let time = [at(&format!("{}-15T00:00:00Z", first.plus(by)))];
        let [a, b] = &mut programs;
        tokio::join!(a.store(&time), b.store(&time));
    }
    for program in programs {
        program.stop().await;
    }
    assert_eq!(database.count("SELECT count(*) FROM ingest_quarantine").await, 0);
    assert_eq!((strays(&database).await, rows(&database).await), (0, 80));
}

#[tokio::test]
async fn a_month_whose_name_is_taken_is_an_alarm_and_heals() {
    let database = Database::migrated().await;
    let client = database.client().await;
    let recorder = Gauges::default();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let mut running = Running::start(&database, at("2026-11-20T15:00:00Z"));
    running.store(&[at("2018-02-05T21:00:00Z")]).await;
    assert_eq!(recorder.get(DEFAULT_PARTITION_ROWS), Some(0.0));
    // Detached by an operator, and needed again.
    client.batch_execute("ALTER TABLE greek_ticks DETACH PARTITION greek_ticks_2018_02").await.unwrap();
    pass(Duration::from_secs(61)).await;
    running.store(&[at("2018-02-06T21:00:00Z"), at("2018-03-06T21:00:00Z")]).await;
    assert_eq!(database.count(DEFAULT).await, 1, "other months are made all the same");
    pass(Duration::from_secs(61)).await;
    running.store(&[at("2026-11-20T15:00:00Z")]).await;
    assert_eq!(recorder.get(DEFAULT_PARTITION_ROWS), Some(1.0));
    client.batch_execute("ALTER TABLE greek_ticks_2018_02 RENAME TO kept").await.unwrap();
    pass(Duration::from_secs(3 * 60)).await;
    running.store(&[at("2026-11-20T15:00:01Z")]).await;
    running.stop().await;
    assert_eq!(recorder.get(DEFAULT_PARTITION_ROWS), Some(0.0));
    assert_eq!((database.count(DEFAULT).await, strays(&database).await, rows(&database).await), (0, 0, 4));
}

/// The last value of each gauge of this thread.
#[derive(Default)]
struct Gauges(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(name).map(|bits| f64::from_bits(bits.load(Ordering::SeqCst)))
    }
}

impl metrics::Recorder for Gauges {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        let mut gauges = self.0.lock().unwrap();
        metrics::Gauge::from_arc(Arc::clone(gauges.entry(key.name().to_owned()).or_default()))
    }
    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}
