//! How a stream ended that was not closed in good order, and the gap that it leaves.

use std::time::Duration;

use greeks_model::{GapReason, SourceContext, SourceEvent, UnixNanos};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};

/// How long the end of a stream may take to be reported.
const LAST_EVENT: Duration = Duration::from_secs(1);

/// What the fault of a websocket means.
#[derive(Debug)]
pub enum Breakage {
    /// A message was larger than the limit.
    MessageTooLarge,
    /// The connection is gone, or carried something that is no websocket frame.
    Lost {
        /// The cause, when there is one.
        source: Option<Box<tungstenite::Error>>,
    },
}

impl From<tungstenite::Error> for Breakage {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::MessageTooLarge,
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Self::Lost { source: None },
            other => Self::Lost { source: Some(Box::new(other)) },
        }
    }
}

/// Whether the wire held something that cannot be a message: text that is no UTF-8, a frame against the protocol. A
/// connection that is cut off is no such thing.
#[must_use]
pub const fn is_protocol_violation(error: &tungstenite::Error) -> bool {
    match error {
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => false,
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) => true,
        _ => false,
    }
}

/// Tells that the stream broke for `reason` after its last sign of life. For reasons that say more than "disconnected",
/// which whoever runs the source reports by itself.
pub async fn report_gap(cx: &SourceContext, reason: GapReason) {
    let activity = cx.activity();
    let Some(since) = activity.last_message().max(activity.last_heartbeat()) else { return };
    report_gap_since(cx, since, reason).await;
}

/// Tells that the stream was whole until `since`, however many signs of life came later.
pub async fn report_gap_since(cx: &SourceContext, since: UnixNanos, reason: GapReason) {
    if !matches!(timeout(LAST_EVENT, cx.events().send(SourceEvent::Gap { since, reason })).await, Ok(Ok(()))) {
        tracing::warn!(reason = reason.as_str(), "the reason of a gap could not be handed on");
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::testkit::context;

    use super::*;

    #[test]
    fn faults_of_a_websocket_are_told_apart() {
        let protocol = |error| tungstenite::Error::Protocol(error);
        let utf8 = tungstenite::Error::Utf8("not text".into());
        for (error, expected) in [
            (protocol(ProtocolError::ResetWithoutClosingHandshake), false),
            (protocol(ProtocolError::NonZeroReservedBits), true),
            (utf8, true),
            (tungstenite::Error::Io(std::io::ErrorKind::ConnectionReset.into()), false),
            (tungstenite::Error::ConnectionClosed, false),
        ] {
            assert_eq!(is_protocol_violation(&error), expected, "{error}");
        }
        let large = CapacityError::MessageTooLong { size: 2, max_size: 1 };
        assert!(matches!(tungstenite::Error::Capacity(large).into(), Breakage::MessageTooLarge));
        assert!(matches!(tungstenite::Error::AlreadyClosed.into(), Breakage::Lost { source: None }));
        assert!(matches!(protocol(ProtocolError::NonZeroReservedBits).into(), Breakage::Lost { source: Some(_) }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_begins_at_the_last_sign_of_life_and_never_waits_for_long() {
        let (cx, mut ends) = context(1, false);
        report_gap(&cx, GapReason::Silence).await;
        assert!(ends.events.try_recv().is_err(), "nothing was ever heard");
        let moment = |seconds: i64| UnixNanos::from_millis(1_767_225_600_000 + seconds * 1_000);
        cx.activity().message(moment(1));
        cx.activity().heartbeat(moment(2));
        report_gap(&cx, GapReason::Silence).await;
        // The queue is full now.
        let begin = tokio::time::Instant::now();
        report_gap(&cx, GapReason::Silence).await;
        assert_eq!(begin.elapsed(), LAST_EVENT);
        let told = SourceEvent::Gap { since: moment(2), reason: GapReason::Silence };
        assert_eq!((ends.events.try_recv(), ends.events.try_recv().is_err()), (Ok(told), true));
    }
}
