//! What readers of the live book are given: plain values, each with its unit.

use std::sync::Arc;
use std::time::Duration;

use greeks_model::{AccountId, Flags, Series, SourceId, UnixNanos};

use super::names::{GroupBy, LineId, Missing, StaleReason};

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
    /// It follows the same index as the benchmark.
    SameIndex,
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

/// An open line that is missing from sums.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NotIncluded {
    /// The line.
    pub line: Line,
    /// The first thing that is missing.
    pub reason: Missing,
}
