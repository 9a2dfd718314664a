//! The state of the database, for people and for readiness.

use greeks_model::UnixNanos;
use greeks_model::jiff::Timestamp;

use super::pool::{Queries, QueryError};
use crate::migrate;
use crate::month::{Month, month_of_partition};

/// What kind of database this is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseCheck {
    /// `server_version`, such as `15.18 (Debian ..)`.
    pub server_version: String,
    /// `server_version_num`, such as 150018; 14 to 18 are supported.
    pub server_version_num: i32,
    /// The schema's version, `None` before the first migration.
    pub schema_version: Option<i32>,
    /// The schema's version this program needs.
    pub needed_version: i32,
    /// Whether it accepts writes: not a standby, not read-only.
    pub writable: bool,
    /// Whether we may migrate: make tables where there are none, and change those that are there.
    pub may_create: bool,
    /// Whether we may store rows and make partitions; `None` where the schema is not the one this program knows.
    pub may_store: Option<bool>,
    /// `fsync`: without it an acknowledged row is not safe.
    pub fsync: bool,
    /// `synchronous_commit` of our sessions; the committer raises `off` to `on` for itself.
    pub synchronous_commit: String,
    /// The database's clock.
    pub now: UnixNanos,
}

/// One partition of `greek_ticks`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// The table.
    pub table: String,
    /// Its month; `None` for the default partition.
    pub month: Option<Month>,
    /// Rows in it, counted.
    pub rows: u64,
    /// Bytes on disk with indexes.
    pub bytes: u64,
}

const CHECK: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
    NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::bool, \
    has_schema_privilege(current_schema(), 'CREATE') \
    AND coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('greek_ticks')), true), \
    current_setting('fsync')::bool, \
    current_setting('synchronous_commit'), clock_timestamp(), to_regclass('refinery_schema_history') IS NOT NULL";

/// The rights of `greekd_ingest` (roles.sql), those on single columns left out: who has these has been given the role.
const MAY_STORE: &str = "SELECT bool_and(has_table_privilege(stored, 'INSERT')) \
    AND has_table_privilege('portfolio_minutes', 'INSERT') AND has_table_privilege('portfolio_minutes', 'DELETE') \
    AND has_function_privilege('greekd_make_partition(date)', 'EXECUTE') \
    AND has_column_privilege('ingest_progress', 'last_seq', 'UPDATE') \
    FROM unnest(ARRAY['greek_ticks', 'series', 'positions_history', 'ingest_gaps', 'ingest_progress', 'ingest_quarantine']) \
    AS stored";

const VERSION: &str = "SELECT max(version) FROM refinery_schema_history";

/// Counting is exact and reads an index; `reltuples` would be cheap and wrong for hours.
const PARTITIONS: &str = "SELECT c.relname::text, pg_total_relation_size(c.oid), coalesce(k.n, 0) \
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    LEFT JOIN (SELECT tableoid, count(*) AS n FROM greek_ticks GROUP BY tableoid) k ON k.tableoid = c.oid \
    WHERE i.inhparent = to_regclass('greek_ticks') ORDER BY c.relname";

impl Queries {
    /// Looks at the server and the schema.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn check(&self) -> Result<DatabaseCheck, QueryError> {
        let rows = self.rows(CHECK, &[]).await?;
        let row = rows.first().ok_or(QueryError::Value { column: "check", value: String::new() })?;
        let migrated: bool = row.try_get(7)?;
        let schema_version = match migrated {
            true => self.rows(VERSION, &[]).await?.first().and_then(|row| row.get(0)),
            false => None,
        };
        let may_store = match schema_version == Some(migrate::known_version()) {
            true => self.rows(MAY_STORE, &[]).await?.first().map(|row| row.try_get(0)).transpose()?,
            false => None,
        };
        Ok(DatabaseCheck {
            may_store,
            server_version: row.try_get(0)?,
            server_version_num: row.try_get(1)?,
            schema_version,
            needed_version: migrate::known_version(),
            writable: row.try_get(2)?,
            may_create: row.try_get::<_, Option<bool>>(3)?.unwrap_or(false),
            fsync: row.try_get(4)?,
            synchronous_commit: row.try_get(5)?,
            now: UnixNanos::from_timestamp(row.try_get::<_, Timestamp>(6)?),
        })
    }

    /// Every partition with its rows. Counts them: seconds on a large database.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn partitions(&self) -> Result<Vec<PartitionInfo>, QueryError> {
        let rows = self.rows(PARTITIONS, &[]).await?;
        rows.iter()
            .map(|row| {
                let table: String = row.try_get(0)?;
                Ok(PartitionInfo {
                    month: month_of_partition(&table),
                    table,
                    bytes: row.try_get::<_, i64>(1)?.unsigned_abs(),
                    rows: row.try_get::<_, i64>(2)?.unsigned_abs(),
                })
            })
            .collect()
    }
}
