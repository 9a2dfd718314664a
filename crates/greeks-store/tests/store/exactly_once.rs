//! What was accepted is stored exactly once, whatever becomes of the connection, the server or an earlier writer.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Database, WallClock, client, eventually, series, ticks};
use greeks_model::{Record, Seq, SnapshotSink, testkit};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{Commit, Committer, CommitterConfig, DatabaseConfig, memory_log, migrate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const CALL: &str = "AAPL  261218C00232500";

/// What the observer was told: the numbers of the rows, in order, and how many were found stored already.
#[derive(Clone, Default)]
struct Acknowledged {
    rows: Arc<Mutex<Vec<u32>>>,
    found: Arc<AtomicUsize>,
}

impl Acknowledged {
    fn observer(&self) -> Box<dyn greeks_store::CommitObserver> {
        let this = self.clone();
        Box::new(move |commit: Commit<'_>| {
            if commit.took.is_zero() {
                this.found.fetch_add(commit.records.len(), Ordering::Relaxed);
            }
            for record in commit.records {
                match record {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    Record::Snapshot(tick) => this.rows.lock().unwrap().push(tick.quantity as u32),
                    other => panic!("{other:?}"),
                }
            }
        })
    }
}

/// Every row once in the database, and once at the observer, in order.
async fn assert_exactly_once(driver: &tokio_postgres::Config, seen: &Acknowledged, rows: u32) {
    let sql = "SELECT count(*), count(DISTINCT quantity), count(DISTINCT seq), coalesce(min(quantity), 0)::bigint, \
               coalesce(max(quantity), 0)::bigint FROM greek_ticks";
    let row = client(driver).await.query_one(sql, &[]).await.unwrap();
    let found: Vec<i64> = (0..5).map(|column| row.get(column)).collect();
    let n = i64::from(rows);
    assert_eq!(found, [n, n, n, 0, n - 1], "rows, distinct rows, distinct numbers, first, last");
    assert!(seen.rows.lock().unwrap().iter().copied().eq(0..rows), "acknowledged in order, each once");
}

/// Appends `rows` rows from a thread, as the pipeline does, a few at a time.
fn feed(mut sink: greeks_store::MemoryLogWriter, rows: u32, portion: u32) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let series = series("5WT00001", CALL);
        let mut next = 0;
        while next < rows {
            let end = rows.min(next + portion);
            sink.append(&ticks(&series, next..end)).unwrap();
            next = end;
        }
    })
}

