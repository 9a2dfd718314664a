//! When to commit: a token bucket with upper bounds.

use std::time::Duration;

use tokio::time::Instant;

/// How often to commit, and how long records may wait.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CommitPolicy {
    /// Tokens per second; each commit takes one.
    pub rate: f64,
    /// Tokens saved up while nothing happens.
    pub burst: u32,
    /// With so many records waiting a commit starts even without a token.
    pub max_waiting: usize,
    /// With a record waiting so long a commit starts even without a token.
    pub max_delay: Duration,
    /// The most records of one commit.
    pub max_records: usize,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self { rate: 100.0, burst: 25, max_waiting: 50, max_delay: Duration::from_secs(1), max_records: 2_000 }
    }
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pacer {
    pub(super) fn new(policy: &CommitPolicy, now: Instant) -> Self {
        let burst = f64::from(policy.burst.max(1));
        // A rate of nothing would mean waiting for ever; the other bounds hold anyway.
        Self { rate: policy.rate.max(0.001), burst, tokens: burst, at: now }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// When the next token will be there.
    pub(super) fn next_token(&mut self, now: Instant) -> Instant {
        self.refill(now);
        let missing = (1.0 - self.tokens).max(0.0);
        now + Duration::from_secs_f64(missing / self.rate)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = passed.mul_add(self.rate, self.tokens).min(self.burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(&CommitPolicy::default(), start);
        assert_eq!((0..30).filter(|_| pacer.take(start)).count(), 25);
        let next = pacer.next_token(start);
        assert!((next - start).abs_diff(Duration::from_millis(10)) < Duration::from_micros(1));
        assert!(!pacer.take(start + Duration::from_millis(9)));
        assert!(pacer.take(start + Duration::from_millis(11)));
        let second = start + Duration::from_secs(1);
        let taken = (0..1000).filter(|_| pacer.take(second)).count();
        assert_eq!(taken, 25, "no more than the burst is saved up");
    }

    #[test]
    fn over_a_second_no_more_than_burst_and_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(&CommitPolicy::default(), start);
        let taken = (0..10_000).filter(|step| pacer.take(start + Duration::from_micros(100 * step))).count();
        assert!((123..=126).contains(&taken), "{taken}");
    }
}
