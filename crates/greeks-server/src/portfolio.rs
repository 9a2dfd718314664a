//! Sums over the book as JSON.

use greeks_model::UnixNanos;
use greeks_processor::book::{
    Aggregate, BenchmarkPrice, BetaSource, Figure, Figures, LiveBook, NotIncluded, PriceSource, UsedBeta,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::status::Time;
use crate::view::{GroupBy, seconds};

/// Where a whole market's data is missing, every line would be in the list: nobody reads thousands.
const MISSING_TOLD: usize = 200;

/// The book's sums at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PortfolioDocument {
    /// The book's version.
    version: u64,
    /// The moment that ages and staleness are of.
    as_of: Time,
    group_by: GroupBy,
    /// Groups with open lines.
    groups: Vec<AggregateDocument>,
    /// All open lines.
    total: AggregateDocument,
    /// What deltas are weighted against.
    benchmark: String,
    /// Null when nobody has said it: then no beta-weighted shares are known.
    benchmark_price: Option<BenchmarkPriceDocument>,
    /// The betas in the sums.
    betas: Vec<BetaDocument>,
    /// Underlyings whose beta nobody has said: their lines are in no beta-weighted sum.
    unknown_betas: Vec<String>,
    /// How many open lines are missing from sums.
    not_included_count: usize,
    /// The first 200 of them.
    not_included: Vec<NotIncludedDocument>,
}

/// A group of open lines, or all of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AggregateDocument {
    /// The underlying, the bucket of days to expiry, the account in full, the broker, or `total`.
    key: String,
    /// Open positions.
    lines: u32,
    /// Those of them whose delta is known.
    covered: u32,
    /// Those of them whose values are stale; their last values are in the sums.
    stale: u32,
    /// When the oldest of the lines' latest rows came.
    oldest: Option<Time>,
    /// When the newest row came.
    newest: Option<Time>,
    /// Units of the underlyings.
    delta: FigureDocument,
    /// Money: delta x price of the underlying.
    delta_dollars: FigureDocument,
    /// Money of the benchmark: delta dollars x beta.
    beta_weighted_delta_dollars: FigureDocument,
    /// Shares of the benchmark.
    beta_weighted_delta: FigureDocument,
    /// Money: change of delta dollars when every underlying moves by 1 %.
    gamma_1pct: FigureDocument,
    /// Money per calendar day.
    theta: FigureDocument,
    /// Money per 1 volatility point.
    vega: FigureDocument,
    /// Volatility points per calendar day: theta / vega.
    theta_vega: Option<f64>,
}

/// A sum over the lines for which it is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FigureDocument {
    /// Null when it is known for no line.
    value: Option<f64>,
    /// How many lines it is the sum of.
    lines: u32,
}

/// A price of the benchmark.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BenchmarkPriceDocument {
    /// Money per share.
    price: f64,
    /// Of when it is; null when configured.
    as_of: Option<Time>,
    age_seconds: Option<f64>,
    /// `configured`, or the source that said so.
    source: String,
}

/// A beta in the sums.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BetaDocument {
    symbol: String,
    /// Per cent that the underlying moves with 1 % of the benchmark.
    beta: f64,
    /// `benchmark` for itself, `same_index` for what follows the index of the benchmark, `configured`, or the source that
    /// said so.
    source: String,
    /// Of when it is, if a source said so.
    as_of: Option<Time>,
}

/// An open line that is missing from sums.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotIncludedDocument {
    /// The line's id.
    id: u64,
    broker: String,
    /// As the broker writes it.
    account_id: String,
    underlying: String,
    contract_key: String,
    quantity: f64,
    /// `no_row`, `no_delta`, `no_underlying_price`, `no_beta` or `no_other_greek`.
    reason: &'static str,
}

impl PortfolioDocument {
    pub(crate) fn read(book: &LiveBook, group_by: GroupBy, now: UnixNanos) -> Self {
        let portfolio = book.portfolio(group_by.into(), now);
        let missing = book.not_included(now);
        Self {
            version: portfolio.version,
            as_of: Time(portfolio.at),
            group_by,
            groups: portfolio.groups.iter().map(AggregateDocument::from).collect(),
            total: (&portfolio.total).into(),
            benchmark: portfolio.benchmark.as_ref().to_owned(),
            benchmark_price: portfolio.benchmark_price.as_ref().map(BenchmarkPriceDocument::from),
            betas: portfolio.betas.iter().map(BetaDocument::from).collect(),
            unknown_betas: portfolio.unknown_betas.iter().map(|symbol| symbol.as_ref().to_owned()).collect(),
            not_included_count: missing.len(),
            not_included: missing.iter().take(MISSING_TOLD).map(NotIncludedDocument::from).collect(),
        }
    }
}

impl From<&Aggregate> for AggregateDocument {
    fn from(aggregate: &Aggregate) -> Self {
        let Figures {
            delta,
            delta_dollars,
            beta_weighted_delta_dollars,
            beta_weighted_delta,
            gamma_1pct,
            theta,
            vega,
            theta_vega,
            ..
        } = aggregate.figures;
        Self {
            key: aggregate.key.as_ref().to_owned(),
            lines: aggregate.lines,
            covered: aggregate.covered,
            stale: aggregate.stale,
            oldest: aggregate.oldest.map(Time),
            newest: aggregate.newest.map(Time),
            delta: delta.into(),
            delta_dollars: delta_dollars.into(),
            beta_weighted_delta_dollars: beta_weighted_delta_dollars.into(),
            beta_weighted_delta: beta_weighted_delta.into(),
            gamma_1pct: gamma_1pct.into(),
            theta: theta.into(),
            vega: vega.into(),
            theta_vega,
        }
    }
}

impl From<Figure> for FigureDocument {
    fn from(figure: Figure) -> Self {
        Self { value: figure.value, lines: figure.lines }
    }
}

impl From<&BenchmarkPrice> for BenchmarkPriceDocument {
    fn from(price: &BenchmarkPrice) -> Self {
        let source = match &price.source {
            PriceSource::Source(source) => source.as_str(),
            _ => "configured",
        };
        Self {
            price: price.price,
            as_of: price.as_of.map(Time),
            age_seconds: price.age.map(seconds),
            source: source.to_owned(),
        }
    }
}

impl From<&UsedBeta> for BetaDocument {
    fn from(used: &UsedBeta) -> Self {
        let (source, as_of) = match &used.source {
            BetaSource::Source { source, as_of } => (source.as_str(), Some(Time(*as_of))),
            BetaSource::Benchmark => ("benchmark", None),
            BetaSource::SameIndex => ("same_index", None),
            _ => ("configured", None),
        };
        Self { symbol: used.symbol.as_ref().to_owned(), beta: used.beta, source: source.to_owned(), as_of }
    }
}

impl From<&NotIncluded> for NotIncludedDocument {
    fn from(missing: &NotIncluded) -> Self {
        let (line, series) = (&missing.line, &missing.line.series);
        Self {
            id: line.id.get(),
            broker: series.broker.as_str().to_owned(),
            account_id: series.account_id.as_str().to_owned(),
            underlying: series.underlying.as_ref().to_owned(),
            contract_key: series.contract.to_string(),
            quantity: line.quantity,
            reason: missing.reason.as_str(),
        }
    }
}
