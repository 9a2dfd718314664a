//! The status document, who fills it, and who starts and stops sources.

use std::fmt;

use async_trait::async_trait;
use greeks_model::jiff::civil::Date;
use greeks_model::{SourceId, UnixNanos};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::problem::Component;

/// A point in time; RFC 3339 in UTC as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-28T14:30:00.123456789Z")]
pub struct Time(pub UnixNanos);

impl From<UnixNanos> for Time {
    fn from(at: UnixNanos) -> Self {
        Self(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A calendar day; `2026-12-18` as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = Date, example = "2026-12-18")]
pub(crate) struct Day(pub(crate) Date);

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Tells how the program is doing. Asked about once a second: it must not block.
pub trait StatusSource: Send + Sync {
    /// The document as of now.
    fn status(&self, now: UnixNanos) -> StatusDocument;
}

/// Starts and stops sources.
#[async_trait]
pub trait Control: Send + Sync {
    /// Starts a source; nothing happens when it runs.
    ///
    /// # Errors
    /// [`ControlError`] when there is no such source or it cannot be started.
    async fn start(&self, source: &SourceId) -> Result<(), ControlError>;

    /// Stops a source; nothing happens when it does not run.
    ///
    /// # Errors
    /// [`ControlError`] when there is no such source or it cannot be stopped.
    async fn stop(&self, source: &SourceId) -> Result<(), ControlError>;
}

/// A source was not started or stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No source of this name is configured.
    #[error("no source {source_id} is configured")]
    UnknownSource {
        /// The name asked for.
        source_id: SourceId,
    },
    /// The source is in no state for that; without secrets, the client is told.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// How the program is doing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatusDocument {
    /// The program's version.
    pub version: String,
    /// Whether the data is made up by simulators.
    pub simulated: bool,
    /// When this was true.
    pub as_of: Time,
    /// When the process began.
    pub started_at: Time,
    /// One per broker.
    pub sources: Vec<SourceDocument>,
    /// Where rows are stored.
    pub database: DatabaseDocument,
    /// What waits on disk for the database.
    pub journal: JournalDocument,
    /// From receipt to durable, over the last minute.
    pub receive_to_durable: LatencyDocument,
    /// Gaps whose end is not known.
    pub gaps_open: u64,
    /// The exchanges' state.
    pub market: MarketDocument,
    /// What a person should know of now.
    pub alerts: Vec<Alert>,
}

/// How a source is doing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SourceDocument {
    /// Its name.
    #[schema(value_type = String)]
    pub source: String,
    /// `connecting`, `connected`, `degraded` or `disconnected`.
    pub state: SourceState,
    /// Why it is not connected.
    pub reason: Option<String>,
    /// Since when it streams (`connected`, `degraded`), or does not.
    pub since: Option<Time>,
    /// When the next attempt is due.
    pub retry_at: Option<Time>,
    /// Whether it is to run: false after a stop on request.
    pub wanted: bool,
    /// The last sign of life without data.
    pub last_heartbeat: Option<Time>,
    /// The last message with data.
    pub last_message: Option<Time>,
    /// Attempts since the last stable session.
    pub reconnect_attempt: u32,
    /// Instruments subscribed.
    pub subscriptions: u64,
    /// Why the last session ended or could not begin.
    pub last_error: Option<String>,
}

/// Where a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Dialling, authenticating, discovering positions or subscribing.
    Connecting,
    /// Streaming.
    Connected,
    /// Streaming with a fault.
    Degraded,
    /// Not streaming.
    Disconnected,
}

impl SourceState {
    /// The name in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
            Self::Disconnected => "disconnected",
        }
    }
}

impl From<&greeks_model::SessionState> for SourceState {
    fn from(state: &greeks_model::SessionState) -> Self {
        use greeks_model::SessionState;
        match state {
            SessionState::Connecting => Self::Connecting,
            SessionState::Connected => Self::Connected,
            SessionState::Degraded { .. } => Self::Degraded,
            SessionState::Disconnected { .. } => Self::Disconnected,
        }
    }
}

