//! The words both models share.

/// The right an option gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptionKind {
    /// To buy at the strike.
    Call,
    /// To sell at the strike.
    Put,
}

/// Price and sensitivities of one option, per one unit of the contract.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Greeks {
    /// Present value.
    pub price: f64,
    /// Change of the price per 1.00 of the underlying.
    pub delta: f64,
    /// Change of the delta per 1.00 of the underlying.
    pub gamma: f64,
    /// Change of the price as one calendar day passes.
    pub theta: f64,
    /// Change of the price per volatility point (0.01).
    pub vega: f64,
    /// Change of the price per 1 % of rate (0.01).
    pub rho: f64,
}

impl Greeks {
    /// The answer to invalid input.
    pub(crate) const NAN: Self =
        Self { price: f64::NAN, delta: f64::NAN, gamma: f64::NAN, theta: f64::NAN, vega: f64::NAN, rho: f64::NAN };
}

/// Theta is quoted per calendar day.
pub(crate) const DAYS_PER_YEAR: f64 = 365.0;

/// Vega and rho are quoted per hundredth.
pub(crate) const POINTS: f64 = 100.0;
