//! One contract: whether it is subscribed, whether it answers, and when it has to be asked again.

use std::time::{Duration, Instant};

use greeks_model::InstrumentId;

use super::settings::{Role, Settings};
use super::stillness::{Flow, Past};
use crate::wire::Availability;

/// The intervals that decide when a contract is asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) renew_after: Duration,
    pub(super) life: Duration,
    pub(super) first_frame_after: Duration,
    pub(super) quiet_after: Duration,
}

impl Pace {
    pub(super) const fn of(settings: &Settings) -> Self {
        Self {
            renew_after: settings.renew_after,
            life: settings.subscription_life,
            first_frame_after: settings.first_frame_after,
            quiet_after: settings.quiet_after,
        }
    }

    /// The age at which a renewal goes before everything else: halfway between its time and the end of its life.
    pub(super) fn urgent_after(&self) -> Duration {
        ((self.renew_after + self.life) / 2).min(self.life)
    }

    /// A pause that doubles with each time it was in vain.
    fn doubled(&self, first: Duration, times: u32) -> Duration {
        first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(self.renew_after)
    }
}

/// A contract that is, or was, wanted.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) role: Role,
    pub(super) instrument: InstrumentId,
    pub(super) wanted: bool,
    /// Wanted, and given a market data line.
    pub(super) chosen: bool,
    /// Field 6509, which later frames do not repeat.
    pub(super) availability: Option<Availability>,
    pub(super) stream: Option<Stream>,
}

/// A subscription that has been sent.
#[derive(Debug)]
pub(super) struct Stream {
    /// When it was sent last.
    pub(super) at: Instant,
    pub(super) renew_at: Instant,
    /// Under which time it stands in the schedule: never later than it is due.
    pub(super) scheduled: Instant,
    /// How often it was sent since it last flowed, or first answered as it should.
    pub(super) asked: u32,
    pub(super) last_frame: Option<Instant>,
    pub(super) answer: Answer,
    pub(super) silent: bool,
    /// Whether it has been reported that it outlived its life.
    pub(super) expired: bool,
    /// Others have ended before their time, and this one has not spoken since.
    pub(super) doubted: bool,
    /// It may have been refused, for a reason that is gone.
    pub(super) refused: bool,
    pub(super) flow: Flow,
}

/// What has come of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    None,
    /// Frames of an option, but no Greek: they come later than the prices, or not at all.
    Partial,
    Whole,
}

impl Stream {
    pub(super) fn new(at: Instant) -> Self {
        Self {
            at,
            renew_at: at,
            scheduled: at,
            asked: 1,
            last_frame: None,
            answer: Answer::None,
            silent: false,
            expired: false,
            doubted: false,
            refused: false,
            flow: Flow::default(),
        }
    }

    /// When it has to be sent again; what it did not say before `listening_since` is not held against it.
    pub(super) fn due(&self, pace: &Pace, listening_since: Instant) -> Instant {
        if self.doubted || self.refused {
            return self.at;
        }
        let asked_before = self.asked.saturating_sub(1);
        let patience = match self.answer {
            Answer::Whole => {
                let quiet_since = self.last_frame.map_or(self.at, |frame| frame.max(self.at)).max(listening_since);
                quiet_since + pace.doubled(pace.quiet_after, asked_before)
            }
            Answer::None | Answer::Partial => {
                self.at.max(listening_since) + pace.doubled(pace.first_frame_after, asked_before)
            }
        };
        patience.min(self.renew_at)
    }

    /// What is judged when it speaks or is sent again.
    pub(super) const fn past(&self, listening_since: Instant) -> Past {
        Past { last_frame: self.last_frame, asked_at: self.at, listening_since }
    }

    /// Whether nothing has come since it was sent last.
    pub(super) fn is_unanswered(&self) -> bool {
        self.last_frame.is_none_or(|frame| frame < self.at)
    }

    pub(super) fn is_live(&self) -> bool {
        self.answer != Answer::None && !self.silent && !self.expired
    }
}
