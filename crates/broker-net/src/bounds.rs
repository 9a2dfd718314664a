//! What the settings of a client may be.

use std::time::Duration;

/// A year. Timers cannot hold the longest durations there are.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Why a duration cannot be a setting, in words that follow its name; `None` when it can.
#[must_use]
pub fn objection(value: Duration, may_be_zero: bool) -> Option<&'static str> {
    match value {
        Duration::ZERO if !may_be_zero => Some("must be longer than zero"),
        value if value > LONGEST => Some("must be at most 366 days"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_no_timer_can_hold_are_refused() {
        assert_eq!(objection(Duration::ZERO, true), None);
        assert_eq!(objection(Duration::ZERO, false), Some("must be longer than zero"));
        for may_be_zero in [true, false] {
            assert_eq!(objection(Duration::from_nanos(1), may_be_zero), None);
            assert_eq!(objection(LONGEST, may_be_zero), None);
            assert_eq!(objection(Duration::MAX, may_be_zero), Some("must be at most 366 days"));
        }
    }
}
