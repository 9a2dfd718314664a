//! Mistakes of clients. A test that drives a client asserts that there are none.

use std::sync::{Mutex, PoisonError};

/// Kept at most.
const KEPT: usize = 1000;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbkrViolation {
    /// Number of the connection, from 1; 0 for REST.
    pub connection: u64,
    /// Which rule.
    pub rule: IbkrRule,
    /// What was seen.
    pub detail: String,
}

/// The rules a client of a gateway can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IbkrRule {
    /// A call that would trade, or change something at the broker.
    Order,
    /// A path that does not exist, or a method it does not know.
    UnknownPath,
    /// A body that is not what the call wants.
    Body,
    /// `ssodh/init` without `publish`.
    Publish,
    /// More calls than a limit allows.
    RateLimit,
    /// Going on while in the penalty box.
    PenaltyBox,
    /// Market data, or a socket, before `/iserver/accounts`.
    Unprimed,
    /// Positions before the accounts of the portfolio were asked for.
    PortfolioUnprimed,
    /// An account that is not the customer's.
    UnknownAccount,
    /// More contracts or fields in one call than allowed.
    BatchSize,
    /// A socket without the cookie, or with one that was never given out.
    Cookie,
    /// A message before `sts` said that the socket is authenticated. It is discarded.
    BeforeStatus,
    /// A topic that does not exist.
    UnknownTopic,
    /// The part of a message behind the topic is not what it should be.
    Message,
    /// Fields of market data that are not text: they bring no data.
    NumericFields,
    /// Market data without fields.
    NoFields,
    /// `snapshot` in a subscription.
    Snapshot,
    /// Market data of a contract that nobody knows.
    UnknownContract,
    /// The end of a subscription that never was.
    NotSubscribed,
    /// More messages than a socket bears.
    MessagePace,
    /// No `tic` for too long.
    Tic,
    /// A binary message.
    Binary,
}

/// All mistakes so far.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    kept: Mutex<Vec<IbkrViolation>>,
}

impl Violations {
    pub(crate) fn add(&self, connection: u64, rule: IbkrRule, detail: impl Into<String>) {
        let detail = detail.into();
        tracing::debug!(connection, ?rule, detail, "client broke a rule");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(IbkrViolation { connection, rule, detail });
        }
    }

    pub(crate) fn all(&self) -> Vec<IbkrViolation> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
