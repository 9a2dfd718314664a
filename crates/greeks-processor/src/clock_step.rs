//! Notices when the wall clock is set.

use std::time::Duration;

use greeks_model::{Clock, UnixNanos};

/// Corrections up to this are the daily work of time synchronisation.
const TOLERANCE: Duration = Duration::from_secs(2);
/// Between two looks a clock may also drift by this part of the time that has passed: 500 ppm is the most that
/// synchronisation corrects by slewing.
const DRIFT: u32 = 1_000;

/// Compares the wall clock with one that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct StepWatch {
    last: Option<(UnixNanos, Duration)>,
}

/// The wall clock was set from one time to another; either may be the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The time it would have shown.
    pub(crate) from: UnixNanos,
    /// The time it shows.
    pub(crate) to: UnixNanos,
}

impl StepWatch {
    /// Looks at the clock; tells of a step since the last look. A clock that cannot tell never steps.
    pub(crate) fn look(&mut self, clock: &dyn Clock) -> Option<Step> {
        let elapsed = clock.elapsed()?;
        let now = clock.now();
        let (then, at) = self.last.replace((now, elapsed))?;
        let passed = elapsed.saturating_sub(at);
        let expected = then.saturating_add(passed);
        let off = now.saturating_since(expected).max(expected.saturating_since(now));
        (off > TOLERANCE + passed / DRIFT).then_some(Step { from: expected, to: now })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Seconds of the wall clock and since the start.
    #[derive(Debug)]
    struct Both(Mutex<(i64, Option<u64>)>);

    impl Clock for Both {
        fn now(&self) -> UnixNanos {
            UnixNanos::from_millis(self.0.lock().unwrap().0 * 1_000)
        }

        fn elapsed(&self) -> Option<Duration> {
            self.0.lock().unwrap().1.map(Duration::from_secs)
        }
    }

    /// What is seen of these pairs of clocks, in seconds.
    fn looks(pairs: &[(i64, Option<u64>)]) -> Vec<Option<(i64, i64)>> {
        let mut watch = StepWatch::default();
        let look = |pair: &(i64, Option<u64>)| {
            let step = watch.look(&Both(Mutex::new(*pair)))?;
            Some((step.from.as_millis() / 1_000, step.to.as_millis() / 1_000))
        };
        pairs.iter().map(look).collect()
    }

    #[test]
    fn a_step_is_told_once_with_both_times() {
        let pairs = [(100, Some(5)), (110, Some(15)), (3_720, Some(25)), (3_730, Some(35)), (130, Some(45))];
        assert_eq!(looks(&pairs), [None, None, Some((120, 3_720)), None, Some((3_740, 130))]);
    }

    #[test]
    fn corrections_drift_and_a_sleeping_machine_are_no_steps() {
        // Two seconds either way; a night asleep, that both clocks count, with ten seconds of drift.
        assert_eq!(looks(&[(100, Some(0)), (102, Some(0)), (100, Some(0)), (36_110, Some(36_000))]), [None; 4]);
        assert_eq!(looks(&[(100, None), (5_000, None)]), [None; 2]);
    }
}
