//! A stored row.

use std::sync::Arc;

use greeks_model::jiff::Timestamp;
use greeks_model::jiff::civil::Date;
use greeks_model::{AccountId, Decimal, Flags, GreekSnapshot, Series, SourceId, UnixNanos};
use tokio_postgres::Row;

use super::filter::Cursor;
use super::pool::QueryError;

/// The columns of a [`SnapshotRow`], of `t` (ticks) and `s` (series).
pub(super) const COLUMNS: &str = "t.event_time, t.received_at, t.persisted_at, s.broker, s.account_id, s.underlying, \
    s.contract_key, s.expiration, s.strike, s.option_type, t.quantity, s.multiplier, t.delta, t.gamma, t.theta, t.vega, \
    t.rho, t.implied_volatility, t.option_price, t.underlying_price, t.flags, t.source_payload::text, t.seq";

/// One row of `greek_snapshots`, in its columns and units.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SnapshotRow {
    /// The broker's time of the value.
    pub event_time: UnixNanos,
    /// When the frame was read from the socket.
    pub received_at: UnixNanos,
    /// `now()` of the transaction that stored the row.
    pub persisted_at: UnixNanos,
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
    /// Contracts held, negative when short.
    pub quantity: f64,
    /// Money per 1.00 of the option's price and contract.
    pub multiplier: Decimal,
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
    /// The raw event as JSON text, if it was kept.
    pub source_payload: Option<String>,
    cursor: Cursor,
}

impl SnapshotRow {
    /// The row's place in the order newest first.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn read(row: &Row) -> Result<Self, QueryError> {
        let time = |at: usize| row.try_get::<_, Timestamp>(at).map(UnixNanos::from_timestamp);
        let event_time = time(0)?;
        Ok(Self {
            event_time,
            received_at: time(1)?,
            persisted_at: time(2)?,
            broker: row.try_get(3)?,
            account_id: row.try_get(4)?,
            underlying: row.try_get(5)?,
            contract_key: row.try_get(6)?,
            expiration: row.try_get(7)?,
            strike: row.try_get(8)?,
            option_type: row.try_get(9)?,
            quantity: row.try_get(10)?,
            multiplier: row.try_get(11)?,
            delta: row.try_get(12)?,
            gamma: row.try_get(13)?,
            theta: row.try_get(14)?,
            vega: row.try_get(15)?,
            rho: row.try_get(16)?,
            implied_volatility: row.try_get(17)?,
            option_price: row.try_get(18)?,
            underlying_price: row.try_get(19)?,
            flags: Flags::from_bits(row.try_get::<_, i16>(20)?.cast_unsigned()),
            source_payload: row.try_get(21)?,
            cursor: Cursor { event_time_micros: event_time.as_micros(), seq: row.try_get(22)? },
        })
    }

    /// The row as it went in, times rounded down to microseconds.
    pub(super) fn into_snapshot(self) -> Result<GreekSnapshot, QueryError> {
        let bad = |column: &'static str, value: &str| QueryError::Value { column, value: value.to_owned() };
        let series = Series {
            broker: SourceId::new(&self.broker).map_err(|_| bad("broker", &self.broker))?,
            account_id: AccountId::new(&self.account_id).map_err(|_| bad("account_id", "··"))?,
            contract: self.contract_key.parse().map_err(|_| bad("contract_key", &self.contract_key))?,
            underlying: self.underlying.into(),
            multiplier: self.multiplier,
        };
        let mut snapshot = GreekSnapshot::new(Arc::new(series), self.event_time, self.received_at, self.quantity);
        snapshot.flags = self.flags;
        snapshot.delta = self.delta;
        snapshot.gamma = self.gamma;
        snapshot.theta = self.theta;
        snapshot.vega = self.vega;
        snapshot.rho = self.rho;
        snapshot.implied_volatility = self.implied_volatility;
        snapshot.option_price = self.option_price;
        snapshot.underlying_price = self.underlying_price;
        snapshot.source_payload = self.source_payload.map(Into::into);
        Ok(snapshot)
    }
}
