//! The wall clock of the machine.

use std::sync::atomic::{AtomicI64, Ordering};
#[cfg(target_os = "linux")]
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use greeks_model::{Clock, UnixNanos};

/// A step back by no more than this is waited out.
const HOLD_NANOS: i64 = 2_000_000_000;

/// The system's wall clock, without its small steps back: when time synchronisation corrects the clock by two seconds
/// or less, this one stands still until the system has caught up, so that times of receipt keep their order. A larger
/// step is followed, since then the earlier times were wrong.
#[derive(Debug)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemClock {
    /// A clock that has not told any time yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { latest: AtomicI64::new(i64::MIN) }
    }

    fn steady(&self, system: i64) -> i64 {
        let told = self.latest.fetch_max(system, Ordering::Relaxed);
        if system >= told {
            return system;
        }
        if told.saturating_sub(system) <= HOLD_NANOS {
            return told;
        }
        // Of several threads that see the step, one moves the clock back; the others find it moved.
        let moved = self.latest.compare_exchange(told, system, Ordering::Relaxed, Ordering::Relaxed);
        moved.map_or_else(|now_told| now_told.max(system), |_| system)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixNanos {
        let system = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        UnixNanos::from_nanos(self.steady(system))
    }

    #[cfg(target_os = "linux")]
    fn elapsed(&self) -> Option<Duration> {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Some(Duration::new(u64::try_from(since_boot.tv_sec).ok()?, u32::try_from(since_boot.tv_nsec).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_back_are_waited_out_and_large_ones_followed() {
        let clock = SystemClock::new();
        let second = 1_000_000_000;
        for (system, told) in [(-5, -5), (0, 0), (10, 10), (8, 10), (9, 10), (11, 11), (9, 11), (8, 8), (9, 9)] {
            assert_eq!(clock.steady(system * second), told * second, "system clock at {system} s");
        }
        assert_eq!(clock.steady(i64::MIN), i64::MIN);
    }

    #[test]
    fn it_tells_the_present() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(first > UnixNanos::from_millis(1_700_000_000_000) && clock.now() >= first);
    }
}
