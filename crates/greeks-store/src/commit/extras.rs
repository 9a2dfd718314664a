//! The records that are not ticks: position changes, gaps, sheds, and what was refused. Each statement runs inside the
//! transaction that moves the mark.

use std::collections::{BTreeMap, HashMap};

use greeks_model::jiff::Timestamp;
use greeks_model::{Decimal, GapRecord, PositionsRecord, Record, Seq, ShedRecord, UnixNanos, Uuid};
use tokio_postgres::{Client, Error};

use super::rows;

/// `greekd` in ASCII, then 3: position changes are told apart from what is stored, one program at a time.
const POSITIONS_LOCK: i64 = 0x6772_6565_6b64_0003;

const CURRENT: &str = "SELECT DISTINCT ON (contract_key, multiplier) contract_key, multiplier, underlying, quantity \
    FROM positions_history WHERE broker = $1 AND account_id = $2 \
    ORDER BY contract_key, multiplier, positions_history_id DESC";

/// A run whose clock was far ahead has seen nothing later than what comes now.
const NEWER: &str = "SELECT EXISTS (SELECT 1 FROM positions_history WHERE broker = $1 AND account_id = $2 \
    AND observed_at > $3 AND observed_at <= statement_timestamp() + interval '10 minutes' AND (seq >> 40)::int <> $4)";

/// All of a record in one statement: a large book is read at once, and its rows wait for it.
const CHANGES: &str = "INSERT INTO positions_history \
    (observed_at, broker, account_id, seq, contract_key, multiplier, underlying, quantity, previous_quantity) \
    SELECT $1, $2, $3, $4, * FROM unnest($5::text[], $6::numeric[], $7::text[], $8::float8[], $9::float8[])";

/// A gap that somebody has closed stays closed: whoever states that it is open knows less, as after a takeover.
const GAP: &str = "INSERT INTO ingest_gaps (source, kind, gap_from, gap_to, reason, events, seq) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (source, kind, gap_from) DO UPDATE \
    SET gap_to = coalesce(EXCLUDED.gap_to, ingest_gaps.gap_to), reason = EXCLUDED.reason, events = EXCLUDED.events, seq = EXCLUDED.seq \
    WHERE ingest_gaps.seq < EXCLUDED.seq";

const QUARANTINE: &str = "INSERT INTO ingest_quarantine (incarnation, seq, received_at, sqlstate, message, record) \
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Stores what has changed in an account since the last record about it.
pub(super) async fn positions(client: &Client, stream: i32, records: &[(u64, &PositionsRecord)]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&POSITIONS_LOCK]).await?;
    for (number, record) in records {
        let seq = rows::seq(stream, *number);
        if superseded(client, stream, record).await? {
            tracing::info!(source = %record.source, "positions older than those of a later run are passed over");
            continue;
        }
        let held = current(client, record).await?;
        let changes = changes(&held, record);
        if changes.is_empty() {
            continue;
        }
        let each = || changes.iter();
        client
            .execute(
                CHANGES,
                &[
                    &timestamp(record.observed_at),
                    &record.source.as_str(),
                    &record.account_id.as_str(),
                    &seq,
                    &each().map(|change| &change.line.contract_key).collect::<Vec<_>>(),
                    &each().map(|change| change.line.multiplier).collect::<Vec<_>>(),
                    &each().map(|change| &change.underlying).collect::<Vec<_>>(),
                    &each().map(|change| change.quantity).collect::<Vec<_>>(),
                    &each().map(|change| change.previous).collect::<Vec<_>>(),
                ],
            )
            .await?;
    }
    Ok(())
}

/// Whether another run has seen the account later: what an earlier one has left, stored after it, changes nothing now.
async fn superseded(client: &Client, stream: i32, record: &PositionsRecord) -> Result<bool, Error> {
    let at = timestamp(record.observed_at);
    let row = client.query_one(NEWER, &[&record.source.as_str(), &record.account_id.as_str(), &at, &stream]).await?;
    Ok(row.get(0))
}

pub(super) async fn gaps(client: &Client, stream: i32, records: &[(u64, &GapRecord)]) -> Result<(), Error> {
    // Of those about the same gap that stand together only the last counts; a damaged journal states one thousands of times.
    let same = |a: &GapRecord, b: &GapRecord| a.source == b.source && a.from == b.from;
    for (number, gap) in records.chunk_by(|(_, a), (_, b)| same(a, b)).filter_map(<[_]>::last) {
        let events = gap.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let (source, from, to) = (gap.source.as_str(), timestamp(gap.from), gap.to.map(timestamp));
        let (reason, seq) = (gap.reason.as_str(), rows::seq(stream, *number));
        client.execute(GAP, &[&source, &"gap", &from, &to, &reason, &events, &seq]).await?;
    }
    Ok(())
}

