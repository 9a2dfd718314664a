//! What the server sends: frames, ends of the connection, last words.

use broker_net::ws::Socket;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use greeks_model::{GapReason, SessionEnd, SourceEvent};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::Driver;
use crate::Error;
use crate::session::Received;
use crate::wire::{Defect, Tally};

impl Driver<'_> {
    /// The socket takes nothing any more. Why may stand in what the server has sent before.
    pub(super) fn hear_last_words(&mut self, stream: &mut SplitStream<Socket>) -> Result<Option<SessionEnd>, Error> {
        while let Some(Some(Ok(frame))) = stream.next().now_or_never() {
            if let Some(end) = self.on_message(Some(Ok(frame)))? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    pub(super) fn on_message(
        &mut self,
        frame: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<Option<SessionEnd>, Error> {
        let received_at = self.tools.cx.now();
        match frame {
            Some(Ok(Message::Text(text))) => {
                let before = self.session.is_authorized();
                let received = self.session.on_frame(&text, Instant::now().into_std(), received_at)?;
                let activity = self.tools.cx.activity();
                if received == Received::Data {
                    activity.message(received_at);
                } else {
                    activity.heartbeat(received_at);
                }
                if !before && self.session.is_authorized() {
                    tracing::debug!("authorised");
                }
                self.count(received);
            }
            Some(Ok(Message::Binary(_))) => self.tools.meter.dropped(Defect::Binary),
            // The library queues the answer to a ping: see to it that it leaves.
            Some(Ok(Message::Ping(_))) => self.outbound.expect_flush(Instant::now()),
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(close))) => return self.on_close(close).map(Some),
            Some(Err(error)) => return Err(self.broken(error)),
            None => return Err(Error::ConnectionLost { source: None }),
        }
        Ok(None)
    }

    fn count(&mut self, received: Received) {
        let meter = self.tools.meter;
        match received {
            Received::Control => meter.control(),
            Received::Dropped(defect) => {
                tracing::debug!(reason = defect.label(), "a message was dropped");
                meter.dropped(defect);
            }
            Received::Data => {
                for (kind, count) in self.session.waiting_by_kind() {
                    if count > 0 {
                        meter.events(kind, count);
                    }
                }
            }
        }
        let tally = self.session.take_tally();
        if tally != Tally::default() {
            meter.tally(tally);
        }
        if let Some(since) = self.session.take_lost_channel() {
            self.handover.extend([SourceEvent::Gap { since, reason: GapReason::SubscriptionExpired }]);
        }
    }

    fn on_close(&self, close: Option<CloseFrame>) -> Result<SessionEnd, Error> {
        // A server may refuse a token by closing, without a word.
        if self.session.awaits_authorization() {
            return Err(Error::Unauthorized);
        }
        match Error::closed(close) {
            Error::Closed { code: 1000 | 1001, .. } if self.streaming => Ok(SessionEnd::Closed),
            error => Err(error),
        }
    }

    pub(super) fn broken(&self, error: tungstenite::Error) -> Error {
        Error::broken(error, self.tools.config.max_message_bytes)
    }
}
