//! What a committer counts. Handles are resolved once, so that every counter is there before it first counts: of one that
//! appears with its first count, Prometheus never sees the increase.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::metrics::{COMMIT_ROWS, COMMIT_SECONDS, PAYLOADS_REFUSED, ROWS_QUARANTINED, ROWS_WRITTEN};

/// Classes of SQLSTATE that refuse a record, and their names (PostgreSQL, Appendix A); the empty prefix is of all others.
const REFUSALS: [(&str, &str); 4] =
    [("22", "data_exception"), ("23", "integrity_constraint_violation"), ("P0", "plpgsql_error"), ("", "other")];

pub(super) struct Meter {
    rows_written: Counter,
    commit_rows: Histogram,
    commit_seconds: Histogram,
    quarantined: [(&'static str, Counter); 4],
    payloads_refused: Counter,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            rows_written: counter!(ROWS_WRITTEN),
            commit_rows: histogram!(COMMIT_ROWS),
            commit_seconds: histogram!(COMMIT_SECONDS),
            quarantined: REFUSALS.map(|(class, reason)| (class, counter!(ROWS_QUARANTINED, "reason" => reason))),
            payloads_refused: counter!(PAYLOADS_REFUSED),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn committed(&self, ticks: u64, records: usize, took: Duration) {
        self.rows_written.increment(ticks);
        self.commit_rows.record(records as f64);
        self.commit_seconds.record(took.as_secs_f64());
    }

    pub(super) fn payloads_refused(&self, rows: u64) {
        self.payloads_refused.increment(rows);
    }

    pub(super) fn quarantined(&self, sqlstate: &str) {
        if let Some((_, counter)) = self.quarantined.iter().find(|(class, _)| sqlstate.starts_with(class)) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_refusal_is_counted_under_its_class() {
        let cells: [Arc<AtomicU64>; 4] = std::array::from_fn(|_| Arc::default());
        let counter = |(number, (class, _)): (usize, (&'static str, &str))| {
            (class, Counter::from_arc(Arc::clone(&cells[number])))
        };
        let quarantined: Vec<_> = REFUSALS.into_iter().enumerate().map(counter).collect();
        let mut meter = Meter::new();
        meter.quarantined = quarantined.try_into().ok().unwrap();
        for sqlstate in ["22003", "22021", "23514", "P0001", "54000", "GR001"] {
            meter.quarantined(sqlstate);
        }
        assert_eq!(cells.map(|cell| cell.load(Ordering::SeqCst)), [2, 1, 1, 2]);
    }
}
