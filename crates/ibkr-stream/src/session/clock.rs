//! Time that goes on while the machine sleeps.
//!
//! The monotonic clock stands still in a suspended machine, subscriptions at the broker do not. Every frame carries the
//! time of both clocks: where the wall clock got ahead, the machine slept, and so much is added to the monotonic one.

use std::time::{Duration, Instant};

use greeks_model::UnixNanos;

/// What the wall clock may gain between two frames by being set right.
const TOLERANCE: Duration = Duration::from_secs(5);
/// More sleep than this makes no difference.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Turns the driver's time into the session's and back.
#[derive(Debug)]
pub(super) struct Clock {
    slept: Duration,
    /// Both clocks at the last frame, the monotonic one without sleep.
    anchor: Option<(Instant, UnixNanos)>,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { slept: Duration::ZERO, anchor: None }
    }

    /// The session's time.
    pub(super) fn at(&self, now: Instant) -> Instant {
        now + self.slept
    }

    /// The session's time at a frame.
    pub(super) fn at_frame(&mut self, now: Instant, received_at: UnixNanos) -> Instant {
        if let Some((before, wall_before)) = self.anchor {
            let wall = received_at.saturating_since(wall_before);
            let awake = now.saturating_duration_since(before);
            if let Some(slept) = wall.checked_sub(awake).filter(|slept| *slept > TOLERANCE) {
                tracing::debug!(?slept, "the machine slept, or its clock was set");
                self.slept += slept.min(LONGEST);
            }
        }
        self.anchor = Some((now, received_at));
        self.at(now)
    }

    /// When the driver has to come back for `due`. A due time from before a sleep is due at once.
    pub(super) fn to_driver(&self, due: Instant) -> Instant {
        due.checked_sub(self.slept).or_else(|| self.anchor.map(|(now, _)| now)).unwrap_or(due)
    }

    /// What the wall clock shows at a time of the session; `None` before the first frame.
    pub(super) fn wall(&self, at: Instant) -> Option<UnixNanos> {
        let (now, wall) = self.anchor?;
        let now = self.at(now);
        let ahead = at.saturating_duration_since(now);
        let behind = i64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(i64::MAX);
        Some(UnixNanos::from_nanos(wall.as_nanos().saturating_sub(behind)).saturating_add(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixNanos = UnixNanos::from_millis(1_700_000_000_000);

    #[test]
    fn sleep_counts_and_small_corrections_do_not() {
        let start = Instant::now();
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let mut clock = Clock::new();
        assert_eq!(clock.wall(start), None);
        assert_eq!(clock.at_frame(start, WALL), start);
        assert_eq!(clock.at_frame(start + second, WALL.saturating_add(second * 6)), start + second);
        // Set back: no sleep, and nothing is owed afterwards.
        assert_eq!(clock.at_frame(start + second * 2, WALL), start + second * 2);
        assert_eq!(clock.at_frame(start + second * 3, WALL.saturating_add(second)), start + second * 3);
        let woken = clock.at_frame(start + second * 4, WALL.saturating_add(hour));
        assert_eq!(woken, start + second * 3 + hour - second);
        assert_eq!(clock.at(start + second * 5), woken + second);
        assert_eq!(clock.to_driver(woken + second), start + second * 5);
        assert_eq!(clock.wall(woken), Some(WALL.saturating_add(hour)));
        assert_eq!(clock.wall(woken + second), Some(WALL.saturating_add(hour + second)));
        assert_eq!(clock.wall(woken - hour), Some(WALL));
    }

    #[test]
    fn absurd_clocks_do_no_harm() {
        let start = Instant::now();
        let mut clock = Clock::new();
        for wall in [i64::MIN, i64::MAX, 0, i64::MAX] {
            let now = clock.at_frame(start, UnixNanos::from_nanos(wall));
            assert!(now <= start + LONGEST * 4);
            clock.to_driver(start);
        }
    }
}