pub(super) async fn sheds(client: &Client, stream: i32, records: &[(u64, &ShedRecord)]) -> Result<(), Error> {
    for (number, shed) in records {
        let events = i64::try_from(shed.count).unwrap_or(i64::MAX);
        let (source, from, to) = (shed.source.as_str(), timestamp(shed.from), timestamp(shed.to));
        let seq = rows::seq(stream, *number);
        client.execute(GAP, &[&source, &"shed", &from, &Some(to), &"shed", &Some(events), &seq]).await?;
    }
    Ok(())
}

/// Keeps a record that the database refused.
pub(super) async fn quarantine(
    client: &Client,
    incarnation: Uuid,
    number: Seq,
    record: &Record,
    sqlstate: &str,
    message: &str,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let received_at = match record {
        Record::Snapshot(tick) => Some(timestamp(tick.received_at)),
        Record::Positions(positions) => Some(timestamp(positions.observed_at)),
        _ => None,
    };
    let number = i64::try_from(number.0).unwrap_or(i64::MAX);
    // A zero byte is the one character text cannot hold.
    let message = message.replace('\0', "\u{fffd}");
    client.execute(QUARANTINE, &[&incarnation, &number, &received_at, &sqlstate, &message, &bytes]).await?;
    Ok(())
}

/// What PostgreSQL can hold of a time: whole microseconds, rounded down as in the rows.
fn timestamp(at: UnixNanos) -> Timestamp {
    UnixNanos::from_micros(at.as_micros()).to_timestamp()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Line {
    contract_key: String,
    multiplier: Decimal,
}

#[derive(Debug, PartialEq)]
struct Change {
    line: Line,
    underlying: String,
    quantity: f64,
    previous: f64,
}

/// Per line the underlying and the quantity stored last.
async fn current(client: &Client, record: &PositionsRecord) -> Result<HashMap<Line, (String, f64)>, Error> {
    let rows = client.query(CURRENT, &[&record.source.as_str(), &record.account_id.as_str()]).await?;
    Ok(rows
        .iter()
        .map(|row| (Line { contract_key: row.get(0), multiplier: row.get(1) }, (row.get(2), row.get(3))))
        .collect())
}

/// Opened, changed and closed lines, in a fixed order.
fn changes(held: &HashMap<Line, (String, f64)>, record: &PositionsRecord) -> Vec<Change> {
    let mut lines: BTreeMap<Line, (String, f64, f64)> = held
        .iter()
        .map(|(line, (underlying, quantity))| (line.clone(), (underlying.clone(), *quantity, 0.0)))
        .collect();
    for (series, quantity) in &record.positions {
        let line = Line { contract_key: series.contract.to_string(), multiplier: series.multiplier };
        let now = lines.entry(line).or_insert_with(|| (series.underlying.to_string(), 0.0, 0.0));
        now.2 += quantity;
    }
    lines
        .into_iter()
        .filter(|(_, (_, previous, quantity))| previous != quantity)
        .map(|(line, (underlying, previous, quantity))| Change { line, underlying, quantity, previous })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use greeks_model::{AccountId, Series, SourceId};

    use super::*;

    fn series(key: &str) -> Arc<Series> {
        Arc::new(Series {
            broker: SourceId::new("test").unwrap(),
            account_id: AccountId::new("A1").unwrap(),
            contract: key.parse().unwrap(),
            underlying: "AAPL".into(),
            multiplier: Decimal::from(100),
        })
    }

    fn record(positions: &[(&str, f64)]) -> PositionsRecord {
        PositionsRecord {
            source: SourceId::new("test").unwrap(),
            account_id: AccountId::new("A1").unwrap(),
            observed_at: UnixNanos::EPOCH,
            positions: positions.iter().map(|(key, quantity)| (series(key), *quantity)).collect(),
        }
    }

    #[test]
    fn only_differences_are_changes() {
        const CALL: &str = "AAPL  261218C00232500";
        const PUT: &str = "AAPL  261218P00232500";
        const KEPT: &str = "AAPL  261218C00240000";
        let line = |key: &str| Line { contract_key: key.into(), multiplier: Decimal::from(100) };
        let held = HashMap::from([(line(CALL), ("AAPL".into(), 2.0)), (line(KEPT), ("AAPL".into(), -1.0))]);
        let found = changes(&held, &record(&[(PUT, 3.0), (KEPT, -1.0)]));
        let seen: Vec<_> =
            found.iter().map(|change| (change.line.contract_key.as_str(), change.previous, change.quantity)).collect();
        assert_eq!(seen, [(CALL, 2.0, 0.0), (PUT, 0.0, 3.0)]);
        assert_eq!(changes(&held, &record(&[(CALL, 2.0), (KEPT, -1.0)])), []);
    }
}
