//! Market data frames as updates in canonical units.
//!
//! IBKR's Greeks are per share of the underlying: theta per calendar day, vega per point of volatility (IBKR, "Market
//! Data Fields", 7308 to 7311). The implied volatility is a percentage in text.

use greeks_model::{Flags, InstrumentId, QuoteUpdate, UnixNanos};

use super::Role;
use crate::wire::{Availability, Decorated, Frame, Mark};

/// Percentages that a real volatility has. Public examples of field 7633 disagree about its scale; what is outside, or
/// has no percent sign, is kept and marked.
const USUAL_PERCENT: std::ops::RangeInclusive<f64> = 1.0..=1000.0;

/// `None` when the frame says nothing about the instrument.
pub(super) fn to_update(
    frame: &Frame,
    role: Role,
    instrument: InstrumentId,
    availability: Option<Availability>,
    received_at: UnixNanos,
) -> Option<QuoteUpdate> {
    let mut update = QuoteUpdate::new(instrument, received_at);
    update.event_time = frame.updated.map(UnixNanos::from_millis);
    update.flags = availability.map_or(Flags::NONE, flags_of);
    let values = &frame.values;
    // Yesterday's close is no trade: it says nothing of today's last.
    update.last_price = values.last.filter(|last| last.mark != Some(Mark::PreviousClose)).map(|last| last.value);
    let mut value = |field: Option<Decorated>| {
        let field = field?;
        if field.mark == Some(Mark::PreviousClose) {
            update.flags |= Flags::FROZEN;
        }
        Some(field.value)
    };
    update.bid_price = value(values.bid);
    update.ask_price = value(values.ask);
    if let Role::Option { .. } = role {
        update.option_price = value(values.mark);
        update.delta = value(values.delta);
        update.gamma = value(values.gamma);
        update.theta = value(values.theta);
        update.vega = value(values.vega);
        let percent = value(values.implied_volatility);
        update.implied_volatility = percent.map(|percent| percent / 100.0);
        let has_sign = values.implied_volatility.is_some_and(|read| read.percent);
        let is_usual = |percent: f64| has_sign && USUAL_PERCENT.contains(&percent);
        if percent.is_some_and(|it| !it.is_nan() && !is_usual(it)) {
            update.flags |= Flags::DOUBTFUL_IV_SCALE;
        }
    }
    let carries_price = update.last_price.or(update.bid_price).or(update.ask_price).is_some();
    (carries_price || update.carries_option_values()).then_some(update)
}

fn flags_of(availability: Availability) -> Flags {
    let mut flags = Flags::NONE;
    if availability.is_delayed() {
        flags |= Flags::DELAYED;
    }
    if availability.is_frozen() {
        flags |= Flags::FROZEN;
    }
    flags
}
