//! The whole data path of one process: sources, pipeline, journal, committers.

use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Clock, OperatorReason, QuoteSource, Retry, SnapshotSink, SourceId, UnixNanos};
use greeks_processor::{
    Counts, FirstOutcome, Latency, Percentiles, Pipeline, PipelineConfig, PipelineError, PipelineStats, PricingInputs,
    Slo, SloConfig, SloEvent, SourceHandle, Supervisor, SupervisorConfig, SystemClock,
};
use greeks_store::{Commit, CommitPolicy, CommitterConfig, CommitterStatus, JournalLogWriter};
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::backlog::Backlog;
use crate::database::Database;
use crate::durable::{Durable, DurableView, Verdict};
use crate::exit::{Code, Failure, with_causes};
use crate::journal::{self, Journal};
use crate::late::LateGaps;
use crate::live::{BENCHMARK, Held, Live};
use crate::memory::Memory;
use crate::settings::Settings;

/// Events on their way from one source to the pipeline. A frame can hold hundreds; when it is full the socket waits.
const SOURCE_CAPACITY: usize = 8_192;
/// For the database to say what it has stored last.
const RECALL: Duration = Duration::from_secs(10);
/// For the sources to close their connections.
const SOURCES_STOP: Duration = Duration::from_secs(4);
/// For everything but the private server: a service manager that waits 10 s must not have to kill us.
const STOP: Duration = Duration::from_secs(8);

/// A running data path.
#[derive(Debug)]
pub(crate) struct Daemon {
    view: View,
    supervisor: Supervisor,
    pipeline: Pipeline,
    durable: Durable,
    backlog: Backlog,
    slo: Slo,
    live: Live,
    /// Where the database could not be asked at the start.
    late: Option<LateGaps>,
}

/// The durable half, at work before anything streams.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) durable: Durable,
    writer: JournalLogWriter,
    memory: Memory,
    latency: Arc<Latency>,
    clock: Arc<dyn Clock>,
}

/// Why a data path has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was asked to.
    Asked,
    /// Every broker refused the credentials at the start.
    Refused(Failure),
    /// Another greekd, named so, writes to the database now.
    Superseded(String),
    /// A part of it has stopped; [`Daemon::stop`] says why.
    Broken,
}

/// What can be seen of a running data path.
#[derive(Clone, Debug)]
pub(crate) struct View {
    clock: Arc<dyn Clock>,
    latency: Arc<Latency>,
    stats: Arc<PipelineStats>,
    sources: Vec<SourceHandle>,
    durable: DurableView,
}

/// The figures of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) stored: u64,
    /// Accepted records, in the journal and not in the database yet.
    pub(crate) waiting: u64,
    pub(crate) latency: Percentiles,
    /// From receipt to acceptance by the journal.
    pub(crate) accepted: Percentiles,
    pub(crate) database: CommitterStatus,
    /// As in [`View::sources`].
    pub(crate) sources: Vec<(SourceId, &'static str, Option<String>)>,
}

impl Figures {
    /// Of a data path that never ran.
    pub(crate) fn none() -> Self {
        Self {
            counts: Counts::default(),
            stored: 0,
            waiting: 0,
            latency: Percentiles::default(),
            accepted: Percentiles::default(),
            database: CommitterStatus::default(),
            sources: Vec::new(),
        }
    }
}

impl View {
    /// The sources, in the order of their start.
    pub(crate) fn handles(&self) -> &[SourceHandle] {
        &self.sources
    }

    /// The half that stores.
    pub(crate) const fn durable(&self) -> &DurableView {
        &self.durable
    }

    /// From receipt to durable over the last minute.
    pub(crate) fn latency(&self, now: UnixNanos) -> Percentiles {
        self.latency.percentiles(now)
    }

    /// Each source with the name of its state, and what an operator should know.
    pub(crate) fn sources(&self) -> Vec<(SourceId, &'static str, Option<String>)> {
        let source = |handle: &SourceHandle| {
            let status = handle.status().borrow();
            let reason = match &status.state {
                greeks_model::SessionState::Degraded { reason } => Some(reason.clone()),
                greeks_model::SessionState::Disconnected { .. } => status.last_error.clone(),
                _ => None,
            };
            (handle.id().clone(), status.state.as_str(), reason)
        };
        self.sources.iter().map(source).collect()
    }

    pub(crate) fn figures(&self) -> Figures {
        let database = self.durable.status.borrow().clone();
        Figures {
            counts: self.stats.total(),
            stored: database.rows_written,
            waiting: self.durable.waiting(),
            latency: self.latency.percentiles(self.clock.now()),
            accepted: self.stats.receive_to_accepted(self.clock.now()),
            sources: self.sources(),
            database,
        }
    }

