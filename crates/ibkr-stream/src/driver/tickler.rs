//! The calls that keep a brokerage session alive, and what they tell of it.

use std::time::Duration;

use greeks_model::SessionEnd;
use tokio::time::Instant;

use crate::Error;
use crate::brokerage::{self, Identity};
use crate::rest::Tickle;

/// Failures in a row that are worth telling: one call is lost now and then.
const TOLD_FAILURES: u32 = 3;
/// A failed call is repeated after this part of the usual time: a session lives for five of them.
const RETRY_PART: u32 = 6;

/// When to tickle. A failure never ends it: while the stream stands, it is tried again and again.
#[derive(Debug)]
pub(super) struct Tickler {
    identity: Identity,
    compete: bool,
    every: Duration,
    due: Instant,
    running: bool,
    failures: u32,
    limited_until: Option<Instant>,
}

impl Tickler {
    /// The session has just been tickled.
    pub(super) fn new(identity: Identity, every: Duration, compete: bool, now: Instant) -> Self {
        Self { identity, compete, every, due: now + every, running: false, failures: 0, limited_until: None }
    }

    /// Whether to call now. The call counts as running then.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let begins = !self.running && now >= self.due;
        self.running |= begins;
        begins
    }

    /// Something makes the session doubtful: look soon.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// A call has ended. Gives the end of the session, or its error, when that is what it tells.
    pub(super) fn done(&mut self, outcome: Result<Tickle, Error>, now: Instant) -> Result<Option<SessionEnd>, Error> {
        self.running = false;
        match outcome {
            Ok(tickle) => {
                if self.is_failing() {
                    tracing::info!("the gateway answers again");
                }
                tracing::debug!(login_expires_in = ?tickle.sso_expires, "tickled");
                self.failures = 0;
                self.due = now + self.every;
                brokerage::judge(&self.identity, &tickle, self.compete)
            }
            Err(error) if error.needs_operator() => Err(error),
            Err(Error::NoBrokerageSession { .. }) => Err(Error::Unauthenticated),
            Err(Error::RateLimited { pause, .. }) => {
                self.hold(pause, now);
                // Whether a tickle may go out ahead of the others is not known here: to ask costs no call.
                self.due = now + pause.min(self.every);
                Ok(None)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.due = now + self.every / RETRY_PART;
                tracing::warn!(failures = self.failures, error = &error as &dyn std::error::Error, "tickle failed");
                Ok(None)
            }
        }
    }

    /// Nothing may be asked for so long, but for a tickle now and then.
    pub(super) fn hold(&mut self, pause: Duration, now: Instant) {
        if !self.is_limited(now) {
            tracing::warn!(?pause, "the gateway limits the rate of calls; the stream goes on");
        }
        self.limited_until = self.limited_until.max(Some(now + pause));
    }

    /// Whether the gateway has not answered for several calls.
    pub(super) const fn is_failing(&self) -> bool {
        self.failures >= TOLD_FAILURES
    }

    /// Whether nothing may be asked now.
    pub(super) fn is_limited(&self, now: Instant) -> bool {
        self.limited_until.is_some_and(|until| now < until)
    }

    /// When [`Tickler::start`] is true, unless a call is under way.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.running).then_some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::OperatorReason;

    use super::*;
    use crate::rest::AuthStatus;

    const EVERY: Duration = Duration::from_secs(60);

    fn tickler(now: Instant) -> Tickler {
        Tickler::new(Identity::for_test("a"), EVERY, false, now)
    }

    fn healthy() -> Result<Tickle, Error> {
        let auth = AuthStatus { authenticated: true, connected: true, ..AuthStatus::default() };
        Ok(Tickle { session: "a".into(), sso_expires: None, auth: Some(auth) })
    }

    fn lost() -> Result<Tickle, Error> {
        Err(Error::StepTimeout { step: "answer", after: EVERY })
    }

    #[test]
    fn f14_network_errors_never_end_it_and_are_told_when_they_last() {
        let mut now = Instant::now();
        let mut tickler = tickler(now);
        assert!(!tickler.start(now + EVERY - Duration::from_millis(1)));
        now += EVERY;
        for failure in 1..=100 {
            assert!(tickler.start(now) && !tickler.start(now), "one at a time");
            assert_eq!(tickler.deadline(), None);
            assert!(matches!(tickler.done(lost(), now), Ok(None)));
            assert_eq!(tickler.is_failing(), failure >= 3);
            assert_eq!(tickler.deadline(), Some(now + EVERY / 6));
            now += EVERY / 6;
        }
        assert!(tickler.start(now));
        assert!(matches!(tickler.done(healthy(), now), Ok(None)));
        assert!(!tickler.is_failing());
        assert_eq!(tickler.deadline(), Some(now + EVERY));
    }

    #[test]
    fn a_limit_is_told_to_its_end_and_tickles_are_tried_meanwhile() {
        let now = Instant::now();
        let mut tickler = tickler(now);
        let pause = Duration::from_secs(600);
        tickler.hold(pause, now);
        assert_eq!(tickler.deadline(), Some(now + EVERY), "the limit of another call");
        for (short, asked_again) in [(EVERY / 2, EVERY / 2), (4 * EVERY, EVERY)] {
            tickler.hurry(now);
            assert!(tickler.start(now));
            assert!(matches!(tickler.done(Err(Error::RateLimited { call: "x", pause: short }), now), Ok(None)));
            assert_eq!(tickler.deadline(), Some(now + asked_again));
        }
        tickler.hurry(now);
        assert!(tickler.start(now));
        assert!(matches!(tickler.done(healthy(), now), Ok(None)));
        assert!(tickler.is_limited(now) && !tickler.is_limited(now + pause) && !tickler.is_failing());
    }

    #[test]
    fn what_only_a_person_can_mend_ends_the_session() {
        let now = Instant::now();
        let error = tickler(now).done(Err(Error::LoginRequired { gateway: "x".into() }), now).unwrap_err();
        assert_eq!(error.retry(), greeks_model::Retry::Operator(OperatorReason::LoginRequired));
        let gone = Err(Error::NoBrokerageSession { reason: "no bridge".into() });
        assert!(matches!(tickler(now).done(gone, now), Err(Error::Unauthenticated)));
    }
}
