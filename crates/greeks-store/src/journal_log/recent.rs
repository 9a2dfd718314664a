//! What was accepted last, in memory: a reader that keeps up need not read it back from the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use greeks_model::Record;

/// So many rows at most, some 1 MiB; who is further behind reads the disk.
const MOST: usize = 4_096;
/// As much of a payload counts as one row more.
const PAYLOAD: usize = 256;

/// The newest records of one incarnation, as far as nobody has taken them.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Tail>);

#[derive(Debug, Default)]
struct Tail {
    /// The number of the first of `records`.
    first: u64,
    records: VecDeque<Record>,
    weight: usize,
}

impl Recent {
    /// Takes in `records`, numbered from `first` on, that are about to be accepted: a reader that is told of them must
    /// find them here.
    pub(super) fn offer<'a>(&self, first: u64, records: impl IntoIterator<Item = &'a Record>) {
        let mut tail = self.lock();
        if tail.next() != first {
            // What was accepted in between did not come through here.
            *tail = Tail { first, ..Tail::default() };
        }
        for record in records {
            tail.weight += weight(record);
            tail.records.push_back(record.clone());
        }
        while tail.weight > MOST {
            tail.pop();
        }
    }

    /// Forgets what was offered from `first` on: it was not accepted.
    pub(super) fn take_back(&self, first: u64) {
        let mut tail = self.lock();
        while tail.next() > first
            && let Some(record) = tail.records.pop_back()
        {
            tail.weight -= weight(&record);
        }
    }

    /// At most `max` of the records behind `after` up to `accepted`; they are not here any more then. `None` where the
    /// next one is not here.
    pub(super) fn take(&self, after: u64, max: usize, accepted: u64) -> Option<Vec<Record>> {
        let mut tail = self.lock();
        let before = after.checked_add(1)?.checked_sub(tail.first)?;
        let there = tail.next().min(accepted.saturating_add(1)).saturating_sub(after.saturating_add(1));
        let count = usize::try_from(there).unwrap_or(usize::MAX).min(max.max(1));
        if count == 0 {
            return None;
        }
        (0..before).for_each(|_| tail.pop());
        let records: Vec<Record> = tail.records.drain(..count).collect();
        tail.first += count as u64;
        tail.weight -= records.iter().map(weight).sum::<usize>();
        Some(records)
    }

    /// Whether this record is here.
    pub(super) fn has(&self, number: u64) -> bool {
        let tail = self.lock();
        (tail.first..tail.next()).contains(&number)
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// The number that the next record will have.
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn pop(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.weight -= weight(&record);
            self.first += 1;
        }
    }
}

/// How much a record takes, in rows.
fn weight(record: &Record) -> usize {
    match record {
        Record::Snapshot(row) => 1 + row.source_payload.as_ref().map_or(0, |payload| payload.len() / PAYLOAD),
        Record::Positions(positions) => 1 + positions.positions.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::{GapReason, GapRecord, SourceId, UnixNanos};
    use proptest::prelude::*;

    use super::*;

    /// Records that can be told apart.
    fn gap(number: u64) -> Record {
        let source = SourceId::new("test").unwrap();
        Record::Gap(GapRecord {
            source,
            from: UnixNanos::EPOCH,
            to: None,
            reason: GapReason::Silence,
            count: Some(number),
        })
    }

    fn gaps(numbers: std::ops::Range<u64>) -> Vec<Record> {
        numbers.map(gap).collect()
    }

    #[test]
    fn it_keeps_the_newest_and_no_more_than_it_may() {
        let recent = Recent::default();
        let most = MOST as u64;
        recent.offer(1, &gaps(1..most + 11));
        assert_eq!(recent.take(9, 5, u64::MAX), None, "the tenth has gone");
        assert_eq!(recent.take(10, 1, u64::MAX), Some(gaps(11..12)));
        let tail = recent.lock();
        assert_eq!((tail.records.len(), tail.weight), (MOST - 1, MOST - 1));
    }

    #[test]
    fn what_is_not_accepted_yet_or_was_refused_is_not_handed_out() {
        let recent = Recent::default();
        recent.offer(1, &gaps(1..4));
        assert_eq!(recent.take(0, 9, 0), None);
        assert_eq!(recent.take(0, 9, 2), Some(gaps(1..3)));
        recent.offer(4, &gaps(4..6));
        recent.take_back(4);
        assert_eq!(recent.take(3, 9, u64::MAX), None);
        recent.offer(4, &gaps(14..15));
        assert_eq!(recent.take(2, 9, u64::MAX), Some(vec![gap(3), gap(14)]));
        // Numbers that were given to something else leave a hole: nothing before it is of use.
        recent.offer(5, &gaps(5..6));
        recent.offer(7, &gaps(7..8));
        assert_eq!(recent.take(4, 9, u64::MAX), None);
        assert_eq!(recent.take(6, 9, u64::MAX), Some(gaps(7..8)));
    }

    proptest! {
        /// Against the whole list: what is handed out are the records asked for, or nothing.
        #[test]
        fn it_never_hands_out_anything_else(
            turns in prop::collection::vec((0_u64..30, any::<bool>(), 0_u64..40, 1_usize..20), 1..60),
        ) {
            let recent = Recent::default();
            let mut accepted: Vec<Record> = Vec::new();
            for (number, (count, refused, back, max)) in turns.into_iter().enumerate() {
                let first = accepted.len() as u64 + 1;
                let offered = gaps(1_000 * number as u64..1_000 * number as u64 + count);
                recent.offer(first, &offered);
                if refused {
                    recent.take_back(first);
                } else {
                    accepted.extend(offered);
                }
                let written = accepted.len() as u64;
                let after = written.saturating_sub(back);
                if let Some(taken) = recent.take(after, max, written) {
                    let from = usize::try_from(after).unwrap();
                    prop_assert!(!taken.is_empty() && taken.len() <= max);
                    prop_assert_eq!(&taken[..], &accepted[from..from + taken.len()]);
                }
                let tail = recent.lock();
                prop_assert_eq!(tail.weight, tail.records.iter().map(weight).sum::<usize>());
            }
        }
    }
}
