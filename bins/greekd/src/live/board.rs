//! What is known of this moment, for whoever asks: filled by the data path, read by the server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use greeks_model::{SessionState, SourceId, UnixNanos};
use greeks_processor::calendar::{MarketCalendar, Product};
use greeks_processor::{Percentiles, SourceHandle};
use greeks_server::{
    AlertKind, Control, ControlError, DatabaseDocument, DatabaseState, DurableMark, JournalDocument, LatencyDocument,
    MarketDocument, SourceDocument, SourceState, StatusDocument, StatusSource, Time,
};
use greeks_store::CommitterState;

use super::alerts::{Alerts, Observed, ObservedSource};
use crate::daemon::View;
use crate::durable::DurableView;

/// Why no source is connected at first, and in standby for as long as it lasts.
const NOT_YET: &str = "greekd has not begun to stream yet";
/// For a source to do as it was told before a request about it is answered.
const SETTLE: Duration = Duration::from_secs(2);

/// What is known of this moment.
#[derive(Debug)]
pub(crate) struct Board {
    simulated: bool,
    started_at: UnixNanos,
    calendar: MarketCalendar,
    /// What is to be streamed, shown before anything streams.
    configured: Vec<SourceId>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// None before anything is stored.
    durable: Option<DurableView>,
    /// None before anything streams.
    view: Option<View>,
    sources: HashMap<SourceId, Stand>,
    alerts: Alerts,
    stored: Stored,
    /// How long the oldest record in the journal has been waiting.
    oldest: Duration,
}

/// Where a source stands, and since when.
#[derive(Clone, Copy, Debug)]
struct Stand {
    name: &'static str,
    since: UnixNanos,
    has_streamed: bool,
}

fn streams(name: &str) -> bool {
    matches!(name, "connected" | "degraded")
}

/// What the database says from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Records refused in the last day.
    pub(crate) quarantined: u64,
    pub(crate) default_rows: u64,
    pub(crate) gaps_open: u64,
}

/// What is looked at every second beside what is shown already.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// p95 and its limit, while the promise is broken.
    pub(crate) slo: Option<(Duration, Duration)>,
    pub(crate) oldest: Duration,
    /// How many positions at each broker have had no row for too long.
    pub(crate) overdue: Vec<(SourceId, u32)>,
}

impl Board {
    pub(crate) fn new(
        simulated: bool,
        started_at: UnixNanos,
        calendar: MarketCalendar,
        configured: Vec<SourceId>,
    ) -> Self {
        Self { simulated, started_at, calendar, configured, known: Mutex::default() }
    }

    /// From here on there is a journal, and a database or none.
    pub(crate) fn show_durable(&self, durable: DurableView) {
        self.known().durable = Some(durable);
    }

    /// From here on there is something to see.
    pub(crate) fn show(&self, view: View) {
        self.known().view = Some(view);
    }

    /// Takes note of a source's state.
    pub(crate) fn source_state(&self, source: &SourceId, state: &SessionState, at: UnixNanos) {
        let mut known = self.known();
        let stand = known.sources.entry(source.clone());
        let stand = stand.or_insert(Stand { name: state.as_str(), since: at, has_streamed: false });
        // On the way from one attempt to the next it is as far from streaming as before.
        if streams(stand.name) != streams(state.as_str()) {
            stand.since = at;
        }
        stand.name = state.as_str();
        stand.has_streamed |= streams(stand.name);
    }

    /// Takes note of what the database says.
    pub(crate) fn stored(&self, note: impl FnOnce(&mut Stored)) {
        note(&mut self.known().stored);
    }

    /// Looks at everything once more; returns the alerts that have begun or ended.
    pub(crate) fn look(&self, view: &View, second: &Second, now: UnixNanos) -> Vec<greeks_server::Alert> {
        let mut known = self.known();
        known.oldest = second.oldest;
        let sources = view.handles().iter().map(|handle| {
            let stand = known.sources.get(handle.id());
            let status = handle.status().borrow();
            let overdue = second.overdue.iter().find(|(source, _)| source == handle.id());
            ObservedSource {
                // What the book was told, too: another look at the source might be ahead of both.
                streams: stand.is_some_and(|stand| streams(stand.name)),
                has_streamed: stand.is_some_and(|stand| stand.has_streamed),
                wanted: handle.is_wanted(),
                since: stand.map_or(now, |stand| stand.since),
                reason: status.last_error.clone(),
                overdue: overdue.map_or(0, |(_, count)| *count),
                name: handle.id().to_string(),
            }
        });
        let usage = view.durable().monitor.usage();
        let observed = Observed {
            sources: sources.collect(),
            slo: second.slo,
            quarantined: known.stored.quarantined,
            default_rows: known.stored.default_rows,
            journal_share: share(usage.used_bytes, usage.max_bytes),
            journal_full: view.durable().monitor.full(),
        };
        known.alerts.look(&observed, now)
    }

