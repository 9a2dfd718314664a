//! What readers of the live book are given: plain values, each with its unit.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{AccountId, Flags, Series, SourceId, UnixNanos};

/// The number of a line: stable for the life of the process and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub(super) u64);

impl LineId {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By what lines are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// One group for each underlying.
    Underlying,
    /// Days to expiry in New York's date: the six buckets of [`ExpiryBucket`].
    Expiry,
    /// One group for each account.
    Account,
    /// One group for each broker.
    Broker,
}

impl GroupBy {
    /// Every grouping.
    pub const ALL: [Self; 4] = [Self::Underlying, Self::Expiry, Self::Account, Self::Broker];

    /// The name used in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underlying => "underlying",
            Self::Expiry => "expiry",
            Self::Account => "account",
            Self::Broker => "broker",
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grouping is one of underlying, expiry, account, broker")]
pub struct UnknownGrouping;

impl FromStr for GroupBy {
    type Err = UnknownGrouping;

    fn from_str(text: &str) -> Result<Self, UnknownGrouping> {
        Self::ALL.into_iter().find(|group_by| group_by.as_str() == text).ok_or(UnknownGrouping)
    }
}

/// A range of days to expiry. What has expired and is still held counts as expiring today, until the broker closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpiryBucket {
    /// Today.
    Today,
    /// 1 to 7 days.
    Week,
    /// 8 to 21 days.
    ThreeWeeks,
    /// 22 to 45 days.
    SixWeeks,
    /// 46 to 90 days.
    Quarter,
    /// More than 90 days.
    Later,
}

impl ExpiryBucket {
    /// Every bucket, the nearest first.
    pub const ALL: [Self; 6] = [Self::Today, Self::Week, Self::ThreeWeeks, Self::SixWeeks, Self::Quarter, Self::Later];

    /// The bucket of a number of days to expiry, negative when it is past.
    #[must_use]
    pub const fn of(days: i32) -> Self {
        match days {
            ..=0 => Self::Today,
            1..=7 => Self::Week,
            8..=21 => Self::ThreeWeeks,
            22..=45 => Self::SixWeeks,
            46..=90 => Self::Quarter,
            91.. => Self::Later,
        }
    }

    /// The name used as the key of a group.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Today => "0",
            Self::Week => "1-7",
            Self::ThreeWeeks => "8-21",
            Self::SixWeeks => "22-45",
            Self::Quarter => "46-90",
            Self::Later => ">90",
        }
    }
}

/// Why the values of a line are not those of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// Its source does not stream.
    SourceDown,
    /// Its market has been open for longer than the limit, and no row came in that time.
    Old,
}

impl StaleReason {
    /// The name used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceDown => "source_down",
            Self::Old => "old",
        }
    }
}

/// One contract in one account: the position and its latest row. `None` is unknown, never zero.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Line {
    /// The line's number.
    pub id: LineId,
    /// The book's version at which the line last changed.
    pub version: u64,
    /// Who holds what, where.
    pub series: Arc<Series>,
    /// Contracts held, negative when short, zero when closed.
    pub quantity: f64,
    /// Whether the position is held.
    pub open: bool,
    /// The broker's time of the latest row.
    pub event_time: Option<UnixNanos>,
    /// When the latest row's frame was read from the socket; `None` before the first row.
    pub received_at: Option<UnixNanos>,
    /// What is special about the latest row.
    pub flags: Option<Flags>,
    /// Per 1.00 of the underlying, for one unit of the contract.
    pub delta: Option<f64>,
    /// Change of delta per 1.00 of the underlying, for one unit of the contract.
    pub gamma: Option<f64>,
    /// Per calendar day, for one unit of the contract.
    pub theta: Option<f64>,
    /// Per 1 volatility point, for one unit of the contract.
    pub vega: Option<f64>,
    /// Per 1 % of interest rate, for one unit of the contract.
    pub rho: Option<f64>,
    /// As a fraction: 0.25 is 25 %.
    pub implied_volatility: Option<f64>,
    /// The option's own mark or model price, money per unit.
    pub option_price: Option<f64>,
    /// The underlying's own price known when the latest row was made, money per unit.
    pub underlying_price: Option<f64>,
    /// Days from today to the last day in New York's calendar, negative when it is past.
    pub days_to_expiry: i32,
    /// Why the values are not those of this moment; `None` while they are, and while the line's market is closed.
    pub stale: Option<StaleReason>,
    /// Since when the line is stale: when the source went down, or when the latest row came.
    pub stale_since: Option<UnixNanos>,
    /// How long ago the latest row came.
    pub age: Option<Duration>,
    /// What the position amounts to; zero contracts amount to `None`.
    pub figures: LineFigures,
}

/// What one position amounts to: value x quantity x multiplier, negative delta for a short call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LineFigures {
    /// Units of the underlying (shares, for a stock) that move as the position does.
    pub delta: Option<f64>,
    /// Money: delta x price of the underlying.
    pub delta_dollars: Option<f64>,
    /// Money of the benchmark: delta dollars x beta.
    pub beta_weighted_delta_dollars: Option<f64>,
    /// Shares of the benchmark: beta-weighted delta dollars / its price. It moves with that price, which alone does not
    /// make a new version of the line.
    pub beta_weighted_delta: Option<f64>,
    /// Money: change of delta dollars when the underlying moves by 1 %, through gamma alone.
    pub gamma_1pct: Option<f64>,
    /// Money per calendar day.
    pub theta: Option<f64>,
    /// Money per 1 volatility point.
    pub vega: Option<f64>,
}

