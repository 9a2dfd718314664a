//! What the database says, in SQL and nothing else.

use std::fmt;

use greeks_store::tokio_postgres::{Client, Error, Row as SqlRow};

use crate::torture::records::Row;

/// A row of `greek_ticks`, in the order of receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// What it says.
    pub row: Row,
    /// Which run of numbers it belongs to.
    pub stream: i64,
    /// Its number there.
    pub number: i64,
}

impl fmt::Display for StoredRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of stream {}: {}", self.number, self.stream, self.row)
    }
}

/// A row of `ingest_gaps`, times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGap {
    /// Whose.
    pub source: String,
    /// `gap` or `shed`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// The last moment up to which all is there.
    pub from: i64,
    /// `None` while it lasts.
    pub to: Option<i64>,
}

/// A row of `ingest_progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which run of numbers.
    pub stream: i64,
    /// Everything up to it is stored.
    pub last: i64,
}

/// Minute in microseconds, broker, account and underlying.
pub type MinuteKey = (i64, String, String, String);

/// Delta, delta dollars, gamma of 1 %, theta and vega; then the contracts held, and those that are covered.
pub type MinuteFigures = ([Option<f64>; 5], i64, i64);

/// All that the judge looks at.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// By time of receipt, then number.
    pub rows: Vec<StoredRow>,
    /// By their beginning.
    pub gaps: Vec<StoredGap>,
    /// By stream.
    pub marks: Vec<Mark>,
    /// What the database refused, for people.
    pub quarantined: Vec<String>,
    /// Numbers in tables of other things: stream and number.
    pub others: Vec<(i64, i64)>,
    /// The book by the minute, of those minutes that are stored: as it is read, and as its rows say.
    pub minutes: [Vec<(MinuteKey, MinuteFigures)>; 2],
}

const ROWS: &str = "SELECT s.broker, s.account_id, s.contract_key,
        (extract(epoch FROM t.event_time) * 1000000)::bigint, (extract(epoch FROM t.received_at) * 1000000)::bigint,
        t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility, t.option_price, t.underlying_price,
        t.seq >> 40, t.seq & ((1::bigint << 40) - 1)
   FROM greek_ticks t LEFT JOIN series s USING (series_id) ORDER BY t.received_at, t.seq";
const GAPS: &str = "SELECT source, kind, reason, (extract(epoch FROM gap_from) * 1000000)::bigint,
        (extract(epoch FROM gap_to) * 1000000)::bigint FROM ingest_gaps ORDER BY gap_from";
const MARKS: &str = "SELECT stream::bigint, last_seq FROM ingest_progress ORDER BY stream";
const QUARANTINED: &str =
    "SELECT incarnation || '/' || seq || ': ' || sqlstate || ' ' || message FROM ingest_quarantine";
const OTHERS: &str = "SELECT DISTINCT seq >> 40, seq & ((1::bigint << 40) - 1) FROM
        (SELECT seq FROM ingest_gaps UNION ALL SELECT seq FROM positions_history) AS other";
/// As the view says it; sums over accounts and everything, which it does not have, as they are kept. Where nothing was held
/// the rows say nothing.
const MINUTES: &str = "SELECT (extract(epoch FROM minute) * 1000000)::bigint, broker, account_id, underlying,
        delta, delta_dollars, gamma_1pct, theta, vega, lines, lines_covered
   FROM (SELECT minute, broker, account_id, underlying, delta, delta_dollars, gamma_1pct, theta, vega, lines, lines_covered
           FROM v_portfolio_1m WHERE minute = ANY (SELECT minute FROM stored)
         UNION ALL
         SELECT minute, broker, account_id, underlying, delta, delta_dollars, gamma_1pct, theta, vega, lines, lines_covered
           FROM portfolio_minutes WHERE underlying = '' AND (lines > 0 OR broker <> '')) AS said";
/// Of each underlying, of each account and of everything, as they are stored.
const RECOUNTED: &str = "SELECT (extract(epoch FROM minute) * 1000000)::bigint, coalesce(broker, ''),
        coalesce(account_id, ''), coalesce(underlying, ''), sum(delta), sum(delta_dollars), sum(gamma_1pct), sum(theta),
        sum(vega), sum(lines)::bigint, sum(lines_covered)::bigint
   FROM v_portfolio_1m WHERE minute = ANY (SELECT minute FROM stored)
  GROUP BY GROUPING SETS ((minute, broker, account_id, underlying), (minute, broker, account_id), (minute))";

/// Reads everything.
///
/// # Errors
/// When a query fails.
pub(super) async fn read(client: &Client) -> Result<Stored, Error> {
    let rows = client.query(ROWS, &[]).await?.iter().map(stored_row).collect();
    let gap = |row: &SqlRow| StoredGap {
        source: row.get(0),
        kind: row.get(1),
        reason: row.get(2),
        from: row.get(3),
        to: row.get(4),
    };
    let gaps = client.query(GAPS, &[]).await?.iter().map(gap).collect();
    let mark = |row: &SqlRow| Mark { stream: row.get(0), last: row.get(1) };
    let marks = client.query(MARKS, &[]).await?.iter().map(mark).collect();
    let quarantined = client.query(QUARANTINED, &[]).await?.iter().map(|row| row.get(0)).collect();
    let others = client.query(OTHERS, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let minutes = minutes(client).await?;
    Ok(Stored { rows, gaps, marks, quarantined, others, minutes })
}

async fn minutes(client: &Client) -> Result<[Vec<(MinuteKey, MinuteFigures)>; 2], Error> {
    let known = "BEGIN; CREATE TEMP TABLE stored ON COMMIT DROP AS SELECT DISTINCT minute FROM portfolio_minutes";
    client.batch_execute(known).await?;
    let read = client.query(MINUTES, &[]).await?.iter().map(minute).collect();
    client.batch_execute("DELETE FROM portfolio_minutes").await?;
    let recounted = client.query(RECOUNTED, &[]).await?.iter().map(minute).collect();
    client.batch_execute("ROLLBACK").await?;
    Ok([read, recounted])
}

fn minute(row: &SqlRow) -> (MinuteKey, MinuteFigures) {
    let figures = std::array::from_fn(|at| row.get(at + 4));
    ((row.get(0), row.get(1), row.get(2), row.get(3)), (figures, row.get(9), row.get(10)))
}

fn stored_row(row: &SqlRow) -> StoredRow {
    let text = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    StoredRow {
        row: Row {
            source: text(0),
            account: text(1),
            contract: text(2),
            event_time: row.get(3),
            received_at: row.get(4),
            values: std::array::from_fn(|at| row.get::<_, Option<f64>>(at + 5).map(f64::to_bits)),
        },
        stream: row.get(13),
        number: row.get(14),
    }
}
