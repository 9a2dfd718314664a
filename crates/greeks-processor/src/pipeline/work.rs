//! What the pipeline thread does.

use std::error::Error as StdError;
use std::sync::{Arc, PoisonError};

use greeks_model::{
    Clock, Flags, GapReason, GapRecord, Instrument, InstrumentId, Record, Reference, SinkError, SnapshotSink,
    SourceEvent, SourceId, Underlying, UnixNanos,
};
use metrics::{Counter, Histogram};

use super::untold::Untold;
use super::{AcceptedHook, LateGaps, PipelineConfig, PipelineStats, ReferenceHook};
use crate::clock_step::StepWatch;
use crate::metrics::{
    DUPLICATES_SUPPRESSED_TOTAL, EVENT_LATENCY_SECONDS, GAPS_TOTAL, RECEIVE_TO_ACCEPTED, ROWS_GIVEN_UP_TOTAL,
    SOURCE_TO_RECEIVE,
};
use crate::{Inbox, Normaliser};

/// What the thread owns.
pub(super) struct Work {
    inbox: Inbox,
    lanes: Vec<Lane>,
    sink: Box<dyn SnapshotSink>,
    clock: Arc<dyn Clock>,
    steps: StepWatch,
    accepted: Option<AcceptedHook>,
    reference: Option<ReferenceHook>,
    benchmark: Option<(InstrumentId, Arc<str>)>,
    max_batch: usize,
    duplicates: Counter,
    stats: Arc<PipelineStats>,
    late_gaps: LateGaps,
    untold: Untold,
}

/// One source's part.
struct Lane {
    normaliser: Normaliser,
    source_to_receive: Histogram,
    receive_to_accepted: Histogram,
    gaps: Vec<(GapReason, Counter)>,
    given_up: Counter,
}

impl Work {
    pub(super) fn new(
        config: PipelineConfig,
        inbox: Inbox,
        sink: Box<dyn SnapshotSink>,
        stats: Arc<PipelineStats>,
        late_gaps: LateGaps,
    ) -> Self {
        // They are known before the first event, like any that come to be known later.
        late_gaps.lock().unwrap_or_else(PoisonError::into_inner).extend(config.open_gaps);
        let lane = |source: &SourceId| {
            let normaliser = Normaliser::new(source.clone(), Arc::clone(&config.instruments));
            let mut normaliser = normaliser.with_pricing(config.pricing);
            config.seeds.iter().for_each(|row| normaliser.seed(row));
            Lane::new(normaliser)
        };
        Self {
            lanes: inbox.sources().map(lane).collect(),
            inbox,
            sink,
            clock: config.clock,
            steps: StepWatch::default(),
            accepted: config.accepted,
            reference: config.reference,
            benchmark: config
                .benchmark
                .map(|symbol| (config.instruments.intern(&Instrument::Underlying(Underlying::new(&symbol))), symbol)),
            max_batch: config.max_batch,
            duplicates: metrics::counter!(DUPLICATES_SUPPRESSED_TOTAL),
            stats,
            late_gaps,
            untold: Untold::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<(), SinkError> {
        let (mut events, mut records, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        while self.inbox.recv_batch(&mut events, self.max_batch) {
            let untold = self.untold.take();
            tell_again(untold, &mut records, &mut sources);
            self.resume_gaps(&mut records, &mut sources);
            self.note_clock_step(&mut records, &mut sources);
            let duplicates = self.normalise(&mut events, &mut records, &mut sources);
            if let Err(error) = self.hand_in(&mut records, &mut sources) {
                return Err(self.end(error));
            }
            self.duplicates.increment(duplicates);
            for (number, lane) in self.lanes.iter().enumerate() {
                self.stats.store(number, lane.normaliser.counts());
            }
            records.clear();
            sources.clear();
        }
        let untold = self.untold.take_all();
        tell_again(untold, &mut records, &mut sources);
        if let Err(error) = self.hand_in(&mut records, &mut sources) {
            return Err(self.end(error));
        }
        self.sink.close()
    }

    /// Gives `records` to the sink, takes those out that it has given up, and tells of the others.
    fn hand_in(&mut self, records: &mut Vec<Record>, sources: &mut Vec<usize>) -> Result<(), SinkError> {
        if records.is_empty() {
            return Ok(());
        }
        match self.sink.append(records) {
            Ok(()) => {
                self.untold.note_room(true);
                self.untold.settle(records, Vec::new());
            }
            Err(SinkError::Full { given_up }) => self.give_up(&given_up, records, sources),
            Err(error) => return Err(error),
        }
        self.observe(records, sources);
        Ok(())
    }

    /// Takes over what has become known of gaps that earlier processes left open.
    fn resume_gaps(&mut self, records: &mut Vec<Record>, sources: &mut Vec<usize>) {
        let gaps = std::mem::take(&mut *self.late_gaps.lock().unwrap_or_else(PoisonError::into_inner));
        for gap in gaps {
            let lanes = self.lanes.iter_mut().enumerate();
            for (number, lane) in lanes.filter(|(_, lane)| *lane.normaliser.source() == gap.source) {
                lane.normaliser.resume_gap(gap.clone(), records);
                sources.resize(records.len(), number);
            }
        }
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
                let about = about(&event, self.benchmark.as_ref());
                lane.normaliser.push(event, records);
                if let (Some(told), Some(reference)) = (&mut self.reference, about.and_then(|about| about.tell(lane))) {
                    told(lane.normaliser.source(), &reference);
                }
                sources.resize(records.len(), number);
            }
        }
        duplicates(&self.lanes) - before
    }

    /// What was accepted before a failure deserves its chance to become durable.
    fn end(self, error: SinkError) -> SinkError {
        if let Err(closing) = self.sink.close() {
            tracing::warn!(error = &closing as &dyn StdError, "the sink that refused cannot be closed");
        }
        error
    }

    /// Says for every source that its times of receipt have a hole or overlap.
    fn note_clock_step(&mut self, records: &mut Vec<Record>, sources: &mut Vec<usize>) {
        let Some(step) = self.steps.look(&*self.clock) else { return };
        tracing::warn!(from = %step.from.to_timestamp(), to = %step.to.to_timestamp(), "the clock of this machine was set");
        let (from, to) = (step.from.min(step.to), Some(step.from.max(step.to)));
        for (number, lane) in self.lanes.iter().enumerate() {
            let source = lane.normaliser.source().clone();
            records.push(Record::Gap(GapRecord { source, from, to, reason: GapReason::ClockStep, count: None }));
            sources.push(number);
        }
    }

    /// Takes out of `records` what the sink had no room for.
    fn give_up(&mut self, places: &[usize], records: &mut Vec<Record>, sources: &mut Vec<usize>) {
        let mut gaps = Vec::new();
        for place in places {
            let (Some(record), Some(number)) = (records.get(*place), sources.get(*place)) else { continue };
            let Some(lane) = self.lanes.get_mut(*number) else { continue };
            match record {
                Record::Snapshot(row) => {
                    lane.normaliser.give_up(row);
                    lane.given_up.increment(1);
                }
                Record::Positions(positions) => lane.normaliser.give_up_positions(positions),
                Record::Gap(gap) => gaps.push((*number, gap.clone())),
                _ => {}
            }
        }
        take_out(records, places);
        take_out(sources, places);
        self.untold.note_room(false);
        self.untold.settle(records, gaps);
    }

    fn observe(&mut self, records: &[Record], sources: &[usize]) {
        let now = self.clock.now();
        self.stats.accepted.record_commit(records, now);
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
                Record::Gap(gap) if gap.to.is_none() || gap.reason == GapReason::ClockStep => lane.count_gap(gap),
                _ => {}
            }
        }
        if let Some(accepted) = &mut self.accepted {
            accepted(records);
        }
    }
}

