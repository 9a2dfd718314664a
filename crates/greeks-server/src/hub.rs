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
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::api::Api;
use crate::limits::Limits;
use crate::status::StatusSource;
use crate::view::{self, GroupBy};

/// The status goes out at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Events kept for other streams; one tick has few, since streams keep pace.
const KEPT: usize = 32;

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

/// An event of the book as it goes over the wire, and the version of the book after it.
#[derive(Clone, Debug)]
pub(crate) struct BookEvent {
    pub(crate) version: u64,
    pub(crate) bytes: Bytes,
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
}

/// What a client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Snapshot(GroupBy),
    /// What has changed since this version.
    Delta(u64, GroupBy),
}

/// Events written since this was the state of the book and the status.
#[derive(Debug, Default)]
struct Cache {
    version: u64,
    status_revision: u64,
    events: Vec<(Wanted, BookEvent)>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(api: &Api) -> Self {
        let status = raw(&api.status.status(api.clock.now()));
        let tick = Tick { version: api.book.version(), status_revision: 1, status };
        Self {
            instance: Uuid::new_v4().simple().to_string(),
            book: Arc::clone(&api.book),
            status: Arc::clone(&api.status),
            clock: Arc::clone(&api.clock),
            tick: watch::Sender::new(tick),
            cache: Mutex::default(),
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

    /// The whole book as an event, no older than the last change of the book or the status.
    pub(crate) fn snapshot(&self, tick: &Tick, group_by: GroupBy) -> BookEvent {
        self.cached(tick, Wanted::Snapshot(group_by), || {
            let now = self.clock.now();
            let document = view::snapshot(&self.book, group_by, &tick.status, now);
            Some(BookEvent { version: document.version, bytes: self.write("snapshot", document.version, &document) })
        })
        // A snapshot can always be had.
        .unwrap_or_else(|| BookEvent { version: tick.version, bytes: Bytes::new() })
    }

    /// What has changed since the book had version `since`; `None` when that cannot be told any more.
    pub(crate) fn delta(&self, tick: &Tick, since: u64, group_by: GroupBy) -> Option<BookEvent> {
        self.cached(tick, Wanted::Delta(since, group_by), || {
            let document = view::delta(&self.book, since, group_by, self.clock.now())?;
            Some(BookEvent { version: document.version, bytes: self.write("delta", document.version, &document) })
        })
    }

    /// Computes an event once for all streams that need it; the others wait for the first, which takes less than doing it
    /// again.
    fn cached(&self, tick: &Tick, wanted: Wanted, write: impl FnOnce() -> Option<BookEvent>) -> Option<BookEvent> {
        let mut cache = self.cache();
        let Tick { version, status_revision, .. } = *tick;
        if (cache.version, cache.status_revision) != (version, status_revision) {
            *cache = Cache { version, status_revision, events: Vec::new() };
        }
        if let Some((_, event)) = cache.events.iter().find(|(kept, _)| *kept == wanted) {
            return Some(event.clone());
        }
        let event = write()?;
        if cache.events.len() < KEPT {
            cache.events.push((wanted, event.clone()));
        }
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
