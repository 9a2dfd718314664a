//! What earlier runs have left: the rows accepted last, so that they are not accepted again, and the gaps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use greeks_model::{GapReason, GapRecord, GreekSnapshot, Record, Series, SourceId, UnixNanos};

/// A gap by its source and beginning, in the microseconds in which the database knows it.
pub(crate) type GapKey = (SourceId, i64);

/// The newest row of each series and the latest word on each gap, from the journal and the database.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    rows: HashMap<Arc<Series>, GreekSnapshot>,
    gaps: BTreeMap<GapKey, GapRecord>,
    first_received: Option<UnixNanos>,
}

impl Memory {
    /// Takes a record of the journal, in the order of the journal.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Snapshot(row) => {
                self.first_received.get_or_insert(row.received_at);
                self.rows.insert(Arc::clone(&row.series), row.clone());
            }
            Record::Gap(gap) => drop(self.gaps.insert(key(gap), gap.clone())),
            _ => {}
        }
    }

    /// Takes the newest rows of the database.
    pub(crate) fn add_rows(&mut self, rows: Vec<GreekSnapshot>) {
        rows.into_iter().for_each(|row| self.note_row(row));
    }

    /// Takes gaps of the database: of those that the journal knows too, it knows the end if any greekd has found it.
    pub(crate) fn add_gaps(&mut self, gaps: Vec<GapRecord>) {
        for gap in gaps {
            let known = self.gaps.entry(key(&gap)).or_insert_with(|| gap.clone());
            known.to = known.to.or(gap.to);
        }
    }

    /// When the first row that the journal holds was received.
    pub(crate) const fn first_received(&self) -> Option<UnixNanos> {
        self.first_received
    }

    /// From when on gaps matter: the beginning of the oldest one that is open as far as is known, and where a source may
    /// have ended without stating it.
    pub(crate) fn oldest_of_interest(&self) -> Option<UnixNanos> {
        let open = self.gaps.values().filter(|gap| gap.to.is_none()).map(|gap| gap.from);
        open.chain(self.last_received().into_values()).min()
    }

    fn last_received(&self) -> BTreeMap<SourceId, UnixNanos> {
        let mut last: BTreeMap<SourceId, UnixNanos> = BTreeMap::new();
        for row in self.rows.values() {
            let at = last.entry(row.series.broker.clone()).or_insert(row.received_at);
            *at = row.received_at.max(*at);
        }
        last
    }

    /// States, once each, where runs that were killed have stopped receiving: one that ended in order has left an open gap
    /// for each of its sources, one that was killed could not. From the last row it accepted on, or from the last gap that a
    /// value had ended, be it a repeated one that gave no row, nothing is known.
    ///
    /// A row from a time to come, by a clock that was set since, says no more than that it was before now.
    pub(crate) fn note_crashes(&mut self, now: UnixNanos) -> Vec<GapRecord> {
        let mut last = self.last_received();
        for gap in self.gaps.values() {
            if let (Some(at), Some(to)) = (last.get_mut(&gap.source), gap.to) {
                *at = to.max(*at);
            }
        }
        last.retain(|source, _| self.gaps.values().all(|gap| gap.to.is_some() || gap.source != *source));
        let crash = |(source, from): (SourceId, UnixNanos)| GapRecord {
            source,
            from: from.min(now),
            to: None,
            reason: GapReason::Crashed,
            count: None,
        };
        let crashes: Vec<GapRecord> = last.into_iter().map(crash).collect();
        self.gaps.extend(crashes.iter().map(|gap| (key(gap), gap.clone())));
        crashes
    }

    /// Of two rows the one received later, which the journal's is where both have the same: the database rounds.
    fn note_row(&mut self, row: GreekSnapshot) {
        if let Some(known) = self.rows.get_mut(&row.series) {
            if known.received_at <= row.received_at {
                *known = row;
            }
            return;
        }
        self.rows.insert(Arc::clone(&row.series), row);
    }

    /// The gaps that are known, open or closed.
    pub(crate) fn known_gaps(&self) -> BTreeSet<GapKey> {
        self.gaps.keys().cloned().collect()
    }

    /// The rows, and the gaps that are open.
    pub(crate) fn into_parts(self) -> (Vec<GreekSnapshot>, Vec<GapRecord>) {
        let open = self.gaps.into_values().filter(|gap| gap.to.is_none()).collect();
        (self.rows.into_values().collect(), open)
    }
}

/// By what a gap is known.
pub(crate) fn key(gap: &GapRecord) -> GapKey {
    (gap.source.clone(), gap.from.as_micros())
}

#[cfg(test)]
pub(crate) mod tests {
    use greeks_model::{AccountId, Decimal};

    use super::*;

    const NOW: UnixNanos = UnixNanos::from_nanos(1_000_000);

