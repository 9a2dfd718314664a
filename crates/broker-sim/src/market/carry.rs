//! Interest and dividends of a chain, recovered from the file.
//!
//! End-of-day files name neither, but a vendor's theta of an option so deep in the money that it has no time value left
//! is nothing else: such an option is worth `S e^(-qT) - K e^(-rT)` (a put the negative), so its theta per year is
//! `q S e^(-qT) - r K e^(-rT)`, a straight line over the strikes. Its slope is the rate, its intercept the yield.

/// Rate and yield, continuously compounded, as fractions per year.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Carry {
    /// Riskless rate.
    pub rate: f64,
    /// Dividend yield.
    pub dividend_yield: f64,
}

/// A row of a chain without time value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeepRow {
    pub(crate) strike: f64,
    /// Theta per year; of a put with the sign changed.
    pub(crate) theta: f64,
}

/// The carry that `rows` of one expiry and day agree on: least squares, so that the rounding of a file's decimals
/// averages out. With a single strike there is no telling dividends apart: they are taken as none.
pub(crate) fn recover(rows: &[DeepRow], spot: f64, years: f64) -> Option<Carry> {
    let count = rows.iter().fold(0.0, |n, _| n + 1.0);
    if rows.is_empty() || years <= 0.0 || spot <= 0.0 {
        return None;
    }
    let mean_strike = rows.iter().map(|row| row.strike).sum::<f64>() / count;
    let mean_theta = rows.iter().map(|row| row.theta).sum::<f64>() / count;
    let spread: f64 = rows.iter().map(|row| (row.strike - mean_strike).powi(2)).sum();
    let slope = if spread > 0.0 {
        rows.iter().map(|row| (row.strike - mean_strike) * (row.theta - mean_theta)).sum::<f64>() / spread
    } else {
        mean_theta / mean_strike
    };
    let intercept = mean_theta - slope * mean_strike;
    let rate = undiscounted(-slope, years);
    let dividend_yield = undiscounted(intercept / spot, years);
    let sane = |value: f64| value.is_finite() && value.abs() < 0.5;
    // Below a thousandth of a percent the yield is the rounding of the file.
    let dividend_yield = if dividend_yield.abs() < 1e-5 { 0.0 } else { dividend_yield };
    (sane(rate) && sane(dividend_yield)).then_some(Carry { rate, dividend_yield })
}

/// Solves `x e^(-x years) = product`: a contraction for every rate of this world.
fn undiscounted(product: f64, years: f64) -> f64 {
    (0..60).fold(product, |x, _| product * (x * years).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(carry: Carry, strikes: &[f64], spot: f64, years: f64) -> Vec<DeepRow> {
        let Carry { rate, dividend_yield } = carry;
        let theta = |strike: f64| {
            dividend_yield * spot * (-dividend_yield * years).exp() - rate * strike * (-rate * years).exp()
        };
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        strikes.iter().map(|strike| DeepRow { strike: *strike, theta: rounded(theta(*strike)) }).collect()
    }

    #[test]
    fn rate_and_yield_come_back_from_rounded_thetas() {
        let given = Carry { rate: 0.0173, dividend_yield: 0.0212 };
        let found = recover(&rows(given, &[1100.0, 1200.0, 1500.0, 1750.0], 2695.0, 0.058), 2695.0, 0.058).unwrap();
        assert!((found.rate - given.rate).abs() < 1e-6, "{found:?}");
        assert!((found.dividend_yield - given.dividend_yield).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn rounding_is_not_taken_for_dividends() {
        let given = Carry { rate: 0.0131, dividend_yield: 0.0 };
        let found = recover(&rows(given, &[1300.0, 1350.0, 1400.0], 2695.0, 0.07), 2695.0, 0.07).unwrap();
        assert_eq!(found.dividend_yield, 0.0);
        let single = recover(&rows(given, &[1300.0], 2695.0, 0.07), 2695.0, 0.07).unwrap();
        assert!((single.rate - given.rate).abs() < 1e-6);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(recover(&[], 100.0, 0.1), None);
        let row = DeepRow { strike: 100.0, theta: -1.0 };
        assert_eq!(recover(&[row], 100.0, 0.0), None);
        assert_eq!(recover(&[DeepRow { theta: -9000.0, ..row }], 100.0, 0.1), None);
    }
}
