//! What the gateway sends: frames, ends of the connection, last words.

use broker_net::ending::Breakage;
use broker_net::handover::Producer;
use broker_net::text::clean;
use broker_net::ws::Socket;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use greeks_model::{GapReason, SessionEnd, SourceEvent};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::Driver;
use crate::Error;
use crate::session::{Received, Session, Signals, Tally};

impl Producer for Session {
    fn has_events(&self) -> bool {
        Self::has_events(self)
    }

    fn next_event(&mut self) -> Option<SourceEvent> {
        Self::next_event(self)
    }
}

impl Driver<'_> {
    /// The socket takes nothing any more. Why may stand in what the gateway has sent before.
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
        match frame {
            // The gateway sends its frames now as text, now as binary.
            Some(Ok(Message::Text(text))) => self.on_frame(text.as_bytes())?,
            Some(Ok(Message::Binary(bytes))) => self.on_frame(&bytes)?,
            // The library queues the answer to a ping: see to it that it leaves.
            Some(Ok(Message::Ping(_))) => self.outbound.expect_flush(Instant::now()),
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(close))) => return self.on_close(close).map(Some),
            Some(Err(error)) => return Err(self.broken(error)),
            None => return Err(Error::ConnectionLost { source: None }),
        }
        Ok(None)
    }

    fn on_frame(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let received_at = self.tools.cx.now();
        let now = Instant::now();
        let received = self.session.on_frame(bytes, now.into_std(), received_at)?;
        let activity = self.tools.cx.activity();
        if received == Received::Data {
            activity.message(received_at);
        } else {
            activity.heartbeat(received_at);
        }
        self.tools.meter.received(received);
        if let Received::Dropped(defect) = received {
            tracing::debug!(reason = defect.label(), "a frame was dropped");
        }
        let tally = self.session.take_tally();
        if tally != Tally::default() {
            self.tools.meter.tally(tally);
        }
        self.heed(now)
    }

    fn on_close(&self, close: Option<CloseFrame>) -> Result<SessionEnd, Error> {
        let (code, reason) =
            close.map_or((1005, String::new()), |frame| (frame.code.into(), clean(&frame.reason, &[])));
        match code {
            // Before the stream it is no good order, whatever its code: at once would be again and again.
            1000 | 1001 if self.has_streamed() => Ok(SessionEnd::Closed),
            _ => Err(Error::Closed { code, reason }),
        }
    }

    /// Does what the frames, or the time without them, ask for.
    pub(super) fn heed(&mut self, now: Instant) -> Result<(), Error> {
        let Signals { executions, accounts_changed, unprimed, competing, lost, notices } = self.session.take_signals();
        for notice in notices {
            tracing::info!(notice, "the gateway has a word for its user");
        }
        if let Some(since) = lost {
            self.handover.extend([SourceEvent::Gap { since, reason: GapReason::SubscriptionExpired }]);
        }
        if executions {
            tracing::debug!("an execution: positions have changed");
            self.executions.heard(&self.tools.accounts);
            self.refresher.touch_all(now.into_std());
        }
        if accounts_changed {
            self.list_accounts(now);
        }
        if unprimed {
            self.priming.want();
        }
        if competing {
            return Err(match self.tools.config.compete {
                true => Error::Unauthenticated,
                false => Error::Competing { reason: "told on the websocket".into() },
            });
        }
        Ok(())
    }

    pub(super) fn broken(&self, error: tungstenite::Error) -> Error {
        match error.into() {
            Breakage::MessageTooLarge => Error::MessageTooLarge { limit: self.tools.config.max_message_bytes },
            Breakage::Lost { source } => Error::ConnectionLost { source },
        }
    }
}
