//! The row that is stored.

use std::sync::Arc;

use crate::{AccountId, Contract, Decimal, Flags, SourceId, UnixNanos};

/// What all rows of one position line share: one row of the table `series`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// The broker.
    pub broker: SourceId,
    /// The account that holds the contract.
    pub account_id: AccountId,
    /// The contract; its text form is `contract_key`.
    pub contract: Contract,
    /// The canonical symbol of the underlying: `SPX`, `BRK/B`, `/ESZ26`.
    pub underlying: Arc<str>,
    /// Money per 1.00 of the option's price and contract.
    pub multiplier: Decimal,
}

/// One stored event: the Greeks of one contract in one account at one moment. `None` is unknown and stored as NULL;
/// `Some` is always finite.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GreekSnapshot {
    /// Who holds what, where.
    pub series: Arc<Series>,
    /// The broker's time of the value, or `received_at` when flagged as substituted.
    pub event_time: UnixNanos,
    /// When the frame was read from the socket.
    pub received_at: UnixNanos,
    /// What is special about the row.
    pub flags: Flags,
    /// Contracts held, negative when short.
    pub quantity: f64,
    /// Per 1.00 of the underlying.
    pub delta: Option<f64>,
    /// Change of delta per 1.00 of the underlying.
    pub gamma: Option<f64>,
    /// Per calendar day.
    pub theta: Option<f64>,
    /// Per 1 volatility point.
    pub vega: Option<f64>,
    /// Per 1 % of interest rate.
    pub rho: Option<f64>,
    /// As a fraction.
    pub implied_volatility: Option<f64>,
    /// The option's own mark or model price, per unit.
    pub option_price: Option<f64>,
    /// The underlying's own price known at that moment.
    pub underlying_price: Option<f64>,
    /// The raw event as one JSON object, when asked for. A database that cannot hold it as `jsonb` has the row without it.
    pub source_payload: Option<Box<str>>,
}

impl GreekSnapshot {
    /// A row with every value unknown.
    #[must_use]
    pub const fn new(series: Arc<Series>, event_time: UnixNanos, received_at: UnixNanos, quantity: f64) -> Self {
        Self {
            series,
            event_time,
            received_at,
            flags: Flags::NONE,
            quantity,
            delta: None,
            gamma: None,
            theta: None,
            vega: None,
            rho: None,
            implied_volatility: None,
            option_price: None,
            underlying_price: None,
            source_payload: None,
        }
    }

    /// The values the broker sent, in the order delta, gamma, theta, vega, rho, implied volatility, option price:
    /// what two rows are compared by when duplicates are looked for. In a row flagged as computed some Greeks are ours.
    #[must_use]
    pub const fn broker_values(&self) -> [Option<f64>; 7] {
        [self.delta, self.gamma, self.theta, self.vega, self.rho, self.implied_volatility, self.option_price]
    }
}
