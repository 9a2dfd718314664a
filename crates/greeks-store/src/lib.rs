//! Durable store of Greek snapshots in PostgreSQL: what was accepted is stored exactly once.
//!
//! Records go into a [`greeks_model::SnapshotSink`] and come out of a [`greeks_model::SnapshotLog`], numbered within an
//! incarnation. A [`Committer`] takes them from there and stores each batch in one transaction with the mark that says how
//! far it has come (`ingest_progress.last_seq`). The mark moves first and only from where the committer believes it to be,
//! so a lost connection, an ambiguous COMMIT, a killed server and a backend that outlives its client are all the same case:
//! read the mark, skip what is in. Rows are those of the view `greek_snapshots`; [`Queries`] reads them, [`migrate`] makes
//! the schema, and [`private`] runs a PostgreSQL for those who have none.
//!
//! ```no_run
//! use std::sync::Arc;
//! use greeks_model::Clock;
//! use greeks_store::{Commit, Committer, CommitterConfig, DatabaseConfig, memory_log, migrate};
//!
//! # async fn run(clock: Arc<dyn Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! let database = DatabaseConfig::parse("postgres://me@localhost/greeks?sslmode=prefer")?;
//! migrate(&database).await?;
//! let (sink, log) = memory_log(100_000);
//! let observer = |commit: Commit<'_>| tracing::debug!(upto = %commit.upto, "stored");
//! let config = CommitterConfig::new(database, "example");
//! let (committer, status) = Committer::new(config, Box::new(log), Box::new(observer), clock);
//! let stored = tokio::spawn(committer.run());
//! drop(sink); // append records from the pipeline thread first; the committer ends when the log does
//! println!("{} records stored, {:?}", stored.await??, status.borrow().state);
//! # Ok(())
//! # }
//! ```

#[macro_use]
mod failpoint;

mod commit;
mod connection;
mod connection_string;
mod database;
mod failure;
mod journal_log;
mod memory_log;
pub mod metrics;
mod migrate;
mod month;
mod partitions;
pub mod private;
mod queries;
mod roles;
mod servers;
mod tls;

pub use commit::{
    Commit, CommitError, CommitObserver, CommitPolicy, Committer, CommitterConfig, CommitterState, CommitterStatus,
};
pub use connection::ConnectError;
pub use database::{DatabaseConfig, DatabaseConfigError, SslMode};
#[cfg(feature = "failpoints")]
pub use failpoint::FAILPOINTS;
/// Re-exported because its types appear in public interfaces.
pub use greeks_journal;
pub use journal_log::{JournalFull, JournalLog, JournalLogWriter, JournalLogs, JournalMonitor, Leftover, journal_log};
pub use memory_log::{MemoryLog, MemoryLogAbort, MemoryLogWriter, memory_log};
pub use migrate::{MigrateError, Migrated, known_version, migrate};
pub use month::{InvalidMonth, Month};
pub use queries::{
    BrokerSide, CrossBrokerRow, Cursor, DatabaseCheck, GapFilter, GapRow, History, HistoryFilter, HistoryPoint,
    InvalidCursor, InvalidHistory, InvalidMetric, InvalidTrade, LatestValues, Metric, NewTrade, PartitionInfo,
    PositionRow, Queries, QueryError, SnapshotFilter, SnapshotPage, SnapshotRow, Trade, TradeCursor, TradeFilter,
    TradePage,
};
pub use roles::{INGEST_ROLE, MAINTENANCE_ROLE, READ_ROLE, RolesError, RolesMade, make_roles};
pub use tls::{TlsSettings, TlsSetupError};
/// Re-exported because its types appear in public interfaces.
pub use tokio_postgres;
