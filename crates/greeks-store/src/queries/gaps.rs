//! Questions about what could not be received or kept.

use greeks_model::{GapReason, GapRecord, SourceId, UnixNanos};
use jiff::Timestamp;
use tokio_postgres::Row;

use super::pool::{Queries, QueryError};

const OPEN: &str = "SELECT source, gap_from, gap_to, reason, events FROM ingest_gaps \
                    WHERE kind = 'gap' AND gap_to IS NULL ORDER BY source, gap_from";

const SINCE: &str = "SELECT source, gap_from, gap_to, reason, events FROM ingest_gaps \
                     WHERE kind = 'gap' AND gap_from >= $1 ORDER BY source, gap_from";

/// A gap that is open still goes on; two stretches meet when neither ends before the other begins.
const MEETING: &str = "SELECT source, kind, gap_from, gap_to, reason, events, noted_at FROM ingest_gaps \
    WHERE ($1::text[] IS NULL OR source = ANY ($1)) AND ($2::timestamptz IS NULL OR gap_to IS NULL OR gap_to >= $2) \
      AND ($3::timestamptz IS NULL OR gap_from < $3) \
    ORDER BY gap_from DESC, source, kind LIMIT $4";

/// The source of gaps that damage to the journal has made: nobody knows whose records they were.
pub(super) const JOURNAL: &str = "journal";

/// Which gaps; what is `None` does not restrict. The default is the newest 100 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GapFilter {
    /// The source.
    pub source: Option<String>,
    /// Gaps that do not end before this.
    pub from: Option<UnixNanos>,
    /// Gaps that begin before this.
    pub to: Option<UnixNanos>,
    /// At most so many.
    pub limit: u32,
}

impl Default for GapFilter {
    fn default() -> Self {
        Self { source: None, from: None, to: None, limit: 100 }
    }
}

/// One row of `ingest_gaps`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GapRow {
    /// Whose values are missing; `journal` where that cannot be told any more.
    pub source: String,
    /// `gap`: could not be received; `shed`: was received and could not be kept.
    pub kind: String,
    /// The last moment up to which the stream was whole.
    pub from: UnixNanos,
    /// When it was whole again; `None` while that is not known.
    pub to: Option<UnixNanos>,
    /// Why: `disconnected`, `silence`, ..
    pub reason: String,
    /// How many events are missing, where that is known.
    pub events: Option<u64>,
    /// When the row was made.
    pub noted_at: UnixNanos,
}

impl Queries {
    /// Gaps newest first.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn gaps(&self, filter: &GapFilter) -> Result<Vec<GapRow>, QueryError> {
        let sources = filter.source.as_ref().map(|source| vec![source.clone()]);
        let (from, to) = (filter.from.map(UnixNanos::to_timestamp), filter.to.map(UnixNanos::to_timestamp));
        self.meeting(sources, from, to, filter.limit).await
    }

    /// The newest gaps of these sources, or of all, that meet the time between.
    pub(super) async fn meeting(
        &self,
        sources: Option<Vec<String>>,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<GapRow>, QueryError> {
        let rows = self.rows(MEETING, &[&sources, &from, &to, &i64::from(limit)]).await?;
        rows.iter()
            .map(|row| {
                Ok(GapRow {
                    source: row.try_get(0)?,
                    kind: row.try_get(1)?,
                    from: time(row.try_get(2)?),
                    to: row.try_get::<_, Option<Timestamp>>(3)?.map(time),
                    reason: row.try_get(4)?,
                    events: row.try_get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
                    noted_at: time(row.try_get(6)?),
                })
            })
            .collect()
    }

    /// Gaps whose end is not known yet: what a process that ended left open for the next one to close.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer or holds something this program did not write.
    pub async fn open_gaps(&self) -> Result<Vec<GapRecord>, QueryError> {
        self.rows(OPEN, &[]).await?.iter().map(record).collect()
    }

    /// Gaps, open and closed, that begin at `from` or later.
    ///
    /// # Errors
    /// As [`Queries::open_gaps`].
    pub async fn gaps_since(&self, from: UnixNanos) -> Result<Vec<GapRecord>, QueryError> {
        // The database keeps whole microseconds, rounded down.
        let from = UnixNanos::from_micros(from.as_micros()).to_timestamp();
        self.rows(SINCE, &[&from]).await?.iter().map(record).collect()
    }
}

fn record(row: &Row) -> Result<GapRecord, QueryError> {
    let (source, reason): (String, String) = (row.try_get(0)?, row.try_get(3)?);
    let refuse = |column: &'static str, value: &str| QueryError::Value { column, value: value.into() };
    Ok(GapRecord {
        from: time(row.try_get(1)?),
        to: row.try_get::<_, Option<Timestamp>>(2)?.map(time),
        reason: GapReason::from_name(&reason).ok_or_else(|| refuse("reason", &reason))?,
        count: row.try_get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
        source: SourceId::new(&source).map_err(|_| refuse("source", &source))?,
    })
}

fn time(at: Timestamp) -> UnixNanos {
    UnixNanos::from_timestamp(at)
}
