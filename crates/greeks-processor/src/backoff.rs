//! How long to wait before trying again: exponential, with full jitter.

use std::time::Duration;

/// Delays drawn evenly between a floor and a ceiling that doubles with each failure up to a cap. After an outage all
/// clients of a broker come back at once; drawing from the whole range spreads them widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    floor: Duration,
    base: Duration,
    cap: Duration,
}

impl Default for Backoff {
    /// Floor 100 ms, base 250 ms, cap 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_millis(250), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Delays from `floor` up to `base * 2^n`, at most `cap`. A cap below the floor is raised to it.
    #[must_use]
    pub fn new(floor: Duration, base: Duration, cap: Duration) -> Self {
        Self { floor, base, cap: cap.max(floor) }
    }

    /// The longest delay after `n` failures before this one.
    #[must_use]
    pub fn ceiling(&self, n: u32) -> Duration {
        // 2^n does not fit from n = 32 on, where any base of a nanosecond or more has long passed any useful cap.
        let factor = 1u32.checked_shl(n).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).clamp(self.floor, self.cap)
    }

    /// Draws the delay after `n` failures before this one.
    pub fn delay(&self, n: u32, random: &mut fastrand::Rng) -> Duration {
        let range = self.ceiling(n).saturating_sub(self.floor);
        let nanos = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        self.floor.saturating_add(Duration::from_nanos(random.u64(..=nanos)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_from_the_base_to_the_cap() {
        let ceilings: Vec<_> = (0..9).map(|n| Backoff::default().ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(Backoff::default().ceiling(u32::MAX).as_millis(), 30_000);
    }

    #[test]
    fn delays_use_the_whole_range() {
        let mut random = fastrand::Rng::with_seed(1);
        let delays: Vec<_> = (0..1_000).map(|_| Backoff::default().delay(3, &mut random).as_millis()).collect();
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!((100..150).contains(least) && (1_950..=2_000).contains(most), "{least} to {most}");
        let mean = delays.iter().sum::<u128>() / 1_000;
        assert!((1_000..1_100).contains(&mean), "{mean}");
    }

    proptest! {
        #[test]
        fn delays_stay_between_floor_and_cap(
            floor in any::<u64>(), base in any::<u64>(), cap in any::<u64>(), n in any::<u32>(), seed in any::<u64>(),
        ) {
            let [floor, base, cap] = [floor, base, cap].map(Duration::from_nanos);
            let backoff = Backoff::new(floor, base, cap);
            let mut random = fastrand::Rng::with_seed(seed);
            for n in [n, n % 64, 0, u32::MAX] {
                let delay = backoff.delay(n, &mut random);
                prop_assert!(delay >= floor && delay <= cap.max(floor) && delay <= backoff.ceiling(n));
                prop_assert!(backoff.ceiling(n) <= backoff.ceiling(n.saturating_add(1)));
            }
        }

        #[test]
        fn the_longest_durations_do_not_overflow(n in any::<u32>()) {
            let backoff = Backoff::new(Duration::MAX, Duration::MAX, Duration::MAX);
            prop_assert_eq!(backoff.delay(n, &mut fastrand::Rng::with_seed(1)), Duration::MAX);
        }
    }
}
