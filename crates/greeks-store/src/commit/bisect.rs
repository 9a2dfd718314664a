//! Finding the one record that the database refuses.

/// How many of the next records to try, given what was refused before.
#[derive(Debug)]
pub(super) struct Bisect {
    /// So many records from here on are known to hold a refused one.
    suspects: usize,
    /// Try no more than this many.
    limit: usize,
    /// Refused one after the other, with nothing stored between.
    in_a_row: u32,
}

/// So many refusals in a row mean that not the data is at fault.
const TOO_MANY: u32 = 100;

impl Bisect {
    pub(super) fn new() -> Self {
        Self { suspects: 0, limit: usize::MAX, in_a_row: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// `tried` records were refused. `true` when that is a single one, which is the culprit.
    pub(super) fn refused(&mut self, tried: usize) -> bool {
        self.suspects = tried;
        self.limit = (tried / 2).max(1);
        tried <= 1
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

    pub(super) fn too_many(&self) -> bool {
        self.in_a_row >= TOO_MANY
    }

    fn cleared(&mut self, records: usize) {
        self.suspects = self.suspects.saturating_sub(records);
        self.limit = if self.suspects == 0 { usize::MAX } else { (self.suspects / 2).max(1) };
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
}
