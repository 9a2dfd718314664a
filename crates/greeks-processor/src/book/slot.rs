//! One line as the book keeps it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use greeks_model::{Flags, GreekSnapshot, Series, UnixNanos};

use super::names::{LineId, StaleReason};
use super::sums::{Inputs, Terms};
use crate::calendar::Product;

/// What makes a line the same one: broker, account and contract. Its multiplier and the name of its underlying may
/// change.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Arc<Series>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0)
            || (a.contract == b.contract && a.account_id == b.account_id && a.broker == b.broker)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.contract.hash(state);
        self.0.account_id.hash(state);
        self.0.broker.hash(state);
    }
}

/// The numbers of the groups that a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) underlying: usize,
    pub(super) expiry: usize,
    pub(super) account: usize,
    pub(super) broker: usize,
}

/// The latest row of a line, without its identity and its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) event_time: UnixNanos,
    pub(super) received_at: UnixNanos,
    pub(super) flags: Flags,
    pub(super) delta: Option<f64>,
    pub(super) gamma: Option<f64>,
    pub(super) theta: Option<f64>,
    pub(super) vega: Option<f64>,
    pub(super) rho: Option<f64>,
    pub(super) implied_volatility: Option<f64>,
    pub(super) option_price: Option<f64>,
    pub(super) underlying_price: Option<f64>,
}

impl Row {
    fn of(row: &GreekSnapshot) -> Self {
        Self {
            event_time: row.event_time,
            received_at: row.received_at,
            flags: row.flags,
            delta: row.delta,
            gamma: row.gamma,
            theta: row.theta,
            vega: row.vega,
            rho: row.rho,
            implied_volatility: row.implied_volatility,
            option_price: row.option_price,
            underlying_price: row.underlying_price,
        }
    }
}

/// A line.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: LineId,
    pub(super) version: u64,
    pub(super) series: Arc<Series>,
    pub(super) place: Place,
    pub(super) product: Product,
    /// When trade in the contract ends for good.
    pub(super) last_trade: Option<UnixNanos>,
    /// Since when the line is open, if it is.
    pub(super) since: UnixNanos,
    multiplier: f64,
    pub(super) quantity: f64,
    pub(super) row: Option<Row>,
    /// What is in the sums; `None` while the line is closed.
    pub(super) terms: Option<Terms>,
    /// What readers were told about the age of the values.
    pub(super) stale: Option<StaleReason>,
    /// The number of the last positions record that named the line.
    pub(super) named: u64,
}

impl Slot {
    pub(super) fn new(id: LineId, series: &Arc<Series>, place: Place, last_trade: Option<UnixNanos>) -> Self {
        Self {
            id,
            version: 0,
            series: Arc::clone(series),
            place,
            product: Product::of(&series.contract),
            last_trade,
            since: UnixNanos::EPOCH,
            multiplier: multiplier(series),
            quantity: 0.0,
            row: None,
            terms: None,
            stale: None,
            named: 0,
        }
    }

    /// Takes over another multiplier or underlying.
    pub(super) fn rename(&mut self, series: &Arc<Series>, place: Place) {
        self.series = Arc::clone(series);
        self.place = place;
        self.multiplier = multiplier(series);
    }

    pub(super) fn is_open(&self) -> bool {
        self.terms.is_some()
    }

    /// Takes what is held as of `at`.
    pub(super) fn hold(&mut self, quantity: f64, at: UnixNanos) {
        if !self.is_open() {
            self.since = at;
        }
        self.quantity = quantity;
    }

    /// Takes a row, unless one with a later time is known. Times are compared as the database keeps them, in
    /// microseconds, so that the latest row is the same there.
    pub(super) fn take(&mut self, row: &GreekSnapshot) {
        let newest = |known: &Row| known.event_time.as_micros() > row.event_time.as_micros();
        if !self.row.as_ref().is_some_and(newest) {
            self.row = Some(Row::of(row));
        }
    }

    /// What the position amounts to with this beta; `None` when nothing is held.
    pub(super) fn amounts_to(&self, beta: Option<f64>) -> Option<Terms> {
        if self.quantity == 0.0 {
            return None;
        }
        let Some(row) = &self.row else { return Some(Terms::default()) };
        Some(Terms::of(&Inputs {
            quantity: self.quantity,
            multiplier: self.multiplier,
            beta,
            delta: row.delta,
            gamma: row.gamma,
            theta: row.theta,
            vega: row.vega,
            underlying_price: row.underlying_price,
        }))
    }
}

/// The nearest double, through the text.
fn multiplier(series: &Series) -> f64 {
    series.multiplier.to_string().parse().unwrap_or(f64::NAN)
}
