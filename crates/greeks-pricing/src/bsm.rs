//! Options on a spot price with a continuous dividend yield.

use crate::black::{Legs, is_not_negative, is_positive, ln_ratio};
use crate::implied::total_deviation;
use crate::types::{DAYS_PER_YEAR, POINTS};
use crate::{Greeks, OptionKind};

/// A European option on a spot price: Black and Scholes (1973) with Merton's (1973) dividend yield.
///
/// With a dividend yield equal to the foreign rate it is the currency option of Garman and Kohlhagen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlackScholes {
    /// Price of the underlying now.
    pub spot: f64,
    /// Price at which the option is exercised.
    pub strike: f64,
    /// Riskless rate, continuously compounded, as a fraction per year; may be negative.
    pub rate: f64,
    /// Dividend yield, continuously compounded, as a fraction per year; may be negative.
    pub dividend_yield: f64,
    /// Time to expiry in years.
    pub years: f64,
}

impl BlackScholes {
    /// The present value at a volatility (0.25 is 25 % per year); NaN if an input is invalid.
    pub fn price(&self, kind: OptionKind, volatility: f64) -> f64 {
        match self.legs_at(volatility) {
            Some(legs) => legs.price(kind, volatility * libm::sqrt(self.years)),
            None => f64::NAN,
        }
    }

    /// Price and Greeks at a volatility, in the units of the [crate docs](crate#units); all NaN if an input is invalid.
    ///
    /// Rho holds the spot and the dividend yield constant.
    pub fn greeks(&self, kind: OptionKind, volatility: f64) -> Greeks {
        let Some(legs) = self.legs_at(volatility) else { return Greeks::NAN };
        let root = libm::sqrt(self.years);
        let parts = legs.parts(kind, volatility * root);
        let dividend_factor = libm::exp(-self.dividend_yield * self.years);

        let decay = 0.5 * (legs.asset * parts.peak * volatility * volatility);
        let carry =
            self.dividend_yield * (legs.asset * parts.asset_weight) - self.rate * (legs.cash * parts.cash_weight);
        Greeks {
            price: parts.price,
            delta: dividend_factor * parts.asset_weight,
            gamma: dividend_factor * parts.peak / self.spot,
            theta: (carry - decay) / DAYS_PER_YEAR,
            vega: legs.asset * parts.density * root / POINTS,
            rho: self.years * (legs.cash * parts.cash_weight) / POINTS,
        }
    }

    /// The volatility at which the option is worth `price`, if the price holds one: see the
    /// [crate docs](crate#implied-volatility).
    pub fn implied_volatility(&self, kind: OptionKind, price: f64) -> Option<f64> {
        let deviation = total_deviation(&self.legs()?, kind, price)?;
        (self.years > 0.0).then(|| deviation / libm::sqrt(self.years))
    }

    fn legs_at(&self, volatility: f64) -> Option<Legs> {
        if is_not_negative(volatility) { self.legs() } else { None }
    }

    fn legs(&self) -> Option<Legs> {
        let valid = is_positive(self.spot) && is_positive(self.strike) && is_not_negative(self.years);
        if !valid {
            return None;
        }
        Legs::new(
            self.spot * libm::exp(-self.dividend_yield * self.years),
            self.strike * libm::exp(-self.rate * self.years),
            ln_ratio(self.spot, self.strike) + (self.rate - self.dividend_yield) * self.years,
        )
    }
}
