//! When a source is tried again. Pure: the failure in, the delay out.

use std::time::Duration;

use greeks_model::{OperatorReason, Retry};

use crate::Backoff;

/// How failed sessions are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Delays after failures that may pass by themselves.
    pub backoff: Backoff,
    /// How long a session must stream before it counts as stable and earlier failures are forgotten.
    pub stable_after: Duration,
    /// The longest delay a broker may ask for; a longer one is cut to it.
    pub longest_asked: Duration,
    /// How often to look whether a person has acted.
    pub probes: Probes,
}

/// How often a source that waits for a person is tried; `None` for never, until it is
/// [told to](super::SourceHandle::retry_now).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// After refused credentials.
    pub credentials_rejected: Option<Duration>,
    /// While a person has to log in at the broker.
    pub login_required: Option<Duration>,
    /// While the configuration asks for what the broker does not have.
    pub configuration: Option<Duration>,
    /// While the other side is not who it should be.
    pub untrusted_peer: Option<Duration>,
    /// While the one session that the broker allows is in use elsewhere.
    pub session_taken: Option<Duration>,
}

const QUARTER_HOUR: Duration = Duration::from_secs(900);

impl Default for RetryPolicy {
    /// The default [`Backoff`], stable after 60 s, a broker's wish followed up to an hour, the default [`Probes`].
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            stable_after: Duration::from_secs(60),
            longest_asked: Duration::from_secs(3_600),
            probes: Probes::default(),
        }
    }
}

impl Default for Probes {
    /// Every 15 s for a login, which is cheap to look for; every minute for a session in use elsewhere; every 15 minutes
    /// for everything else.
    fn default() -> Self {
        Self {
            credentials_rejected: Some(QUARTER_HOUR),
            login_required: Some(Duration::from_secs(15)),
            configuration: Some(QUARTER_HOUR),
            untrusted_peer: Some(QUARTER_HOUR),
            session_taken: Some(Duration::from_secs(60)),
        }
    }
}

impl Probes {
    const fn every(&self, reason: OperatorReason) -> Option<Duration> {
        match reason {
            OperatorReason::CredentialsRejected => self.credentials_rejected,
            OperatorReason::LoginRequired => self.login_required,
            OperatorReason::UntrustedPeer => self.untrusted_peer,
            OperatorReason::SessionTaken => self.session_taken,
            // Whatever else a person has to do is done in the configuration.
            _ => self.configuration,
        }
    }
}

/// How a session ended, as far as the next attempt is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// In good order.
    Closed,
    /// With an error that says how to go on.
    Failed(Retry),
    /// With a bug.
    Panicked,
}

impl Outcome {
    /// Every value of the label `reason`.
    pub(super) const LABELS: [&'static str; 10] = [
        "closed",
        "now",
        "error",
        "throttled",
        "panic",
        OperatorReason::CredentialsRejected.as_str(),
        OperatorReason::LoginRequired.as_str(),
        OperatorReason::Configuration.as_str(),
        OperatorReason::UntrustedPeer.as_str(),
        OperatorReason::SessionTaken.as_str(),
    ];

    /// The label `reason` of a reconnect.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed(Retry::Now) => "now",
            Self::Failed(Retry::After(_)) => "throttled",
            Self::Failed(Retry::Operator(reason)) => reason.as_str(),
            Self::Failed(_) => "error",
            Self::Panicked => "panic",
        }
    }
}

/// What was tried since the last stable session.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Sessions begun after the one that was stable.
    pub(super) count: u32,
    /// Those of them that had to wait: the exponent of the backoff.
    waited: u32,
    immediate_spent: bool,
}

impl Attempts {
    /// Forgets all failures: a session has been stable.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How long to wait after `outcome`; `None` until someone says so. `was_stable` tells whether the session that
    /// ended had been stable. At once is granted one time between two stable sessions, or a broker that closes each
    /// session in good order would be dialled in a hot loop.
    pub(super) fn next(
        &mut self,
        policy: &RetryPolicy,
        outcome: &Outcome,
        was_stable: bool,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        if was_stable {
            self.forget();
        }
        self.count = self.count.saturating_add(1);
        let may_be_immediate = match outcome {
            Outcome::Closed | Outcome::Failed(Retry::Now) => true,
            Outcome::Failed(Retry::Operator(reason)) => return policy.probes.every(*reason),
            Outcome::Failed(Retry::After(asked)) => {
                let asked = (*asked).min(policy.longest_asked);
                return Some(asked.max(self.backoff(policy, random)));
            }
            Outcome::Failed(_) | Outcome::Panicked => was_stable,
        };
        if may_be_immediate && !self.immediate_spent {
            self.immediate_spent = true;
            return Some(Duration::ZERO);
        }
        Some(self.backoff(policy, random))
    }

