//! A sum of doubles that is exact, whatever is added and taken away again.
//!
//! Sums of a book live for months while positions of either sign, huge and tiny, come and go: a float that is added to
//! and subtracted from drifts, and a recount each minute still drifts in between. Here a sum is a row of fixed-point
//! digits that spans every double, so that adding a number and taking it away leaves no trace. A number touches three
//! digits: the cost of one event is constant. Reading rounds once, correctly.

/// Bits of a digit.
const DIGIT: u32 = 32;
/// Digits for the mantissa of the largest double, shifted to its place: 2,046 places of 53 bits, in three digits each.
const DIGITS: usize = 66;
/// One more digit for the carry.
const WIDE: usize = DIGITS + 1;

/// The exact sum of finite doubles, of at most 2^31 at a time.
///
/// Digit `i` counts units of 2^(32 i - 1074). A number adds less than 2^32 to each of its digits, and takes away the very
/// same when it goes: a digit never holds more than the numbers present put into it, so that no carry is needed before
/// the sum is read.
#[derive(Clone, Debug)]
pub(super) struct ExactSum {
    digits: [i64; DIGITS],
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { digits: [0; DIGITS] }
    }
}

/// A number cut into the digits it touches: once, however many sums it goes into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    first: usize,
    parts: [i64; 3],
}

impl Digits {
    /// The digits of a finite number; others have no place in a sum and count as 0.
    pub(super) fn of(value: f64) -> Self {
        if !value.is_finite() {
            return Self { first: 0, parts: [0; 3] };
        }
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
        // Subnormal numbers have no hidden bit and the place of the smallest normal ones.
        let (mantissa, place) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let shifted = u128::from(mantissa) << (place % u64::from(DIGIT));
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = shifted.to_le_bytes();
        let sign = if value.is_sign_negative() { -1 } else { 1 };
        let part = |bytes| sign * i64::from(u32::from_le_bytes(bytes));
        let first = usize::try_from(place / u64::from(DIGIT)).unwrap_or(DIGITS);
        Self { first, parts: [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(part) }
    }
}

impl ExactSum {
    /// Adds a number.
    pub(super) fn add(&mut self, number: &Digits) {
        if let Some(digits) = self.digits.get_mut(number.first..number.first + 3) {
            digits.iter_mut().zip(number.parts).for_each(|(digit, part)| *digit += part);
        }
    }

    /// Takes away a number that was added before.
    pub(super) fn remove(&mut self, number: &Digits) {
        self.add(&Digits { parts: number.parts.map(|part| -part), ..*number });
    }

    /// Adds all that is in `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.digits.iter_mut().zip(&other.digits) {
            *mine += theirs;
        }
    }

    /// The double nearest to the sum, ties to even; an infinity when it is beyond the largest.
    pub(super) fn value(&self) -> f64 {
        let (negative, digits) = self.magnitude();
        let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // Four digits hold 97 significant bits or more: whatever lies below them matters only by being there.
        let base = top.saturating_sub(3);
        let (below, kept) = digits.split_at_checked(base).unwrap_or_default();
        let mut window = kept.iter().take(4).rev().fold(0u128, |window, digit| window << DIGIT | u128::from(*digit));
        if below.iter().any(|digit| *digit != 0) {
            window |= 1;
        }
        // `as` rounds to nearest, ties to even; the scaling is exact, for a result below the smallest normal number has
        // all its bits in the window.
        let magnitude = window as f64 * unit(base);
        if negative { -magnitude } else { magnitude }
    }

    /// The sign, and the digits of the magnitude with all carries done, each in 0 to 2^32 - 1.
    fn magnitude(&self) -> (bool, [u32; WIDE]) {
        let (digits, carry) = carried(self.digits.iter().copied());
        if carry < 0 { (true, carried(self.digits.iter().map(|digit| -digit)).0) } else { (false, digits) }
    }
}

/// Carries from the lowest digit up; what is left above the highest is the last digit when positive, else negative.
fn carried(from: impl Iterator<Item = i64>) -> ([u32; WIDE], i64) {
    let (mut digits, mut carry) = ([0; WIDE], 0);
    let mut places = digits.iter_mut();
    for (digit, place) in from.zip(places.by_ref()) {
        let sum = digit + carry;
        carry = sum >> DIGIT;
        *place = u32::try_from(sum & 0xffff_ffff).unwrap_or(0);
    }
    if let Some(last) = places.next() {
        *last = u32::try_from(carry).unwrap_or(0);
    }
    (digits, carry)
}

