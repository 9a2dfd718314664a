//! What is held now, and what two brokers say of the same contract.

use std::time::Duration;

use greeks_model::jiff::Timestamp;
use greeks_model::jiff::civil::Date;
use greeks_model::{Decimal, Flags, UnixNanos};
use tokio_postgres::Row;

use super::pool::{Queries, QueryError};

/// One row of `v_positions`: an open position with the newest values of its series, in their columns and units.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PositionRow {
    /// The broker.
    pub broker: String,
    /// The account as the broker writes it.
    pub account_id: String,
    /// The underlying.
    pub underlying: String,
    /// The contract.
    pub contract_key: String,
    /// Date in the contract.
    pub expiration: Date,
    /// In the units of the underlying.
    pub strike: Decimal,
    /// `C` or `P`.
    pub option_type: String,
    /// Contracts held by the broker's last answer, negative when short.
    pub quantity: f64,
    /// Money per 1.00 of the option's price and contract.
    pub multiplier: Decimal,
    /// When the answer that first showed this quantity was received.
    pub quantity_since: UnixNanos,
    /// The newest values; `None` before the first.
    pub latest: Option<LatestValues>,
}

/// The values of the row with the newest `event_time` of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LatestValues {
    /// The broker's time of the values.
    pub event_time: UnixNanos,
    /// How long before the question that was, by the database's clock; zero when it lies ahead of it.
    pub age: Duration,
    /// When the frame was read from the socket.
    pub received_at: UnixNanos,
    /// Per 1.00 of the underlying.
    pub delta: Option<f64>,
    /// Per 1.00 of the underlying.
    pub gamma: Option<f64>,
    /// Per calendar day.
    pub theta: Option<f64>,
    /// Per 1 volatility point.
    pub vega: Option<f64>,
    /// Per 1 % of rate.
    pub rho: Option<f64>,
    /// As a fraction.
    pub implied_volatility: Option<f64>,
    /// The option's own price.
    pub option_price: Option<f64>,
    /// The underlying's own price.
    pub underlying_price: Option<f64>,
    /// What is special about the row.
    pub flags: Flags,
}

/// One row of `v_cross_broker`: a contract that two brokers hold, `a` before `b` in the alphabet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CrossBrokerRow {
    /// The contract.
    pub contract_key: String,
    /// The underlying, as `a` has it.
    pub underlying: String,
    /// One side.
    pub a: BrokerSide,
    /// The other side.
    pub b: BrokerSide,
    /// `a` less `b`; `None` unless both are known.
    pub delta_difference: Option<f64>,
    /// `a` less `b`; `None` unless both are known.
    pub implied_volatility_difference: Option<f64>,
}

/// What one broker holds and says of a contract.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BrokerSide {
    /// The broker.
    pub broker: String,
    /// Contracts in all its accounts.
    pub quantity: f64,
    /// The newest; `None` before the first values, and with it all that follows.
    pub event_time: Option<UnixNanos>,
    /// Per 1.00 of the underlying, at `event_time`.
    pub delta: Option<f64>,
    /// As a fraction, at `event_time`.
    pub implied_volatility: Option<f64>,
    /// What is special about that row.
    pub flags: Option<Flags>,
}

/// Sources may call an underlying by two names: that must not tear a contract apart.
const POSITIONS: &str = "SELECT broker, account_id, underlying, contract_key, expiration, strike, option_type, quantity, \
    multiplier, quantity_since, event_time, received_at, delta, gamma, theta, vega, rho, implied_volatility, \
    option_price, underlying_price, flags, \
    greatest(extract(epoch FROM statement_timestamp() - event_time), 0)::double precision \
    FROM v_positions ORDER BY min(underlying) OVER (PARTITION BY contract_key), expiration, strike, option_type, \
    contract_key, broker, account_id, multiplier";

const CROSS_BROKER: &str = "SELECT contract_key, underlying, broker_a, quantity_a, event_time_a, delta_a, \
    implied_volatility_a, flags_a, broker_b, quantity_b, event_time_b, delta_b, implied_volatility_b, flags_b, \
    delta_difference, implied_volatility_difference \
    FROM v_cross_broker ORDER BY underlying, expiration, strike, option_type, contract_key, broker_a, broker_b";

impl Queries {
    /// Every open position with its newest values, those of one contract together.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn positions(&self) -> Result<Vec<PositionRow>, QueryError> {
        self.rows(POSITIONS, &[]).await?.iter().map(PositionRow::read).collect()
    }

    /// Every contract that is held at two brokers, once per pair of them.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    pub async fn cross_broker(&self) -> Result<Vec<CrossBrokerRow>, QueryError> {
        self.rows(CROSS_BROKER, &[]).await?.iter().map(CrossBrokerRow::read).collect()
    }
}

impl PositionRow {
    fn read(row: &Row) -> Result<Self, QueryError> {
        Ok(Self {
            broker: row.try_get(0)?,
            account_id: row.try_get(1)?,
            underlying: row.try_get(2)?,
            contract_key: row.try_get(3)?,
            expiration: row.try_get(4)?,
            strike: row.try_get(5)?,
            option_type: row.try_get(6)?,
            quantity: row.try_get(7)?,
            multiplier: row.try_get(8)?,
            quantity_since: row.try_get(9).map(UnixNanos::from_timestamp)?,
            latest: LatestValues::read(row)?,
        })
    }
}

impl LatestValues {
    fn read(row: &Row) -> Result<Option<Self>, QueryError> {
        let Some(event_time) = time(row, 10)? else { return Ok(None) };
        let age: f64 = row.try_get(21)?;
        Ok(Some(Self {
            event_time,
            age: Duration::try_from_secs_f64(age).unwrap_or(Duration::MAX),
            received_at: row.try_get(11).map(UnixNanos::from_timestamp)?,
            delta: row.try_get(12)?,
            gamma: row.try_get(13)?,
            theta: row.try_get(14)?,
            vega: row.try_get(15)?,
            rho: row.try_get(16)?,
            implied_volatility: row.try_get(17)?,
            option_price: row.try_get(18)?,
            underlying_price: row.try_get(19)?,
            flags: flags(row, 20)?.unwrap_or_default(),
        }))
    }
}

impl CrossBrokerRow {
    fn read(row: &Row) -> Result<Self, QueryError> {
        Ok(Self {
            contract_key: row.try_get(0)?,
            underlying: row.try_get(1)?,
            a: BrokerSide::read(row, 2)?,
            b: BrokerSide::read(row, 8)?,
            delta_difference: row.try_get(14)?,
            implied_volatility_difference: row.try_get(15)?,
        })
    }
}

impl BrokerSide {
    /// The six columns from `first` on.
    fn read(row: &Row, first: usize) -> Result<Self, QueryError> {
        Ok(Self {
            broker: row.try_get(first)?,
            quantity: row.try_get(first + 1)?,
            event_time: time(row, first + 2)?,
            delta: row.try_get(first + 3)?,
            implied_volatility: row.try_get(first + 4)?,
            flags: flags(row, first + 5)?,
        })
    }
}

fn time(row: &Row, at: usize) -> Result<Option<UnixNanos>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<Timestamp>>(at)?.map(UnixNanos::from_timestamp))
}

fn flags(row: &Row, at: usize) -> Result<Option<Flags>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<i16>>(at)?.map(|bits| Flags::from_bits(bits.cast_unsigned())))
}
