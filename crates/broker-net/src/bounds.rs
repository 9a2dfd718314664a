//! What the settings of a client may be.

use std::time::Duration;

/// A year. Timers cannot hold the longest durations there are.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The name of the first duration that cannot be a setting, and why, in words that follow it. Those of `others` may be zero.
#[must_use]
pub fn objection(
    positive: &[(&'static str, Duration)],
    others: &[(&'static str, Duration)],
) -> Option<(&'static str, &'static str)> {
    let positive = positive.iter().map(|(name, value)| (*name, refusal(*value, false)));
    let others = others.iter().map(|(name, value)| (*name, refusal(*value, true)));
    positive.chain(others).find_map(|(name, why)| Some((name, why?)))
}

fn refusal(value: Duration, may_be_zero: bool) -> Option<&'static str> {
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
        let (zero, least) = (("zero", Duration::ZERO), ("least", Duration::from_nanos(1)));
        let (most, endless) = (("most", LONGEST), ("endless", Duration::MAX));
        assert_eq!(objection(&[least, most], &[zero, least, most]), None);
        assert_eq!(objection(&[least, zero], &[]), Some(("zero", "must be longer than zero")));
        for refused in [objection(&[endless], &[]), objection(&[], &[zero, endless])] {
            assert_eq!(refused, Some(("endless", "must be at most 366 days")));
        }
    }
}
