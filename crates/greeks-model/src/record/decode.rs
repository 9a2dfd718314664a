//! Bytes to values; the form is described at [`Record`](super::Record).

use std::sync::Arc;

use super::{GAP, GapRecord, POSITIONS, PositionsRecord, Record, SHED, SNAPSHOT, ShedRecord};
use crate::{AccountId, Contract, Decimal, Flags, GapReason, GreekSnapshot, Series, SourceId, UnixNanos};

/// A mantissa and a scale.
const DECIMAL_BYTES: usize = 17;

/// Bytes that are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the record does.
    #[error("the record ends after {length} bytes, in the middle of its {field}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// The length of the input.
        length: usize,
    },
    /// The bytes go on after the record.
    #[error("{extra} bytes follow the record")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// Written by a newer program.
    #[error("records of version {version} are not known to this program; use the one that wrote them or a newer one")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// A kind this version does not have.
    #[error("a record of version 1 has no kind {kind}")]
    UnknownKind {
        /// The kind found.
        kind: u8,
    },
    /// A field holds something it cannot hold.
    #[error("the {field} of the record is not valid")]
    InvalidField {
        /// The field.
        field: &'static str,
    },
}

/// `series` reads one series as the function of that name does.
pub(super) fn record<'a>(
    bytes: &'a [u8],
    series: impl FnMut(&'a [u8]) -> Result<Arc<Series>, DecodeError>,
) -> Result<Record, DecodeError> {
    let mut reader = Reader { rest: bytes, length: bytes.len() };
    let version = reader.byte("version")?;
    if version != Record::VERSION {
        return Err(DecodeError::UnknownVersion { version });
    }
    let record = match reader.byte("kind")? {
        SNAPSHOT => Record::Snapshot(reader.snapshot(series)?),
        POSITIONS => Record::Positions(reader.positions(series)?),
        GAP => Record::Gap(reader.gap()?),
        SHED => Record::Shed(ShedRecord {
            source: reader.source()?,
            from: reader.time("from")?,
            to: reader.time("to")?,
            count: u64::from_le_bytes(reader.array("count")?),
        }),
        kind => return Err(DecodeError::UnknownKind { kind }),
    };
    match reader.rest.len() {
        0 => Ok(record),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}

/// The series that `bytes` are from beginning to end.
pub(super) fn series(bytes: &[u8]) -> Result<Series, DecodeError> {
    let mut reader = Reader { rest: bytes, length: bytes.len() };
    let broker = reader.source()?;
    let account_id = reader.account()?;
    let key = reader.text("contract")?;
    let contract: Contract = key.parse().map_err(|_| DecodeError::InvalidField { field: "contract" })?;
    let underlying = reader.text("underlying")?.into();
    Ok(Series { broker, account_id, contract, underlying, multiplier: reader.decimal("multiplier")? })
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Truncated { field, length: self.length })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(DecodeError::Truncated { field, length: self.length })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    fn float(&mut self, field: &'static str) -> Result<f64, DecodeError> {
        self.array(field).map(f64::from_le_bytes)
    }

    fn time(&mut self, field: &'static str) -> Result<UnixNanos, DecodeError> {
        self.array(field).map(|bytes| UnixNanos::from_nanos(i64::from_le_bytes(bytes)))
    }

    fn utf8(&mut self, count: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.take(count, field)?).map_err(|_| DecodeError::InvalidField { field })
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = u16::from_le_bytes(self.array(field)?);
        self.utf8(usize::from(length), field)
    }

    fn presence(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::InvalidField { field }),
        }
    }

    fn source(&mut self) -> Result<SourceId, DecodeError> {
        SourceId::new(self.text("source")?).map_err(|_| DecodeError::InvalidField { field: "source" })
    }

    fn account(&mut self) -> Result<AccountId, DecodeError> {
        AccountId::new(self.text("account")?).map_err(|_| DecodeError::InvalidField { field: "account" })
    }

    fn decimal(&mut self, field: &'static str) -> Result<Decimal, DecodeError> {
        let mantissa = i128::from_le_bytes(self.array(field)?);
        let scale = self.byte(field)?;
        Decimal::try_from_i128_with_scale(mantissa, u32::from(scale)).map_err(|_| DecodeError::InvalidField { field })
    }

    /// The bytes of a series, unread.
    fn series_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let all = self.rest;
        for field in ["source", "account", "contract", "underlying"] {
            let length = u16::from_le_bytes(self.array(field)?);
            self.take(usize::from(length), field)?;
        }
        self.take(DECIMAL_BYTES, "multiplier")?;
        Ok(all.get(..all.len() - self.rest.len()).unwrap_or_default())
    }

    fn snapshot(
        &mut self,
        mut series: impl FnMut(&'a [u8]) -> Result<Arc<Series>, DecodeError>,
    ) -> Result<GreekSnapshot, DecodeError> {
        let series = series(self.series_bytes()?)?;
        let event_time = self.time("event_time")?;
        let received_at = self.time("received_at")?;
        let flags = Flags::from_bits(u16::from_le_bytes(self.array("flags")?));
        let quantity = self.float("quantity")?;
        let mut mask = u16::from_le_bytes(self.array("mask")?);
        if mask >> 8 != 0 {
            return Err(DecodeError::InvalidField { field: "mask" });
        }
        let mut value = |field| {
            let present = mask & 1 == 1;
            mask >>= 1;
            if present { self.float(field).map(Some) } else { Ok(None) }
        };
        let delta = value("delta")?;
        let gamma = value("gamma")?;
        let theta = value("theta")?;
        let vega = value("vega")?;
        let rho = value("rho")?;
        let implied_volatility = value("implied_volatility")?;
        let option_price = value("option_price")?;
        let underlying_price = value("underlying_price")?;
        Ok(GreekSnapshot {
            series,
            event_time,
            received_at,
            flags,
            quantity,
            delta,
            gamma,
            theta,
            vega,
            rho,
            implied_volatility,
            option_price,
            underlying_price,
            source_payload: self.payload()?,
        })
    }

    fn payload(&mut self) -> Result<Option<Box<str>>, DecodeError> {
        match u32::from_le_bytes(self.array("payload")?) {
            u32::MAX => Ok(None),
            length => Ok(Some(self.utf8(length as usize, "payload")?.into())),
        }
    }

    fn positions(
        &mut self,
        mut series: impl FnMut(&'a [u8]) -> Result<Arc<Series>, DecodeError>,
    ) -> Result<PositionsRecord, DecodeError> {
        let source = self.source()?;
        let account_id = self.account()?;
        let observed_at = self.time("observed_at")?;
        let count = u32::from_le_bytes(self.array("count")?);
        // Not reserved up front: a hostile count must not reserve memory that the bytes cannot fill.
        let mut positions = Vec::new();
        for _ in 0..count {
            positions.push((series(self.series_bytes()?)?, self.float("quantity")?));
        }
        Ok(PositionsRecord { source, account_id, observed_at, positions })
    }

    fn gap(&mut self) -> Result<GapRecord, DecodeError> {
        let source = self.source()?;
        let from = self.time("from")?;
        let to = if self.presence("to")? { Some(self.time("to")?) } else { None };
        let reason = GapReason::from_name(self.text("reason")?).ok_or(DecodeError::InvalidField { field: "reason" })?;
        let count = if self.presence("count")? { Some(u64::from_le_bytes(self.array("count")?)) } else { None };
        Ok(GapRecord { source, from, to, reason, count })
    }
}
