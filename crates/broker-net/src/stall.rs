//! Streams that stand and bring nothing: how soon to begin anew.
//!
//! A connection whose heartbeats go on while its data has stopped looks like a market that rests. What tells them apart is
//! to ask: a subscription is answered at any hour. Yet no broker promises that one sent again is, so a session that is left
//! because nobody answered and whose successor fares no better makes the next one wait twice as long: a server that never
//! answers twice costs a few connections in a night, not one a minute.

use std::time::Duration;

/// The longest that a stream may be quiet, whatever came before.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long a stream may be quiet before it is left.
#[derive(Clone, Copy, Debug)]
pub struct StallPatience {
    first: Duration,
    /// Sessions in a row that were left for it and had brought nothing beyond their beginning.
    in_vain: u32,
}

impl StallPatience {
    /// Beginning with `first`.
    #[must_use]
    pub const fn new(first: Duration) -> Self {
        Self { first, in_vain: 0 }
    }

    /// That of the next session.
    #[must_use]
    pub fn next(&self) -> Duration {
        let factor = 1u32.checked_shl(self.in_vain).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(LONGEST.max(self.first))
    }

    /// Whether data that came for so long is more than the answers to a beginning.
    #[must_use]
    pub fn is_flow(&self, came_for: Duration) -> bool {
        came_for >= self.first
    }

    /// Takes the end of a session: whether it was left because it was quiet, and for how long data had come in it.
    pub fn ended(&mut self, stalled: bool, came_for: Duration) {
        if self.is_flow(came_for) {
            self.in_vain = 0;
        }
        self.in_vain = self.in_vain.saturating_add(stalled.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_doubles_until_data_flows() {
        let secs = Duration::from_secs;
        let mut patience = StallPatience::new(secs(60));
        for (stalled, came_for, next) in [
            (false, 0, 60),
            (true, 5_000, 120),
            (true, 2, 240),
            (false, 2, 240),
            (true, 59, 480),
            (true, 60, 120),
            (false, 61, 60),
        ] {
            patience.ended(stalled, secs(came_for));
            assert_eq!(patience.next(), secs(next), "{stalled} {came_for}");
        }
        for _ in 0..40 {
            patience.ended(true, Duration::ZERO);
        }
        assert_eq!(patience.next(), LONGEST);
        assert_eq!(StallPatience::new(secs(7200)).next(), secs(7200));
    }
}
