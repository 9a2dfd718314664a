//! The one thread between sources and store: takes events, normalises them, appends what follows to the sink.

mod stats;
#[cfg(test)]
mod tests;
mod untold;
mod work;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use greeks_model::{
    Clock, GapRecord, GreekSnapshot, InstrumentTable, Record, Reference, SinkError, SnapshotSink, SourceId,
};
use tokio::sync::oneshot;

pub use self::stats::PipelineStats;
use self::work::Work;
use crate::{Counts, Inbox, PricingInputs};

/// Told of records right after the sink has accepted them, on the pipeline thread: it must be quick.
pub type AcceptedHook = Box<dyn FnMut(&[Record]) + Send>;

/// Told what a source says about an underlying, on the pipeline thread: it must be quick.
pub type ReferenceHook = Box<dyn FnMut(&SourceId, &Reference) + Send>;

/// What a pipeline works with, beside its inbox and its sink.
pub struct PipelineConfig {
    /// The numbers of instruments that the sources use.
    pub instruments: Arc<InstrumentTable>,
    /// Tells when records were accepted.
    pub clock: Arc<dyn Clock>,
    /// Rows accepted by earlier processes in the order of acceptance, so that they are not stored again: the newest of
    /// each series in the database, then what a journal still holds.
    pub seeds: Vec<GreekSnapshot>,
    /// Gaps that earlier processes left open: the source's first values of an option close them.
    pub open_gaps: Vec<GapRecord>,
    /// With what Greeks are computed that a source does not send; `None` leaves them unknown.
    pub pricing: Option<PricingInputs>,
    /// The symbol of an underlying whose price the hook for references is told whenever it is quoted: what deltas are
    /// weighted against.
    pub benchmark: Option<Arc<str>>,
    /// The most events taken before what follows from them is appended.
    pub max_batch: usize,
    /// Told of every accepted record, in order.
    pub accepted: Option<AcceptedHook>,
    /// Told of every reference, which gives no record, in the order of receipt.
    pub reference: Option<ReferenceHook>,
}

impl PipelineConfig {
    /// Nothing seeded, no hook, batches of at most 1,024 events, default pricing inputs.
    #[must_use]
    pub fn new(instruments: Arc<InstrumentTable>, clock: Arc<dyn Clock>) -> Self {
        Self {
            instruments,
            clock,
            seeds: Vec::new(),
            open_gaps: Vec::new(),
            pricing: Some(PricingInputs::default()),
            benchmark: None,
            max_batch: 1_024,
            accepted: None,
            reference: None,
        }
    }
}

impl fmt::Debug for PipelineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineConfig")
            .field("clock", &self.clock)
            .field("seeds", &self.seeds.len())
            .field("open_gaps", &self.open_gaps.len())
            .field("pricing", &self.pricing)
            .field("benchmark", &self.benchmark)
            .field("max_batch", &self.max_batch)
            .finish_non_exhaustive()
    }
}

/// Why a pipeline ended before its sources did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The sink did not accept records, or could not be closed in good order.
    #[error("the sink refused records")]
    Sink(#[from] SinkError),
    /// The pipeline thread panicked: a bug.
    #[error("the pipeline panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The thread could not be started.
    #[error("the pipeline thread could not be started")]
    Spawn(#[source] io::Error),
}

/// A running pipeline. It ends when all senders of its inbox are gone and everything is accepted, or when the sink
/// refuses; its sources then find their channels closed.
#[derive(Debug)]
pub struct Pipeline {
    thread: JoinHandle<Result<(), SinkError>>,
    ended: oneshot::Receiver<()>,
    stats: Arc<PipelineStats>,
    late_gaps: LateGaps,
    nudge: Arc<AtomicBool>,
}

/// Gaps of earlier processes that the thread has not taken over yet.
type LateGaps = Arc<Mutex<Vec<GapRecord>>>;

impl Pipeline {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`PipelineError::Spawn`] when the system refuses a thread.
    pub fn spawn(config: PipelineConfig, inbox: Inbox, sink: Box<dyn SnapshotSink>) -> Result<Self, PipelineError> {
        let stats = Arc::new(PipelineStats::new(inbox.sources()));
        let (ending, ended) = oneshot::channel::<()>();
        let (late_gaps, nudge) = (LateGaps::default(), inbox.nudge());
        let work = Work::new(config, inbox, sink, Arc::clone(&stats), Arc::clone(&late_gaps));
        let body = move || {
            // Dropped at the end and in a panic alike: whoever waits for the end learns of both.
            let _ending = ending;
            work.run()
        };
        let thread = std::thread::Builder::new().name("pipeline".into()).spawn(body).map_err(PipelineError::Spawn)?;
        Ok(Self { thread, ended, stats, late_gaps, nudge })
    }

    /// Takes over gaps that earlier processes left open and that have become known only now. They end where they would have
    /// ended had they been in [`PipelineConfig::open_gaps`]: at the first values of an option that their source sent, or will
    /// send, since the start. Those known already, closed ones, and those of other sources are passed over.
    pub fn resume_gaps(&self, gaps: Vec<GapRecord>) {
        if gaps.is_empty() {
            return;
        }
        self.late_gaps.lock().unwrap_or_else(PoisonError::into_inner).extend(gaps);
        self.nudge.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// The counters of this pipeline.
    #[must_use]
    pub const fn stats(&self) -> &Arc<PipelineStats> {
        &self.stats
    }

    /// Resolves when the pipeline is about to end, however it does; [`join`](Self::join) then says how.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&mut self) {
        if !self.ended.is_terminated() {
            // The thread sends nothing: an error is the sign that its end is gone.
            drop((&mut self.ended).await);
        }
    }

    /// Waits for the end, blocking, and returns the final counts of all sources together.
    ///
    /// # Errors
    /// [`PipelineError`] when it ended for another reason than that all its sources had.
    pub fn join(self) -> Result<Counts, PipelineError> {
        match self.thread.join() {
            Ok(outcome) => outcome.map(|()| self.stats.total()).map_err(PipelineError::Sink),
            Err(panic) => Err(PipelineError::Panicked { message: panic_text(&*panic) }),
        }
    }
}

/// What a panic said, when it said it in words.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
