//! What streams share: the tick, the status, and events written once for all that need them.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use greeks_model::Clock;
use greeks_processor::book::LiveBook;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::api::Api;
use crate::limits::Limits;
use crate::status::StatusSource;
use crate::view::{self, GroupBy};

/// The status goes out at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Events written between two ticks. Streams that keep pace share one of each grouping; of those that do not, as many get
/// theirs, and the others find fewer kinds of laggards at the next tick.
const MOST: usize = 8;

/// What there is to send; streams compare it with what they have sent.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    /// The version of the book.
    pub(crate) version: u64,
    /// Counts changes of the status.
    pub(crate) status_revision: u64,
    /// The status document.
    pub(crate) status: Arc<RawValue>,
}

/// An event of the book as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct BookEvent {
    pub(crate) bytes: Bytes,
    /// Whether it is a snapshot, which has the status in it.
    pub(crate) is_snapshot: bool,
}

/// What streams share.
pub(crate) struct Hub {
    /// Tells versions of this run from those of another.
    instance: String,
    book: Arc<LiveBook>,
    status: Arc<dyn StatusSource>,
    clock: Arc<dyn Clock>,
    tick: watch::Sender<Tick>,
    cache: Mutex<Cache>,
    /// How long a tick lasts.
    pace: Duration,
}

/// Events written since this was the state of the book and the status: for clients that have this version, or none.
#[derive(Debug)]
struct Cache {
    version: u64,
    status_revision: u64,
    begun: Instant,
    events: Vec<(Option<u64>, GroupBy, BookEvent)>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(api: &Api, limits: &Limits) -> Self {
        let status = raw(&api.status.status(api.clock.now()));
        let tick = Tick { version: api.book.version(), status_revision: 1, status };
        Self {
            instance: Uuid::new_v4().simple().to_string(),
            book: Arc::clone(&api.book),
            status: Arc::clone(&api.status),
            clock: Arc::clone(&api.clock),
            tick: watch::Sender::new(tick),
            cache: Mutex::new(Cache { version: 0, status_revision: 0, begun: Instant::now(), events: Vec::new() }),
            pace: limits.tick,
        }
    }

    /// Looks at book and status, for the streams.
    pub(crate) async fn pulse(&self, limits: &Limits) -> Infallible {
        let (mut book, mut status) = (interval(limits.tick), interval(STATUS_EVERY));
        book.set_missed_tick_behavior(MissedTickBehavior::Delay);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let fresh = tokio::select! {
                _ = book.tick() => None,
                _ = status.tick() => Some(raw(&self.status.status(self.clock.now()))),
            };
            let mut version = self.book.version();
            if fresh.is_some() {
                // Lines become stale by time alone, which somebody has to look for.
                version = version.max(self.book.changed_since(version, self.clock.now()).version);
            }
            self.tick.send_if_modified(|tick| {
                let moved = tick.version != version;
                tick.version = version;
                let changed = fresh.filter(|fresh| fresh.get() != tick.status.get());
                let news = changed.is_some();
                if let Some(status) = changed {
                    tick.status_revision += 1;
                    tick.status = status;
                }
                moved || news
            });
        }
    }

    pub(crate) fn ticks(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    /// The version in an event id of this run.
    pub(crate) fn version_of(&self, id: &str) -> Option<u64> {
        let (instance, version) = id.split_once('-')?;
        (instance == self.instance).then(|| version.parse().ok())?
    }

    /// What a client that has seen version `seen` of the book needs to know it as of `tick`: a delta, or a snapshot when it
    /// has seen none or what has changed since cannot be told any more. `None` while there is too much to write: then it is
    /// to ask again when a tick's time has passed.
    ///
    /// Written once for all that need it; the others wait for the first, which takes less than doing it again. All events
    /// of a tick end with its version, although lines may be newer by then, and what is newer is told once more: so
    /// clients that were told different things go on together.
    pub(crate) fn event(&self, tick: &Tick, seen: Option<u64>, group_by: GroupBy) -> Option<BookEvent> {
        let mut cache = self.cache();
        let Tick { version, status_revision, .. } = *tick;
        let is_over = cache.events.len() >= MOST && cache.begun.elapsed() >= self.pace;
        if is_over || (cache.version, cache.status_revision) != (version, status_revision) {
            *cache = Cache { version, status_revision, begun: Instant::now(), events: Vec::new() };
        }
        let wanted = |kept: &&(Option<u64>, GroupBy, BookEvent)| (kept.0, kept.1) == (seen, group_by);
        if let Some((_, _, event)) = cache.events.iter().find(wanted) {
            return Some(event.clone());
        }
        if cache.events.len() >= MOST {
            return None;
        }
        let now = self.clock.now();
        let delta = seen.and_then(|since| view::delta(&self.book, since, version, group_by, now));
        let event = match delta {
            Some(delta) => BookEvent { bytes: self.write("delta", version, &delta), is_snapshot: false },
            None => {
                let snapshot = view::snapshot(&self.book, version, group_by, &tick.status, now);
                BookEvent { bytes: self.write("snapshot", version, &snapshot), is_snapshot: true }
            }
        };
        cache.events.push((seen, group_by, event.clone()));
        Some(event)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, version: u64, data: &(impl Serialize + ?Sized)) -> Bytes {
        let id = format!("{}-{version}", self.instance);
        event(name, Some(&id), data)
    }
}

/// An event as it goes over the wire. JSON has no line breaks of its own, so one data line is enough.
pub(crate) fn event(name: &str, id: Option<&str>, data: &(impl Serialize + ?Sized)) -> Bytes {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    if let Some(id) = id {
        text.extend_from_slice(b"\nid: ");
        text.extend_from_slice(id.as_bytes());
    }
    text.extend_from_slice(b"\ndata: ");
    if let Err(error) = serde_json::to_writer(&mut text, data) {
        tracing::error!(%error, name, "an event cannot be written");
    }
    text.extend_from_slice(b"\n\n");
    text.into()
}

fn raw(document: &impl Serialize) -> Arc<RawValue> {
    match to_raw_value(document) {
        Ok(text) => text.into(),
        Err(error) => {
            tracing::error!(%error, "the status cannot be written");
            RawValue::NULL.to_owned().into()
        }
    }
}
