//! What was given up, counted exactly.

use greeks_model::{Record, ShedRecord, UnixNanos};

use super::moment;

/// Records given up and not yet stated in full, by source.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: Vec<Entry>,
    /// The last statement about each source that was made in full.
    stated: Vec<ShedRecord>,
}

#[derive(Debug)]
struct Entry {
    shed: ShedRecord,
    /// How many a statement already made speaks of.
    noted: u64,
}

impl Tally {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Counts a record that was given up.
    pub(super) fn add(&mut self, record: &Record) {
        let source = record.source();
        let at = moment(record);
        if let Some(entry) = self.open.iter_mut().find(|entry| entry.shed.source == *source) {
            entry.shed.count += 1;
            entry.shed.to = at.map_or(entry.shed.to, |at| at.max(entry.shed.to));
            return;
        }
        let from = at.unwrap_or(UnixNanos::EPOCH);
        let mut shed = ShedRecord { source: source.clone(), from, to: from, count: 1 };
        // The database knows a statement by its source and `from`, in microseconds: one that begins where the last began
        // takes its place, so it speaks of what that one spoke of as well.
        if let Some(last) = self.stated.iter().find(|last| last.source == *source)
            && last.from.as_micros() == from.as_micros()
        {
            shed = ShedRecord { from: last.from, to: last.to.max(from), count: last.count + 1, source: shed.source };
        }
        self.open.push(Entry { shed, noted: 0 });
    }

    /// One statement per source; a later one about the same stretch replaces it.
    pub(super) fn statements(&self) -> Vec<Record> {
        self.open.iter().map(|entry| Record::Shed(entry.shed.clone())).collect()
    }

    /// Whether it is time to state what was counted so far. That is when an eighth has come on top of what is stated: a
    /// death of the process then leaves no more uncounted, and a long outage makes few statements.
    pub(super) fn is_due(&self) -> bool {
        self.open.iter().any(|entry| entry.shed.count > entry.noted + entry.noted / 8)
    }

    /// The statements as of now were accepted.
    pub(super) fn note(&mut self) {
        self.open.iter_mut().for_each(|entry| entry.noted = entry.shed.count);
    }

    /// The statements as of now were accepted and nothing comes on top of them.
    pub(super) fn finish(&mut self) {
        for entry in self.open.drain(..) {
            self.stated.retain(|last| last.source != entry.shed.source);
            self.stated.push(entry.shed);
        }
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::{GapReason, GapRecord, SourceId};

    use super::*;

    fn gap(source: &str, nanos: i64) -> Record {
        let (source, from) = (SourceId::new(source).unwrap(), UnixNanos::from_nanos(nanos));
        Record::Gap(GapRecord { source, from, to: None, reason: GapReason::Silence, count: None })
    }

    fn stated(tally: &Tally) -> Vec<(String, i64, i64, u64)> {
        let of = |record: Record| match record {
            Record::Shed(shed) => {
                (shed.source.as_str().to_owned(), shed.from.as_nanos(), shed.to.as_nanos(), shed.count)
            }
            other => panic!("{other:?}"),
        };
        tally.statements().into_iter().map(of).collect()
    }

    #[test]
    fn counts_by_source_and_never_shrinks_the_stretch() {
        let mut tally = Tally::default();
        for (source, at) in [("a", 5_000), ("b", 6_000), ("a", 9_000), ("a", 8_000)] {
            tally.add(&gap(source, at));
        }
        assert_eq!(stated(&tally), [("a".into(), 5_000, 9_000, 3), ("b".into(), 6_000, 6_000, 1)]);
    }

    #[test]
    fn statements_grow_rare_and_stay_within_an_eighth() {
        let mut tally = Tally::default();
        let (mut statements, mut noted) = (0, 0_u64);
        for count in 1..=1_000_000_u64 {
            tally.add(&gap("a", 1));
            if tally.is_due() {
                statements += 1;
                noted = count;
                tally.note();
            }
            assert!(count - noted <= count / 8, "{count}");
        }
        assert!(statements < 130, "{statements}");
    }

    #[test]
    fn a_stretch_that_begins_in_the_same_microsecond_goes_on_counting() {
        let mut tally = Tally::default();
        tally.add(&gap("a", 5_000));
        tally.add(&gap("a", 7_000));
        tally.finish();
        assert!(tally.is_empty() && !tally.is_due());
        tally.add(&gap("a", 5_999));
        assert_eq!(stated(&tally), [("a".into(), 5_000, 7_000, 3)]);
        tally.finish();
        tally.add(&gap("a", 6_000));
        assert_eq!(stated(&tally), [("a".into(), 6_000, 6_000, 1)], "another one");
    }
}
