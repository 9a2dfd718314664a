//! Records sorted by where they go, and rows in the binary form of COPY.
//!
//! The form is that of PostgreSQL's documentation of COPY, "Binary Format": everything big-endian, a row is a count of
//! fields, a field is its length (-1 for NULL) and its bytes.

use std::sync::Arc;

use greeks_model::{Flags, GapRecord, GreekSnapshot, PositionsRecord, Record, Series, ShedRecord, UnixNanos};
use tokio_postgres::types::Type;

use super::payload::is_jsonb;

/// The columns of [`encode`], in order, and the types of the values it writes. `persisted_at` is the database's.
pub(super) const COLUMNS: [(&str, Type); 15] = [
    ("event_time", Type::TIMESTAMPTZ),
    ("seq", Type::INT8),
    ("received_at", Type::TIMESTAMPTZ),
    ("series_id", Type::INT4),
    ("flags", Type::INT2),
    ("quantity", Type::FLOAT8),
    ("delta", Type::FLOAT8),
    ("gamma", Type::FLOAT8),
    ("theta", Type::FLOAT8),
    ("vega", Type::FLOAT8),
    ("rho", Type::FLOAT8),
    ("implied_volatility", Type::FLOAT8),
    ("option_price", Type::FLOAT8),
    ("underlying_price", Type::FLOAT8),
    ("source_payload", Type::JSONB),
];

/// The names of the columns, for a list in SQL.
pub(super) fn names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

pub(super) fn copy() -> String {
    format!("COPY greek_ticks ({}) FROM STDIN (FORMAT binary)", names())
}

const FIELDS: i16 = 15;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
/// From 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// How far the stream's number is shifted in `seq`.
const STREAM_SHIFT: u32 = 40;

/// `greek_ticks.seq` of record `number` of `stream`.
pub(super) fn seq(stream: i32, number: u64) -> i64 {
    (i64::from(stream) << STREAM_SHIFT) | i64::try_from(number).unwrap_or(i64::MAX >> (63 - STREAM_SHIFT))
}

/// The records of a batch by kind, each with its number.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) ticks: Vec<(u64, &'a GreekSnapshot)>,
    pub(super) positions: Vec<(u64, &'a PositionsRecord)>,
    pub(super) gaps: Vec<(u64, &'a GapRecord)>,
    pub(super) shed: Vec<(u64, &'a ShedRecord)>,
    /// Kinds of a later version of the vocabulary.
    pub(super) unknown: Vec<(u64, &'a Record)>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(first: u64, records: &'a [Record]) -> Self {
        let mut parts = Self { ticks: Vec::with_capacity(records.len()), ..Self::default() };
        for (number, record) in (first..).zip(records) {
            match record {
                Record::Snapshot(tick) => parts.ticks.push((number, tick)),
                Record::Positions(positions) => parts.positions.push((number, positions)),
                Record::Gap(gap) => parts.gaps.push((number, gap)),
                Record::Shed(shed) => parts.shed.push((number, shed)),
                other => parts.unknown.push((number, other)),
            }
        }
        parts
    }

    /// Whether there is nothing but ticks, as nearly always.
    pub(super) fn is_plain(&self) -> bool {
        self.positions.is_empty() && self.gaps.is_empty() && self.shed.is_empty() && self.unknown.is_empty()
    }

    /// Every series named.
    pub(super) fn series(&self) -> impl Iterator<Item = &'a Arc<Series>> {
        let of_ticks = self.ticks.iter().map(|(_, tick)| &tick.series);
        let of_positions =
            self.positions.iter().flat_map(|(_, record)| record.positions.iter().map(|(series, _)| series));
        of_ticks.chain(of_positions)
    }
}

/// What is sent for some ticks.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The whole COPY stream, in chunks.
    pub(super) chunks: Vec<Vec<u8>>,
    /// How many rows go without their payload.
    pub(super) payloads_refused: u64,
}

/// Encodes `ticks`. A payload that the database would refuse, and the row with it, is left out.
pub(super) fn encode(
    stream: i32,
    ticks: &[(u64, &GreekSnapshot)],
    mut series_id: impl FnMut(&Arc<Series>) -> Option<i32>,
) -> Result<Encoded, UnknownSeries> {
    const CHUNK: usize = 256 * 1024;
    let (mut chunks, mut payloads_refused) = (Vec::new(), 0);
    let mut out = Vec::with_capacity(CHUNK.min(HEADER.len() + 256 * ticks.len()));
    out.extend_from_slice(HEADER);
    for (number, tick) in ticks {
        let id = series_id(&tick.series).ok_or(UnknownSeries)?;
        let payload = tick.source_payload.as_deref().filter(|payload| is_jsonb(payload));
        payloads_refused += u64::from(payload.is_none() && tick.source_payload.is_some());
        row(&mut out, seq(stream, *number), id, tick, payload);
        if out.len() >= CHUNK {
            chunks.push(std::mem::replace(&mut out, Vec::with_capacity(CHUNK)));
        }
    }
    out.extend_from_slice(&TRAILER.to_be_bytes());
    chunks.push(out);
    Ok(Encoded { chunks, payloads_refused })
}

/// A series was not looked up before its rows were encoded: a fault of this crate.
#[derive(Debug, thiserror::Error)]
#[error("a series has no id")]
pub(super) struct UnknownSeries;

fn row(out: &mut Vec<u8>, seq: i64, series_id: i32, tick: &GreekSnapshot, payload: Option<&str>) {
    let values = [
        tick.delta,
        tick.gamma,
        tick.theta,
        tick.vega,
        tick.rho,
        tick.implied_volatility,
        tick.option_price,
        tick.underlying_price,
    ];
    // The vocabulary promises finite values; should one slip through all the same it is not stored.
    let mut flags = tick.flags;
    if values.iter().flatten().any(|value| !value.is_finite()) {
        flags |= Flags::NON_FINITE;
    }
    out.extend_from_slice(&FIELDS.to_be_bytes());
    field(out, &timestamp(tick.event_time).to_be_bytes());
    field(out, &seq.to_be_bytes());
    field(out, &timestamp(tick.received_at).to_be_bytes());
    field(out, &series_id.to_be_bytes());
    field(out, &flags.bits().to_be_bytes());
    double(out, Some(tick.quantity));
    for value in values {
        double(out, value);
    }
    match payload {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(json) => {
            // jsonb is its version and the text.
            length(out, json.len() + 1);
            out.push(1);
            out.extend_from_slice(json.as_bytes());
        }
    }
}

fn timestamp(at: UnixNanos) -> i64 {
    at.as_micros().saturating_sub(EPOCH_MICROS)
}

fn double(out: &mut Vec<u8>, value: Option<f64>) {
    match value {
        Some(value) if value.is_finite() => field(out, &value.to_bits().to_be_bytes()),
        _ => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn length(out: &mut Vec<u8>, length: usize) {
    // A longer field than this ends in an error of the server, as it should.
    out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_and_number_share_one_column() {
        assert_eq!(seq(0, 1), 1);
        assert_eq!(seq(1, 1), (1 << 40) + 1);
        assert_eq!(seq(3, 7) >> 40, 3);
        assert!(seq(1, (1 << 40) - 1) < seq(2, 0));
    }

    #[test]
    fn timestamps_count_from_2000() {
        assert_eq!(timestamp(UnixNanos::from_millis(946_684_800_000)), 0);
        assert_eq!(timestamp(UnixNanos::from_millis(946_684_799_999)), -1000);
    }
}
