//! The whole book, live: the latest row of every position, and sums over them.

mod config;
mod view;

use std::sync::{Mutex, MutexGuard, PoisonError};

use greeks_model::{Record, Reference, SessionState, SourceId, UnixNanos};

pub use self::config::BookConfig;
pub use self::view::{
    Aggregate, BenchmarkPrice, BetaSource, Changes, ExpiryBucket, Figure, Figures, GroupBy, Line, LineFigures,
    LineFilter, LineId, Missing, NotIncluded, Portfolio, PriceSource, StaleReason, UnknownGrouping, UsedBeta,
};

/// Every position with its latest row, and sums over them.
#[derive(Debug)]
pub struct LiveBook {
    state: Mutex<BookConfig>,
}

impl LiveBook {
    /// An empty book.
    #[must_use]
    pub fn new(config: BookConfig) -> Self {
        Self { state: Mutex::new(config) }
    }

    /// Takes what was accepted, in the order of acceptance. A source counts as down until
    /// [`source_state`](Self::source_state) has said that it streams.
    pub fn accept(&self, records: &[Record]) {
        drop((self.lock(), records));
    }

    /// Takes what `source` says about an underlying.
    pub fn reference(&self, reference: &Reference, source: &SourceId) {
        drop((self.lock(), reference, source));
    }

    /// Takes the state that `source` has had since `at`: while it does not stream, its lines are stale.
    pub fn source_state(&self, source: &SourceId, state: &SessionState, at: UnixNanos) {
        drop((self.lock(), source, state, at));
    }

    /// The number of the newest change. It grows, and begins anew with each process.
    #[must_use]
    pub fn version(&self) -> u64 {
        0
    }

    /// The sums at `now`.
    #[must_use]
    pub fn portfolio(&self, group_by: GroupBy, now: UnixNanos) -> Portfolio {
        let total = Aggregate {
            key: "total".into(),
            lines: 0,
            covered: 0,
            stale: 0,
            oldest: None,
            newest: None,
            figures: Figures::default(),
        };
        Portfolio {
            version: 0,
            at: now,
            group_by,
            groups: Vec::new(),
            total,
            benchmark: self.lock().benchmark.clone(),
            benchmark_price: None,
            betas: Vec::new(),
            unknown_betas: Vec::new(),
        }
    }

    /// The lines at `now` that pass `filter`, in the order of underlying, contract, broker and account.
    #[must_use]
    pub fn lines(&self, _filter: &LineFilter, _now: UnixNanos) -> Vec<Line> {
        Vec::new()
    }

    /// What has changed since `version`, as it is at `now`; a line that has become stale has changed.
    #[must_use]
    pub fn changed_since(&self, version: u64, _now: UnixNanos) -> Changes {
        Changes { version, lines: Vec::new(), closed: Vec::new(), complete: false }
    }

    /// Open lines that are missing from sums at `now`, with the reason.
    #[must_use]
    pub fn not_included(&self, _now: UnixNanos) -> Vec<NotIncluded> {
        Vec::new()
    }

    fn lock(&self) -> MutexGuard<'_, BookConfig> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
