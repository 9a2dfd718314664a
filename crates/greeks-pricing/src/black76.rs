//! Options on a forward or future.

use crate::black::{Legs, is_not_negative, is_positive, ln_ratio};
use crate::implied::total_deviation;
use crate::types::{DAYS_PER_YEAR, POINTS};
use crate::{Greeks, OptionKind};

/// A European option on a forward or future whose premium is paid up front: Black (1976).
///
/// A rate of 0 gives the undiscounted figures of options that are margined like the future itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Black76 {
    /// Forward or futures price now.
    pub forward: f64,
    /// Price at which the option is exercised.
    pub strike: f64,
    /// Rate of discounting, continuously compounded, as a fraction per year; may be negative.
    pub rate: f64,
    /// Time to expiry in years.
    pub years: f64,
}

impl Black76 {
    /// The present value at a volatility (0.25 is 25 % per year); NaN if an input is invalid.
    pub fn price(&self, kind: OptionKind, volatility: f64) -> f64 {
        match self.legs_at(volatility) {
            Some(legs) => legs.price(kind, volatility * libm::sqrt(self.years)),
            None => f64::NAN,
        }
    }

    /// Price and Greeks at a volatility, in the units of the [crate docs](crate#units); all NaN if an input is invalid.
    ///
    /// Delta and gamma are with respect to the forward. Theta and rho hold the forward constant: the rate only
    /// discounts, so rho is `-years * price / 100`, negative for calls too.
    pub fn greeks(&self, kind: OptionKind, volatility: f64) -> Greeks {
        let Some(legs) = self.legs_at(volatility) else { return Greeks::NAN };
        let root = libm::sqrt(self.years);
        let parts = legs.parts(kind, volatility * root);
        let discount = libm::exp(-self.rate * self.years);

        let decay = 0.5 * (legs.asset * parts.peak * volatility * volatility);
        Greeks {
            price: parts.price,
            delta: discount * parts.asset_weight,
            gamma: discount * parts.peak / self.forward,
            theta: (self.rate * parts.price - decay) / DAYS_PER_YEAR,
            vega: legs.asset * parts.density * root / POINTS,
            rho: -self.years * parts.price / POINTS,
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
        let valid = is_positive(self.forward) && is_positive(self.strike) && is_not_negative(self.years);
        if !valid {
            return None;
        }
        let discount = libm::exp(-self.rate * self.years);
        Legs::new(self.forward * discount, self.strike * discount, ln_ratio(self.forward, self.strike))
    }
}
