//! One virtual channel of the connection.

use std::time::{Duration, Instant};

use super::pulse::Pulse;
use super::subscriptions::Subscriptions;
use crate::Error;
use crate::wire::EventKind;

/// A channel the server closes more often than this in one session is not worth asking for again.
const MOST_CLOSURES: u32 = 5;
const PAUSE_AFTER_CLOSURE: Duration = Duration::from_secs(1);

/// What a channel is for. Greeks and underlyings have channels of their own, so that the quotes of a busy index can be
/// gathered by the server without delaying a Greek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Greeks,
    Underlyings,
}

impl Purpose {
    pub(super) const fn kinds(self) -> &'static [EventKind] {
        match self {
            Self::Greeks => &[EventKind::Greeks],
            Self::Underlyings => &[EventKind::Quote, EventKind::Trade],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Never asked for.
    Idle,
    Requested {
        due: Instant,
    },
    Open,
    /// Closed by the server.
    Closed {
        retry_at: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) purpose: Purpose,
    pub(super) number: u64,
    pub(super) state: State,
    pub(super) subscriptions: Subscriptions,
    pub(super) pulse: Pulse,
    closures: u32,
}

impl Channel {
    pub(super) fn new(purpose: Purpose, pulse: Pulse) -> Self {
        Self { purpose, number: 0, state: State::Idle, subscriptions: Subscriptions::default(), pulse, closures: 0 }
    }

    pub(super) fn is_requested(&self, number: u64) -> bool {
        self.number == number && matches!(self.state, State::Requested { .. })
    }

    pub(super) fn is_live(&self, number: u64) -> bool {
        self.number == number && matches!(self.state, State::Requested { .. } | State::Open)
    }

    /// Whether the server closed the channel and it is not open again.
    pub(super) fn is_lost(&self) -> bool {
        self.closures > 0 && self.state != State::Open
    }

    /// Takes a closure by the server; gives the pause before the next request.
    pub(super) fn closed(&mut self, now: Instant) -> Result<Duration, Error> {
        self.closures += 1;
        if self.closures >= MOST_CLOSURES {
            return Err(Error::ChannelRefused { times: self.closures });
        }
        let pause = PAUSE_AFTER_CLOSURE * self.closures;
        self.state = State::Closed { retry_at: now + pause };
        self.pulse.forget(&mut self.subscriptions);
        self.subscriptions.forget_sent();
        Ok(pause)
    }
}
