//! The state of a source as others see it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::UnixNanos;

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Dialling, authenticating, discovering positions or subscribing.
    Connecting,
    /// Streaming.
    Connected,
    /// Streaming with a fault that a person should know of.
    Degraded {
        /// What is wrong, in a sentence an operator understands.
        reason: String,
    },
    /// Not streaming.
    Disconnected {
        /// When the next attempt is due; `None` when none is planned.
        retry_at: Option<UnixNanos>,
    },
}

impl SessionState {
    /// The name used in the status document and in metric labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Degraded { .. } => "degraded",
            Self::Disconnected { .. } => "disconnected",
        }
    }

    /// Every name, in the order of a session's life.
    pub const NAMES: [&'static str; 4] = ["connecting", "connected", "degraded", "disconnected"];

    /// Whether a source may go from `self` to `next`. Staying in a state (with another reason or time) is legal; the
    /// one way back to streaming leads through [`SessionState::Connecting`].
    #[must_use]
    pub const fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Disconnected { .. }, Self::Connected | Self::Degraded { .. })
            | (Self::Connected | Self::Degraded { .. }, Self::Connecting) => false,
            (Self::Connecting | Self::Connected | Self::Degraded { .. } | Self::Disconnected { .. }, _) => true,
        }
    }
}

/// A change of state that the life of a session does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: &'static str,
    /// The state it was to enter.
    pub to: &'static str,
}

/// What the status document says of a source, beside its [`SourceActivity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Where it stands.
    pub state: SessionState,
    /// Attempts since the last stable session.
    pub reconnect_attempt: u32,
    /// Why the last session ended or could not begin; without secrets.
    pub last_error: Option<String>,
}

impl Default for SourceStatus {
    fn default() -> Self {
        Self { state: SessionState::Disconnected { retry_at: None }, reconnect_attempt: 0, last_error: None }
    }
}

/// Counters a source keeps while it runs; readable at any time without waking anyone.
#[derive(Debug, Default)]
pub struct SourceActivity {
    last_heartbeat: AtomicI64,
    last_message: AtomicI64,
    messages: AtomicU64,
    subscriptions: AtomicU64,
}

impl SourceActivity {
    /// Notes a sign of life that carries no data.
    pub fn heartbeat(&self, at: UnixNanos) {
        self.last_heartbeat.store(at.as_nanos(), Ordering::Relaxed);
    }

    /// Notes a message with data.
    pub fn message(&self, at: UnixNanos) {
        self.last_message.store(at.as_nanos(), Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number of instruments subscribed.
    pub fn set_subscriptions(&self, count: usize) {
        self.subscriptions.store(count as u64, Ordering::Relaxed);
    }

    /// The last sign of life without data.
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<UnixNanos> {
        known(self.last_heartbeat.load(Ordering::Relaxed))
    }

    /// The last message with data.
    #[must_use]
    pub fn last_message(&self) -> Option<UnixNanos> {
        known(self.last_message.load(Ordering::Relaxed))
    }

    /// Messages with data since the process began.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Instruments subscribed now.
    #[must_use]
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

fn known(nanos: i64) -> Option<UnixNanos> {
    (nanos != 0).then(|| UnixNanos::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_transitions_are_exactly_these() {
        let all = [
            SessionState::Connecting,
            SessionState::Connected,
            SessionState::Degraded { reason: "delayed quotes".into() },
            SessionState::Disconnected { retry_at: None },
        ];
        let illegal = [
            ("connected", "connecting"),
            ("degraded", "connecting"),
            ("disconnected", "connected"),
            ("disconnected", "degraded"),
        ];
        for from in &all {
            for to in &all {
                let expected = !illegal.contains(&(from.as_str(), to.as_str()));
                assert_eq!(from.may_become(to), expected, "{} -> {}", from.as_str(), to.as_str());
            }
        }
    }
}