/// What an event says about an underlying, for those who weigh.
enum About {
    Said(Reference),
    /// This is the benchmark, and it was quoted then.
    Quoted(InstrumentId, Arc<str>, UnixNanos),
}

fn about(event: &SourceEvent, benchmark: Option<&(InstrumentId, Arc<str>)>) -> Option<About> {
    match event {
        SourceEvent::Reference(reference) => Some(About::Said(reference.clone())),
        SourceEvent::Quote { update, .. } => {
            let (id, symbol) = benchmark.filter(|(id, _)| *id == update.instrument)?;
            Some(About::Quoted(*id, Arc::clone(symbol), update.received_at))
        }
        _ => None,
    }
}

impl About {
    /// As a reference, now that the lane has taken the event.
    fn tell(self, lane: &Lane) -> Option<Reference> {
        match self {
            Self::Said(reference) => Some(reference),
            Self::Quoted(id, symbol, at) => {
                let mut reference = Reference::new(symbol, at);
                reference.price = Some(lane.normaliser.price(id)?);
                Some(reference)
            }
        }
    }
}

/// Puts gaps that were given up before what came since.
fn tell_again(gaps: Vec<(usize, GapRecord)>, records: &mut Vec<Record>, sources: &mut Vec<usize>) {
    for (number, gap) in gaps {
        records.push(Record::Gap(gap));
        sources.push(number);
    }
}

/// Removes the items at `places`, which rise.
fn take_out<T>(items: &mut Vec<T>, places: &[usize]) {
    let mut place = 0..;
    items.retain(|_| place.next().is_none_or(|place| places.binary_search(&place).is_err()));
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
            given_up: metrics::counter!(ROWS_GIVEN_UP_TOTAL, "source" => source.to_string()),
            normaliser,
        }
    }

    fn count_gap(&self, gap: &GapRecord) {
        if let Some((_, counter)) = self.gaps.iter().find(|(reason, _)| *reason == gap.reason) {
            counter.increment(1);
        }
    }
}
