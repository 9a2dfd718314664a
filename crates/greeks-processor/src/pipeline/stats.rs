//! What has gone through a pipeline.

use std::sync::atomic::{AtomicU64, Ordering};

use greeks_model::{SourceId, UnixNanos};

use crate::{Counts, Latency, Percentiles};

/// What each source's events have led to; readable at any time.
#[derive(Debug)]
pub struct PipelineStats {
    sources: Vec<(SourceId, Cells)>,
    /// From receipt to acceptance.
    pub(super) accepted: Latency,
}

#[derive(Debug, Default)]
struct Cells {
    events: AtomicU64,
    rows: AtomicU64,
    duplicates: AtomicU64,
    position_changes: AtomicU64,
    positions_refused: AtomicU64,
    gaps: AtomicU64,
    given_up: AtomicU64,
}

impl Cells {
    fn store(&self, counts: Counts) {
        self.events.store(counts.events, Ordering::Relaxed);
        self.rows.store(counts.rows, Ordering::Relaxed);
        self.duplicates.store(counts.duplicates, Ordering::Relaxed);
        self.position_changes.store(counts.position_changes, Ordering::Relaxed);
        self.positions_refused.store(counts.positions_refused, Ordering::Relaxed);
        self.gaps.store(counts.gaps, Ordering::Relaxed);
        self.given_up.store(counts.given_up, Ordering::Relaxed);
    }

    fn load(&self) -> Counts {
        Counts {
            events: self.events.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            position_changes: self.position_changes.load(Ordering::Relaxed),
            positions_refused: self.positions_refused.load(Ordering::Relaxed),
            gaps: self.gaps.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
        }
    }
}

impl PipelineStats {
    pub(super) fn new<'a>(sources: impl Iterator<Item = &'a SourceId>) -> Self {
        let sources = sources.map(|source| (source.clone(), Cells::default())).collect();
        Self { sources, accepted: Latency::unmetered() }
    }

    /// Notes the counts of the source with this number.
    pub(super) fn store(&self, number: usize, counts: Counts) {
        if let Some((_, cells)) = self.sources.get(number) {
            cells.store(counts);
        }
    }

    /// The counts of each source as of the last accepted batch.
    pub fn by_source(&self) -> impl Iterator<Item = (&SourceId, Counts)> {
        self.sources.iter().map(|(source, cells)| (source, cells.load()))
    }

    /// The counts of one source.
    #[must_use]
    pub fn of(&self, source: &SourceId) -> Option<Counts> {
        self.by_source().find(|(id, _)| *id == source).map(|(_, counts)| counts)
    }

    /// How long rows took from receipt to acceptance by the sink, over the last minute and all sources.
    #[must_use]
    pub fn receive_to_accepted(&self, now: UnixNanos) -> Percentiles {
        self.accepted.percentiles(now)
    }

    /// The counts of all sources together.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.by_source().fold(Counts::default(), |sum, (_, counts)| sum.plus(&counts))
    }
}
