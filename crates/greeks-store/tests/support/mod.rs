//! One private server per test program, shared by the tests that run at the same time, and a database per test.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use greeks_model::{
    AccountId, Clock, Contract, Decimal, GreekSnapshot, LogError, Record, Seq, Series, SnapshotLog, SourceId,
    UnixNanos, jiff::Timestamp,
};
use greeks_store::greeks_journal::{Error, Options};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{DatabaseConfig, JournalLog, JournalLogs, journal_log, migrate};
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Stops with the last test that uses it.
pub struct Server {
    pub private: PrivateServer,
    _dir: tempfile::TempDir,
}

/// A database of its own, migrated unless said otherwise.
pub struct Database {
    pub server: Arc<Server>,
    pub config: DatabaseConfig,
    pub driver: tokio_postgres::Config,
}

pub async fn server() -> Arc<Server> {
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let dir = tempfile::tempdir().unwrap();
    let private = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let server = Arc::new(Server { private, _dir: dir });
    *shared = Arc::downgrade(&server);
    server
}

impl Database {
    pub async fn empty() -> Self {
        let server = server().await;
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let driver = server.private.create_database(&name).await.unwrap();
        Self { server, config: DatabaseConfig::new(driver.clone()), driver }
    }

    pub async fn migrated() -> Self {
        let database = Self::empty().await;
        migrate(&database.config).await.unwrap();
        database
    }

    pub async fn client(&self) -> Client {
        client(&self.driver).await
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

pub async fn client(config: &tokio_postgres::Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[derive(Debug)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_timestamp(Timestamp::now())
    }
}

pub fn at(text: &str) -> UnixNanos {
    UnixNanos::from_timestamp(text.parse().unwrap())
}

pub fn series(account: &str, contract: &str) -> Arc<Series> {
    let contract: Contract = contract.parse().unwrap();
    Arc::new(Series {
        broker: SourceId::new("tastytrade").unwrap(),
        account_id: AccountId::new(account).unwrap(),
        underlying: contract.root().into(),
        contract,
        multiplier: Decimal::from(100),
    })
}

/// A row whose quantity tells which it is.
pub fn tick(series: &Arc<Series>, number: u32) -> GreekSnapshot {
    let time = at("2026-11-20T15:00:00Z").saturating_add(Duration::from_millis(u64::from(number)));
    let mut tick = GreekSnapshot::new(Arc::clone(series), time, time, f64::from(number));
    tick.delta = Some(0.5);
    tick
}

pub fn ticks(series: &Arc<Series>, numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(|number| Record::Snapshot(tick(series, number))).collect()
}

/// A small journal; waits for what still reads in one that was just dropped.
pub fn open_journal(dir: &Path, segment_bytes: u64, segments: u64) -> JournalLogs {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let options = Options { segment_bytes, max_bytes: segments * segment_bytes, ..Options::default() };
        match journal_log(dir, options) {
            Err(Error::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Everything from the beginning to the end of a log that ends, each batch following the one before.
pub async fn drain(log: &mut JournalLog) -> (usize, Vec<Record>) {
    let (mut first, mut records) = (0, Vec::<Record>::new());
    loop {
        let after = Seq(if records.is_empty() { 0 } else { (first - 1 + records.len()) as u64 });
        match log.next(after, 70).await {
            Ok(batch) if records.is_empty() => {
                (first, records) = (usize::try_from(batch.first.0).unwrap(), batch.records);
            }
            Ok(batch) => {
                assert_eq!(batch.first, after.plus(1));
                records.extend(batch.records);
            }
            Err(LogError::Closed) => return (first, records),
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
