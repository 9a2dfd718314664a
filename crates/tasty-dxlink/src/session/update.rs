//! Events of the wire as updates in canonical units.

use greeks_model::{Flags, InstrumentId, QuoteUpdate, UnixNanos};

use crate::wire::{EventKind, Row};

/// dxFeed's Greeks are in this program's units already: volatility is a fraction, theta is per day, vega per point of
/// volatility and rho per percent of rate (dxFeed API, `com.dxfeed.event.option.Greeks`).
pub(super) fn to_update(row: &Row, instrument: InstrumentId, received_at: UnixNanos, delayed: bool) -> QuoteUpdate {
    let mut update = QuoteUpdate::new(instrument, received_at);
    update.event_time = (row.time > 0).then(|| UnixNanos::from_millis(row.time));
    if delayed {
        update.flags |= Flags::DELAYED;
    }
    let numbers = &row.numbers;
    match row.kind {
        EventKind::Greeks => {
            update.delta = numbers.delta;
            update.gamma = numbers.gamma;
            update.theta = numbers.theta;
            update.vega = numbers.vega;
            update.rho = numbers.rho;
            update.implied_volatility = numbers.volatility;
            update.option_price = numbers.price;
        }
        EventKind::Quote => {
            update.bid_price = numbers.bid_price;
            update.ask_price = numbers.ask_price;
        }
        EventKind::Trade => update.last_price = numbers.price,
    }
    update
}