    /// Resolves, with what they said, when every source was refused for its credentials at its first attempt; never
    /// otherwise.
    async fn all_refused(&self) -> Failure {
        let mut said = Vec::new();
        for source in &self.sources {
            match source.first_outcome().await {
                FirstOutcome::Failed { message, retry: Retry::Operator(OperatorReason::CredentialsRejected) } => {
                    said.push(format!("{}: {message}", source.id()));
                }
                _ => return std::future::pending().await,
            }
        }
        Failure::new(Code::Credentials, said.join("; "))
    }
}

impl Store {
    /// Begins to bring the journal to the database.
    pub(crate) fn start(settings: &Settings, database: &Database, journal: Journal) -> Self {
        let Journal { logs, memory } = journal;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let latency = Arc::new(Latency::new());
        let recorded = Arc::clone(&latency);
        let observer = move |commit: Commit<'_>| recorded.record_commit(commit.records, commit.at);
        let config = committer_config(settings, database);
        let earlier = (logs.leftovers, memory.first_received());
        let durable = Durable::start(config, earlier, logs.log, logs.monitor, Box::new(observer), Arc::clone(&clock));
        Self { durable, writer: logs.writer, memory, latency, clock }
    }

    /// Ends what never streamed; what waits stays in the journal.
    pub(crate) async fn close(self) -> Figures {
        let Self { durable, writer, .. } = self;
        let figures = Figures { waiting: durable.view.waiting(), ..Figures::none() };
        // Closing syncs, and a disk may take its time.
        let closed = tokio::task::spawn_blocking(move || Box::new(writer).close());
        match timeout_at(Instant::now() + SOURCES_STOP, closed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(error = with_causes(&error), "the journal was not closed in good order")
            }
            Ok(Err(_)) | Err(_) => tracing::warn!("the journal was not closed in time"),
        }
        if let Err(error) = durable.finish(Instant::now()).await {
            tracing::warn!(error = with_causes(&error), "what waits in the journal could not be read");
        }
        figures
    }
}

impl Daemon {
    /// Starts everything else. What the database has stored is asked for if it is there; otherwise what the journal holds
    /// is all that is known of earlier runs.
    pub(crate) async fn start(
        settings: &Settings,
        database: &Database,
        store: Store,
        verdict: &Verdict,
        sources: Vec<Box<dyn QuoteSource>>,
        mut live: Live,
    ) -> Result<Self, Failure> {
        let Store { durable, mut writer, mut memory, latency, clock } = store;
        let began = clock.now();
        let recalled = if *verdict == Verdict::Stored { recall(database, &mut memory).await } else { None };
        let is_late = recalled.is_none();
        let mut held = recalled.unwrap_or_default();
        // Of what is not streamed any more nobody would ever hear that it was closed.
        held.retain(|(broker, account, _), _| settings.streams(broker, account));
        // What only the database knew of a crash is in the journal as long as it lasts.
        journal::state_crashes(&mut memory, &mut writer, clock.now());
        let late = is_late.then(|| LateGaps::new(database.config().clone(), memory.known_gaps(), began));
        let config = SupervisorConfig {
            keep_payload: settings.keep_payload,
            clock: Arc::clone(&clock),
            ..SupervisorConfig::default()
        };
        let mut pipeline = PipelineConfig::new(Arc::clone(&config.instruments), Arc::clone(&clock));
        if let Some(rate) = settings.rate {
            pipeline.pricing = Some(PricingInputs { rate, ..PricingInputs::default() });
        }
        (pipeline.seeds, pipeline.open_gaps) = memory.into_parts();
        live.recall(&pipeline.seeds, &held);
        pipeline.accepted = Some(live.accepted());
        pipeline.reference = Some(live.reference());
        pipeline.benchmark = Some(BENCHMARK.into());
        #[cfg(feature = "failpoints")]
        {
            pipeline.accepted = crate::failpoints::ledger(pipeline.accepted);
        }
        let mut supervisor = Supervisor::new(config);
        let mut handles = Vec::new();
        for source in sources {
            let handle = supervisor.spawn(source, SOURCE_CAPACITY);
            handles.push(handle.map_err(|error| Failure::new(Code::Config, with_causes(&error)))?);
        }
        let pipeline = Pipeline::spawn(pipeline, supervisor.take_inbox(), Box::new(writer))
            .map_err(|error| Failure::new(Code::Runtime, with_causes(&error)))?;
        let stats = Arc::clone(pipeline.stats());
        let view = View { clock, latency, stats, sources: handles, durable: durable.view.clone() };
        let slo = Slo::new(SloConfig { limit: settings.slo_p95, ..SloConfig::default() });
        live.show(&view);
        Ok(Self { view, supervisor, pipeline, durable, backlog: Backlog::default(), slo, live, late })
    }

