//! The standard normal distribution, exact into its tails.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// Below this the Mills ratio comes from its continued fraction, above it from `erfc`.
const FRACTION_FROM: f64 = -5.0;

/// Levels of the continued fraction: at `FRACTION_FROM`, its worst place, the rest is below half a unit in the last
/// place.
const FRACTION_LEVELS: i32 = 40;

/// The density at `z`.
pub(crate) fn pdf(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * PI)
}

/// The logarithm of the density at `z`, which does not underflow where the density does.
pub(crate) fn ln_pdf(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * libm::log(2.0 * PI)
}

/// The probability of a value below `z`.
pub(crate) fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The Mills ratio of the lower tail, `cdf(z) / pdf(z)`: about `-1 / z` far below zero, infinite far above.
pub(crate) fn mills(z: f64) -> f64 {
    if z < FRACTION_FROM { 1.0 / (fraction(-z) - z) } else { cdf(z) / pdf(z) }
}

/// The derivative of [`mills`], `1 + z * mills(z)`, without the cancellation of that sum in the tail.
pub(crate) fn mills_slope(z: f64) -> f64 {
    if z < FRACTION_FROM {
        let rest = fraction(-z);
        rest / (rest - z)
    } else {
        1.0 + z * mills(z)
    }
}

/// Laplace's continued fraction `1/(a + 2/(a + 3/(a + ...)))`; the Mills ratio at `-a` is `1 / (a + fraction(a))`.
fn fraction(a: f64) -> f64 {
    (1..=FRACTION_LEVELS).rev().fold(0.0, |rest, level| f64::from(level) / (a + rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs(), "got {got:e}, want {want:e}");
    }

    /// Reference figures: mpmath, 60 digits.
    #[test]
    fn tails_agree_with_reference() {
        assert_eq!(cdf(0.0), 0.5);
        assert_close(cdf(-1.0), 0.158_655_253_931_457_05, 1e-15);
        assert_close(cdf(-10.0), 7.619_853_024_160_527e-24, 1e-13);
        assert_close(cdf(-37.0), 5.725_571_222_524_577e-300, 1e-12);
        assert_close(pdf(1.5), 0.129_517_595_665_891_75, 1e-15);
        assert_close(libm::exp(ln_pdf(1.5)), pdf(1.5), 1e-15);
    }

    #[test]
    fn both_ways_to_the_mills_ratio_meet() {
        let below = FRACTION_FROM - 1e-12;
        assert_close(mills(below), cdf(below) / pdf(below), 1e-13);
        assert_close(mills_slope(below), 1.0 + FRACTION_FROM * mills(FRACTION_FROM), 1e-11);
    }

    #[test]
    fn limits_are_numbers() {
        assert_eq!(mills(f64::NEG_INFINITY), 0.0);
        assert_eq!(mills_slope(f64::NEG_INFINITY), 0.0);
        assert_eq!(cdf(f64::NEG_INFINITY), 0.0);
        assert_eq!(cdf(f64::INFINITY), 1.0);
        assert_eq!(pdf(f64::INFINITY), 0.0);
    }
}
