//! Durable store of Greek snapshots in PostgreSQL.

mod connection;
mod database;
mod migrate;
pub mod private;
mod tls;

pub use connection::ConnectError;
pub use database::{DatabaseConfig, DatabaseConfigError, SslMode};
pub use migrate::{MigrateError, Migrated, known_version, migrate};
pub use tls::{TlsSettings, TlsSetupError};
