//! The whole book, live: the latest row of every position, and sums over them.
//!
//! A [`LiveBook`] is fed with what the pipeline has accepted, with what sources say about underlyings, and with the
//! states of sources; it is read from any thread. One row costs the same however large the book is, and no allocation:
//! sums are exact fixed-point numbers to which a line's share is added and from which it is taken away without a trace.
//! A reading walks over the lines once, since ages change with time alone.
//!
//! All money is added up as if it were of one currency: what a broker quotes in another is not converted.
//!
//! ```
//! use std::sync::Arc;
//!
//! use greeks_model::{AccountId, Decimal, GreekSnapshot, Record, Series, SessionState, SourceId, UnixNanos};
//! use greeks_processor::book::{BookConfig, GroupBy, LiveBook};
//!
//! let book = LiveBook::new(BookConfig::default());
//! let series = Series {
//!     broker: SourceId::new("scripted")?,
//!     account_id: AccountId::new("5WT00001")?,
//!     contract: "SPY   261218P00600000".parse()?,
//!     underlying: "SPY".into(),
//!     multiplier: Decimal::ONE_HUNDRED,
//! };
//! let now = UnixNanos::from_timestamp("2026-11-24T15:00:00Z".parse()?);
//! let mut row = GreekSnapshot::new(Arc::new(series.clone()), now, now, -3.0);
//! (row.delta, row.underlying_price) = (Some(-0.25), Some(640.0));
//! book.source_state(&series.broker, &SessionState::Connected, now);
//! book.accept(&[Record::Snapshot(row)]);
//!
//! let portfolio = book.portfolio(GroupBy::Underlying, now);
//! assert_eq!(portfolio.total.figures.delta.value, Some(75.0));
//! assert_eq!(portfolio.total.figures.delta_dollars.value, Some(48_000.0));
//! assert_eq!(portfolio.total.figures.theta.value, None, "unknown is not zero");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod betas;
mod config;
mod exact;
mod groups;
mod names;
mod read;
mod slot;
mod state;
mod sums;
#[cfg(test)]
mod tests;
mod view;

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use greeks_model::{Record, Reference, SessionState, SourceId, UnixNanos};

pub use self::config::BookConfig;
pub use self::names::{ExpiryBucket, GroupBy, LineId, Missing, StaleReason, UnknownGrouping};
use self::state::State;
pub use self::view::{
    Aggregate, BenchmarkPrice, BetaSource, Changes, Figure, Figures, Line, LineFigures, LineFilter, NotIncluded,
    Portfolio, PriceSource, UsedBeta,
};

/// Every position with its latest row, and sums over them; see the [module](self).
#[derive(Debug)]
pub struct LiveBook {
    state: Mutex<State>,
}

impl LiveBook {
    /// An empty book.
    #[must_use]
    pub fn new(config: BookConfig) -> Self {
        Self { state: Mutex::new(State::new(config)) }
    }

    /// Takes what was accepted, in the order of acceptance: rows with their quantities, and positions, of which those
    /// that are missing are closed. Rows of earlier processes may go before. A source counts as down until
    /// [`source_state`](Self::source_state) has said that it streams.
    pub fn accept(&self, records: &[Record]) {
        let mut state = self.lock();
        records.iter().for_each(|record| state.accept(record));
    }

    /// Takes what `source` says about an underlying: its beta, and the price if it is the benchmark. The newest word
    /// counts, and always that of the source which spoke last of it.
    pub fn reference(&self, reference: &Reference, source: &SourceId) {
        self.lock().reference(reference, source);
    }

    /// Takes the state that `source` has had since `at`: while it does not stream, its lines are stale, with the values
    /// they had.
    pub fn source_state(&self, source: &SourceId, state: &SessionState, at: UnixNanos) {
        self.lock().source_state(source, state, at);
    }

    /// The number of the newest change; it grows, and begins anew with each process. That a line has become old is
    /// found, and counted as a change, when the book is read.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// The sums at `now`.
    #[must_use]
    pub fn portfolio(&self, group_by: GroupBy, now: UnixNanos) -> Portfolio {
        self.lock().portfolio(group_by, now)
    }

    /// The lines at `now` that pass `filter`, in the order of underlying, contract, broker and account.
    #[must_use]
    pub fn lines(&self, filter: &LineFilter, now: UnixNanos) -> Vec<Line> {
        let mut lines = self.lock().lines(filter, now);
        // Not under the lock: the pipeline waits for it.
        lines.sort_unstable_by(order);
        lines
    }

    /// What has changed since `version`, as it is at `now`; a line that has become stale has changed.
    #[must_use]
    pub fn changed_since(&self, version: u64, now: UnixNanos) -> Changes {
        self.lock().changed_since(version, now)
    }

    /// Open lines that are missing from sums at `now`, with the reason, in the order of [`lines`](Self::lines).
    #[must_use]
    pub fn not_included(&self, now: UnixNanos) -> Vec<NotIncluded> {
        let mut found = self.lock().not_included(now);
        found.sort_unstable_by(|a, b| order(&a.line, &b.line));
        found
    }

    /// How many open positions at each broker have had no row for longer than [`BookConfig::stale_after`], although they
    /// were held, their market was open, and the source streamed all the while: a person should look after them.
    #[must_use]
    pub fn overdue(&self, now: UnixNanos) -> Vec<(SourceId, u32)> {
        self.lock().overdue(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By underlying, contract, broker, account.
fn order(a: &Line, b: &Line) -> Ordering {
    let (a, b) = (&a.series, &b.series);
    let contract = a.underlying.cmp(&b.underlying).then_with(|| a.contract.cmp(&b.contract));
    contract.then_with(|| a.broker.cmp(&b.broker)).then_with(|| a.account_id.cmp(&b.account_id))
}
