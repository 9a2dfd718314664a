//! Whether latency keeps its promise: told when it is broken and when it is kept again, not at every sample.

use std::time::Duration;

use greeks_model::UnixNanos;
use metrics::Counter;

use crate::latency::Percentiles;
use crate::metrics::SLO_BREACHES_TOTAL;

/// What is promised, and when to speak of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SloConfig {
    /// The 95th percentile must not be above this.
    pub limit: Duration,
    /// With fewer events in the window nothing is concluded.
    pub min_count: u64,
    /// To recover, the 95th percentile must stay below this part of the limit ..
    pub recover_below: f64,
    /// .. for this long.
    pub recover_after: Duration,
}

impl Default for SloConfig {
    /// 500 ms, judged from 20 events on; recovered after 10 s below 80 %.
    fn default() -> Self {
        let (limit, recover_after) = (Duration::from_millis(500), Duration::from_secs(10));
        Self { limit, min_count: 20, recover_below: 0.8, recover_after }
    }
}

/// A change worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloEvent {
    /// The promise is broken.
    Breach {
        /// The 95th percentile.
        p95: Duration,
        /// What it must not be above.
        limit: Duration,
        /// Over how many events.
        count: u64,
    },
    /// The promise is kept again.
    Recovered {
        /// The 95th percentile.
        p95: Duration,
        /// How long it was broken.
        lasted: Duration,
    },
}

/// Watches the rolling 95th percentile. Reads no clock: the time comes with each observation.
pub struct Slo {
    config: SloConfig,
    state: State,
    breaches: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Kept,
    Broken { since: UnixNanos, good_since: Option<UnixNanos> },
}

impl Slo {
    /// A promise that has been kept so far.
    #[must_use]
    pub fn new(config: SloConfig) -> Self {
        Self { config, state: State::Kept, breaches: metrics::counter!(SLO_BREACHES_TOTAL) }
    }

    /// What is promised.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.config.limit
    }

    /// Whether the promise is broken now.
    #[must_use]
    pub const fn is_breached(&self) -> bool {
        matches!(self.state, State::Broken { .. })
    }

    /// Judges the latency of the last minute as it stands at `now`. With too few events the state stays what it was:
    /// no news is neither good nor bad, and least of all when nothing is committed.
    pub fn observe(&mut self, latency: &Percentiles, now: UnixNanos) -> Option<SloEvent> {
        if latency.count < self.config.min_count {
            return None;
        }
        let p95 = latency.p95;
        match self.state {
            State::Kept if p95 > self.config.limit => {
                self.state = State::Broken { since: now, good_since: None };
                self.breaches.increment(1);
                Some(SloEvent::Breach { p95, limit: self.config.limit, count: latency.count })
            }
            State::Kept => None,
            State::Broken { since, .. }
                if p95.as_secs_f64() >= self.config.limit.as_secs_f64() * self.config.recover_below =>
            {
                self.state = State::Broken { since, good_since: None };
                None
            }
            State::Broken { since, good_since } => {
                let good_since = good_since.unwrap_or(now);
                if now.saturating_since(good_since) < self.config.recover_after {
                    self.state = State::Broken { since, good_since: Some(good_since) };
                    return None;
                }
                self.state = State::Kept;
                Some(SloEvent::Recovered { p95, lasted: now.saturating_since(since) })
            }
        }
    }
}

impl std::fmt::Debug for Slo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slo").field("config", &self.config).field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Recorded;

    fn second(at: i64) -> UnixNanos {
        UnixNanos::from_millis(at * 1_000)
    }

    fn p95(millis: u64) -> Percentiles {
        Percentiles { count: 100, p95: Duration::from_millis(millis), ..Percentiles::default() }
    }

    #[test]
    fn a_breach_is_told_once_and_ends_only_after_a_good_while() {
        let recorded = Recorded::default();
        let mut slo = recorded.while_recording(|| Slo::new(SloConfig::default()));
        let breach = |millis| {
            Some(SloEvent::Breach { p95: Duration::from_millis(millis), limit: Duration::from_millis(500), count: 100 })
        };
        assert_eq!(slo.observe(&p95(500), second(0)), None);
        assert_eq!(slo.observe(&p95(501), second(1)), breach(501));
        assert_eq!(slo.observe(&p95(900), second(2)), None);
        assert_eq!(slo.observe(&p95(399), second(3)), None);
        // Back at 80 % after 9 good seconds: the wait begins anew.
        assert_eq!(slo.observe(&p95(400), second(12)), None);
        assert_eq!(slo.observe(&p95(399), second(13)), None);
        assert!(slo.is_breached());
        let recovered = SloEvent::Recovered { p95: Duration::from_millis(10), lasted: Duration::from_secs(22) };
        assert_eq!(slo.observe(&p95(10), second(23)), Some(recovered));
        assert!(!slo.is_breached());
        assert_eq!(slo.observe(&p95(600), second(24)), breach(600));
        assert_eq!(recorded.get("greekd_slo_breaches_total"), Some(2.0));
    }

    #[test]
    fn between_the_two_thresholds_nothing_changes() {
        let mut slo = Slo::new(SloConfig::default());
        assert_eq!((0..100).filter_map(|i| slo.observe(&p95(450), second(i))).count(), 0);
        assert!(!slo.is_breached());
        slo.observe(&p95(501), second(100));
        assert_eq!((101..300).filter_map(|i| slo.observe(&p95(450), second(i))).count(), 0);
        assert!(slo.is_breached());
    }

    #[test]
    fn too_few_events_change_nothing() {
        let mut slo = Slo::new(SloConfig::default());
        let few = |millis| Percentiles { count: 19, ..p95(millis) };
        assert_eq!(slo.observe(&few(10_000), second(0)), None);
        assert!(slo.observe(&p95(10_000), second(1)).is_some());
        assert_eq!((2..100).filter_map(|i| slo.observe(&few(0), second(i))).count(), 0);
        assert!(slo.is_breached());
    }
}
