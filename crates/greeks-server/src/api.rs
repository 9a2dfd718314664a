//! What the server serves from.

use std::fmt;
use std::sync::Arc;

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
}

impl Shared {
    pub(crate) fn new(api: Api, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        let hub = Hub::new(&api);
        let streams = Arc::new(Semaphore::new(limits.streams));
        Arc::new(Self { api, limits, hub, streams, stop })
    }

    pub(crate) fn now(&self) -> UnixNanos {
        self.api.clock.now()
    }

    /// The answer to a question to the database, or why there is none in time.
    pub(crate) async fn ask<T>(&self, question: impl Future<Output = Result<T, QueryError>>) -> Result<T, Problem> {
        match timeout(self.limits.query, question).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Problem::unavailable("the database does not answer in time; the live book does")),
        }
    }
}
