//! Mistakes of clients. A test that drives a client asserts that there are none.

use std::sync::{Mutex, PoisonError};

/// Kept at most; the rest is only counted.
const KEPT: usize = 1000;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the connection, from 1, of DXLink or the account streamer as the rule tells; 0 for REST.
    pub connection: u64,
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub detail: String,
}

/// The rules a client can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A REST call without `User-Agent: product/version`.
    UserAgent,
    /// A REST call that would move money or change something at the broker.
    Order,
    /// A question about market metrics without symbols, with blanks, repetitions, or a future in place of its product.
    MarketMetrics,
    /// A message that is not JSON of the expected shape.
    InvalidMessage,
    /// SETUP missing, repeated out of turn, or not the first message.
    SetupOrder,
    /// AUTH before AUTH_STATE UNAUTHORIZED was sent.
    AuthBeforeState,
    /// Anything but AUTH or KEEPALIVE before AUTH_STATE AUTHORIZED was sent.
    BeforeAuthorized,
    /// An even, negative or zero channel, or one that is open already.
    ChannelNumber,
    /// A message for a channel that is not open.
    ChannelNotOpen,
    /// A service or contract that does not exist.
    ChannelRequest,
    /// FEED_SETUP missing or with impossible values.
    FeedSetup,
    /// FEED_SUBSCRIPTION with empty arrays, missing fields or unknown event types.
    Subscription,
    /// A message larger than the limit.
    TooLarge,
    /// Silent for longer than the server's keepalive timeout.
    Keepalive,
    /// A binary message.
    Binary,
    /// A message to the account streamer whose `auth-token` is not `Bearer <token>`.
    StreamerToken,
    /// To the account streamer: something before `connect`, or a `connect` without accounts or with foreign ones.
    StreamerConnect,
    /// No accepted message to the account streamer within its limit.
    Heartbeat,
}

/// All mistakes so far.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    kept: Mutex<Vec<Violation>>,
}

impl Violations {
    pub(crate) fn add(&self, connection: u64, rule: Rule, detail: impl Into<String>) {
        let detail = detail.into();
        tracing::debug!(connection, ?rule, detail, "client broke a rule");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(Violation { connection, rule, detail });
        }
    }

    pub(crate) fn all(&self) -> Vec<Violation> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
