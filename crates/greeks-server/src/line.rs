//! A line of the book as JSON.

use greeks_model::Decimal;
use greeks_processor::book::{Line, LineFigures};
use serde::Serialize;
use utoipa::ToSchema;

use crate::status::{Day, Time};
use crate::view::seconds;

/// One contract in one account: the position and its latest row. Null is unknown, never zero.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineDocument {
    /// Stays the same while the program runs.
    id: u64,
    /// The book's version at which the line last changed.
    version: u64,
    broker: String,
    /// As the broker writes it.
    account_id: String,
    underlying: String,
    contract_key: String,
    expiration: Day,
    /// Negative when it is past.
    days_to_expiry: i32,
    strike: f64,
    /// `C` or `P`.
    option_type: char,
    /// Contracts held, negative when short.
    quantity: f64,
    /// Money per 1.00 of the option's price and contract.
    multiplier: f64,
    /// The broker's time of the latest row.
    event_time: Option<Time>,
    /// When the latest row was read from the socket.
    received_at: Option<Time>,
    /// How long ago that was.
    age_seconds: Option<f64>,
    /// Per 1.00 of the underlying.
    delta: Option<f64>,
    /// Per 1.00 of the underlying.
    gamma: Option<f64>,
    /// Per calendar day.
    theta: Option<f64>,
    /// Per 1 volatility point.
    vega: Option<f64>,
    /// Per 1 % of rate.
    rho: Option<f64>,
    /// As a fraction.
    implied_volatility: Option<f64>,
    option_price: Option<f64>,
    underlying_price: Option<f64>,
    /// As in `/v1/greeks/snapshots`.
    flags: Option<u16>,
    /// Why the values are not those of this moment: `source_down` or `old`; null while they are.
    stale: Option<&'static str>,
    /// Since when the line is stale.
    stale_since: Option<Time>,
    /// What the position amounts to.
    position: PositionFigures,
}

/// What a position amounts to: value x quantity x multiplier.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PositionFigures {
    /// Units of the underlying.
    delta: Option<f64>,
    /// Money: delta x price of the underlying.
    delta_dollars: Option<f64>,
    /// Money of the benchmark: delta dollars x beta.
    beta_weighted_delta_dollars: Option<f64>,
    /// Shares of the benchmark.
    beta_weighted_delta: Option<f64>,
    /// Money: change of delta dollars when the underlying moves by 1 %.
    gamma_1pct: Option<f64>,
    /// Money per calendar day.
    theta: Option<f64>,
    /// Money per 1 volatility point.
    vega: Option<f64>,
}

impl From<&Line> for LineDocument {
    fn from(line: &Line) -> Self {
        let (series, contract) = (&line.series, &line.series.contract);
        Self {
            id: line.id.get(),
            version: line.version,
            broker: series.broker.as_str().to_owned(),
            account_id: series.account_id.as_str().to_owned(),
            underlying: series.underlying.as_ref().to_owned(),
            contract_key: contract.to_string(),
            expiration: Day(contract.expiration()),
            days_to_expiry: line.days_to_expiry,
            strike: number(contract.strike()),
            option_type: contract.option_type().letter(),
            quantity: line.quantity,
            multiplier: number(series.multiplier),
            event_time: line.event_time.map(Time),
            received_at: line.received_at.map(Time),
            age_seconds: line.age.map(seconds),
            delta: line.delta,
            gamma: line.gamma,
            theta: line.theta,
            vega: line.vega,
            rho: line.rho,
            implied_volatility: line.implied_volatility,
            option_price: line.option_price,
            underlying_price: line.underlying_price,
            flags: line.flags.map(|flags| flags.bits()),
            stale: line.stale.map(|reason| reason.as_str()),
            stale_since: line.stale_since.map(Time),
            position: (&line.figures).into(),
        }
    }
}

impl From<&LineFigures> for PositionFigures {
    fn from(figures: &LineFigures) -> Self {
        Self {
            delta: figures.delta,
            delta_dollars: figures.delta_dollars,
            beta_weighted_delta_dollars: figures.beta_weighted_delta_dollars,
            beta_weighted_delta: figures.beta_weighted_delta,
            gamma_1pct: figures.gamma_1pct,
            theta: figures.theta,
            vega: figures.vega,
        }
    }
}

/// The nearest double: for a number of up to 15 digits its shortest text is the number itself.
pub(crate) fn number(value: Decimal) -> f64 {
    value.try_into().unwrap_or(f64::NAN)
}