    /// How many alerts of each kind go on.
    pub(crate) fn active(&self) -> [(&'static str, u32); AlertKind::ALL.len()] {
        let known = self.known();
        AlertKind::ALL.map(|kind| (kind.as_str(), known.alerts.count(kind)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn market(&self, now: UnixNanos) -> MarketDocument {
        let until = self.calendar.next_change(Product::EquityOption, now);
        MarketDocument {
            state: self.calendar.state(Product::EquityOption, now).as_str().to_owned(),
            until: until.map(Time),
        }
    }
}

impl StatusSource for Board {
    fn status(&self, now: UnixNanos) -> StatusDocument {
        let known = self.known();
        let streamed = known.view.iter().flat_map(|view| view.handles()).map(|handle| {
            let (status, activity) = (handle.status().borrow(), handle.activity());
            let (reason, retry_at) = match &status.state {
                SessionState::Degraded { reason } => (Some(reason.clone()), None),
                SessionState::Disconnected { retry_at } => (status.last_error.clone(), *retry_at),
                _ => (None, None),
            };
            let wanted = handle.is_wanted();
            SourceDocument {
                source: handle.id().to_string(),
                state: SourceState::from(&status.state),
                reason: if wanted { reason } else { Some("stopped on request".to_owned()) },
                since: known.sources.get(handle.id()).map(|stand| Time(stand.since)),
                retry_at: retry_at.map(Time),
                wanted,
                last_heartbeat: activity.last_heartbeat().map(Time),
                last_message: activity.last_message().map(Time),
                reconnect_attempt: status.reconnect_attempt,
                subscriptions: activity.subscriptions(),
                last_error: status.last_error.clone(),
            }
        });
        let sources = match known.view {
            Some(_) => streamed.collect(),
            None => self.configured.iter().map(waiting).collect(),
        };
        StatusDocument {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: self.simulated,
            as_of: Time(now),
            started_at: Time(self.started_at),
            sources,
            database: known.durable.as_ref().map_or_else(no_database, |view| database(view, known.stored.quarantined)),
            journal: journal(known.durable.as_ref(), known.oldest),
            receive_to_durable: known.view.as_ref().map(|view| latency(&view.latency(now))).unwrap_or_default(),
            gaps_open: known.stored.gaps_open,
            market: self.market(now),
            alerts: known.alerts.active(),
        }
    }
}

#[async_trait]
impl Control for Board {
    async fn start(&self, source: &SourceId) -> Result<(), ControlError> {
        let handle = self.handle(source)?;
        // From here on it has the time that a first session has.
        if !handle.is_wanted() {
            self.source_begins(source);
        }
        handle.start();
        settled(&handle, |state| !matches!(state, SessionState::Disconnected { retry_at: None })).await;
        Ok(())
    }

    async fn stop(&self, source: &SourceId) -> Result<(), ControlError> {
        let handle = self.handle(source)?;
        handle.stop();
        settled(&handle, |state| matches!(state, SessionState::Disconnected { .. })).await;
        Ok(())
    }
}

impl Board {
    /// Forgets since when a source does not stream.
    fn source_begins(&self, source: &SourceId) {
        self.known().sources.remove(source);
    }

    fn handle(&self, source: &SourceId) -> Result<SourceHandle, ControlError> {
        let unknown = || ControlError::UnknownSource { source_id: source.clone() };
        let Some(view) = self.known().view.clone() else {
            let refused = || ControlError::Refused { reason: NOT_YET.to_owned() };
            return Err(if self.configured.contains(source) { refused() } else { unknown() });
        };
        let handle = view.handles().iter().find(|handle| handle.id() == source);
        handle.cloned().ok_or_else(unknown)
    }
}

/// Waits until the source has done as it was told, so that the answer shows it; no longer than anybody would wait.
async fn settled(handle: &SourceHandle, done: impl Fn(&SessionState) -> bool) {
    let mut status = handle.status().clone();
    let change = status.wait_for(|status| done(&status.state));
    // What takes longer, or has ended, is seen in the document.
    drop(tokio::time::timeout(SETTLE, change).await);
}

/// A source before anything streams, as in standby.
fn waiting(source: &SourceId) -> SourceDocument {
    SourceDocument {
        source: source.to_string(),
        state: SourceState::Disconnected,
        reason: Some(NOT_YET.to_owned()),
        since: None,
        retry_at: None,
        wanted: true,
        last_heartbeat: None,
        last_message: None,
        reconnect_attempt: 0,
        subscriptions: 0,
        last_error: None,
    }
}

fn database(view: &DurableView, quarantined: u64) -> DatabaseDocument {
    let status = view.status.borrow().clone();
    DatabaseDocument {
        state: match status.state {
            CommitterState::Connecting => DatabaseState::Connecting,
            CommitterState::Connected => DatabaseState::Connected,
            CommitterState::Full => DatabaseState::Full,
            CommitterState::NeedsOperator => DatabaseState::NeedsOperator,
            CommitterState::Standby => DatabaseState::Standby,
            CommitterState::Finished => DatabaseState::Finished,
            _ => DatabaseState::Retrying,
        },
        last_error: status.last_error.filter(|_| status.state != CommitterState::Connected),
        waiting_records: view.waiting(),
        durable: Some(DurableMark { seq: status.durable.0, at: status.last_commit_at.map(Time) }),
        quarantined: status.quarantined.max(quarantined),
    }
}

const fn no_database() -> DatabaseDocument {
    DatabaseDocument {
        state: DatabaseState::Connecting,
        last_error: None,
        waiting_records: 0,
        durable: None,
        quarantined: 0,
    }
}

fn journal(view: Option<&DurableView>, oldest: Duration) -> JournalDocument {
    let monitor = view.map(|view| &view.monitor);
    let usage = monitor.map(|monitor| monitor.usage());
    JournalDocument {
        bytes: usage.map_or(0, |usage| usage.used_bytes),
        oldest_seconds: Some(oldest.as_secs_f64()).filter(|seconds| *seconds > 0.0),
        quota_share: usage.map_or(0.0, |usage| share(usage.used_bytes, usage.max_bytes)),
        full: monitor.is_some_and(greeks_store::JournalMonitor::is_full),
    }
}

fn latency(window: &Percentiles) -> LatencyDocument {
    let known = |duration: Duration| (window.count > 0).then_some(duration.as_secs_f64());
    LatencyDocument { count: window.count, p50: known(window.p50), p95: known(window.p95), p99: known(window.p99) }
}

#[allow(clippy::cast_precision_loss)]
fn share(used: u64, max: u64) -> f64 {
    used as f64 / max.max(1) as f64
}
