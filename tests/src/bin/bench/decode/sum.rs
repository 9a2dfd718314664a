//! What was decoded, in a few numbers: ways to decode that agree give the same.

use greeks_model::QuoteUpdate;

/// The bits of every value of every event, each turned by its place among the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) events: u64,
    /// Delta, gamma, theta, vega, rho and volatility: what every decoder reads.
    pub(crate) greeks: u64,
    /// The time and the option's price; `None` where they are not read.
    pub(crate) rest: Option<u64>,
}

impl Sum {
    pub(crate) fn add(&mut self, greeks: [f64; 6], price: f64, millis: i64) {
        self.events += 1;
        for (place, value) in (0..).zip(greeks) {
            self.greeks = self.greeks.wrapping_add(bits(value).rotate_left(place));
        }
        let rest = self.rest.unwrap_or_default().wrapping_add(bits(price));
        self.rest = Some(rest.wrapping_add(millis.cast_unsigned().rotate_left(7)));
    }

    /// Whether what both have read is the same.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let same_rest = self.rest.zip(other.rest).is_none_or(|(own, other)| own == other);
        (self.events, self.greeks) == (other.events, other.greeks) && same_rest
    }

    pub(crate) fn add_update(&mut self, update: &QuoteUpdate) {
        let greeks = [update.delta, update.gamma, update.theta, update.vega, update.rho, update.implied_volatility];
        let millis = update.event_time.map_or(0, |time| time.as_nanos() / 1_000_000);
        self.add(greeks.map(absent), absent(update.option_price), millis);
    }
}

/// A field that is not part of an event counts as zero.
fn absent(value: Option<f64>) -> f64 {
    value.unwrap_or(0.0)
}

/// There are many NaN.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_field_counts() {
        let sum = |greeks, price, millis| {
            let mut sum = Sum::default();
            sum.add(greeks, price, millis);
            sum
        };
        let greeks = [0.5, 0.01, -0.1, 0.2, 0.03, f64::NAN];
        let whole = sum(greeks, 9.5, 1_700_000_000_123);
        assert_eq!(whole, sum([0.5, 0.01, -0.1, 0.2, 0.03, -f64::NAN], 9.5, 1_700_000_000_123));
        for place in 0..6 {
            let mut other = greeks;
            other[place] = if other[place].is_nan() { 0.0 } else { other[place].next_up() };
            assert_ne!(sum(other, 9.5, 1_700_000_000_123).greeks, whole.greeks);
            other.swap(0, place);
            assert_ne!(sum(other, 9.5, 1_700_000_000_123).greeks, whole.greeks);
        }
        assert_ne!(sum(greeks, 9.5, 1_700_000_000_124).rest, whole.rest);
        assert_ne!(sum(greeks, 9.6, 1_700_000_000_123).rest, whole.rest);
        assert!(whole.agrees(&Sum { rest: None, ..whole }) && !whole.agrees(&Sum { rest: Some(0), ..whole }));
        assert!(!whole.agrees(&Sum { events: 2, rest: None, ..whole }));
    }
}
