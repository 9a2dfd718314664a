//! What was sent, for tests that compare it with what was stored.

use std::sync::{Arc, Mutex, PoisonError};

use crate::market::{Body, Event, GreekValues, Hub, Stamp};

/// One Greeks event that was handed to a connection's socket, after conflation.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEntry {
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Streamer symbol.
    pub symbol: Arc<str>,
    /// Time and sequence; [`Stamp::index`] is the index that was sent.
    pub stamp: Stamp,
    /// The very doubles that were printed.
    pub values: GreekValues,
    /// Whether the socket took the whole message. `false` for the last message of a connection that broke while it was
    /// written: the client may have it or not.
    pub written: bool,
}

/// A snapshot of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerView {
    /// In the order of sending.
    pub entries: Vec<LedgerEntry>,
    /// Events that no longer fitted. A test that relies on the ledger asserts 0.
    pub overflowed: u64,
}

/// Bounded; without capacity it keeps nothing.
#[derive(Debug)]
pub struct Ledger {
    capacity: usize,
    hub: Arc<Hub>,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    kept: Vec<Row>,
    overflowed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    connection: u64,
    event: Event,
    written: bool,
}

impl Ledger {
    pub(crate) fn new(capacity: usize, hub: Arc<Hub>) -> Self {
        Self { capacity, hub, rows: Mutex::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.capacity > 0
    }

    pub(crate) fn record(&self, connection: u64, events: &[Event], written: bool) {
        if !self.is_on() {
            return;
        }
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events.iter().filter(|event| matches!(event.body, Body::Greeks(_))) {
            if rows.kept.len() < self.capacity {
                rows.kept.push(Row { connection, event: *event, written });
            } else {
                rows.overflowed += 1;
            }
        }
    }

    /// What was sent so far.
    #[must_use]
    pub fn snapshot(&self) -> LedgerView {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        self.view(&rows.kept, rows.overflowed)
    }

    /// What was sent since the last call, which is then forgotten.
    #[must_use]
    pub fn take(&self) -> LedgerView {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Rows { kept, overflowed } = std::mem::take(&mut *rows);
        self.view(&kept, overflowed)
    }

    fn view(&self, rows: &[Row], overflowed: u64) -> LedgerView {
        let entry = |row: &Row| {
            let Body::Greeks(values) = row.event.body else { return None };
            let Row { connection, event, written } = *row;
            Some(LedgerEntry { connection, symbol: self.hub.name(event.symbol)?, stamp: event.stamp, values, written })
        };
        LedgerView { entries: rows.iter().filter_map(entry).collect(), overflowed }
    }
}
