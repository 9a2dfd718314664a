//! Everything the database must learn, and its binary form.

mod by_series;
mod codec;
mod decode;
mod encode;

use std::sync::Arc;

pub use by_series::BySeries;
pub use codec::{RecordDecoder, RecordEncoder};
pub use decode::DecodeError;

use crate::{AccountId, GapReason, GreekSnapshot, Series, SourceId, UnixNanos};

/// One thing the database must learn. Records are self-contained: they carry identities, never database ids, so that
/// they can be written and replayed while the database is down.
///
/// # Binary form
///
/// Little-endian, no padding. Byte 0 is the version (1), byte 1 the kind; the rest depends on the kind:
///
/// | kind | fields |
/// |---|---|
/// | 1 snapshot | series, event_time, received_at, flags u16, quantity f64, mask u16, the f64 values whose mask bit is set (bit 0 delta, gamma, theta, vega, rho, implied_volatility, option_price, underlying_price), payload |
/// | 2 positions | source, account, time, count u32, then per position a series and a quantity f64 |
/// | 3 gap | source, from, `to` as u8 present + time, reason text, count as u8 present + u64 |
/// | 4 shed | source, from, to, count u64 |
///
/// where a time is i64 nanoseconds since 1970; a text is u16 length + UTF-8; a payload is u32 length + UTF-8, length
/// `u32::MAX` for none; a decimal is i128 mantissa + u8 scale; a series is source, account, contract, underlying text,
/// multiplier decimal; a contract is its `contract_key` text; a source, an account and a reason are texts.
///
/// A version is never changed once released: a new form gets a new version, and old versions stay readable.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
// Nearly every record is a snapshot: boxing it would cost an allocation per row.
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// One row of `greek_snapshots`.
    Snapshot(GreekSnapshot),
    /// The open positions of one account, when they have changed.
    Positions(PositionsRecord),
    /// A stretch that could not be received.
    Gap(GapRecord),
    /// Rows that were given up because nothing could hold them.
    Shed(ShedRecord),
}

/// All open option positions of one account at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionsRecord {
    /// The broker.
    pub source: SourceId,
    /// The account.
    pub account_id: AccountId,
    /// When the broker's answer was received.
    pub observed_at: UnixNanos,
    /// Every open position with its signed quantity; what is missing is closed.
    pub positions: Vec<(Arc<Series>, f64)>,
}

/// A stretch that could not be received while the source claimed to stream. Two records with the same source and
/// `from` describe the same gap: the later one is the better informed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// The source.
    pub source: SourceId,
    /// The last moment up to which the stream was whole.
    pub from: UnixNanos,
    /// When data came again; `None` while the gap is open.
    pub to: Option<UnixNanos>,
    /// Why.
    pub reason: GapReason,
    /// How many events are missing, when that is known.
    pub count: Option<u64>,
}

/// Rows given up because nothing could hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedRecord {
    /// The source.
    pub source: SourceId,
    /// `received_at` of the first row given up.
    pub from: UnixNanos,
    /// `received_at` of the last row given up.
    pub to: UnixNanos,
    /// How many.
    pub count: u64,
}

impl Record {
    /// The version this crate writes.
    pub const VERSION: u8 = 1;

    /// Appends the binary form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::record(self, out, |series, out| encode::series(series, out));
    }

    /// Reads one binary form that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a record of a known version; hostile bytes never panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode::record(bytes, |bytes| decode::series(bytes).map(Arc::new))
    }

    /// The source the record is about.
    #[must_use]
    pub fn source(&self) -> &SourceId {
        match self {
            Self::Snapshot(snapshot) => &snapshot.series.broker,
            Self::Positions(positions) => &positions.source,
            Self::Gap(gap) => &gap.source,
            Self::Shed(shed) => &shed.source,
        }
    }
}

pub(crate) const SNAPSHOT: u8 = 1;
pub(crate) const POSITIONS: u8 = 2;
pub(crate) const GAP: u8 = 3;
pub(crate) const SHED: u8 = 4;

#[cfg(test)]
mod tests;
