//! What the server serves from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use greeks_model::{Clock, UnixNanos};
use greeks_processor::book::LiveBook;
use greeks_store::{Queries, QueryError};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::status::{Alert, Control, StatusSource};

/// A database that does not answer is told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Writes the metrics in the text format of Prometheus.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the server serves from.
#[derive(Clone)]
pub struct Api {
    /// The newest row of every line.
    pub book: Arc<LiveBook>,
    /// What is stored.
    pub queries: Queries,
    /// How the program is doing.
    pub status: Arc<dyn StatusSource>,
    /// Starts and stops sources.
    pub control: Arc<dyn Control>,
    /// Alerts that begin or end are sent here; streams listen.
    pub alerts: broadcast::Sender<Alert>,
    /// What `/metrics` answers.
    pub metrics: RenderMetrics,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("queries", &self.queries).finish_non_exhaustive()
    }
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) limits: Limits,
    pub(crate) hub: Hub,
    /// One permit for each stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    failures: Failures,
}

impl Shared {
    pub(crate) fn new(api: Api, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        let hub = Hub::new(&api, &limits);
        let streams = Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { api, limits, hub, streams, stop, failures: Failures::default() })
    }

    pub(crate) fn now(&self) -> UnixNanos {
        self.api.clock.now()
    }

    /// The answer to a question to the database, or why there is none in time.
    pub(crate) async fn ask<T>(&self, question: impl Future<Output = Result<T, QueryError>>) -> Result<T, Problem> {
        match timeout(self.limits.query, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let problem = Problem::from(&error);
                if problem.is_unavailable() {
                    self.failures.tell(&error);
                }
                Err(problem)
            }
            Err(_) => Err(Problem::unavailable("the database does not answer in time; the live book does")),
        }
    }
}

/// Questions to the database that failed: while it is away every one does, and the log is for people.
#[derive(Debug, Default)]
struct Failures(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    last_told: Option<Instant>,
    count: u64,
}

impl Failures {
    fn tell(&self, error: &QueryError) {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        untold.count += 1;
        if untold.last_told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let count = std::mem::take(&mut untold.count);
            untold.last_told = Some(Instant::now());
            tracing::warn!(error = error as &dyn std::error::Error, count, "questions to the database failed");
        }
    }
}
