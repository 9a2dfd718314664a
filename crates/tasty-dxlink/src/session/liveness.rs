//! Signs of life in both directions.
//!
//! Each side has to say something before the other's time-out ends; what comes in does not count as a sign of our own
//! life, and pings of the websocket count for neither side (dxLink AsyncAPI, Keepalive).

use std::time::{Duration, Instant};

/// Where a server's time-out is absent or zero.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// A server may not switch the watch for silence off by naming a huge time-out.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Nor make this side chatter by naming a tiny one.
const SHORTEST_SEND_INTERVAL: Duration = Duration::from_secs(1);

/// When something has to be sent, and when the other side counts as dead.
#[derive(Debug)]
pub(super) struct Liveness {
    own: Duration,
    margin: Duration,
    send_every: Duration,
    dead_after: Duration,
    last_sent: Instant,
    last_inbound: Instant,
}

impl Liveness {
    pub(super) fn new(own: Duration, margin: Duration, now: Instant) -> Self {
        let mut liveness = Self {
            own,
            margin,
            send_every: Duration::ZERO,
            dead_after: Duration::ZERO,
            last_sent: now,
            last_inbound: now,
        };
        liveness.negotiate(None, None);
        liveness
    }

    /// Takes over the time-outs of the server's SETUP.
    pub(super) fn negotiate(&mut self, keepalive: Option<Duration>, accept_keepalive: Option<Duration>) {
        let server = keepalive.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
        let server_accepts = accept_keepalive.unwrap_or(DEFAULT_TIMEOUT);
        // Which of the numbers governs is disputed between the specification and its reference client: keep to the
        // smallest when sending, allow the largest when listening.
        self.send_every = (self.own.min(server).min(server_accepts) / 3).max(SHORTEST_SEND_INTERVAL);
        self.dead_after = self.own.max(server) + self.margin;
    }

    pub(super) const fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(super) const fn received(&mut self, now: Instant) {
        self.last_inbound = now;
    }

    pub(super) fn must_send(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_sent) >= self.send_every
    }

    /// How long the other side may be silent, when it has been for so long.
    pub(super) fn dead(&self, now: Instant) -> Option<Duration> {
        (now.saturating_duration_since(self.last_inbound) >= self.dead_after).then_some(self.dead_after)
    }

    pub(super) fn deadline(&self) -> Instant {
        (self.last_inbound + self.dead_after).min(self.last_sent + self.send_every)
    }
}