#[tokio::test]
async fn terminated_backends_lose_nothing_and_double_nothing() {
    const ROWS: u32 = 30_000;
    let database = Database::migrated().await;
    let (sink, log) = memory_log(2_000);
    let seen = Acknowledged::default();
    let config = CommitterConfig::new(database.config.clone(), "test");
    let (committer, mut status) = Committer::new(config, Box::new(log), seen.observer(), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    let feeder = feed(sink, ROWS, 37);
    let killer = database.client().await;
    killer.batch_execute("SET application_name = 'killer'").await.unwrap();
    let mut killed = 0_i64;
    // Some progress between one blow and the next, never long enough for a quiet stretch.
    for upto in (0..ROWS).step_by(400).skip(1) {
        status.wait_for(|status| status.durable >= Seq(u64::from(upto))).await.unwrap();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name LIKE 'greekd%' AND datname = current_database()";
        killed += killer.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    }
    assert_eq!(run.await.unwrap().unwrap(), Seq(u64::from(ROWS)));
    feeder.join().unwrap();
    println!("{killed} backends terminated");
    assert!(killed >= 10, "{killed}");
    assert_exactly_once(&database.driver, &seen, ROWS).await;
}

#[tokio::test]
async fn a_restarted_and_a_killed_server_lose_nothing_and_double_nothing() {
    const ROWS: u32 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let mut server = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    migrate(&server.database()).await.unwrap();
    let (sink, log) = memory_log(500);
    let seen = Acknowledged::default();
    let config = CommitterConfig::new(server.database(), "test");
    let (committer, status) = Committer::new(config, Box::new(log), seen.observer(), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    let feeder = feed(sink, ROWS, 50);
    for (restart, upto) in [ROWS / 4, ROWS / 2].into_iter().enumerate() {
        let mut status = status.clone();
        status.wait_for(|status| status.durable >= Seq(u64::from(upto))).await.unwrap();
        if restart == 1 {
            // As a power cut for everything but the page cache: no shutdown, recovery from the log.
            let pid = server.pid().to_string();
            assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            server.exited().wait_for(Option::is_some).await.unwrap();
        }
        server.restart().await.unwrap();
    }
    assert_eq!(run.await.unwrap().unwrap(), Seq(u64::from(ROWS)));
    feeder.join().unwrap();
    assert_exactly_once(&server.config(), &seen, ROWS).await;
    server.stop().await.unwrap();
}

/// A transaction of a writer that was given up holds the mark; the next writer waits for it and skips what it stored.
#[tokio::test]
async fn a_zombie_that_commits_late_is_waited_for() {
    let database = Database::migrated().await;
    // The primary key would catch a row sent twice: without it the mark alone has to do.
    database.client().await.batch_execute("ALTER TABLE greek_ticks DROP CONSTRAINT greek_ticks_pkey").await.unwrap();
    let records = ticks(&series("5WT00001", CALL), 0..5);
    let incarnation = greeks_model::Uuid::new_v4();
    let run = |records: Vec<Record>, seen: &Acknowledged| {
        let log = Box::new(testkit::MemoryLog::resume(incarnation, records));
        let config = CommitterConfig::new(database.config.clone(), "test");
        tokio::spawn(Committer::new(config, log, seen.observer(), Arc::new(WallClock)).0.run())
    };
    run(records[..1].to_vec(), &Acknowledged::default()).await.unwrap().unwrap();

    for commits in [true, false] {
        let mark = database.count("SELECT last_seq FROM ingest_progress").await;
        let zombie = database.client().await;
        let rows = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
                    SELECT event_time + interval '1 ms', seq + 1, received_at, series_id, quantity + 1 FROM greek_ticks \
                    ORDER BY seq DESC LIMIT 1";
        zombie
            .batch_execute(&format!("BEGIN; UPDATE ingest_progress SET last_seq = {}; {rows}", mark + 1))
            .await
            .unwrap();
        let seen = Acknowledged::default();
        let upto = usize::try_from(mark).unwrap() + 2;
        let next = run(records[..upto].to_vec(), &seen);
        eventually("the writer waits for the zombie", || async {
            database
                .count(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND query LIKE 'UPDATE ingest_progress%' AND datname = current_database()",
                )
                .await
                == 1
        })
        .await;
        zombie.batch_execute(if commits { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
        assert_eq!(next.await.unwrap().unwrap(), Seq(upto as u64));
        let sql = "SELECT count(*) = count(DISTINCT seq) AND count(*) = max(quantity) + 1 AND count(*) = (SELECT last_seq \
                   FROM ingest_progress) FROM greek_ticks";
        assert!(
            database.client().await.query_one(sql, &[]).await.unwrap().get::<_, bool>(0),
            "zombie commits: {commits}"
        );
        assert_eq!(database.count("SELECT count(*) FROM greek_ticks").await, i64::try_from(upto).unwrap());
    }
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The COMMIT does not reach the server.
    BeforeCommit,
    /// The server has committed and its answer does not arrive.
    BeforeReply,
    /// Half of what was sent with the rows arrives.
    MidCopy,
}

/// A door to the server that cuts every `every`-th transaction, each time somewhere else.
struct Chaos {
    dir: tempfile::TempDir,
    cuts: Arc<Mutex<Vec<Cut>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Chaos {
    fn new(server: &Path, every: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let target = server.join(".s.PGSQL.5432");
        let cuts = Arc::new(Mutex::new(Vec::new()));
        let (log, commits) = (Arc::clone(&cuts), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(near, target.clone(), Arc::clone(&commits), every, Arc::clone(&log)));
            }
        });
        Self { dir, cuts, task }
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut near: UnixStream,
    target: PathBuf,
    commits: Arc<AtomicUsize>,
    every: usize,
    log: Arc<Mutex<Vec<Cut>>>,
) {
    let mut far = UnixStream::connect(target).await.unwrap();
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &up[..length];
                let commit = sent.windows(7).position(|bytes| bytes == b"COMMIT\0");
                let due = commit.is_some() && commits.fetch_add(1, Ordering::Relaxed) % every == every - 1;
                let Some(at) = commit.filter(|_| due) else {
                    if far.write_all(sent).await.is_err() { return }
                    continue;
                };
                let cut = [Cut::BeforeCommit, Cut::BeforeReply, Cut::MidCopy][commits.load(Ordering::Relaxed) / every % 3];
                log.lock().unwrap().push(cut);
                match cut {
                    // 5 bytes of the message's head stand before its text.
                    Cut::BeforeCommit => far.write_all(&sent[..at - 5]).await.unwrap(),
                    Cut::MidCopy => far.write_all(&sent[..(at - 5) / 2]).await.unwrap(),
                    Cut::BeforeReply => {
                        far.write_all(sent).await.unwrap();
                        let mut reply = Vec::new();
                        while !reply.windows(7).any(|bytes| bytes == b"COMMIT\0") {
                            assert_ne!(far.read_buf(&mut reply).await.unwrap(), 0);
                        }
                    }
                }
                return;
            }
            read = far.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if near.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn connections_cut_around_commit_lose_nothing_and_double_nothing() {
    const ROWS: u32 = 20_000;
    let database = Database::migrated().await;
    // As above: what the key would catch is not to be caught here.
    database.client().await.batch_execute("ALTER TABLE greek_ticks DROP CONSTRAINT greek_ticks_pkey").await.unwrap();
    let chaos = Chaos::new(database.server.private.socket_dir(), 4);
    let mut through = tokio_postgres::Config::new();
    through.host_path(chaos.dir.path()).user("greekd").dbname(database.config.database());
    let (sink, log) = memory_log(1_000);
    let seen = Acknowledged::default();
    let mut config = CommitterConfig::new(DatabaseConfig::new(through), "test");
    config.policy.max_records = 100;
    let run = tokio::spawn(Committer::new(config, Box::new(log), seen.observer(), Arc::new(WallClock)).0.run());
    let feeder = feed(sink, ROWS, 60);
    assert_eq!(run.await.unwrap().unwrap(), Seq(u64::from(ROWS)));
    feeder.join().unwrap();
    assert_exactly_once(&database.driver, &seen, ROWS).await;
    let cuts = chaos.cuts.lock().unwrap().clone();
    let of = |cut| cuts.iter().filter(|made| **made == cut).count();
    println!("{} connections cut, {} rows found stored already", cuts.len(), seen.found.load(Ordering::Relaxed));
    assert!(of(Cut::BeforeCommit) > 10 && of(Cut::BeforeReply) > 10 && of(Cut::MidCopy) > 10, "{cuts:?}");
    // The control: without reading the mark these rows would have been sent twice.
    assert!(seen.found.load(Ordering::Relaxed) >= of(Cut::BeforeReply));
}
