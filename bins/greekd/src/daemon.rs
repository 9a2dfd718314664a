//! The whole data path of one process: sources, pipeline, committer.

use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Clock, OperatorReason, QuoteSource, Retry, Seq, SourceId};
use greeks_processor::{
    Counts, FirstOutcome, Latency, Percentiles, Pipeline, PipelineConfig, PipelineError, PipelineStats, PricingInputs,
    Slo, SloConfig, SloEvent, SourceHandle, Supervisor, SupervisorConfig,
};
use greeks_store::{
    Commit, CommitError, CommitPolicy, Committer, CommitterConfig, CommitterStatus, MemoryLogAbort, memory_log,
};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::database::Database;
use crate::exit::{Code, Failure, chain};
use crate::settings::Settings;

/// Events on their way from one source to the pipeline. A frame can hold hundreds; when it is full the socket waits.
const SOURCE_CAPACITY: usize = 8_192;
/// Records waiting for the database, about 40 MB at most; when it is full the pipeline waits, and with it the sockets.
const LOG_CAPACITY: usize = 100_000;
/// For the sources to close their connections.
const SOURCES_STOP: Duration = Duration::from_secs(4);
/// For everything but the private server: a service manager that waits 10 s must not have to kill us.
const STOP: Duration = Duration::from_secs(8);
/// What the committer gets of it at least.
const PIPELINE_RESERVE: Duration = Duration::from_secs(2);

/// A running data path.
#[derive(Debug)]
pub(crate) struct Daemon {
    view: View,
    supervisor: Supervisor,
    pipeline: Pipeline,
    committer: JoinHandle<Result<Seq, CommitError>>,
    log_abort: MemoryLogAbort,
    slo: Slo,
}

/// Why a data path has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was asked to.
    Asked,
    /// Every broker refused the credentials at the start.
    Refused(Failure),
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
    committer: watch::Receiver<CommitterStatus>,
}

/// The figures of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) stored: u64,
    pub(crate) latency: Percentiles,
    pub(crate) database: CommitterStatus,
    /// As in [`View::sources`].
    pub(crate) sources: Vec<(SourceId, &'static str, Option<String>)>,
}

