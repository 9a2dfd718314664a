//! When option markets are open: a pure function of the time, by rule from 2000 to 2100.
//!
//! Holidays and half days are those of NYSE and Cboe. Known simplifications: the hours are those of today, for past years
//! too; the global hours of Cboe are taken to precede each trading day alike, though before some holidays they are cut;
//! on holidays futures are taken to trade until 13:00, on half days until 13:15, and on Good Friday, Christmas and New
//! Year's Day not at all, which is right for index futures in most years and near for others; on their last day options
//! on futures count as not traded, since each product has another last hour.
//!
//! ```
//! use greeks_model::UnixNanos;
//! use greeks_processor::calendar::{MarketCalendar, MarketState, Product};
//!
//! let calendar = MarketCalendar::default();
//! let noon_after_thanksgiving = UnixNanos::from_timestamp("2026-11-27T17:00:00Z".parse()?);
//! assert_eq!(calendar.state(Product::EquityOption, noon_after_thanksgiving), MarketState::Open);
//! let closes = calendar.next_change(Product::EquityOption, noon_after_thanksgiving);
//! assert_eq!(closes.map(|at| at.to_string()).as_deref(), Some("2026-11-27T18:00:00Z"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod holidays;
mod new_york;
mod product;

use std::collections::BTreeSet;

use greeks_model::jiff::civil::{Date, DateTime, Time, time};
use greeks_model::{Contract, UnixNanos};

use self::holidays::Day;
use self::new_york::NewYork;
pub use self::product::Product;
pub(crate) use self::product::settles_at_the_open;

/// What a market is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarketState {
    /// On a trading day before the opening: from 4:00 in New York on, when stocks begin to trade.
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
#[derive(Clone, Debug)]
pub struct MarketCalendar {
    new_york: NewYork,
    closures: BTreeSet<Date>,
    half_days: BTreeSet<Date>,
}

impl Default for MarketCalendar {
    /// By rule and table alone.
    fn default() -> Self {
        Self::with_extra([], [])
    }
}

/// A stretch in which a market is in one state, the end left out, in New York's time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Session {
    from: DateTime,
    to: DateTime,
    state: MarketState,
}

/// When a trading day of futures begins, on the day before.
const EVENING: Time = time(18, 0, 0, 0);

/// Longer than any closure of an exchange since 1933.
const LONGEST_CLOSURE_DAYS: usize = 30;

impl MarketCalendar {
    /// The calendar by rule, with these closures of all markets and half days besides; a closure goes before a half day.
    #[must_use]
    pub fn with_extra(closures: impl IntoIterator<Item = Date>, half_days: impl IntoIterator<Item = Date>) -> Self {
        let (closures, half_days) = (closures.into_iter().collect(), half_days.into_iter().collect());
        Self { new_york: NewYork::new(), closures, half_days }
    }

    /// What the market of `product` is doing at `at`.
    #[must_use]
    pub fn state(&self, product: Product, at: UnixNanos) -> MarketState {
        self.session(product, self.new_york.reading(at)).map_or(MarketState::Closed, |session| session.state)
    }

    /// When that changes next; `None` when it does not within 30 days, or beyond the range of times.
    #[must_use]
    pub fn next_change(&self, product: Product, at: UnixNanos) -> Option<UnixNanos> {
        let reading = self.new_york.reading(at);
        let change = match self.session(product, reading) {
            Some(session) => session.to,
            None => days_from(reading.date())
                .flat_map(|day| self.sessions(product, day))
                .flatten()
                .map(|session| session.from)
                .find(|from| *from > reading)?,
        };
        self.new_york.instant(change)
    }

    /// Since when the market of `product` has been open at `at`; `None` while it is not.
    #[must_use]
    pub fn open_since(&self, product: Product, at: UnixNanos) -> Option<UnixNanos> {
        let session = self.session(product, self.new_york.reading(at))?;
        if session.state == MarketState::Open { self.new_york.instant(session.from) } else { None }
    }