/// What one unit of a digit is worth.
fn unit(digit: usize) -> f64 {
    // 2^(32 digit - 1074), subnormal for the first two digits; the exponent field of a normal number is 51 greater.
    let exponent = u64::from(DIGIT) * digit as u64;
    if exponent < 52 { f64::from_bits(1 << exponent) } else { f64::from_bits((exponent - 51) << 52) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(&Digits::of(*value)));
        sum.value()
    }

    #[test]
    fn one_number_is_its_own_sum() {
        for value in [
            0.0,
            1.0,
            -1.0,
            0.1,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::from_bits((1 << 52) - 1),
            -f64::from_bits((1 << 52) + 1),
            1e300,
            -1e-300,
            4_503_599_627_370_497.5,
        ] {
            assert_eq!(sum(&[value]).to_bits(), value.to_bits(), "{value:e}");
        }
        assert_eq!(sum(&[]).to_bits(), 0.0f64.to_bits());
        assert_eq!(sum(&[-0.0]).to_bits(), 0.0f64.to_bits());
        assert_eq!(sum(&[f64::NAN, f64::INFINITY, 2.0]), 2.0);
    }

    #[test]
    fn cancellation_leaves_what_is_left() {
        assert_eq!(sum(&[1e300, 1.0, -1e300]), 1.0);
        assert_eq!(sum(&[1e16, 1.0, -1e16, 1e-16]), 1.0 + 1e-16);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX, f64::from_bits(3), -f64::MAX]), f64::from_bits(3));
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[f64::MIN, f64::MIN]), f64::NEG_INFINITY);
        // The floats that this replaces do not do it.
        assert_eq!([1e300, 1.0, -1e300].iter().sum::<f64>(), 0.0);
    }

    #[test]
    fn ties_go_to_even_and_a_trace_decides() {
        let odd = 1.0 + f64::EPSILON;
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half]), 1.0);
        assert_eq!(sum(&[odd, half]), 1.0 + 2.0 * f64::EPSILON);
        assert_eq!(sum(&[1.0, half, f64::from_bits(1)]), odd);
        assert_eq!(sum(&[1.0, half, -f64::from_bits(1)]), 1.0);
        assert_eq!(sum(&[-1.0, -half, -f64::from_bits(1)]), -odd);
    }

    fn any_finite() -> impl Strategy<Value = f64> {
        prop_oneof![any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |v| v.is_finite()), -1e6..1e6]
    }

    proptest! {
        #[test]
        fn two_numbers_add_up_as_the_processor_adds_them(a in any_finite(), b in any_finite()) {
            // The sum of two doubles, correctly rounded, is what the processor computes.
            prop_assert_eq!(sum(&[a, b]), a + b);
        }

        #[test]
        fn order_does_not_matter_and_what_goes_leaves_no_trace(
            stay in prop::collection::vec(any_finite(), 0..20),
            go in prop::collection::vec(any_finite(), 0..20),
        ) {
            let mut all = ExactSum::default();
            go.iter().chain(&stay).for_each(|value| all.add(&Digits::of(*value)));
            go.iter().for_each(|value| all.remove(&Digits::of(*value)));
            let backwards: Vec<f64> = stay.iter().rev().copied().collect();
            prop_assert_eq!(all.value().to_bits(), sum(&backwards).to_bits());
            let (left, right) = stay.split_at(stay.len() / 2);
            let (mut merged, mut other) = (ExactSum::default(), ExactSum::default());
            left.iter().for_each(|value| merged.add(&Digits::of(*value)));
            right.iter().for_each(|value| other.add(&Digits::of(*value)));
            merged.merge(&other);
            prop_assert_eq!(merged.value().to_bits(), all.value().to_bits());
        }

        #[test]
        fn whole_numbers_agree_with_integers(values in prop::collection::vec(-(1i64 << 53)..(1i64 << 53), 0..200)) {
            let exact: i128 = values.iter().copied().map(i128::from).sum();
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(sum(&floats), exact as f64);
        }
    }
}