/// A sum over those lines of a group for which it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figure {
    /// The sum, correctly rounded; `None` when it is known for no line, or beyond what a double can hold.
    pub value: Option<f64>,
    /// How many lines it is the sum of: n of the group's [`Aggregate::lines`].
    pub lines: u32,
}

/// The figures of a group; units as in [`LineFigures`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Units of the underlyings; over several underlyings a sum of unlike things.
    pub delta: Figure,
    /// Money: sum of delta x price of the underlying.
    pub delta_dollars: Figure,
    /// Money of the benchmark: sum of delta dollars x beta.
    pub beta_weighted_delta_dollars: Figure,
    /// Shares of the benchmark: beta-weighted delta dollars / its price.
    pub beta_weighted_delta: Figure,
    /// Money: change of delta dollars when every underlying moves by 1 %, through gamma alone.
    pub gamma_1pct: Figure,
    /// Money per calendar day.
    pub theta: Figure,
    /// Money per 1 volatility point.
    pub vega: Figure,
    /// Volatility points per calendar day: theta / vega; `None` when one of them is unknown or vega is zero.
    pub theta_vega: Option<f64>,
}

/// A group of open lines, or all of them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Aggregate {
    /// The underlying, the bucket of days to expiry, the account in full, the broker, or `total`.
    pub key: Arc<str>,
    /// Open positions.
    pub lines: u32,
    /// Those of them whose delta is known.
    pub covered: u32,
    /// Those of them that are stale, their last values being in the sums.
    pub stale: u32,
    /// When the row that is oldest among the lines' latest ones came.
    pub oldest: Option<UnixNanos>,
    /// When the newest row came.
    pub newest: Option<UnixNanos>,
    /// The sums.
    pub figures: Figures,
}

/// Where a beta is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BetaSource {
    /// It is the benchmark itself.
    Benchmark,
    /// The configured table.
    Configured,
    /// A source said so.
    Source {
        /// Which one.
        source: SourceId,
        /// Of when the number is.
        as_of: UnixNanos,
    },
}

/// A beta that is in the sums.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UsedBeta {
    /// The underlying.
    pub symbol: Arc<str>,
    /// Per cent that the underlying moves with 1 % of the benchmark.
    pub beta: f64,
    /// Where it is from.
    pub source: BetaSource,
}

/// Where the benchmark's price is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PriceSource {
    /// A fixed number of the configuration, for want of another.
    Configured,
    /// A source told it, or a row whose underlying is the benchmark had it.
    Source(SourceId),
}

/// A price of the benchmark.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BenchmarkPrice {
    /// Money per share.
    pub price: f64,
    /// Of when it is; `None` when configured.
    pub as_of: Option<UnixNanos>,
    /// How long ago that was.
    pub age: Option<Duration>,
    /// Where it is from.
    pub source: PriceSource,
}

/// The book at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Portfolio {
    /// The book's version.
    pub version: u64,
    /// The moment that ages and staleness are of.
    pub at: UnixNanos,
    /// By what the groups are formed.
    pub group_by: GroupBy,
    /// Groups with open lines, in the order of their keys; buckets of days to expiry from the nearest on.
    pub groups: Vec<Aggregate>,
    /// All open lines.
    pub total: Aggregate,
    /// What deltas are weighted against.
    pub benchmark: Arc<str>,
    /// The benchmark's price; `None` when nobody has said it.
    pub benchmark_price: Option<BenchmarkPrice>,
    /// The betas in use, in the order of symbols.
    pub betas: Vec<UsedBeta>,
    /// Underlyings of open lines whose beta nobody has said, in order: their lines are in no beta-weighted sum.
    pub unknown_betas: Vec<Arc<str>>,
}

/// Which lines are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFilter {
    /// Of this broker.
    pub broker: Option<SourceId>,
    /// In this account.
    pub account_id: Option<AccountId>,
    /// On this underlying.
    pub underlying: Option<Arc<str>>,
    /// Closed lines too, as far as they are remembered.
    pub closed: bool,
}

/// What has changed since a version.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// The version that this leads to.
    pub version: u64,
    /// Open lines that have changed, as they are now.
    pub lines: Vec<Line>,
    /// Lines that have been closed.
    pub closed: Vec<LineId>,
    /// Whether nothing is missing. If not, the lists are empty and a whole snapshot has to be read anew: the version is
    /// of another process, or so old that what was closed since is forgotten.
    pub complete: bool,
}

/// Why an open line is missing from sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// No row has come yet: it is in no sum.
    NoRow,
    /// Its delta is unknown: it is in no sum of deltas.
    NoDelta,
    /// The price of its underlying is unknown: it is in no sum of delta or gamma money.
    NoUnderlyingPrice,
    /// The beta of its underlying is unknown: it is in no beta-weighted sum.
    NoBeta,
    /// Gamma, theta or vega is unknown, or a product is beyond what a double can hold: it is missing from that sum.
    NoOtherGreek,
}

impl Missing {
    /// The name used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRow => "no_row",
            Self::NoDelta => "no_delta",
            Self::NoUnderlyingPrice => "no_underlying_price",
            Self::NoBeta => "no_beta",
            Self::NoOtherGreek => "no_other_greek",
        }
    }
}

/// An open line that is missing from sums.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NotIncluded {
    /// The line.
    pub line: Line,
    /// The first thing that is missing.
    pub reason: Missing,
}
