//! What both models share: an option is the right to swap a cash leg for an asset leg.
//!
//! With `A` and `B` the present values of both legs, `x = ln(A / B)` and `s = volatility * sqrt(years)`, a call is
//! worth `A N(d1) - B N(d2)` where `d1 = x/s + s/2` and `d2 = x/s - s/2`. Everything here is in these four figures; the
//! models only say what the legs are and in which units the answer is wanted.

use crate::OptionKind;
use crate::normal::{cdf, ln_pdf, mills, mills_slope, pdf};

/// Up to this `s / 2` the difference of two Mills ratios is integrated, since subtracting would lose digits.
const NARROW: f64 = 0.1;

/// Nodes and weights of the five-point Gauss-Legendre rule on [-1, 1]; on intervals this narrow its error is below the
/// last place.
const GAUSS_LEGENDRE: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

/// Present values of what the holder of a call receives and pays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    /// `A`: the underlying, discounted.
    pub(crate) asset: f64,
    /// `B`: the strike, discounted.
    pub(crate) cash: f64,
    /// `x`: taken separately, because `ln(asset / cash)` would carry the rounding of both.
    pub(crate) log_moneyness: f64,
}

/// The parts from which a model assembles its Greeks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// Present value.
    pub(crate) price: f64,
    /// Asset legs in the replicating portfolio: `N(d1)` for a call, `-N(-d1)` for a put.
    pub(crate) asset_weight: f64,
    /// Cash legs owed by it: `N(d2)` for a call, `-N(-d2)` for a put.
    pub(crate) cash_weight: f64,
    /// The normal density at `d1`.
    pub(crate) density: f64,
    /// `density / s`.
    pub(crate) peak: f64,
}

impl Legs {
    /// `None` unless both legs and their ratio are numbers a double can hold.
    pub(crate) fn new(asset: f64, cash: f64, log_moneyness: f64) -> Option<Self> {
        let finite = asset.is_finite() && cash.is_finite() && log_moneyness.is_finite();
        finite.then_some(Self { asset, cash, log_moneyness })
    }

    /// The price for a total deviation `s >= 0`.
    pub(crate) fn price(&self, kind: OptionKind, s: f64) -> f64 {
        // Parity is used in one direction only: from the out-of-the-money option up, where both terms are positive.
        self.intrinsic(kind) + self.smaller() * time_value(self.log_moneyness.abs(), s)
    }

    /// Price and the parts of the Greeks for a total deviation `s >= 0`.
    pub(crate) fn parts(&self, kind: OptionKind, s: f64) -> Parts {
        let price = self.price(kind, s);
        let x = self.log_moneyness;
        if s == 0.0 {
            let call = if x > 0.0 {
                1.0
            } else if x < 0.0 {
                0.0
            } else {
                0.5
            };
            let weight = match kind {
                OptionKind::Call => call,
                OptionKind::Put => call - 1.0,
            };
            return Parts { price, asset_weight: weight, cash_weight: weight, density: 0.0, peak: 0.0 };
        }
        let (d1, d2) = (x / s + 0.5 * s, x / s - 0.5 * s);
        let (asset_weight, cash_weight) = match kind {
            OptionKind::Call => (cdf(d1), cdf(d2)),
            OptionKind::Put => (-cdf(-d1), -cdf(-d2)),
        };
        let density = pdf(d1);
        Parts { price, asset_weight, cash_weight, density, peak: density / s }
    }

    /// What the option is worth without volatility: the lower bound of its price.
    pub(crate) fn intrinsic(&self, kind: OptionKind) -> f64 {
        let forward = match kind {
            OptionKind::Call => self.forward_value(),
            OptionKind::Put => -self.forward_value(),
        };
        if forward > 0.0 { forward } else { 0.0 }
    }

    /// What the option is worth with unlimited volatility: the upper bound of its price.
    pub(crate) fn ceiling(&self, kind: OptionKind) -> f64 {
        match kind {
            OptionKind::Call => self.asset,
            OptionKind::Put => self.cash,
        }
    }

    /// The smaller leg: what a time value is measured in.
    pub(crate) fn smaller(&self) -> f64 {
        if self.log_moneyness > 0.0 { self.cash } else { self.asset }
    }

    /// `A - B`, accurate also when they are close.
    fn forward_value(&self) -> f64 {
        if self.log_moneyness.abs() < 1.0 {
            self.cash * libm::expm1(self.log_moneyness)
        } else {
            self.asset - self.cash
        }
    }
}

/// Whether a price or strike is in the domain of the models.
pub(crate) fn is_positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

/// Whether a time or volatility is in the domain of the models.
pub(crate) fn is_not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

/// `ln(a / b)` of two positive numbers, accurate also when they are close.
pub(crate) fn ln_ratio(a: f64, b: f64) -> f64 {
    let ratio = a / b;
    if (0.5..=2.0).contains(&ratio) {
        // The difference is exact here, so the logarithm carries one rounding only.
        libm::log1p((a - b) / b)
    } else if ratio.is_normal() {
        libm::log(ratio)
    } else {
        libm::log(a) - libm::log(b)
    }
}

/// The out-of-the-money price as a fraction of the smaller leg, `N(h + t) - exp(x) N(h - t)`
/// with `h = -x/s`, `t = s/2`, for `x = |ln(A / B)|`. It rises from 0 to 1 with `s`.
pub(crate) fn time_value(x: f64, s: f64) -> f64 {
    if s == 0.0 {
        return 0.0;
    }
    let d = -x / s + 0.5 * s;
    match difference(x, s) {
        Difference::Scaled(ratio) => pdf(d) * ratio,
        Difference::Plain(value) => value,
    }
}

/// The logarithm of [`time_value`] and its derivative with respect to `s > 0`; neither underflows.
pub(crate) fn ln_time_value(x: f64, s: f64) -> (f64, f64) {
    let d = -x / s + 0.5 * s;
    match difference(x, s) {
        Difference::Scaled(ratio) => (ln_pdf(d) + libm::log(ratio), 1.0 / ratio),
        Difference::Plain(value) => (libm::log(value), pdf(d) / value),
    }
}

/// The logarithm of `1 - time_value` and its derivative with respect to `s > 0`; no digits are lost near the ceiling.
pub(crate) fn ln_headroom(x: f64, s: f64) -> (f64, f64) {
    let (h, t) = (-x / s, 0.5 * s);
    let d = h + t;
    if d > 0.0 {
        let ratio = mills(-d) + mills(h - t);
        (ln_pdf(d) + libm::log(ratio), -1.0 / ratio)
    } else {
        let value = cdf(-d) + pdf(d) * mills(h - t);
        (libm::log(value), -pdf(d) / value)
    }
}

/// A time value, with the density at `h + t` taken out where the value may be tiny.
enum Difference {
    Scaled(f64),
    Plain(f64),
}

/// Since `exp(x) pdf(h - t) = pdf(h + t)`, the time value is `pdf(h + t) (mills(h + t) - mills(h - t))`: no exponential
/// to overflow, and the tiny factor stands apart.
fn difference(x: f64, s: f64) -> Difference {
    let (h, t) = (-x / s, 0.5 * s);
    if t < NARROW {
        let mean: f64 = GAUSS_LEGENDRE.iter().map(|(node, weight)| weight * mills_slope(h + t * node)).sum();
        Difference::Scaled(t * mean)
    } else if h + t <= 0.0 {
        Difference::Scaled(mills(h + t) - mills(h - t))
    } else {
        Difference::Plain(cdf(h + t) - pdf(h + t) * mills(h - t))
    }
}
