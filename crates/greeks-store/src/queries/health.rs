//! Counts that somebody should be told of when they are not what they should be.

use greeks_model::UnixNanos;
use greeks_model::jiff::Timestamp;

use super::pool::{Queries, QueryError};
use crate::month::{Month, month_of_partition};

const QUARANTINED: &str = "SELECT count(*) FROM ingest_quarantine WHERE quarantined_at >= $1";

/// The function may see DEFAULT alone, which costs nothing while it is empty; through the parent every row is read.
const STRAYS: &str = "SELECT coalesce(sum(month_rows), 0)::bigint FROM greekd_default_months()";

const MONTHS: &str = "SELECT c.relname::text, statement_timestamp() FROM pg_inherits i \
    JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('greek_ticks')";

impl Queries {
    /// Records that the database has refused at `since` or later; each is kept in `ingest_quarantine`.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn quarantined(&self, since: UnixNanos) -> Result<u64, QueryError> {
        // The database keeps whole microseconds, rounded down.
        let since = UnixNanos::from_micros(since.as_micros()).to_timestamp();
        self.count(QUARANTINED, &[&since]).await
    }

    /// Rows in the default partition, whose month could not be made; 0 when all is well.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn default_rows(&self) -> Result<u64, QueryError> {
        self.count(STRAYS, &[]).await
    }

    /// Consecutive months that have their partition, from the present one on by the database's clock.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn months_ready(&self) -> Result<u32, QueryError> {
        let rows = self.rows(MONTHS, &[]).await?;
        let Some(now) = rows.first().map(|row| row.try_get::<_, Timestamp>(1)).transpose()? else { return Ok(0) };
        let this = Month::of(UnixNanos::from_timestamp(now));
        let months = rows.iter().map(|row| row.try_get::<_, &str>(0).map(month_of_partition));
        let months = months.collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        let ready = (0..).take_while(|by| months.contains(&Some(this.plus(*by)))).count();
        Ok(u32::try_from(ready).unwrap_or(u32::MAX))
    }

    async fn count(&self, sql: &str, params: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<u64, QueryError> {
        let rows = self.rows(sql, params).await?;
        let count = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }
}
