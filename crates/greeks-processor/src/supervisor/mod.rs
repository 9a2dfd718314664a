//! Keeps sources running: one task each, so that none can hold up or bring down another.

mod retry;
mod runner;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{
    Clock, InstrumentTable, OperatorReason, QuoteSource, Retry, SourceActivity, SourceId, SourceLink, SourceStatus,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::retry::{Probes, RetryPolicy};
use self::runner::Runner;
use crate::{Inbox, SystemClock};

/// Longer waits than this are as good as endless; timers cannot hold the longest durations there are.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// What all sources of a process share.
#[derive(Clone, Debug)]
pub struct SupervisorConfig {
    /// The numbers of instruments.
    pub instruments: Arc<InstrumentTable>,
    /// Tells the time to sources and in what is said of them.
    pub clock: Arc<dyn Clock>,
    /// Whether quotes are to carry their raw event.
    pub keep_payload: bool,
    /// When failed sessions are tried again.
    pub retry: RetryPolicy,
    /// How long a session may take to end after it was told to; then it is dropped.
    pub grace: Duration,
}

impl Default for SupervisorConfig {
    /// An empty table, the system's clock, no payloads, the default [`RetryPolicy`], 3 s of grace.
    fn default() -> Self {
        Self {
            instruments: Arc::new(InstrumentTable::new()),
            clock: Arc::new(SystemClock::new()),
            keep_payload: false,
            retry: RetryPolicy::default(),
            grace: Duration::from_secs(3),
        }
    }
}

/// Runs sources, session after session, until it is stopped. Dropping it aborts them.
#[derive(Debug)]
pub struct Supervisor {
    config: SupervisorConfig,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    sources: Vec<(SourceId, AbortHandle)>,
    lanes: Vec<(SourceId, mpsc::Receiver<greeks_model::SourceEvent>)>,
}

/// A second source with a name that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source called {source_id} is running already")]
pub struct DuplicateSource {
    /// The name.
    pub source_id: SourceId,
}

impl Supervisor {
    /// A supervisor of no source yet.
    #[must_use]
    pub fn new(config: SupervisorConfig) -> Self {
        Self { config, cancel: CancellationToken::new(), tasks: JoinSet::new(), sources: Vec::new(), lanes: Vec::new() }
    }

    /// Starts a source with room for `capacity` events (at least one) on their way to the pipeline. To be called
    /// within a tokio runtime that has its timers on.
    ///
    /// # Errors
    /// [`DuplicateSource`] when a source of that name was started before.
    pub fn spawn(&mut self, source: Box<dyn QuoteSource>, capacity: usize) -> Result<SourceHandle, DuplicateSource> {
        let id = source.id().clone();
        if self.sources.iter().any(|(taken, _)| *taken == id) {
            return Err(DuplicateSource { source_id: id });
        }
        let (events, received) = mpsc::channel(capacity.max(1));
        let (status, watched) = watch::channel(SourceStatus::default());
        let (first, first_outcome) = watch::channel(None);
        let activity = Arc::new(SourceActivity::default());
        let retry_now = Arc::new(Notify::new());
        let wanted = Arc::new(watch::Sender::new(true));
        let link = SourceLink {
            events,
            status,
            activity: Arc::clone(&activity),
            cancel: self.cancel.child_token(),
            instruments: Arc::clone(&self.config.instruments),
            clock: Arc::clone(&self.config.clock),
            keep_payload: self.config.keep_payload,
        };
        let (retry, grace) = (self.config.retry, self.config.grace);
        let runner = Runner::new(id.clone(), link, retry, grace, first, Arc::clone(&retry_now), Arc::clone(&wanted));
        let abort = self.tasks.spawn(runner.run(source));
        self.sources.push((id.clone(), abort));
        self.lanes.push((id.clone(), received));
        Ok(SourceHandle { id, status: watched, activity, first_outcome, retry_now, wanted })
    }

    /// The events of all sources started since the last call, for one pipeline. A pipeline takes one inbox and ends with
    /// it: start the sources first. What is started afterwards streams only when another pipeline takes the next inbox.
    #[must_use]
    pub fn take_inbox(&mut self) -> Inbox {
        Inbox::new(std::mem::take(&mut self.lanes))
    }

    /// Tells all sources to stop and waits until they have, `within` at most; then aborts what still runs and returns
    /// its names. Their events are in the inbox by then, which ends after them.
    ///
    /// # Cancel safety
    /// When the future is dropped, the sources are told to stop all the same, and aborted.
    pub async fn stop(mut self, within: Duration) -> Vec<SourceId> {
        self.cancel.cancel();
        let deadline = Instant::now() + within.min(ENDLESS);
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "a supervising task failed");
            }
        }
        let still_running = self.sources.iter().filter(|(_, task)| !task.is_finished());
        still_running.map(|(id, _)| id.clone()).collect()
    }
}

/// How a source's first session began, or failed to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstOutcome {
    /// It streams.
    Streaming,
    /// The session ended, in good order, before it streamed.
    Ended,
    /// The session failed before it streamed.
    Failed {
        /// What the source said about trying again.
        retry: Retry,
        /// What happened, causes included.
        message: String,
    },
    /// The session panicked before it streamed.
    Panicked,
    /// The source was stopped before any of this.
    Stopped,
}

impl FirstOutcome {
    /// Whether the broker refused the credentials.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Failed { retry: Retry::Operator(OperatorReason::CredentialsRejected), .. })
    }
}

/// A running source as others see it.
#[derive(Clone)]
pub struct SourceHandle {
    id: SourceId,
    status: watch::Receiver<SourceStatus>,
    activity: Arc<SourceActivity>,
    first_outcome: watch::Receiver<Option<FirstOutcome>>,
    retry_now: Arc<Notify>,
    wanted: Arc<watch::Sender<bool>>,
}

impl SourceHandle {
    /// The source's name.
    #[must_use]
    pub const fn id(&self) -> &SourceId {
        &self.id
    }

    /// Where the source stands, and every change of it.
    #[must_use]
    pub const fn status(&self) -> &watch::Receiver<SourceStatus> {
        &self.status
    }

    /// What the source counts.
    #[must_use]
    pub const fn activity(&self) -> &Arc<SourceActivity> {
        &self.activity
    }

    /// Waits until the first session streams or has ended, and says which.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn first_outcome(&self) -> FirstOutcome {
        let mut watched = self.first_outcome.clone();
        let known = watched.wait_for(Option::is_some).await;
        known.ok().and_then(|outcome| outcome.clone()).unwrap_or(FirstOutcome::Stopped)
    }

    /// Ends a wait for the next attempt: credentials or configuration have changed. Without effect while a session
    /// runs.
    pub fn retry_now(&self) {
        self.retry_now.notify_waiters();
    }

    /// Ends the session, if there is one, and begins no other until [`start`](Self::start). What the source sent is
    /// accepted first, and a gap says that it was stopped.
    pub fn stop(&self) {
        self.wanted.send_replace(false);
    }

    /// Lets a source that was stopped stream again.
    pub fn start(&self) {
        self.wanted.send_replace(true);
    }

    /// Whether the source is to stream: not after [`stop`](Self::stop).
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }
}

impl fmt::Debug for SourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceHandle").field("id", &self.id).field("status", &*self.status.borrow()).finish()
    }
}
