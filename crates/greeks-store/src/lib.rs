//! Durable store of Greek snapshots in PostgreSQL.

mod commit;
mod connection;
mod database;
mod failure;
mod memory_log;
pub mod metrics;
mod migrate;
mod partitions;
pub mod private;
mod queries;
mod tls;

pub use commit::{
    Commit, CommitError, CommitObserver, CommitPolicy, Committer, CommitterConfig, CommitterState, CommitterStatus,
};
pub use connection::ConnectError;
pub use database::{DatabaseConfig, DatabaseConfigError, SslMode};
pub use memory_log::{MemoryLog, MemoryLogAbort, MemoryLogWriter, memory_log};
pub use migrate::{MigrateError, Migrated, known_version, migrate};
pub use partitions::{InvalidMonth, Month};
pub use queries::{
    Cursor, DatabaseCheck, InvalidCursor, PartitionInfo, Queries, QueryError, SnapshotFilter, SnapshotPage, SnapshotRow,
};
pub use tls::{TlsSettings, TlsSetupError};
/// Re-exported because its types appear in public interfaces.
pub use tokio_postgres;
