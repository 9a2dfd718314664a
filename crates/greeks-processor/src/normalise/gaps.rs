//! Holes in a stream: opened when a source reports one, closed when values of an option come again.

use greeks_model::{GapReason, GapRecord, Record, SourceId, UnixNanos};

/// The open gaps of one source: more than one only when earlier processes left some.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    open: Vec<GapRecord>,
    /// When values of an option came for the first time in this process.
    heard: Option<UnixNanos>,
}

impl Gaps {
    /// Takes over a gap that an earlier process left open. Where that becomes known late, when values of an option have come
    /// already, the first of them have ended it.
    pub(super) fn resume(&mut self, gap: GapRecord, out: &mut Vec<Record>) {
        if gap.to.is_some() || self.open.iter().any(|open| same(open, &gap)) {
            return;
        }
        match self.heard {
            Some(at) => out.push(closed(gap, at)),
            None => self.open.push(gap),
        }
    }

    /// Opens a gap, unless an open one covers it already: a source may name the cause and its supervisor the end of
    /// the session, and both mean the same hole. Returns whether a gap was opened.
    pub(super) fn open(
        &mut self,
        source: &SourceId,
        since: UnixNanos,
        reason: GapReason,
        out: &mut Vec<Record>,
    ) -> bool {
        if self.open.iter().any(|gap| gap.from <= since) {
            return false;
        }
        // All that are open lie inside the new one, which alone goes on: they end where they began.
        for mut inner in self.open.drain(..) {
            inner.to = Some(inner.from);
            out.push(Record::Gap(inner));
        }
        let gap = GapRecord { source: source.clone(), from: since, to: None, reason, count: None };
        self.open.push(gap.clone());
        out.push(Record::Gap(gap));
        true
    }

    /// Closes what is open: values of an option came at `at`.
    pub(super) fn close(&mut self, at: UnixNanos, out: &mut Vec<Record>) {
        self.heard.get_or_insert(at);
        out.extend(self.open.drain(..).map(|gap| closed(gap, at)));
    }
}

/// A gap never ends before it begins.
fn closed(gap: GapRecord, at: UnixNanos) -> Record {
    Record::Gap(GapRecord { to: Some(at.max(gap.from)), ..gap })
}

/// Whether both are the same gap to the database, which knows whole microseconds.
fn same(a: &GapRecord, b: &GapRecord) -> bool {
    a.source == b.source && a.from.as_micros() == b.from.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> UnixNanos {
        UnixNanos::from_millis(millis)
    }

    fn gap(from: i64, to: Option<i64>, reason: GapReason) -> Record {
        let source = SourceId::new("s").unwrap();
        Record::Gap(GapRecord { source, from: at(from), to: to.map(at), reason, count: None })
    }

    #[test]
    fn the_same_hole_is_reported_once() {
        let source = SourceId::new("s").unwrap();
        let (mut gaps, mut out) = (Gaps::default(), Vec::new());
        assert!(gaps.open(&source, at(10), GapReason::Silence, &mut out));
        assert!(!gaps.open(&source, at(10), GapReason::Disconnected, &mut out));
        assert!(!gaps.open(&source, at(12), GapReason::Disconnected, &mut out));
        assert!(gaps.open(&source, at(5), GapReason::Disconnected, &mut out));
        gaps.close(at(20), &mut out);
        gaps.close(at(21), &mut out);
        let expected = [
            gap(10, None, GapReason::Silence),
            gap(10, Some(10), GapReason::Silence),
            gap(5, None, GapReason::Disconnected),
            gap(5, Some(20), GapReason::Disconnected),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn gaps_of_an_earlier_process_are_closed_too_and_never_end_before_they_begin() {
        let (mut gaps, mut out) = (Gaps::default(), Vec::new());
        for record in
            [gap(1, None, GapReason::Stopped), gap(9, None, GapReason::Silence), gap(2, Some(3), GapReason::Silence)]
        {
            let Record::Gap(record) = record else { panic!("not a gap") };
            gaps.resume(record.clone(), &mut out);
            gaps.resume(record, &mut out);
        }
        assert_eq!(out, []);
        gaps.close(at(8), &mut out);
        assert_eq!(out, [gap(1, Some(8), GapReason::Stopped), gap(9, Some(9), GapReason::Silence)]);
    }

    #[test]
    fn a_gap_learnt_of_late_was_ended_by_the_first_values_of_this_process() {
        let (mut gaps, mut out) = (Gaps::default(), Vec::new());
        let left = |from| GapRecord {
            source: SourceId::new("s").unwrap(),
            from: at(from),
            to: None,
            reason: GapReason::Stopped,
            count: None,
        };
        gaps.resume(left(1), &mut out);
        gaps.close(at(8), &mut out);
        gaps.close(at(20), &mut out);
        assert_eq!(out, [gap(1, Some(8), GapReason::Stopped)]);
        out.clear();
        gaps.resume(left(2), &mut out);
        // It was the clock that was set: no gap ends before it begins.
        gaps.resume(left(9), &mut out);
        assert_eq!(out, [gap(2, Some(8), GapReason::Stopped), gap(9, Some(9), GapReason::Stopped)]);
        out.clear();
        // What the database gives back of a gap that this process has opened itself.
        let source = SourceId::new("s").unwrap();
        let since = UnixNanos::from_nanos(at(30).as_nanos() + 7);
        gaps.open(&source, since, GapReason::Silence, &mut out);
        out.clear();
        gaps.resume(left(30), &mut out);
        assert_eq!(out, []);
        gaps.close(at(40), &mut out);
        let own = GapRecord { from: since, to: Some(at(40)), reason: GapReason::Silence, ..left(30) };
        assert_eq!(out, [Record::Gap(own)]);
    }
}
