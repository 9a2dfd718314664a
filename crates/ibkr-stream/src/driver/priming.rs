//! Listing the brokerage accounts again for a websocket that refuses subscriptions without them, as after IBKR's nightly
//! reset.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Driver, Job};
use crate::Error;

/// Between two times that the accounts are listed; doubles while that does not help.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest such pause, and how long it has to have helped.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// When to list the accounts.
#[derive(Debug)]
pub(super) struct Priming {
    wanted: bool,
    running: bool,
    /// When it may be done again.
    free_at: Instant,
    pause: Duration,
}

impl Priming {
    pub(super) const fn new(now: Instant) -> Self {
        Self { wanted: false, running: false, free_at: now, pause: Duration::ZERO }
    }

    /// Something was refused for want of the accounts.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether to list them now. The call counts as running then.
    fn start(&mut self, now: Instant) -> bool {
        let begins = self.deadline().is_some_and(|at| now >= at);
        self.running |= begins;
        begins
    }

    /// A call has ended. What was refused while it ran was asked before.
    fn done(&mut self, listed: bool, now: Instant) {
        self.running = false;
        self.wanted = !listed;
        let helped = now >= self.free_at + LONGEST_PAUSE;
        self.pause = if helped { FIRST_PAUSE } else { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
        self.free_at = now + self.pause;
    }

    /// When [`Priming::start`] is true.
    fn deadline(&self) -> Option<Instant> {
        (self.wanted && !self.running).then_some(self.free_at)
    }
}

impl Driver<'_> {
    pub(super) fn start_priming(&mut self, now: Instant) {
        if self.priming.start(now) {
            let discoverer = Arc::clone(self.tools.discoverer);
            self.jobs.push(async move { Job::Primed(discoverer.rest().brokerage_accounts().await) }.boxed());
        }
    }

    /// When [`Driver::start_priming`] is due again.
    pub(super) fn priming_due(&self) -> Option<Instant> {
        self.priming.deadline()
    }

    pub(super) fn on_primed(&mut self, outcome: Result<(), Error>, now: Instant) {
        self.priming.done(outcome.is_ok(), now);
        match outcome {
            Ok(()) => {
                tracing::info!("the gateway wanted its accounts listed; subscribing again");
                self.session.primed(now.into_std());
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the brokerage accounts could not be listed");
                self.doubt(&error, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_listed_at_once_and_then_ever_more_rarely() {
        let secs = Duration::from_secs;
        let mut now = Instant::now();
        let mut priming = Priming::new(now);
        assert!(!priming.start(now));
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            priming.want();
            assert!(priming.start(now));
            priming.want();
            assert!(!priming.start(now), "one at a time");
            priming.done(true, now);
            assert_eq!(priming.deadline(), None, "what was refused meanwhile was asked before");
            priming.want();
            assert_eq!(priming.deadline(), Some(now + secs(pause)));
            assert!(!priming.start(now + secs(pause - 1)));
            now += secs(pause);
        }
        // A failure is repeated, and after a long time it begins anew.
        assert!(priming.start(now));
        priming.done(false, now);
        assert_eq!(priming.deadline(), Some(now + secs(600)));
        now += secs(1200);
        assert!(priming.start(now));
        priming.done(true, now);
        priming.want();
        assert_eq!(priming.deadline(), Some(now + secs(10)));
    }
}
