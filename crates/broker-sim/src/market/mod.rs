//! Markets: where the events come from. One is simulated, one replays a real chain; both price with `greeks-pricing`.

mod book;
mod calendar;
mod carry;
mod chain;
mod event;
mod filling;
mod hub;
mod listing;
mod place;
mod replay;
mod runner;
mod simulated;
mod universe;

use std::time::Duration;

pub use book::{Account, Holding, SimPosition};
pub use carry::Carry;
pub use chain::CarrySource;
pub use event::{GreekValues, Stamp};
pub use listing::Listing;
pub use place::SimMarket;

pub(crate) use book::Book;
pub(crate) use calendar::{business_day_before, future_expiry};
pub(crate) use event::{Body, Event, Kind, SymbolId};
pub(crate) use filling::more;
pub(crate) use hub::Hub;
pub(crate) use place::Place;
pub(crate) use replay::Replay;
pub(crate) use runner::{Command, Runner};
pub(crate) use simulated::Simulated;
pub(crate) use universe::{class_of, underlying_rest, underlying_streamer};

/// When a market has something to say again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Due {
    /// At this much of its own running time, pauses left out.
    At(Duration),
    /// Never: the replay is over.
    Finished,
}

/// Decides what is emitted and when. Knows no clock: it is told how long it has been running.
pub(crate) trait Market: Send {
    /// Appends every event that is due after `elapsed` of running time. `wall` is the time of day in milliseconds since
    /// 1970, used where the market lives in the present.
    fn advance(&mut self, elapsed: Duration, wall: i64, out: &mut Vec<Event>) -> Due;

    /// What is known of each symbol before the market opens.
    fn opening(&mut self, wall: i64, out: &mut Vec<Event>);

    /// Greeks events per second from now on.
    fn set_rate(&mut self, rate: f64);

    /// Begins to quote a contract and its underlying; false if this market cannot price it.
    fn list(&mut self, listing: &Listing, hub: &Hub) -> bool;

    /// The date on which the market opens first.
    fn opened(&self) -> jiff::civil::Date;
}

/// Greeks events per second, in the range a market can pace.
pub(crate) fn checked_rate(rate: f64) -> Result<f64, crate::SimError> {
    if rate.is_finite() && (0.01..=200_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(crate::SimError::Config(format!("{rate} events/s: a rate lies between 0.01 and 200000")))
    }
}

pub(crate) fn checked_underlying_rate(rate: f64) -> Result<f64, crate::SimError> {
    if rate.is_finite() && (0.0..=200_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(crate::SimError::Config(format!("{rate} quotes of underlyings/s: that rate lies between 0 and 200000")))
    }
}

/// `Duration` of seconds that may be fractional, negative or absurd.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}
