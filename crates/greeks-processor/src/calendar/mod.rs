//! When option markets are open: a pure function of the time, by rule from 2000 to 2100.

mod product;

use std::collections::BTreeSet;

use greeks_model::UnixNanos;
use greeks_model::jiff::civil::Date;

pub use self::product::Product;

/// What a market is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarketState {
    /// On a trading day before the opening.
    PreOpen,
    /// Regular trading.
    Open,
    /// Trading outside of the regular hours.
    Extended,
    /// No trading.
    Closed,
}

impl MarketState {
    /// The name used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreOpen => "pre_open",
            Self::Open => "open",
            Self::Extended => "extended",
            Self::Closed => "closed",
        }
    }
}

/// Trading days and hours.
#[derive(Clone, Debug, Default)]
pub struct MarketCalendar {
    closures: BTreeSet<Date>,
    half_days: BTreeSet<Date>,
}

impl MarketCalendar {
    /// The calendar by rule, with these closures and half days besides; a closure goes before a half day.
    #[must_use]
    pub fn with_extra(closures: impl IntoIterator<Item = Date>, half_days: impl IntoIterator<Item = Date>) -> Self {
        Self { closures: closures.into_iter().collect(), half_days: half_days.into_iter().collect() }
    }

    /// What the market of `product` is doing at `at`.
    #[must_use]
    pub fn state(&self, _product: Product, _at: UnixNanos) -> MarketState {
        MarketState::Closed
    }

    /// When that changes next; `None` beyond the year 2100.
    #[must_use]
    pub fn next_change(&self, _product: Product, _at: UnixNanos) -> Option<UnixNanos> {
        None
    }
}
