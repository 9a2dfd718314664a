//! How long to wait before dialling again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that stood for so long was a good one.
const STABLE: Duration = Duration::from_secs(30);

/// Doubles with each failure in a row; sleeps nowhere.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    acknowledged_at: Option<Instant>,
}

impl Backoff {
    /// The streamer has taken the accounts.
    pub(super) const fn acknowledged(&mut self, now: Instant) {
        self.acknowledged_at = Some(now);
    }

    /// The connection is lost or could not be made: the pause before the next. `dice` is between 0 and 1.
    pub(super) fn lost(&mut self, now: Instant, dice: f64) -> Duration {
        let stood = self.acknowledged_at.take().is_some_and(|at| now.saturating_duration_since(at) >= STABLE);
        self.failures = if stood { 1 } else { self.failures.saturating_add(1) };
        let longest = FIRST.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST);
        // Half of it is left to chance, so that many clients do not come back together.
        longest.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again_after_a_good_connection() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let pauses: Vec<f64> = (0..9).map(|_| backoff.lost(now, 1.0).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(backoff.lost(now, 0.0), Duration::from_secs(15));
        backoff.acknowledged(now);
        assert_eq!(backoff.lost(now + STABLE / 2, 1.0), LONGEST, "taken and dropped is no success");
        backoff.acknowledged(now);
        assert_eq!(backoff.lost(now + STABLE, 1.0), FIRST);
        let mut worn = Backoff { failures: u32::MAX, acknowledged_at: None };
        assert_eq!(worn.lost(now, 7.0), LONGEST);
    }
}
