//! From a price back to the volatility.
//!
//! The unknown is `s = volatility * sqrt(years)`. The objective is the logarithm of the time value, or of its distance
//! to the ceiling, whichever is smaller: both are nearly straight where the price itself is flat. Halley's iteration in
//! `ln s` finds the root; a bracket catches every step that leaves it.

use core::f64::consts::PI;

use crate::OptionKind;
use crate::black::{Legs, ln_headroom, ln_time_value};

/// Steps taken on trust: four are usual, ten the most seen in millions.
const QUICK_STEPS: usize = 16;

/// All steps: enough to halve the widest bracket of doubles, as logarithms, down to the tolerance.
const MAX_STEPS: usize = 128;

/// Relative change of `s` below which the root is found.
const TOLERANCE: f64 = 4.0 * f64::EPSILON;

/// The `s` at which the option is worth `price`; `None` outside the open interval of possible prices.
pub(crate) fn total_deviation(legs: &Legs, kind: OptionKind, price: f64) -> Option<f64> {
    let unit = legs.smaller();
    let time_value = (price - legs.intrinsic(kind)) / unit;
    let headroom = (legs.ceiling(kind) - price) / unit;
    // NaN fails both comparisons.
    let inside = time_value > 0.0 && headroom > 0.0 && time_value.is_finite() && headroom.is_finite();
    let x = legs.log_moneyness.abs();
    inside.then(|| solve(x, time_value, headroom, start(x, time_value, headroom)))
}

/// Solves `time_value(x, s) = target`, where `headroom` is `1 - target` without its rounding.
fn solve(x: f64, target: f64, headroom: f64, start: f64) -> f64 {
    // The time value is at most that at the money, which is at most s / sqrt(2 pi).
    let mut low = target.min(1.0) * libm::sqrt(2.0 * PI);
    let mut high = f64::INFINITY;
    let mut s = start.max(low);
    for count in 0..MAX_STEPS {
        let at = objective(x, s, target, headroom);
        if at.excess == 0.0 {
            return s;
        }
        if at.excess > 0.0 {
            high = s;
        } else {
            low = s;
        }
        let quick = s * libm::exp(step(&at));
        if (quick - s).abs() <= TOLERANCE * s {
            return quick;
        }
        let trusted = count < QUICK_STEPS && quick > low && quick < high;
        s = if trusted {
            quick
        } else if high.is_infinite() {
            2.0 * s
        } else if high - low <= TOLERANCE * s {
            return s;
        } else {
            libm::sqrt(low) * libm::sqrt(high)
        };
    }
    s
}

/// A first guess from the leading tail: `N(h + t)` equal to the target or, near the ceiling, to its complement, with
/// the tail `N(-z)` taken as `exp(-z^2 / 2)`.
fn start(x: f64, target: f64, headroom: f64) -> f64 {
    let z = libm::sqrt(-2.0 * libm::log(target.min(headroom).min(0.5)));
    let root = libm::sqrt(z * z + 2.0 * x);
    if target <= headroom { 2.0 * x / (z + root) } else { z + root }
}

/// The function whose root is sought, at one `s`.
struct Objective {
    /// How far `s` is too high: the difference of the logarithms.
    excess: f64,
    /// First derivative of the excess with respect to `ln s`; positive.
    slope: f64,
    /// Second derivative over the first.
    bend: f64,
}

fn objective(x: f64, s: f64, target: f64, headroom: f64) -> Objective {
    let (excess, slope, logarithmic) = if target <= headroom {
        let (ln_value, derivative) = ln_time_value(x, s);
        (ln_value - libm::log(target), s * derivative, s * derivative)
    } else {
        let (ln_value, derivative) = ln_headroom(x, s);
        (libm::log(headroom) - ln_value, -s * derivative, s * derivative)
    };
    // The second derivative of the price over its first is (h^2 - t^2) / s; the rest comes from ln Q and ln s.
    let (h, t) = (x / s, 0.5 * s);
    Objective { excess, slope, bend: 1.0 + h * h - t * t - logarithmic }
}

/// Halley's step in `ln s`, or Newton's where the curvature would turn it around or shrink it to a false end.
fn step(at: &Objective) -> f64 {
    let newton = -at.excess / at.slope;
    let correction = 1.0 + 0.5 * newton * at.bend;
    if (0.5..=2.0).contains(&correction) { newton / correction } else { newton }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::black::time_value;

    /// Calls `check(x, s, target, headroom)` wherever both sides of the price are numbers.
    fn for_each_point(mut check: impl FnMut(f64, f64, f64, f64)) {
        for x in [0.0, 1e-12, 1e-6, 1e-3, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0, 700.0] {
            for s in [1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0] {
                let (target, headroom) = (time_value(x, s), libm::exp(ln_headroom(x, s).0));
                if target > f64::MIN_POSITIVE && headroom > f64::MIN_POSITIVE {
                    check(x, s, target, headroom);
                }
            }
        }
    }

    #[test]
    fn finds_the_root_all_over_the_plane() {
        let mut points = 0;
        for_each_point(|x, s, target, headroom| {
            let root = solve(x, target, headroom, start(x, target, headroom));
            assert!((root / s - 1.0).abs() < 1e-11, "x {x:e} s {s:e} root {root:e}");
            points += 1;
        });
        assert!(points > 80, "{points}");
    }

    /// The first guess only saves steps: the bracket leads there from anywhere.
    #[test]
    fn finds_the_root_from_a_poor_start() {
        for_each_point(|x, s, target, headroom| {
            for factor in [1e-9, 1e-3, 0.5, 3.0, 1e3, 1e9] {
                let root = solve(x, target, headroom, s * factor);
                assert!((root / s - 1.0).abs() < 1e-11, "x {x:e} s {s:e} factor {factor:e} root {root:e}");
            }
        });
    }
}
