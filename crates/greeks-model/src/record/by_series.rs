//! What is known of series, found by address: to hash a series whole costs more than most work for a row.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::Series;

/// Something about each of at most so many series. When there are more, all are forgotten, to be learnt again: whoever asks
/// can find it out otherwise.
#[derive(Debug)]
pub struct BySeries<T> {
    most: usize,
    // Addresses are nobody's choice: a plain hash does.
    /// By address; the series is held, so that the address stays its own.
    pub(super) known: FxHashMap<usize, (Arc<Series>, T)>,
}

impl<T> BySeries<T> {
    /// Knows nothing yet, and never of more than `most` series.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, known: FxHashMap::default() }
    }

    /// What is known of the series at this address.
    #[must_use]
    pub fn get(&self, series: &Arc<Series>) -> Option<&T> {
        self.known.get(&Arc::as_ptr(series).addr()).map(|(_, value)| value)
    }

    /// Keeps it for the next time.
    pub fn insert(&mut self, series: &Arc<Series>, value: T) {
        if self.known.len() >= self.most {
            self.known.clear();
        }
        self.known.insert(Arc::as_ptr(series).addr(), (Arc::clone(series), value));
    }
}