    /// Runs until `until` resolves or the data path cannot go on, calling `each_second` with what there is to see.
    pub(crate) async fn run(&mut self, until: impl Future<Output = ()>, mut each_second: impl FnMut(&View)) -> Ended {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.tick().await;
        let view = self.view.clone();
        let late = self.late.take();
        let mut is_late = late.is_some();
        tokio::pin! {
            let late_gaps = async { if let Some(late) = &late { late.gaps(&view.durable).await } else { Vec::new() } };
            let refused = view.all_refused();
            let committed_last = view.durable.ended();
            let superseded = view.durable.superseded();
            let until = until;
        }
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ended::Asked,
                refusal = &mut refused => return Ended::Refused(refusal),
                holder = &mut superseded => return Ended::Superseded(holder),
                () = self.pipeline.ended() => return Ended::Broken,
                () = &mut committed_last => return Ended::Broken,
                gaps = &mut late_gaps, if is_late => {
                    is_late = false;
                    self.pipeline.resume_gaps(gaps);
                }
                _ = second.tick() => {
                    let slo = self.watch_slo();
                    let oldest = self.backlog.look(&view.durable, view.clock.now(), Instant::now());
                    self.live.look(&self.view, slo, oldest);
                    each_second(&self.view);
                }
            }
        }
    }

    /// Stops the sources, takes in what they had received, and stores it as far as the database lets us in time; what is
    /// left waits in the journal.
    ///
    /// # Errors
    /// [`Failure`] when something that was received could not be accepted, or what was accepted cannot be read.
    pub(crate) async fn stop(self) -> Result<Figures, Failure> {
        let deadline = Instant::now() + STOP;
        let Self { view, supervisor, pipeline, durable, live, .. } = self;
        for source in supervisor.stop(SOURCES_STOP).await {
            tracing::warn!(%source, "did not end its session in time");
        }
        live.end().await;
        let joined = timeout_at(deadline, tokio::task::spawn_blocking(move || pipeline.join())).await;
        let stored = durable.finish(deadline).await;
        joined.map_or_else(
            |_| Err(Failure::new(Code::Disk, "the journal's disk did not answer in time")),
            pipeline_outcome,
        )?;
        stored.map_err(|error| Failure::new(Code::Disk, with_causes(&error)))?;
        let figures = view.figures();
        if figures.waiting > 0 {
            let reason = figures.database.last_error.as_deref().unwrap_or("it did not answer in time");
            tracing::warn!(
                records = figures.waiting,
                reason,
                "accepted records wait in the journal for the database: the next start stores them"
            );
        }
        Ok(figures)
    }

    /// Judges the last minute; returns p95 and its limit while the promise is broken.
    fn watch_slo(&mut self) -> Option<(Duration, Duration)> {
        let now = self.view.clock.now();
        let window = self.view.latency.percentiles(now);
        match self.slo.observe(&window, now) {
            Some(SloEvent::Breach { p95, limit, count }) => {
                tracing::warn!(?p95, ?limit, rows = count, "received to durable takes longer than promised");
            }
            Some(SloEvent::Recovered { p95, lasted }) => {
                tracing::info!(?p95, ?lasted, "received to durable is as promised again");
            }
            None => {}
        }
        self.slo.is_breached().then(|| (window.p95, self.slo.limit()))
    }
}

/// Asks the database what earlier runs have stored last, and what is held; a busy one must not hold up the stream. `None`
/// when it did not say.
async fn recall(database: &Database, memory: &mut Memory) -> Option<Held> {
    let known = match tokio::time::timeout(RECALL, database.add_stored(memory)).await {
        Ok(known) => known.map_err(|failure| failure.to_string()),
        Err(_) => Err("it does not answer".into()),
    };
    known
        .map_err(|error| tracing::warn!(error, "what is stored is not known: values sent again may be stored again"))
        .ok()
}

fn committer_config(settings: &Settings, database: &Database) -> CommitterConfig {
    let instance = format!("greekd {} pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let mut config = CommitterConfig::new(database.config().clone(), instance);
    config.migrate = true;
    let mut policy = CommitPolicy::default();
    policy.rate = settings.commit.rate.into();
    policy.burst = settings.commit.burst;
    policy.max_waiting = settings.commit.flush_max_records;
    policy.max_delay = settings.commit.flush_max_delay;
    config.policy = policy;
    config
}

fn pipeline_outcome(joined: Result<Result<Counts, PipelineError>, JoinError>) -> Result<(), Failure> {
    match joined {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error @ PipelineError::Sink(_))) => {
            let what = format!("the journal cannot be written: {}", with_causes(&error));
            Err(Failure::new(Code::Disk, what)
                .remedy("see to the disk of the data directory, or move it with --data-dir"))
        }
        Ok(Err(error)) => Err(Failure::new(Code::Runtime, with_causes(&error))),
        Err(error) => Err(Failure::new(Code::Runtime, format!("the pipeline could not be joined: {error}"))),
    }
}
