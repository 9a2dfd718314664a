//! What a source tells the pipeline.

use std::fmt;
use std::sync::Arc;

use crate::{AccountId, Decimal, InstrumentId, QuoteUpdate, UnixNanos};

/// One thing a source has learnt. Events travel through a bounded channel in the order of receipt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
// A quote is by far the most frequent event: boxing it would cost an allocation per message.
#[allow(clippy::large_enum_variant)]
pub enum SourceEvent {
    /// A new connection epoch begins: nothing is known of any instrument. The supervisor sends it before each session;
    /// a source sends it itself only when it changes connections inside one session.
    SessionStarted {
        /// When the epoch began.
        at: UnixNanos,
    },
    /// All open option positions of one account. A failed poll emits nothing, so that an error never reads as
    /// "no positions".
    Positions(PositionSnapshot),
    /// Accounts whose positions the source follows no longer. What they hold from now on is unknown, which is not nothing:
    /// they have no rows until their positions are told again.
    Unfollowed(Vec<AccountId>),
    /// A message about one instrument.
    Quote {
        /// The typed message.
        update: QuoteUpdate,
        /// This event's own fields as one JSON object, only when [`SourceContext::keep_payload`] asks for it.
        ///
        /// [`SourceContext::keep_payload`]: crate::SourceContext::keep_payload
        payload: Option<Box<str>>,
    },
    /// What a source knows of an underlying beside its quotes; it gives no row.
    Reference(Reference),
    /// Something could not be received while the source claimed to stream.
    Gap {
        /// The last moment up to which the stream was whole.
        since: UnixNanos,
        /// Why it broke.
        reason: GapReason,
    },
}

/// All open option positions of one account at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionSnapshot {
    /// The account.
    pub account_id: AccountId,
    /// When the broker's answer was received.
    pub observed_at: UnixNanos,
    /// The open option positions; empty means that the account holds none.
    pub positions: Vec<Position>,
}

/// One open option position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The option.
    pub instrument: InstrumentId,
    /// What the option is written on.
    pub underlying: InstrumentId,
    /// Contracts held, negative when short.
    pub quantity: f64,
    /// Money per 1.00 of the option's price and contract.
    pub multiplier: Decimal,
}

/// What a source knows of an underlying beside its quotes. As in a [`QuoteUpdate`], `None` means that it was not said,
/// and what was known stays; `Some(NaN)` means that the source says it is unknown.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reference {
    /// The canonical symbol of the underlying, or of a product of futures: `SPX`, `BRK/B`, `/ESZ26`, `/ES`.
    pub underlying: Arc<str>,
    /// Per cent that the underlying moves with 1 % of the benchmark the source uses, mostly the S&P 500.
    pub beta: Option<f64>,
    /// Money per unit of the underlying.
    pub price: Option<f64>,
    /// Of when the numbers are.
    pub as_of: UnixNanos,
}

impl Reference {
    /// A reference that says nothing yet.
    #[must_use]
    pub const fn new(underlying: Arc<str>, as_of: UnixNanos) -> Self {
        Self { underlying, beta: None, price: None, as_of }
    }
}

/// Why a stretch of the stream is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The connection ended.
    Disconnected,
    /// The connection stood but nothing came.
    Silence,
    /// The broker ended a subscription without saying so.
    SubscriptionExpired,
    /// A message was larger than the limit and ended the session.
    OversizedMessage,
    /// The wire held something that cannot be a message and ended the session.
    ProtocolViolation,
    /// The source was stopped on request.
    Stopped,
    /// The process ended without a chance to say so; found at the next start.
    Crashed,
    /// It was received and accepted, and the medium that kept it has damaged it.
    Corrupt,
    /// The wall clock of the machine was set: times of receipt in this stretch are missing or occur twice, values are not.
    ClockStep,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Disconnected,
        Self::Silence,
        Self::SubscriptionExpired,
        Self::OversizedMessage,
        Self::ProtocolViolation,
        Self::Stopped,
        Self::Crashed,
        Self::Corrupt,
        Self::ClockStep,
    ];

    /// The name used in `ingest_gaps.reason` and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Silence => "silence",
            Self::SubscriptionExpired => "subscription_expired",
            Self::OversizedMessage => "oversized_message",
            Self::ProtocolViolation => "protocol_violation",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Corrupt => "corrupt",
            Self::ClockStep => "clock_step",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_reasons_have_distinct_names_that_read_back() {
        for reason in GapReason::ALL {
            assert_eq!(GapReason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(GapReason::from_name("sunspots"), None);
    }
}