    #[test]
    fn after_the_clock_was_set_back_the_journals_order_counts() {
        let mut memory = Memory::default();
        for (received, delta) in [(5_000_000, 0.1), (900_000, 0.2)] {
            memory.note(&Record::Snapshot(row("a", received, delta)));
        }
        memory.note(&Record::Snapshot(row("b", 5_000_000, 0.3)));
        let gaps = memory.note_crashes(NOW);
        assert_eq!(gaps.iter().map(|gap| gap.from.as_nanos()).collect::<Vec<_>>(), [900_000, 1_000_000]);
    }

    fn source(name: &str) -> SourceId {
        SourceId::new(name).unwrap()
    }

    pub(crate) fn row(broker: &str, received: i64, delta: f64) -> GreekSnapshot {
        let series = Series {
            broker: source(broker),
            account_id: AccountId::new("A1").unwrap(),
            contract: "AAPL  261218C00232500".parse().unwrap(),
            underlying: "AAPL".into(),
            multiplier: Decimal::from(100),
        };
        let at = UnixNanos::from_nanos(received);
        let mut row = GreekSnapshot::new(Arc::new(series), at, at, 1.0);
        row.delta = Some(delta);
        row
    }

    pub(crate) fn gap(broker: &str, from: i64, to: Option<i64>, reason: GapReason) -> GapRecord {
        let (from, to) = (UnixNanos::from_nanos(from), to.map(UnixNanos::from_nanos));
        GapRecord { source: source(broker), from, to, reason, count: None }
    }

    #[test]
    fn the_row_received_last_is_remembered_wherever_it_is() {
        let mut memory = Memory::default();
        memory.note(&Record::Snapshot(row("a", 5_000, 0.1)));
        memory.note(&Record::Snapshot(row("a", 7_123, 0.2)));
        memory.add_rows(vec![row("a", 7_000, 0.3), row("b", 9_000, 0.4)]);
        memory.note_crashes(NOW);
        let (mut rows, gaps) = memory.into_parts();
        rows.sort_by_key(|row| row.received_at);
        assert_eq!(rows.iter().map(|row| row.delta.unwrap()).collect::<Vec<_>>(), [0.2, 0.4]);
        let crashed = |broker, from| gap(broker, from, None, GapReason::Crashed);
        assert_eq!(gaps, [crashed("a", 7_123), crashed("b", 9_000)]);
    }

    #[test]
    fn a_crash_is_stated_once_and_not_where_a_gap_is_open() {
        let mut memory = Memory::default();
        for (broker, received) in [("a", 5_000), ("a", 9_000), ("b", 7_000)] {
            memory.note(&Record::Snapshot(row(broker, received, 0.1)));
        }
        memory.note(&Record::Gap(gap("b", 7_000, None, GapReason::Stopped)));
        let crashed = gap("a", 9_000, None, GapReason::Crashed);
        assert_eq!(memory.note_crashes(NOW), std::slice::from_ref(&crashed));
        assert_eq!(memory.note_crashes(NOW), []);
        assert_eq!(memory.into_parts().1, [crashed, gap("b", 7_000, None, GapReason::Stopped)]);
    }

    #[test]
    fn a_crash_in_a_still_market_begins_where_the_last_gap_ended() {
        let mut memory = Memory::default();
        memory.add_rows(vec![row("a", 5_000, 0.1), row("b", 900, 0.1)]);
        assert_eq!(memory.oldest_of_interest(), Some(UnixNanos::from_nanos(900)));
        // What came after each gap was the value before it, and gave no row.
        let closed =
            [gap("a", 5_000, Some(7_000), GapReason::Disconnected), gap("a", 8_000, Some(9_000), GapReason::Stopped)];
        memory.note(&Record::Gap(closed[0].clone()));
        memory.add_gaps(vec![closed[1].clone()]);
        let crashed = [gap("a", 9_000, None, GapReason::Crashed), gap("b", 900, None, GapReason::Crashed)];
        assert_eq!(memory.note_crashes(NOW), crashed);
        assert_eq!(memory.gaps[&key(&closed[0])], closed[0]);
    }

    #[test]
    fn a_gap_is_open_only_where_nobody_knows_its_end() {
        let mut memory = Memory::default();
        for (broker, from, to) in
            [("a", 1_000, None), ("a", 1_000, Some(2_000)), ("b", 3_000, None), ("c", 4_000, None)]
        {
            memory.note(&Record::Gap(gap(broker, from, to, GapReason::Stopped)));
        }
        assert_eq!(memory.oldest_of_interest(), Some(UnixNanos::from_nanos(3_000)));
        // The database has seen a takeover by another greekd, which closed b's; a's end is still on its way there.
        let stored = vec![gap("a", 1_000, None, GapReason::Stopped), gap("b", 3_000, Some(8_000), GapReason::Stopped)];
        memory.add_gaps(stored);
        let (_, open) = memory.into_parts();
        assert_eq!(open, [gap("c", 4_000, None, GapReason::Stopped)]);
    }
}
