//! Finding the one record that the database refuses, and as many as it can store in time.

/// How many of the next records to try, given what was refused before.
#[derive(Debug)]
pub(super) struct Bisect {
    /// So many records from here on are known to hold a refused one.
    suspects: usize,
    /// Try no more than this many.
    limit: usize,
    /// Refused one after the other, with nothing stored between.
    in_a_row: u32,
    /// Failed in a row for reasons that may be the server's own.
    doubtful: u32,
}

/// So many refusals in a row mean that not the data is at fault.
const TOO_MANY: u32 = 100;
/// So often the server may fail by itself before the data is suspected.
const DOUBTFUL: u32 = 5;

impl Bisect {
    pub(super) fn new() -> Self {
        Self { suspects: 0, limit: usize::MAX, in_a_row: 0, doubtful: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// `tried` records were refused. `true` when that is a single one, which is the culprit.
    pub(super) fn refused(&mut self, tried: usize) -> bool {
        self.too_slow(tried);
        tried <= 1
    }

    /// `tried` records took too long together: fewer are tried until they are stored.
    pub(super) fn too_slow(&mut self, tried: usize) {
        self.suspects = tried;
        self.limit = (tried / 2).max(1);
    }

    /// The server failed, be it by itself, be it because of the data. `true` when it has done so often enough for the data to
    /// be suspected.
    pub(super) fn doubtful(&mut self) -> bool {
        self.doubtful = self.doubtful.saturating_add(1);
        self.doubtful > DOUBTFUL
    }

    /// `tried` records were stored.
    pub(super) fn stored(&mut self, tried: usize) {
        self.in_a_row = 0;
        self.cleared(tried);
    }

    /// One record went to quarantine.
    pub(super) fn quarantined(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.cleared(1);
    }

    /// Whether the next refusal is one too many.
    pub(super) fn too_many(&self) -> bool {
        self.in_a_row >= TOO_MANY
    }

    fn cleared(&mut self, records: usize) {
        self.suspects = self.suspects.saturating_sub(records);
        if self.suspects > 0 {
            self.limit = (self.suspects / 2).max(1);
            return;
        }
        self.limit = usize::MAX;
        self.doubtful = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a batch against a database that refuses `bad`; returns what was stored, what was quarantined, and the tries.
    fn run(len: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut stored, mut quarantined, mut tries) = (Vec::new(), Vec::new(), 0);
        let mut bisect = Bisect::new();
        let mut next = 0;
        while next < len {
            let chunk: Vec<usize> = (next..len).take(bisect.limit()).collect();
            tries += 1;
            if chunk.iter().all(|record| !bad.contains(record)) {
                bisect.stored(chunk.len());
                next += chunk.len();
                stored.extend(chunk);
            } else if bisect.refused(chunk.len()) {
                bisect.quarantined();
                quarantined.push(next);
                next += 1;
            }
        }
        (stored, quarantined, tries)
    }

    proptest! {
        #[test]
        fn exactly_the_refused_ones_are_set_aside(len in 1_usize..300, bad in prop::collection::btree_set(0_usize..300, 0..5)) {
            let bad: Vec<usize> = bad.into_iter().filter(|record| *record < len).collect();
            let (stored, quarantined, tries) = run(len, &bad);
            prop_assert_eq!(&quarantined, &bad);
            prop_assert_eq!(stored, (0..len).filter(|record| !bad.contains(record)).collect::<Vec<_>>());
            let bits = len.ilog2() as usize + 1;
            prop_assert!(tries <= 1 + bad.len() * 2 * (bits + 1), "{} tries", tries);
        }
    }

    #[test]
    fn a_long_row_of_refusals_is_not_the_data() {
        let mut bisect = Bisect::new();
        for _ in 0..TOO_MANY {
            assert!(!bisect.too_many());
            bisect.quarantined();
        }
        assert!(bisect.too_many());
        bisect.stored(1);
        assert!(!bisect.too_many());
    }

    #[test]
    fn a_fault_of_the_server_is_tried_five_times_and_then_bisected_at_once() {
        let mut bisect = Bisect::new();
        assert_eq!(
            (0..7).map(|_| bisect.doubtful()).collect::<Vec<_>>(),
            [false, false, false, false, false, true, true]
        );
        bisect.refused(8);
        bisect.stored(4);
        assert!(bisect.doubtful(), "half of the suspects are left");
        bisect.stored(4);
        assert!(!bisect.doubtful(), "all is stored");
    }
}
