//! Questions about what could not be received.

use greeks_model::{GapReason, GapRecord, SourceId, UnixNanos};
use jiff::Timestamp;

use super::pool::{Queries, QueryError};

const OPEN: &str = "SELECT source, gap_from, reason, events FROM ingest_gaps \
                    WHERE kind = 'gap' AND gap_to IS NULL ORDER BY source, gap_from";

impl Queries {
    /// Gaps whose end is not known yet: what a process that ended left open for the next one to close.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer or holds something this program did not write.
    pub async fn open_gaps(&self) -> Result<Vec<GapRecord>, QueryError> {
        let rows = self.rows(OPEN, &[]).await?;
        rows.iter()
            .map(|row| {
                let (source, reason): (String, String) = (row.try_get(0)?, row.try_get(2)?);
                let refuse = |column: &'static str, value: &str| QueryError::Value { column, value: value.into() };
                Ok(GapRecord {
                    from: UnixNanos::from_timestamp(row.try_get::<_, Timestamp>(1)?),
                    to: None,
                    reason: GapReason::from_name(&reason).ok_or_else(|| refuse("reason", &reason))?,
                    count: row.try_get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                    source: SourceId::new(&source).map_err(|_| refuse("source", &source))?,
                })
            })
            .collect()
    }
}
