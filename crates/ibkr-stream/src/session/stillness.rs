//! Subscriptions that ended before their time, told from a market that rests.
//!
//! Both begin alike: frames stop and heartbeats go on. A contract that is asked again tells them apart. If its
//! subscription had ended, it flows from then on as it did before. If the market rests, a frame or a few answer, and
//! what follows later comes to asked and unasked alike.
//!
//! Each contract is judged for itself: of those that ended together some may have been renewed in their turn by then,
//! and those that end one by one never leave all quiet at once. Only one that flowed steadily is a witness, for such a
//! one does not rest by chance; and only the first time it is asked counts, so that nothing is pending when a market
//! opens after a night of asking.

use std::time::{Duration, Instant};

/// The state of all contracts together.
#[derive(Debug)]
pub(super) struct Stillness {
    limits: Limits,
    /// A contract came back by itself: what fell quiet before proves nothing.
    excused_at: Option<Instant>,
    told: Option<Told>,
}

/// How one contract flows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    /// Since when no pause was long.
    steady_since: Option<Instant>,
    /// It has been quiet for reasons of its own: it has to be steady for longer to be believed again.
    rested: bool,
    trial: Option<Trial>,
}

/// When frames and subscriptions of a contract came, up to a new frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) last_frame: Option<Instant>,
    pub(super) asked_at: Instant,
    /// What began before was not listened to without interruption.
    pub(super) listening_since: Instant,
}

/// A witness has been asked again.
#[derive(Clone, Copy, Debug)]
struct Trial {
    quiet_since: Instant,
    asked_at: Instant,
    /// Whether it is believed. One that is not can still speak for a market that rests.
    believed: bool,
}

/// The loss told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    since: Instant,
    at: Instant,
}

/// All are shares of the time after which a quiet contract is asked again.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The longest pause of a contract that flows.
    pause: Duration,
    /// A frame that comes sooner after a subscription may be its answer: prices at once, Greeks some seconds later.
    answer: Duration,
    /// The shortest silence that is judged.
    silence: Duration,
    /// How long a witness has been steady, at least.
    steady: Duration,
    /// The same for one that has rested.
    steady_again: Duration,
}

impl Stillness {
    pub(super) fn new(quiet_after: Duration) -> Self {
        let limits = Limits {
            pause: quiet_after / 8,
            answer: quiet_after / 4,
            silence: quiet_after / 2,
            steady: quiet_after,
            steady_again: quiet_after.saturating_mul(8),
        };
        Self { limits, excused_at: None, told: None }
    }

    /// Whether a frame at `at` may do no more than answer a subscription.
    pub(super) fn is_answer(&self, asked_at: Instant, at: Instant) -> bool {
        at <= asked_at + self.limits.answer
    }

    /// Whether what was at `at` may have been before the loss that was first seen at `since`, by a contract that may have
    /// been about to speak.
    pub(super) fn is_before(&self, at: Instant, since: Instant) -> bool {
        at <= since + self.limits.pause
    }

    /// A contract is subscribed again at `now`.
    pub(super) fn asked(&self, flow: &mut Flow, past: Past, now: Instant) {
        let Some(last_frame) = past.last_frame else { return };
        if let Some(trial) = flow.trial {
            if now.saturating_duration_since(last_frame.max(trial.asked_at)) <= self.limits.pause {
                // Renewed in its turn while it is judged.
                return;
            }
            (flow.trial, flow.rested) = (None, true);
        }
        if self.has_stopped(flow, last_frame, past.listening_since, now) {
            let believed = !flow.rested || Self::steady(flow, last_frame) >= self.limits.steady_again;
            flow.trial = Some(Trial { quiet_since: last_frame, asked_at: now, believed });
        }
    }

    /// A frame has come at `now`: since when frames are missing, if it proves that and it is not known.
    pub(super) fn heard(&mut self, flow: &mut Flow, past: Past, now: Instant) -> Option<Instant> {
        let Some(last_frame) = past.last_frame else {
            flow.steady_since = Some(now);
            return None;
        };
        let Some(trial) = flow.trial else {
            if now.saturating_duration_since(last_frame) > self.limits.pause {
                let unasked = past.asked_at <= last_frame;
                if unasked && self.has_stopped(flow, last_frame, past.listening_since, now) {
                    self.excuse(flow, now);
                }
                flow.steady_since = Some(now);
            }
            return None;
        };
        let pause = now.saturating_duration_since(last_frame.max(trial.asked_at));
        if pause > self.limits.pause {
            if pause > self.limits.answer {
                self.excuse(flow, now);
            }
            *flow = Flow { steady_since: Some(now), rested: true, trial: None };
            return None;
        }
        if self.is_answer(trial.asked_at, now) {
            return None;
        }
        let proves = trial.believed && self.is_judged(trial.quiet_since, past.listening_since);
        *flow = Flow { steady_since: Some(trial.asked_at), rested: !proves, trial: None };
        proves.then(|| self.tell(trial, now)).flatten()
    }

    /// Every contract that may have been lost with others has spoken or been asked: since when frames were missing until
    /// now.
    pub(super) fn all_asked(&mut self, now: Instant) -> Option<Instant> {
        let told = self.told.as_mut()?;
        told.at = now;
        Some(told.since)
    }

    /// The market spoke by itself, in the voice of this contract.
    const fn excuse(&mut self, flow: &mut Flow, now: Instant) {
        flow.rested = true;
        self.excused_at = Some(now);
    }

    /// Whether it flowed and does so no longer.
    fn has_stopped(&self, flow: &Flow, last_frame: Instant, listening_since: Instant, now: Instant) -> bool {
        Self::steady(flow, last_frame) >= self.limits.steady
            && now.saturating_duration_since(last_frame) >= self.limits.silence
            && self.is_judged(last_frame, listening_since)
    }

    fn steady(flow: &Flow, last_frame: Instant) -> Duration {
        flow.steady_since.map_or(Duration::ZERO, |since| last_frame.saturating_duration_since(since))
    }

    fn is_judged(&self, quiet_since: Instant, listening_since: Instant) -> bool {
        quiet_since >= listening_since && self.excused_at.is_none_or(|at| quiet_since >= at)
    }

    fn tell(&mut self, trial: Trial, now: Instant) -> Option<Instant> {
        let Trial { quiet_since, asked_at, .. } = trial;
        let mut since = quiet_since;
        if let Some(told) = self.told.filter(|told| quiet_since + self.limits.pause >= told.since) {
            if asked_at <= told.at {
                return None;
            }
            if self.is_before(quiet_since, told.since) {
                since = told.since;
            }
        }
        self.told = Some(Told { since, at: now });
        Some(since)
    }
}
