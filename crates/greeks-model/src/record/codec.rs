//! Records of few series in many rows: what a series is in bytes is worked out once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::by_series::BySeries;
use super::{DecodeError, Record, decode, encode};
use crate::Series;

/// More series than a large book has; when there are more still, all are forgotten and learnt again.
const KNOWN_SERIES: usize = 8_192;

/// Writes records as [`Record::encode`] does, and formats each series only once.
#[derive(Debug)]
pub struct RecordEncoder {
    known: BySeries<Box<[u8]>>,
}

/// Reads records as [`Record::decode`] does, and parses each series only once: all rows of one share it.
#[derive(Debug, Default)]
pub struct RecordDecoder {
    // Keys are our own and nobody's choice: a plain hash does, and a safe one was a fifth of the cost of reading.
    known: FxHashMap<Box<[u8]>, Arc<Series>>,
}

impl Default for RecordEncoder {
    fn default() -> Self {
        Self { known: BySeries::new(KNOWN_SERIES) }
    }
}

impl RecordEncoder {
    /// An encoder that knows no series yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the binary form of `record` to `out`.
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        encode::record(record, out, |series, out| self.series(series, out));
    }

    fn series(&mut self, series: &Arc<Series>, out: &mut Vec<u8>) {
        if let Some(bytes) = self.known.get(series) {
            out.extend_from_slice(bytes);
            return;
        }
        let from = out.len();
        encode::series(series, out);
        self.known.insert(series, out.get(from..).unwrap_or_default().into());
    }
}

impl RecordDecoder {
    /// A decoder that knows no series yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one binary form that fills `bytes` exactly.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Record, DecodeError> {
        decode::record(bytes, |bytes| {
            if let Some(series) = self.known.get(bytes) {
                return Ok(Arc::clone(series));
            }
            let series = Arc::new(decode::series(bytes)?);
            if self.known.len() >= KNOWN_SERIES {
                self.known.clear();
            }
            self.known.insert(bytes.into(), Arc::clone(&series));
            Ok(series)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, Decimal, GreekSnapshot, PositionsRecord, SourceId, UnixNanos};

    fn series(number: usize) -> Arc<Series> {
        Arc::new(Series {
            broker: SourceId::new("ibkr").unwrap(),
            account_id: AccountId::new("U1234567").unwrap(),
            contract: format!("SPXW  261218P{number:08}").parse().unwrap(),
            underlying: "SPX".into(),
            multiplier: Decimal::ONE_HUNDRED,
        })
    }

    fn row(series: &Arc<Series>, delta: f64) -> Record {
        let mut row = GreekSnapshot::new(Arc::clone(series), UnixNanos::from_millis(1), UnixNanos::from_millis(2), 1.0);
        row.delta = Some(delta);
        Record::Snapshot(row)
    }

    /// Each record has the bytes it has alone and reads back as itself, by `encoder` and `decoder` that go on.
    fn agree(encoder: &mut RecordEncoder, decoder: &mut RecordDecoder, record: &Record) -> Record {
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        record.encode(&mut alone);
        encoder.encode(record, &mut together);
        assert_eq!(alone, together);
        let read = decoder.decode(&together).unwrap();
        assert_eq!(&read, record);
        read
    }

    #[test]
    fn more_series_than_are_remembered_read_back() {
        let (mut encoder, mut decoder) = (RecordEncoder::new(), RecordDecoder::new());
        // Dropped after each turn, so that addresses would be used again if nobody held them.
        for number in 1..2 * KNOWN_SERIES + 10 {
            agree(&mut encoder, &mut decoder, &row(&series(number), 0.5));
            assert!(encoder.known.known.len() <= KNOWN_SERIES && decoder.known.len() <= KNOWN_SERIES);
        }
    }

    #[test]
    fn rows_of_one_series_share_it() {
        let (mut encoder, mut decoder) = (RecordEncoder::new(), RecordDecoder::new());
        let held = [series(1), series(2)];
        let positions = PositionsRecord {
            source: held[0].broker.clone(),
            account_id: held[0].account_id.clone(),
            observed_at: UnixNanos::from_millis(3),
            positions: held.iter().map(|series| (Arc::clone(series), -2.0)).collect(),
        };
        let Record::Positions(positions) = agree(&mut encoder, &mut decoder, &Record::Positions(positions)) else {
            panic!("not positions");
        };
        for (number, (known, _)) in positions.positions.iter().enumerate() {
            let Record::Snapshot(row) = agree(&mut encoder, &mut decoder, &row(&held[number], 0.25)) else {
                panic!("no row");
            };
            assert!(Arc::ptr_eq(&row.series, known));
        }
    }

    #[test]
    fn a_series_that_is_none_is_refused_each_time() {
        let mut bytes = Vec::new();
        row(&series(1), 0.5).encode(&mut bytes);
        let at = bytes.windows(6).position(|window| window == b"SPXW  ").unwrap();
        bytes[at] = b'*';
        let mut decoder = RecordDecoder::new();
        for _ in 0..2 {
            assert_eq!(decoder.decode(&bytes), Err(DecodeError::InvalidField { field: "contract" }));
        }
        for cut in 0..bytes.len() {
            assert!(decoder.decode(&bytes[..cut]).is_err());
        }
    }
}
