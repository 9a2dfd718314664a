//! Holes in a stream: opened when a source reports one, closed when values of an option come again.

use greeks_model::{GapReason, GapRecord, Record, SourceId, UnixNanos};

/// The open gaps of one source: more than one only when earlier processes left some.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    open: Vec<GapRecord>,
}

impl Gaps {
    /// Takes over a gap that an earlier process left open.
    pub(super) fn resume(&mut self, gap: GapRecord) {
        if gap.to.is_none() && !self.open.contains(&gap) {
            self.open.push(gap);
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
        for mut gap in self.open.drain(..) {
            gap.to = Some(at.max(gap.from));
            out.push(Record::Gap(gap));
        }
    }
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
            gaps.resume(record.clone());
            gaps.resume(record);
        }
        gaps.close(at(8), &mut out);
        assert_eq!(out, [gap(1, Some(8), GapReason::Stopped), gap(9, Some(9), GapReason::Silence)]);
    }
}