impl View {
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
        let database = self.committer.borrow().clone();
        Figures {
            counts: self.stats.total(),
            stored: database.rows_written,
            latency: self.latency.percentiles(self.clock.now()),
            sources: self.sources(),
            database,
        }
    }

    /// Resolves when the committer has ended, however it did.
    async fn committer_ended(&self) {
        let mut status = self.committer.clone();
        while status.changed().await.is_ok() {}
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

impl Daemon {
    /// Starts everything. The schema must be up to date.
    pub(crate) async fn start(
        settings: &Settings,
        database: &Database,
        sources: Vec<Box<dyn QuoteSource>>,
    ) -> Result<Self, Failure> {
        let config = SupervisorConfig { keep_payload: settings.keep_payload, ..SupervisorConfig::default() };
        let (instruments, clock) = (Arc::clone(&config.instruments), Arc::clone(&config.clock));
        let mut pipeline = PipelineConfig::new(instruments, Arc::clone(&clock));
        if let Some(rate) = settings.rate {
            pipeline.pricing = Some(PricingInputs { rate, ..PricingInputs::default() });
        }
        (pipeline.seeds, pipeline.open_gaps) = database.memory().await?;

        let (sink, log) = memory_log(LOG_CAPACITY);
        let log_abort = sink.abort_handle();
        let latency = Arc::new(Latency::new());
        let recorded = Arc::clone(&latency);
        let (committer, status) = Committer::new(
            committer_config(settings, database),
            Box::new(log),
            Box::new(move |commit: Commit<'_>| recorded.record_commit(commit.records, commit.at)),
            Arc::clone(&clock),
        );
        let mut supervisor = Supervisor::new(config);
        let mut handles = Vec::new();
        for source in sources {
            let handle = supervisor.spawn(source, SOURCE_CAPACITY);
            handles.push(handle.map_err(|error| Failure::new(Code::Config, chain(&error)))?);
        }
        let pipeline = Pipeline::spawn(pipeline, supervisor.take_inbox(), Box::new(sink))
            .map_err(|error| Failure::new(Code::Runtime, chain(&error)))?;
        let view = View { clock, latency, stats: Arc::clone(pipeline.stats()), sources: handles, committer: status };
        let slo = Slo::new(SloConfig { limit: settings.slo_p95, ..SloConfig::default() });
        Ok(Self { view, supervisor, pipeline, committer: tokio::spawn(committer.run()), log_abort, slo })
    }

    /// Runs until `until` resolves or the data path cannot go on, calling `each_second` with what there is to see.
    pub(crate) async fn run(&mut self, until: impl Future<Output = ()>, mut each_second: impl FnMut(&View)) -> Ended {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.tick().await;
        let view = self.view.clone();
        tokio::pin! {
            let refused = view.all_refused();
            let committed_last = view.committer_ended();
            let until = until;
        }
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ended::Asked,
                refusal = &mut refused => return Ended::Refused(refusal),
                () = self.pipeline.ended() => return Ended::Broken,
                () = &mut committed_last => return Ended::Broken,
                _ = second.tick() => {
                    self.watch_slo();
                    each_second(&self.view);
                }
            }
        }
    }

    /// Stops the sources, takes in what they had received, and stores it.
    ///
    /// # Errors
    /// [`Failure`] when something that was accepted could not be stored in time, with how much.
    pub(crate) async fn stop(self) -> Result<Figures, Failure> {
        let deadline = Instant::now() + STOP;
        let Self { view, supervisor, pipeline, mut committer, log_abort, .. } = self;
        let committer_handle = committer.abort_handle();
        for source in supervisor.stop(SOURCES_STOP).await {
            tracing::warn!(%source, "did not end its session in time");
        }
        // A pipeline that waits for room in a full log ends only when it is refused.
        let mut joined = tokio::task::spawn_blocking(move || pipeline.join());
        let in_time = timeout_at(deadline - PIPELINE_RESERVE, &mut joined).await;
        let pipeline = match in_time {
            Ok(joined) => pipeline_outcome(joined),
            Err(_) => {
                log_abort.abort();
                // It says that the log is closed, which is our doing: what counts is what was not stored.
                drop(joined.await);
                Ok(())
            }
        };
        let committer = timeout_at(deadline, &mut committer).await.map(committer_outcome);
        let figures = view.figures();
        pipeline?;
        if let Ok(finished) = committer {
            return finished.map(|()| figures);
        }
        committer_handle.abort();
        let lost = figures.counts.rows.saturating_sub(figures.stored + figures.database.quarantined);
        let why = figures.database.last_error.as_deref().unwrap_or("it did not answer in time");
        Err(Failure::new(Code::Runtime, format!("{lost} accepted rows could not be stored: {why}"))
            .remedy("see to the database before the next start"))
    }

    fn watch_slo(&mut self) {
        let now = self.view.clock.now();
        match self.slo.observe(&self.view.latency.percentiles(now), now) {
            Some(SloEvent::Breach { p95, limit, count }) => {
                tracing::warn!(?p95, ?limit, rows = count, "received to durable takes longer than promised");
            }
            Some(SloEvent::Recovered { p95, lasted }) => {
                tracing::info!(?p95, ?lasted, "received to durable is as promised again");
            }
            None => {}
        }
    }
}

fn committer_config(settings: &Settings, database: &Database) -> CommitterConfig {
    let instance = format!("greekd {} pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let mut config = CommitterConfig::new(database.config().clone(), instance);
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
        Ok(Err(error)) => Err(Failure::new(Code::Runtime, chain(&error))),
        Err(error) => Err(Failure::new(Code::Runtime, format!("the pipeline could not be joined: {error}"))),
    }
}

fn committer_outcome(ended: Result<Result<Seq, CommitError>, JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::new(Code::Runtime, chain(&error))),
        Err(error) => Err(Failure::new(Code::Runtime, format!("the committer failed: {error}"))),
    }
}
