//! Rows by filter, and the newest of each series.

use greeks_model::jiff::Timestamp;
use greeks_model::{GreekSnapshot, UnixNanos};
use tokio_postgres::types::ToSql;

use super::filter::{Cursor, SnapshotFilter};
use super::pool::{Queries, QueryError};
use super::row::{COLUMNS, SnapshotRow};

/// Some rows, newest first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SnapshotPage {
    /// The rows.
    pub rows: Vec<SnapshotRow>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// Times that no row reaches. Both are within the range of PostgreSQL.
const BEGIN: UnixNanos = UnixNanos::from_nanos(i64::MIN);
const END: UnixNanos = UnixNanos::from_nanos(i64::MAX);

const SERIES: &str = "SELECT series_id FROM series WHERE ($1::text IS NULL OR broker = $1) \
    AND ($2::text IS NULL OR account_id = $2) AND ($3::text IS NULL OR contract_key = $3) \
    AND ($4::text IS NULL OR underlying = $4)";

/// Behind the cursor, newest first.
const ORDER: &str = "ORDER BY event_time DESC, seq DESC LIMIT $5";
/// So few series are each asked at once.
const FEW: usize = 8;
/// The most rows looked through in order of time before each series is asked for its own.
const MOST_SCANNED: i64 = 20_000;

const WINDOW: &str = "event_time >= $1 AND event_time < $2 AND event_time <= $3 \
                      AND (event_time, seq) < ($3, $4)";

impl Queries {
    /// Rows newest first.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question and nothing else.
    pub async fn snapshots(&self, filter: &SnapshotFilter) -> Result<SnapshotPage, QueryError> {
        let limit = filter.limit.clamp(1, SnapshotFilter::MAX_LIMIT);
        let cursor = filter.cursor.unwrap_or(Cursor { event_time_micros: END.as_micros(), seq: i64::MAX });
        let (from, to) = (micros(filter.from.unwrap_or(BEGIN)), micros(filter.to.unwrap_or(END)));
        let behind = micros(UnixNanos::from_micros(cursor.event_time_micros));
        // One more than asked for tells whether there is a next page.
        let fetch = i64::from(limit) + 1;
        let rows = if filter.restricts_series() {
            let ids = self.series_of(filter).await?;
            let params: [&(dyn ToSql + Sync); 6] = [&from, &to, &behind, &cursor.seq, &fetch, &ids];
            let scan = i64::try_from(ids.len()).unwrap_or(i64::MAX).saturating_mul(fetch).min(MOST_SCANNED);
            // Many series together are soon found among the newest rows of all; a few, or quiet ones, each at its own.
            let mut rows = Vec::new();
            if ids.len() > FEW {
                rows = self.rows(&among_all(), &[params.as_slice(), &[&scan]].concat()).await?;
            }
            if i64::try_from(rows.len()).is_ok_and(|found| found < fetch) {
                rows = self.rows(&of_each(), &params).await?;
            }
            rows
        } else {
            let sql = format!(
                "SELECT {COLUMNS} FROM (SELECT * FROM greek_ticks WHERE {WINDOW} {ORDER}) t JOIN series s USING (series_id) \
                 ORDER BY t.event_time DESC, t.seq DESC"
            );
            self.rows(&sql, &[&from, &to, &behind, &cursor.seq, &fetch]).await?
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        let rows: Vec<SnapshotRow> = rows.iter().take(limit).map(SnapshotRow::read).collect::<Result<_, _>>()?;
        let next = rows.last().filter(|_| more).map(SnapshotRow::cursor);
        Ok(SnapshotPage { rows, next })
    }

    /// The row with the newest `event_time` of each series that the filter lets through; its times, limit and cursor do
    /// not count here.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn latest(&self, filter: &SnapshotFilter) -> Result<Vec<SnapshotRow>, QueryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM series s CROSS JOIN LATERAL (SELECT * FROM greek_ticks \
             WHERE greek_ticks.series_id = s.series_id ORDER BY greek_ticks.event_time DESC, greek_ticks.seq DESC LIMIT 1) t \
             WHERE s.series_id = ANY ($1) ORDER BY s.broker, s.account_id, s.contract_key, s.multiplier"
        );
        let ids = self.series_of(filter).await?;
        self.rows(&sql, &[&ids]).await?.iter().map(SnapshotRow::read).collect()
    }

    /// The newest row of every series, in the form in which it was stored: what the memory of duplicates is seeded with.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer or holds something this program did not write.
    pub async fn last_rows(&self) -> Result<Vec<GreekSnapshot>, QueryError> {
        self.latest(&SnapshotFilter::default()).await?.into_iter().map(SnapshotRow::into_snapshot).collect()
    }

    async fn series_of(&self, filter: &SnapshotFilter) -> Result<Vec<i32>, QueryError> {
        let SnapshotFilter { broker, account_id, contract_key, underlying, .. } = filter;
        let rows = self.rows(SERIES, &[broker, account_id, contract_key, underlying]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Every series gives its own newest, each by one walk along its index: costs series times rows asked for.
fn of_each() -> String {
    format!(
        "SELECT {COLUMNS} FROM (SELECT n.* FROM unnest($6::int[]) AS k(id) CROSS JOIN LATERAL \
         (SELECT * FROM greek_ticks WHERE series_id = k.id AND {WINDOW} {ORDER}) n \
         {ORDER}) t JOIN series s USING (series_id) ORDER BY t.event_time DESC, t.seq DESC"
    )
}

/// Walks along the time, through `$7` rows at most, and stops when it has enough. What it finds short of that may not be
/// all there is.
fn among_all() -> String {
    format!(
        "SELECT {COLUMNS} FROM (SELECT w.* FROM (SELECT * FROM greek_ticks WHERE {WINDOW} \
         ORDER BY event_time DESC, seq DESC LIMIT $7) w WHERE w.series_id = ANY ($6::int[]) {ORDER}) t \
         JOIN series s USING (series_id) ORDER BY t.event_time DESC, t.seq DESC"
    )
}

fn micros(at: UnixNanos) -> Timestamp {
    UnixNanos::from_micros(at.as_micros()).to_timestamp()
}
