//! Keeps an eye on what waits in the journal.

use std::collections::VecDeque;
use std::time::Duration;

use greeks_model::UnixNanos;
use metrics::{Unit, describe_gauge};
use tokio::time::Instant;

use crate::durable::DurableView;

/// Gauge: what the journal occupies.
const JOURNAL_BYTES: &str = "greekd_journal_bytes";
/// Gauge: what it may occupy.
const JOURNAL_MAX_BYTES: &str = "greekd_journal_max_bytes";
/// Gauge: how long the oldest record that the database does not have has been waiting.
const JOURNAL_OLDEST: &str = "greekd_journal_oldest_seconds";
/// Marks are thinned out beyond this: hours of an outage need not be known to the second.
const MARKS: usize = 4_096;

/// Tells the installed recorder what the metrics mean.
pub(crate) fn describe() {
    describe_gauge!(JOURNAL_BYTES, Unit::Bytes, "What the journal occupies on disk, its spare segment included");
    describe_gauge!(JOURNAL_MAX_BYTES, Unit::Bytes, "What the journal may occupy; at its end new rows are given up");
    describe_gauge!(
        JOURNAL_OLDEST,
        Unit::Seconds,
        "How long the oldest record has waited for the database; what an earlier run has left counts until it is looked through"
    );
}

/// How far the journal had come at which time.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// The number accepted last and when it was seen, oldest first; what is stored by now is forgotten.
    marks: VecDeque<(u64, Instant)>,
}

impl Backlog {
    /// To be called every second; returns how long the oldest record that is not stored has been waiting.
    pub(crate) fn look(&mut self, view: &DurableView, time: UnixNanos, now: Instant) -> Duration {
        let (usage, written) = (view.monitor.usage(), view.monitor.progress().written);
        let durable = view.status.borrow().durable.0;
        // What an earlier run has left is older, unless the clock was set back.
        let earlier = view.earlier_since().map(|since| time.saturating_since(since)).unwrap_or_default();
        let oldest = self.oldest(written, durable, now).max(earlier);
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!(JOURNAL_BYTES).set(usage.used_bytes as f64);
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!(JOURNAL_MAX_BYTES).set(usage.max_bytes as f64);
        metrics::gauge!(JOURNAL_OLDEST).set(oldest.as_secs_f64());
        oldest
    }

    /// How long the oldest record beyond `durable` has been there, to the second.
    fn oldest(&mut self, written: u64, durable: u64, now: Instant) -> Duration {
        while self.marks.front().is_some_and(|(number, _)| *number <= durable) {
            self.marks.pop_front();
        }
        if written > durable && self.marks.back().is_none_or(|(number, _)| *number < written) {
            if self.marks.len() >= MARKS {
                let mut odd = false;
                self.marks.retain(|_| {
                    odd = !odd;
                    odd
                });
            }
            self.marks.push_back((written, now));
        }
        self.marks.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_as_old_as_the_first_mark_beyond_what_is_stored() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        let mut oldest = |second: u64, written, durable| {
            backlog.oldest(written, durable, start + Duration::from_secs(second)).as_secs()
        };
        assert_eq!([oldest(0, 5, 5), oldest(1, 9, 9)], [0, 0]);
        // The database is away, then catches up in two steps.
        assert_eq!([oldest(2, 10, 9), oldest(3, 20, 9), oldest(4, 30, 9), oldest(5, 40, 9)], [0, 1, 2, 3]);
        assert_eq!([oldest(6, 50, 25), oldest(7, 50, 50), oldest(8, 50, 50)], [2, 0, 0]);
    }

    #[test]
    fn an_outage_of_days_needs_little_memory_and_keeps_its_beginning() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        let mut oldest = Duration::ZERO;
        for second in 0..200_000 {
            oldest = backlog.oldest(second + 1, 0, start + Duration::from_secs(second));
        }
        assert_eq!(oldest.as_secs(), 199_999);
        assert!(backlog.marks.len() <= MARKS, "{}", backlog.marks.len());
    }
}
