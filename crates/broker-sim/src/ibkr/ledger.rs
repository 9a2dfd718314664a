//! What was sent, for tests that compare it with what was stored.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::market::GreekValues;

/// One market data frame of an option that carried a Greek, the implied volatility or the option's price.
#[derive(Clone, Debug, PartialEq)]
pub struct IbkrEntry {
    /// Number of the connection, from 1.
    pub connection: u64,
    /// The contract's number at the broker.
    pub conid: i64,
    /// Its `contract_key`.
    pub contract: Arc<str>,
    /// `_updated`: milliseconds since 1970.
    pub updated: i64,
    /// Everything that this connection had been told of the contract, this frame included.
    pub state: IbkrFigures,
    /// What this connection had been told of its underlying.
    pub underlying: IbkrUnderlying,
    /// Whether delta, gamma, theta or vega had been a number in this connection, this frame included. No row follows
    /// from a frame before that.
    pub known: bool,
    /// The availability (6509) that was sent last.
    pub availability: Option<Arc<str>>,
    /// What the market said, before it was rounded and printed.
    pub market: Option<GreekValues>,
    /// Whether the socket took the whole frame. `false` for the last frames of a connection that broke while they were
    /// written: the client may have them or not.
    pub written: bool,
}

/// Figures of an option as their printed texts mean them: the nearest doubles, the implied volatility divided by 100.0.
/// `None` was never sent in this connection, NaN was sent as unknown. A zero has no sign: `-0.000` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IbkrFigures {
    /// 7635.
    pub mark: Option<f64>,
    /// 7633, as a fraction.
    pub volatility: Option<f64>,
    /// 7308.
    pub delta: Option<f64>,
    /// 7309.
    pub gamma: Option<f64>,
    /// 7310.
    pub theta: Option<f64>,
    /// 7311.
    pub vega: Option<f64>,
}

/// Prices of an underlying as their printed texts mean them. A last price with a C is the close of the day before and
/// counts as not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IbkrUnderlying {
    /// 31.
    pub last: Option<f64>,
    /// 84.
    pub bid: Option<f64>,
    /// 86.
    pub ask: Option<f64>,
}

/// A snapshot of the ledger.
#[derive(Clone, Debug, Default)]
pub struct IbkrLedgerView {
    /// In the order of sending.
    pub entries: Vec<IbkrEntry>,
    /// Frames that no longer fitted. A test that relies on the ledger asserts 0.
    pub overflowed: u64,
}

/// Bounded; without capacity it keeps nothing.
#[derive(Debug)]
pub struct IbkrLedger {
    capacity: usize,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    kept: VecDeque<IbkrEntry>,
    /// Entries that were taken out before the first of `kept`.
    taken: u64,
    overflowed: u64,
}

impl IbkrLedger {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, rows: Mutex::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Notes what is about to be written; returns where, for [`IbkrLedger::confirm`].
    pub(crate) fn record(&self, entries: impl Iterator<Item = IbkrEntry>) -> Range<u64> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let first = rows.taken + rows.kept.len() as u64;
        for entry in entries {
            if rows.kept.len() < self.capacity {
                rows.kept.push_back(entry);
            } else {
                rows.overflowed += 1;
            }
        }
        first..rows.taken + rows.kept.len() as u64
    }

    /// The socket took these.
    pub(crate) fn confirm(&self, connection: u64, places: Range<u64>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            let place = place.checked_sub(rows.taken).and_then(|place| usize::try_from(place).ok());
            if let Some(entry) = place.and_then(|place| rows.kept.get_mut(place)) {
                entry.written |= entry.connection == connection;
            }
        }
    }

    /// What was sent so far.
    #[must_use]
    pub fn snapshot(&self) -> IbkrLedgerView {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        IbkrLedgerView { entries: rows.kept.iter().cloned().collect(), overflowed: rows.overflowed }
    }

    /// What was sent since the last call, which is then forgotten. Frames that are being written at this moment come
    /// out as not written: pause the market before.
    #[must_use]
    pub fn take(&self) -> IbkrLedgerView {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, overflowed) = (std::mem::take(&mut rows.kept), std::mem::take(&mut rows.overflowed));
        rows.taken += kept.len() as u64;
        IbkrLedgerView { entries: kept.into(), overflowed }
    }
}