    fn backoff(&mut self, policy: &RetryPolicy, random: &mut fastrand::Rng) -> Duration {
        let delay = policy.backoff.delay(self.waited, random);
        self.waited = self.waited.saturating_add(1);
        delay
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Bench(Attempts, fastrand::Rng);

    impl Bench {
        fn new() -> Self {
            Self(Attempts::default(), fastrand::Rng::with_seed(7))
        }

        fn next(&mut self, outcome: &Outcome, was_stable: bool) -> Option<Duration> {
            self.0.next(&RetryPolicy::default(), outcome, was_stable, &mut self.1)
        }
    }

    const FLOOR: Duration = Duration::from_millis(100);
    const ERROR: Outcome = Outcome::Failed(Retry::Backoff);

    #[test]
    fn the_first_failure_waits_unless_the_session_had_been_stable() {
        let mut bench = Bench::new();
        assert!(bench.next(&ERROR, false) >= Some(FLOOR));
        for outcome in [ERROR, Outcome::Panicked] {
            assert_eq!(bench.next(&outcome, true), Some(Duration::ZERO));
            assert!(bench.next(&outcome, false) >= Some(FLOOR));
        }
    }

    #[test]
    fn at_once_is_granted_one_time_between_stable_sessions() {
        for outcome in [Outcome::Closed, Outcome::Failed(Retry::Now)] {
            let mut bench = Bench::new();
            assert_eq!(bench.next(&outcome, false), Some(Duration::ZERO));
            for _ in 0..1_000 {
                assert!(bench.next(&outcome, false) >= Some(FLOOR));
            }
            assert_eq!(bench.next(&outcome, true), Some(Duration::ZERO));
            assert!(bench.next(&outcome, false) >= Some(FLOOR));
        }
    }

    #[test]
    fn attempts_are_counted_and_the_ceiling_rises_until_a_stable_session() {
        let mut bench = Bench::new();
        let mut longest = |n| (0..n).filter_map(|_| bench.next(&ERROR, false)).max().unwrap();
        assert!(longest(1) <= Duration::from_millis(250));
        assert!(longest(200) > Duration::from_secs(25));
        assert_eq!(bench.0.count, 201);
        assert_eq!(bench.next(&ERROR, true), Some(Duration::ZERO));
        assert_eq!(bench.0.count, 1);
        assert!(bench.next(&ERROR, false) <= Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_brokers_wish_is_followed_up_to_an_hour_and_never_makes_it_faster() {
        let asked = |seconds| Outcome::Failed(Retry::After(Duration::from_secs(seconds)));
        assert_eq!(Bench::new().next(&asked(40), false), Some(Duration::from_secs(40)));
        assert_eq!(Bench::new().next(&asked(40), true), Some(Duration::from_secs(40)));
        assert_eq!(Bench::new().next(&asked(u64::MAX), false), Some(Duration::from_secs(3_600)));
        assert!(Bench::new().next(&asked(0), true) >= Some(FLOOR));
    }

    #[test]
    fn a_person_is_waited_for_at_a_steady_pace() {
        let mut bench = Bench::new();
        let operator = |reason| Outcome::Failed(Retry::Operator(reason));
        for (reason, seconds) in [
            (OperatorReason::CredentialsRejected, 900),
            (OperatorReason::LoginRequired, 15),
            (OperatorReason::Configuration, 900),
            (OperatorReason::UntrustedPeer, 900),
            (OperatorReason::SessionTaken, 60),
        ] {
            for was_stable in [false, true, false] {
                assert_eq!(bench.next(&operator(reason), was_stable), Some(Duration::from_secs(seconds)));
            }
        }
        let never = Probes { credentials_rejected: None, ..Probes::default() };
        let policy = RetryPolicy { probes: never, ..RetryPolicy::default() };
        let refused = operator(OperatorReason::CredentialsRejected);
        assert_eq!(bench.0.next(&policy, &refused, false, &mut bench.1), None);
    }

    #[test]
    fn every_outcome_has_its_label() {
        let reasons = [
            OperatorReason::CredentialsRejected,
            OperatorReason::LoginRequired,
            OperatorReason::Configuration,
            OperatorReason::UntrustedPeer,
            OperatorReason::SessionTaken,
        ];
        let failures = [Retry::Now, Retry::Backoff, Retry::After(Duration::ZERO)];
        let failures = failures.into_iter().chain(reasons.map(Retry::Operator)).map(Outcome::Failed);
        let mut labels: Vec<_> =
            [Outcome::Closed, Outcome::Panicked].into_iter().chain(failures).map(|o| o.label()).collect();
        let mut known = Outcome::LABELS.to_vec();
        labels.sort_unstable();
        known.sort_unstable();
        assert_eq!(labels, known);
    }

    proptest! {
        /// Whatever a source does without ever being stable, it cannot make its supervisor spin.
        #[test]
        fn no_sequence_of_short_sessions_is_a_hot_loop(outcomes in prop::collection::vec(0..5u8, 1..200)) {
            let mut bench = Bench::new();
            let mut immediate = 0;
            for kind in outcomes {
                let outcome = match kind {
                    0 => Outcome::Closed,
                    1 => Outcome::Failed(Retry::Now),
                    2 => Outcome::Failed(Retry::After(Duration::ZERO)),
                    3 => Outcome::Panicked,
                    _ => ERROR,
                };
                let delay = bench.next(&outcome, false).unwrap();
                prop_assert!(delay == Duration::ZERO || (FLOOR..=Duration::from_secs(30)).contains(&delay));
                immediate += u32::from(delay == Duration::ZERO);
            }
            prop_assert!(immediate <= 1);
        }
    }
}
