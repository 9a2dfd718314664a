//! A stream that stands and brings nothing, for any contract: asking again does not help, a new connection may.
//!
//! Such streams occur where the gateway's own connection was lost and its priming with it, or where the socket before was
//! not closed in order: heartbeats go on. The market alone is no reason for it: a subscription is answered at any hour.

use std::time::{Duration, Instant};

use super::Lines;

impl Lines {
    /// From the first market data of any contract to the last.
    pub(in crate::session) fn data_came_for(&self) -> Duration {
        let span = self.last_data.zip(self.first_data).map(|(last, first)| last.saturating_duration_since(first));
        span.unwrap_or_default()
    }

    /// How long nothing came, if each contract was subscribed again in that time and had as long to answer as a new one.
    pub(in crate::session) fn stalled(&self, now: Instant) -> Option<Duration> {
        self.stalled_at().filter(|at| *at <= now).map(|_| now.saturating_duration_since(self.quiet_since()))
    }

    /// When it counts as stalled if nothing comes; `None` while some contract has not been subscribed again.
    pub(in crate::session) fn stalled_at(&self) -> Option<Instant> {
        let quiet_since = self.quiet_since();
        // The one that was not asked for longest; those that are not subscribed have no line.
        let (asked, _) = self.ages.first().filter(|(at, _)| *at > quiet_since && self.fresh.is_empty())?;
        Some((quiet_since + self.stalled_after).max(*asked + self.pace.first_frame_after))
    }

    fn quiet_since(&self) -> Instant {
        self.last_data.unwrap_or(self.listening_since).max(self.listening_since)
    }
}
