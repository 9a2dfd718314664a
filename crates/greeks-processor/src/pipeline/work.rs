//! What the pipeline thread does.

use std::error::Error as StdError;
use std::sync::Arc;

use greeks_model::{Clock, Flags, GapReason, GapRecord, Record, SinkError, SnapshotSink, SourceEvent, SourceId};
use metrics::{Counter, Histogram};

use super::{AcceptedHook, PipelineConfig, PipelineStats};
use crate::metrics::{
    DUPLICATES_SUPPRESSED_TOTAL, EVENT_LATENCY_SECONDS, GAPS_TOTAL, RECEIVE_TO_ACCEPTED, SOURCE_TO_RECEIVE,
};
use crate::{Inbox, Normaliser};

/// What the thread owns.
pub(super) struct Work {
    inbox: Inbox,
    lanes: Vec<Lane>,
    sink: Box<dyn SnapshotSink>,
    clock: Arc<dyn Clock>,
    accepted: Option<AcceptedHook>,
    max_batch: usize,
    duplicates: Counter,
    stats: Arc<PipelineStats>,
}

/// One source's part.
struct Lane {
    normaliser: Normaliser,
    source_to_receive: Histogram,
    receive_to_accepted: Histogram,
    gaps: Vec<(GapReason, Counter)>,
}

impl Work {
    pub(super) fn new(
        config: PipelineConfig,
        inbox: Inbox,
        sink: Box<dyn SnapshotSink>,
        stats: Arc<PipelineStats>,
    ) -> Self {
        let lane = |source: &SourceId| {
            let normaliser = Normaliser::new(source.clone(), Arc::clone(&config.instruments));
            let mut normaliser = normaliser.with_pricing(config.pricing);
            config.seeds.iter().for_each(|row| normaliser.seed(row));
            config.open_gaps.iter().for_each(|gap| normaliser.resume_gap(gap.clone()));
            Lane::new(normaliser)
        };
        Self {
            lanes: inbox.sources().map(lane).collect(),
            inbox,
            sink,
            clock: config.clock,
            accepted: config.accepted,
            max_batch: config.max_batch,
            duplicates: metrics::counter!(DUPLICATES_SUPPRESSED_TOTAL),
            stats,
        }
    }

    pub(super) fn run(mut self) -> Result<(), SinkError> {
        let (mut events, mut records, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        while self.inbox.recv_batch(&mut events, self.max_batch) {
            let duplicates = self.normalise(&mut events, &mut records, &mut sources);
            if !records.is_empty() {
                if let Err(error) = self.sink.append(&records) {
                    // What was accepted before deserves its chance to become durable.
                    if let Err(closing) = self.sink.close() {
                        tracing::warn!(error = &closing as &dyn StdError, "the sink that refused cannot be closed");
                    }
                    return Err(error);
                }
                self.observe(&records, &sources);
            }
            self.duplicates.increment(duplicates);
            for (number, lane) in self.lanes.iter().enumerate() {
                self.stats.store(number, lane.normaliser.counts());
            }
            records.clear();
            sources.clear();
        }
        self.sink.close()
    }

    /// Turns `events` into `records` and notes beside each record the number of its source; returns how many
    /// duplicates were suppressed.
    fn normalise(
        &mut self,
        events: &mut Vec<(usize, SourceEvent)>,
        records: &mut Vec<Record>,
        sources: &mut Vec<usize>,
    ) -> u64 {
        let duplicates = |lanes: &[Lane]| lanes.iter().map(|lane| lane.normaliser.counts().duplicates).sum::<u64>();
        let before = duplicates(&self.lanes);
        for (number, event) in events.drain(..) {
            if let Some(lane) = self.lanes.get_mut(number) {
                lane.normaliser.push(event, records);
                sources.resize(records.len(), number);
            }
        }
        duplicates(&self.lanes) - before
    }

    fn observe(&mut self, records: &[Record], sources: &[usize]) {
        let now = self.clock.now();
        for (record, number) in records.iter().zip(sources) {
            let Some(lane) = self.lanes.get_mut(*number) else { continue };
            match record {
                Record::Snapshot(row) => {
                    lane.receive_to_accepted.record(now.saturating_since(row.received_at).as_secs_f64());
                    // What is sent first after a connect can be days old, and a substituted time says nothing.
                    let silent = [Flags::EVENT_TIME_SUBSTITUTED, Flags::FIRST_AFTER_CONNECT];
                    if !silent.into_iter().any(|flag| row.flags.contains(flag)) {
                        let took = row.received_at.saturating_since(row.event_time);
                        lane.source_to_receive.record(took.as_secs_f64());
                    }
                }
                Record::Gap(gap) if gap.to.is_none() => lane.count_gap(gap),
                _ => {}
            }
        }
        if let Some(accepted) = &mut self.accepted {
            accepted(records);
        }
    }
}

impl Lane {
    fn new(normaliser: Normaliser) -> Self {
        let source = normaliser.source();
        let stage = |stage: &str| {
            let labels = [("source", source.to_string()), ("stage", stage.to_owned())];
            metrics::histogram!(EVENT_LATENCY_SECONDS, &labels)
        };
        let gap = |reason: GapReason| {
            let labels = [("source", source.to_string()), ("reason", reason.to_string())];
            (reason, metrics::counter!(GAPS_TOTAL, &labels))
        };
        Self {
            source_to_receive: stage(SOURCE_TO_RECEIVE),
            receive_to_accepted: stage(RECEIVE_TO_ACCEPTED),
            gaps: GapReason::ALL.into_iter().map(gap).collect(),
            normaliser,
        }
    }

    fn count_gap(&self, gap: &GapRecord) {
        if let Some((_, counter)) = self.gaps.iter().find(|(reason, _)| *reason == gap.reason) {
            counter.increment(1);
        }
    }
}
