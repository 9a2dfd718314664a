//! Gaps that the sink had no room for: they are handed in again when it has.

use greeks_model::{GapRecord, Record};

/// A source opens a gap with each session that ends: more than a sink without room brings about in days.
const MOST: usize = 4_096;

/// What is known of gaps and was given up, each with the number of its source. Rows come again and positions are asked for
/// again; of a gap nobody else would ever hear that it was, or that it has ended.
#[derive(Debug, Default)]
pub(super) struct Untold {
    gaps: Vec<(usize, GapRecord)>,
    /// The sink has taken everything it was given last.
    room: bool,
}

impl Untold {
    /// The sink has taken these records, and of the same batch it has given up these gaps.
    pub(super) fn settle(&mut self, taken: &[Record], given_up: Vec<(usize, GapRecord)>) {
        // What is known of a gap only grows: behind what was taken, the beginning alone would open it again.
        let is_old = |gap: &GapRecord| {
            let newer = |record: &Record| matches!(record, Record::Gap(told) if same(told, gap));
            taken.iter().any(newer)
        };
        if !self.gaps.is_empty() {
            self.gaps.retain(|(_, gap)| !is_old(gap));
        }
        for (number, gap) in given_up.into_iter().filter(|(_, gap)| gap.to.is_some() || !is_old(gap)) {
            self.gaps.retain(|(_, known)| !same(known, &gap));
            if self.gaps.len() == MOST {
                // The sink has counted it like the others.
                self.gaps.remove(0);
            }
            self.gaps.push((number, gap));
        }
    }

    /// Whether the sink has taken everything it was given last.
    pub(super) fn note_room(&mut self, room: bool) {
        self.room = room;
    }

    /// What is to be handed in again, once there is room.
    pub(super) fn take(&mut self) -> Vec<(usize, GapRecord)> {
        if self.room { std::mem::take(&mut self.gaps) } else { Vec::new() }
    }

    /// The same at the end, where the sink is asked once more.
    pub(super) fn take_all(&mut self) -> Vec<(usize, GapRecord)> {
        std::mem::take(&mut self.gaps)
    }
}

fn same(a: &GapRecord, b: &GapRecord) -> bool {
    a.source == b.source && a.from == b.from
}

#[cfg(test)]
mod tests {
    use greeks_model::{GapReason, SourceId, UnixNanos};

    use super::*;

    fn gap(from: i64, to: Option<i64>) -> GapRecord {
        let (from, to) = (UnixNanos::from_millis(from), to.map(UnixNanos::from_millis));
        GapRecord { source: SourceId::new("s").unwrap(), from, to, reason: GapReason::Silence, count: None }
    }

    #[test]
    fn only_the_latest_of_each_gap_is_handed_in_again_and_only_when_there_is_room() {
        let mut untold = Untold::default();
        untold.settle(&[], vec![(0, gap(1, None)), (1, gap(2, None))]);
        untold.settle(&[], vec![(0, gap(1, Some(5)))]);
        assert_eq!(untold.take(), []);
        // Its end was taken in the meantime: what was not told before must not open it again.
        untold.settle(&[Record::Gap(gap(2, Some(3)))], Vec::new());
        untold.note_room(true);
        assert_eq!(untold.take(), [(0, gap(1, Some(5)))]);
        assert_eq!(untold.take(), []);
        untold.note_room(false);
        // Of one batch: the end of the one was taken and its beginning was not, of the other it is the other way round.
        let (taken, given_up) = ([gap(7, Some(8)), gap(9, None)].map(Record::Gap), vec![gap(7, None), gap(9, Some(9))]);
        untold.settle(&taken, given_up.into_iter().map(|gap| (0, gap)).collect());
        assert_eq!((untold.take(), untold.take_all()), (vec![], vec![(0, gap(9, Some(9)))]));
    }

    #[test]
    fn it_is_bounded() {
        let mut untold = Untold::default();
        let most = i64::try_from(MOST).unwrap();
        untold.settle(&[], (0..most + 2).map(|from| (0, gap(from, None))).collect());
        let kept = untold.take_all();
        assert_eq!((kept.len(), kept[0].1.from), (MOST, UnixNanos::from_millis(2)));
    }
}