/// How the database is doing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DatabaseDocument {
    /// What the writer is doing.
    pub state: DatabaseState,
    /// Why it is not connected, or was not last.
    pub last_error: Option<String>,
    /// Records accepted and not yet durable.
    pub waiting_records: u64,
    /// Every row up to this one is durable.
    pub durable: Option<DurableMark>,
    /// Records that the database refused.
    pub quarantined: u64,
}

/// What the writer to the database is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseState {
    /// On the way for the first time.
    Connecting,
    /// Connected.
    Connected,
    /// It failed in a way that may pass.
    Retrying,
    /// The server is out of disk or memory.
    Full,
    /// It failed in a way that needs a person.
    NeedsOperator,
    /// Another program writes.
    Standby,
    /// Everything is stored and nothing more will come.
    Finished,
    /// No database is used.
    Off,
}

impl DatabaseState {
    const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Connected | Self::Finished | Self::Off => None,
            Self::Connecting => Some("connecting"),
            Self::Retrying => Some("retrying"),
            Self::Full => Some("out of disk or memory"),
            Self::NeedsOperator => Some("needs an operator"),
            Self::Standby => Some("another program writes to it"),
        }
    }
}

/// How far rows are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct DurableMark {
    /// The number of the last durable record within this run.
    pub seq: u64,
    /// When its commit was acknowledged.
    pub at: Option<Time>,
}

/// How the journal is doing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JournalDocument {
    /// Its size on disk.
    pub bytes: u64,
    /// The age of its oldest record that is not durable, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Its size as a share of what it may take.
    pub quota_share: f64,
    /// Whether records are given up for want of space.
    pub full: bool,
}

/// Percentiles of a latency, in seconds; all null when nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct LatencyDocument {
    /// Rows in the window.
    pub count: u64,
    /// Half took no longer.
    pub p50: Option<f64>,
    /// 95 % took no longer.
    pub p95: Option<f64>,
    /// 99 % took no longer.
    pub p99: Option<f64>,
}

/// The exchanges' state.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MarketDocument {
    /// Whether options trade: `open`, `closed`, `pre_open`, `unknown`.
    pub state: String,
    /// When that changes next.
    pub until: Option<Time>,
}

/// Something a person should know of.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Alert {
    /// Alerts of one kind and subject are one alert that goes on and ends.
    pub kind: AlertKind,
    /// The source it is about, if it is about one.
    pub source: Option<String>,
    /// What is the matter, in a sentence.
    pub message: String,
    /// Since when.
    pub since: Time,
    /// False when it has ended.
    pub active: bool,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertKind {
    /// A source does not stream.
    SourceDown,
    /// Values are old although the market is open.
    Stale,
    /// Rows take longer to become durable than promised.
    SloBreach,
    /// The database refused records.
    Quarantine,
    /// Rows went to the default partition.
    DefaultPartition,
    /// The journal is over half of what it may take.
    JournalHalfFull,
    /// The journal has no room: new rows are given up.
    JournalFull,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::SourceDown,
        Self::Stale,
        Self::SloBreach,
        Self::Quarantine,
        Self::DefaultPartition,
        Self::JournalHalfFull,
        Self::JournalFull,
    ];

    /// The name in documents and in labels of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceDown => "source_down",
            Self::Stale => "stale",
            Self::SloBreach => "slo_breach",
            Self::Quarantine => "quarantine",
            Self::DefaultPartition => "default_partition",
            Self::JournalHalfFull => "journal_half_full",
            Self::JournalFull => "journal_full",
        }
    }
}

impl StatusDocument {
    /// What is not ready; empty when all is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<Component> {
        let mut parts = Vec::new();
        let mut say = |component: &str, reason: String| {
            parts.push(Component { component: component.to_owned(), reason });
        };
        for source in self.sources.iter().filter(|source| source.wanted && source.state != SourceState::Connected) {
            let why = source.reason.as_deref().or(source.last_error.as_deref());
            say(
                &source.source,
                why.map_or_else(|| source.state.as_str().into(), |why| format!("{}: {why}", source.state.as_str())),
            );
        }
        if let Some(trouble) = self.database.state.trouble() {
            let why = self.database.last_error.as_deref();
            say("database", why.map_or_else(|| trouble.into(), |why| format!("{trouble}: {why}")));
        }
        if self.journal.full {
            say("journal", "full: records are given up".into());
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_one_name() {
        for kind in AlertKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
