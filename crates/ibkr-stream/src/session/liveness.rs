//! Signs of life: the gateway's, the session's, and our own.

use std::time::{Duration, Instant};

use super::Settings;
use crate::Error;

/// What the gateway has not said while this side did not read gets so much time more.
const GRACE_AFTER_PAUSE: Duration = Duration::from_secs(1);

/// When the gateway counts as dead, and when it wants to hear something.
#[derive(Debug)]
pub(super) struct Liveness {
    heartbeat_timeout: Duration,
    tic_every: Duration,
    step_timeout: Duration,
    last_inbound: Instant,
    /// Until when the gateway has to say that it is authenticated; `None` once it has.
    step_due: Option<Instant>,
    /// From when on a gateway that knows the login counts as authenticated without saying so.
    presumed_at: Option<Instant>,
    tic_at: Instant,
}

impl Liveness {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            heartbeat_timeout: settings.heartbeat_timeout,
            tic_every: settings.tic_every,
            step_timeout: settings.step_timeout,
            last_inbound: now,
            step_due: Some(now + settings.step_timeout),
            presumed_at: None,
            tic_at: now + settings.tic_every,
        }
    }

    pub(super) const fn received(&mut self, now: Instant) {
        self.last_inbound = now;
    }

    pub(super) fn authenticated(&mut self, now: Instant) {
        self.step_due = None;
        self.presumed_at = None;
        self.tic_at = now + self.tic_every;
    }

    /// The gateway knows the login. Some then never say that the session is authenticated, most do soon: they get half
    /// the time for it, but no more than is left.
    pub(super) fn login_known(&mut self, now: Instant) {
        if let (Some(due), None) = (self.step_due, self.presumed_at) {
            self.presumed_at = Some(due.min(now + self.step_timeout / 2));
        }
    }

    /// Whether to go on as if the gateway had said that it is authenticated.
    pub(super) fn is_presumed(&self, now: Instant) -> bool {
        self.presumed_at.is_some_and(|at| now >= at)
    }

    /// Nothing is read on this side.
    pub(super) fn pause(&mut self, now: Instant) {
        self.last_inbound = now;
        for due in [&mut self.step_due, &mut self.presumed_at].into_iter().flatten() {
            *due = (now + GRACE_AFTER_PAUSE).max(*due);
        }
    }

    pub(super) fn check(&self, now: Instant) -> Result<(), Error> {
        if self.step_due.is_some_and(|due| now >= due) {
            return Err(Error::StepTimeout { step: "sts authenticated:true", after: self.step_timeout });
        }
        if now.saturating_duration_since(self.last_inbound) >= self.heartbeat_timeout {
            return Err(Error::Silence { after: self.heartbeat_timeout });
        }
        Ok(())
    }

    /// Whether `tic` is due; it counts as sent then.
    pub(super) fn take_tic(&mut self, now: Instant) -> bool {
        let due = now >= self.tic_at;
        if due {
            self.tic_at = now + self.tic_every;
        }
        due
    }

    pub(super) const fn tic_at(&self) -> Instant {
        self.tic_at
    }

    pub(super) fn deadline(&self) -> Instant {
        let dead = self.last_inbound + self.heartbeat_timeout;
        [self.step_due, self.presumed_at].into_iter().flatten().fold(dead, Instant::min)
    }
}
