//! One message of a source about one instrument.

use crate::{Flags, InstrumentId, UnixNanos};

/// What one message said about one instrument, in canonical units.
///
/// `None` means that the message did not carry the field: what was known stays. `Some(NaN)` means that the broker says
/// the value is unknown: the old value is forgotten and NULL is stored. `Some(±infinity)` is stored as NULL, flagged.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuoteUpdate {
    /// The option or underlying the message is about.
    pub instrument: InstrumentId,
    /// When the frame was read from the socket, before it was parsed.
    pub received_at: UnixNanos,
    /// The broker's own time of the value, when the message has one.
    pub event_time: Option<UnixNanos>,
    /// Marks known to the source: delayed, frozen, doubtful scale.
    pub flags: Flags,
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
    /// As a fraction: 0.25 is 25 %.
    pub implied_volatility: Option<f64>,
    /// The option's own mark or model price, per unit.
    pub option_price: Option<f64>,
    /// Best bid of the instrument.
    pub bid_price: Option<f64>,
    /// Best ask of the instrument.
    pub ask_price: Option<f64>,
    /// Last trade of the instrument.
    pub last_price: Option<f64>,
}

impl QuoteUpdate {
    /// A message that carries no field yet.
    #[must_use]
    pub const fn new(instrument: InstrumentId, received_at: UnixNanos) -> Self {
        Self {
            instrument,
            received_at,
            event_time: None,
            flags: Flags::NONE,
            delta: None,
            gamma: None,
            theta: None,
            vega: None,
            rho: None,
            implied_volatility: None,
            option_price: None,
            bid_price: None,
            ask_price: None,
            last_price: None,
        }
    }

    /// Whether the message itself carries a Greek, an implied volatility or an option price: only such a message can
    /// give a stored row.
    #[must_use]
    pub const fn carries_option_values(&self) -> bool {
        self.delta.is_some()
            || self.gamma.is_some()
            || self.theta.is_some()
            || self.vega.is_some()
            || self.rho.is_some()
            || self.implied_volatility.is_some()
            || self.option_price.is_some()
    }
}