    /// When trade in `contract` ends for good: at 16:00 of the day it expires, also where its market is open until 16:15;
    /// at the end of the trading day before where it settles by opening prices. The hours of futures options on their
    /// last day differ by product: they count as ended when that day begins, the evening before. `None` outside of the
    /// range of times.
    #[must_use]
    pub fn last_trade(&self, contract: &Contract) -> Option<UnixNanos> {
        let product = Product::of(contract);
        let expires = contract.expiration();
        if product == Product::FuturesOption {
            return self.new_york.instant(expires.yesterday().ok()?.to_datetime(EVENING));
        }
        let early = settles_at_the_open(contract);
        let last_hours = if early { product } else { Product::EquityOption };
        let days = std::iter::successors(Some(expires), |day| day.yesterday().ok());
        let closes = |day| self.sessions(last_hours, day).into_iter().flatten().next_back().map(|session| session.to);
        // Where the day is a holiday, the trading day before it is the last.
        let last = days.skip(usize::from(early)).take(LONGEST_CLOSURE_DAYS).find_map(closes);
        self.new_york.instant(last?)
    }

    /// The date in New York.
    #[must_use]
    pub fn date(&self, at: UnixNanos) -> Date {
        self.new_york.date(at)
    }

    /// The session of `product` that `reading` lies in: one of that day, or one that begins the evening before its day.
    fn session(&self, product: Product, reading: DateTime) -> Option<Session> {
        let sessions = days_from(reading.date()).take(2).flat_map(|day| self.sessions(product, day)).flatten();
        sessions.into_iter().find(|session| session.from <= reading && reading < session.to)
    }

    fn day(&self, date: Date) -> Day {
        match holidays::day(date) {
            Day::Weekend => Day::Weekend,
            _ if self.closures.contains(&date) => Day::Closed,
            Day::Full if self.half_days.contains(&date) => Day::Half,
            day => day,
        }
    }

    /// The sessions that belong to the trading day `date`, in order.
    fn sessions(&self, product: Product, date: Date) -> [Option<Session>; 3] {
        let day = self.day(date);
        if product == Product::FuturesOption {
            let end = match day {
                Day::Full => time(17, 0, 0, 0),
                Day::Half => time(13, 15, 0, 0),
                Day::Holiday => time(13, 0, 0, 0),
                Day::Closed | Day::Weekend => return [None; 3],
            };
            return [evening_before(date, EVENING, end, MarketState::Open), None, None];
        }
        let end = match (day, product) {
            (Day::Full, Product::EquityOption) => time(16, 0, 0, 0),
            (Day::Full, _) => time(16, 15, 0, 0),
            (Day::Half, Product::EquityOption) => time(13, 0, 0, 0),
            (Day::Half, _) => time(13, 15, 0, 0),
            (Day::Closed | Day::Holiday | Day::Weekend, _) => return [None; 3],
        };
        let within = |from: Time, to: Time, state| {
            Some(Session { from: date.to_datetime(from), to: date.to_datetime(to), state })
        };
        let opens = time(9, 30, 0, 0);
        let open = within(opens, end, MarketState::Open);
        if product == Product::CboeGlobal {
            let night_ends = time(9, 25, 0, 0);
            let night = evening_before(date, time(20, 15, 0, 0), night_ends, MarketState::Extended);
            [night, within(night_ends, opens, MarketState::PreOpen), open]
        } else {
            [within(time(4, 0, 0, 0), opens, MarketState::PreOpen), open, None]
        }
    }
}

/// From `from` in the evening before `date` to `to` on it.
fn evening_before(date: Date, from: Time, to: Time, state: MarketState) -> Option<Session> {
    let before = date.yesterday().ok()?;
    Some(Session { from: before.to_datetime(from), to: date.to_datetime(to), state })
}

/// `date` and the days after it, as many as matter.
fn days_from(date: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(date), |day| day.tomorrow().ok()).take(LONGEST_CLOSURE_DAYS)
}

#[cfg(test)]
mod tests;
