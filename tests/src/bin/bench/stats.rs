//! Percentiles of samples, and what several rounds say together.

use std::fmt;

/// The value that the part `quantile` of the samples is not above (nearest rank); `None` without samples.
pub(crate) fn percentile(samples: &[f64], quantile: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far fewer samples than 2^52")]
    let rank = (quantile.clamp(0.0, 1.0) * sorted.len() as f64).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of samples")]
    let rank = rank as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// One figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` when no round gave the figure.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// The median, and the extremes where they differ: `1.62 (1.40..2.15)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.median, self.min, self.max].map(short);
        if min == max { write!(f, "{median}") } else { write!(f, "{median} ({min}..{max})") }
    }
}

/// Three digits or so, as much as such a figure means.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let at = |quantile| percentile(&samples, quantile);
        assert_eq!([at(0.5), at(0.95), at(0.99), at(1.0)], [50.0, 95.0, 99.0, 100.0].map(Some));
        assert_eq!(at(0.0), Some(1.0));
        assert_eq!(percentile(&[7.0], 0.95), Some(7.0));
        assert_eq!(percentile(&[1.0, 2.0], 0.95), Some(2.0));
        assert_eq!(percentile(&[], 0.95), None);
    }

    #[test]
    fn rounds_are_told_by_median_and_extremes() {
        let spread = Spread::of([3.0, 1.0, 2.5]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(spread.to_string(), "2.50 (1.00..3.00)");
        assert_eq!(Spread::of([827.4]).unwrap().to_string(), "827");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.532, 9.996, 12.34, 99.96, 1234.5].map(short), ["0.53", "10.0", "12.3", "100", "1234"]);
    }
}
