//! The start that underlyings have over options, so that the first Greeks meet a price of what they are written on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::wire::SymbolId;

/// Underlyings without an event yet, and how long to wait for them.
#[derive(Debug)]
pub(super) struct HeadStart {
    length: Duration,
    until: Option<Instant>,
    unheard: BTreeSet<SymbolId>,
}

impl HeadStart {
    pub(super) const fn new(length: Duration) -> Self {
        Self { length, until: None, unheard: BTreeSet::new() }
    }

    /// What is subscribed before the session is authorised decides who is waited for; later options do not wait.
    pub(super) fn expect(&mut self, underlyings: impl IntoIterator<Item = SymbolId>) {
        if self.until.is_none() {
            self.unheard = underlyings.into_iter().collect();
        }
    }

    pub(super) fn authorized(&mut self, now: Instant) {
        self.until.get_or_insert(now + self.length);
    }

    pub(super) fn heard(&mut self, symbol: SymbolId) {
        if !self.unheard.is_empty() {
            self.unheard.remove(&symbol);
        }
    }

    /// When options may be subscribed; `None` for at once.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.until.filter(|_| !self.unheard.is_empty())
    }
}
