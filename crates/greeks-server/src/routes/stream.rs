//! The book as it changes: server-sent events.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use utoipa::{IntoParams, ToSchema};

use crate::api::Shared;
use crate::connection::Activity;
use crate::extract::Params;
use crate::hub::{Tick, event};
use crate::problem::Problem;
use crate::status::{Alert, Time};
pub(crate) use crate::view::{DeltaEvent, GroupBy, SnapshotEvent};

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamParams {
    /// By what the portfolio of a `snapshot` and the sums of a `delta` are grouped.
    #[serde(default)]
    #[param(required = false)]
    group_by: GroupBy,
    /// The id of the last event received, for clients that cannot set the header `Last-Event-ID`.
    last_event_id: Option<String>,
}

/// Data of a `ping`: the stream lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PingEvent {
    as_of: Time,
}

/// The book as it changes. Events: `snapshot` (the whole book, its portfolio and the status), `delta` (lines that have
/// changed, ids of lines that have closed, the sums), `status`, `alert`, and a `ping` every 10
/// seconds. A client that reads slowly gets fewer and larger deltas. A client that comes back with the id of its last event
/// gets a `delta` if that can still be told, else a `snapshot`.
#[utoipa::path(get, path = "/v1/stream", tag = "stream",
    params(
        StreamParams,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event received; browsers send it."),
    ),
    responses(
        (status = 200, description = "Events; their data is JSON: `SnapshotEvent`, `DeltaEvent`, `StatusDocument`, `Alert`, `PingEvent`.", body = String, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams are open.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(shared): State<Arc<Shared>>,
    Extension(activity): Extension<Arc<Activity>>,
    headers: HeaderMap,
    Params(params): Params<StreamParams>,
) -> Result<Response, Problem> {
    let permit = Semaphore::try_acquire_owned(Arc::clone(&shared.streams))
        .map_err(|_| Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many streams are open"))?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.or(params.last_event_id.as_deref());
    // A version that is yet to come was never told.
    let known = |version: &u64| *version <= shared.api.book.version();
    let seen = last.and_then(|id| shared.hub.version_of(id)).filter(known);
    let feed = Feed::new(shared, activity, seen, params.group_by, permit);
    let events = unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<Bytes, Infallible>(event), feed))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// One client's stream. It holds no events: what is next is computed when the client can take it.
struct Feed {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    ticks: watch::Receiver<Tick>,
    alerts: broadcast::Receiver<Alert>,
    ping: Interval,
    group_by: GroupBy,
    /// The version of the book that the client has.
    seen: Option<u64>,
    /// The status that the client has.
    status: u64,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    fn new(
        shared: Arc<Shared>,
        activity: Arc<Activity>,
        seen: Option<u64>,
        group_by: GroupBy,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (ticks, alerts) = (shared.hub.ticks(), shared.api.alerts.subscribe());
        let mut ping = interval(shared.limits.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        Self { shared, activity, ticks, alerts, ping, group_by, seen, status: 0, _permit: permit }
    }

    /// The next event; `None` when the server ends.
    async fn next(&mut self) -> Option<Bytes> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => None,
            event = self.wait() => Some(event),
        }
    }

    async fn wait(&mut self) -> Bytes {
        self.activity.drained().await;
        loop {
            let tick = self.ticks.borrow_and_update().clone();
            // What is rare goes first: a client that is slower than the book changes would never come to it.
            if let Some(event) = self.news(&tick) {
                return event;
            }
            let again = match self.book(&tick) {
                Poll::Ready(Some(event)) => return event,
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            tokio::select! {
                () = sleep(self.shared.limits.tick), if again => {}
                alert = next_alert(&mut self.alerts) => return event("alert", None, &alert),
                // The sender lives as long as the server.
                changed = self.ticks.changed() => if changed.is_err() { pending::<()>().await },
                _ = self.ping.tick() => return event("ping", None, &PingEvent { as_of: Time(self.shared.now()) }),
            }
        }
    }

    /// Alerts and the status, once the client has something that they are news of.
    fn news(&mut self, tick: &Tick) -> Option<Bytes> {
        self.seen?;
        loop {
            match self.alerts.try_recv() {
                Ok(alert) => return Some(event("alert", None, &alert)),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        (self.status != tick.status_revision).then(|| {
            self.status = tick.status_revision;
            event("status", None, &*tick.status)
        })
    }

    /// What the client does not have of the book; [`Poll::Pending`] while that is to be asked again in a while.
    fn book(&mut self, tick: &Tick) -> Poll<Option<Bytes>> {
        if self.seen.is_some_and(|seen| seen >= tick.version) {
            return Poll::Ready(None);
        }
        let Some(event) = self.shared.hub.event(tick, self.seen, self.group_by) else { return Poll::Pending };
        if event.is_snapshot {
            self.status = tick.status_revision;
        }
        self.seen = Some(tick.version);
        Poll::Ready(Some(event.bytes))
    }
}

/// The next alert that was not missed: what a slow client misses is in the status all the same.
async fn next_alert(alerts: &mut broadcast::Receiver<Alert>) -> Alert {
    loop {
        match alerts.recv().await {
            Ok(alert) => return alert,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => pending().await,
        }
    }
}
