//! Events on their way out, through a queue that can be full.

use greeks_model::SourceEvent;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

use super::{Driver, FAREWELL};

impl Driver<'_> {
    pub(super) fn has_events(&self) -> bool {
        !self.outbox.is_empty() || self.session.has_events()
    }

    pub(super) fn next_event(&mut self) -> Option<SourceEvent> {
        self.outbox.pop_front().or_else(|| self.session.next_event())
    }

    /// Hands events on as long as there is room. While there is none the socket is not read: the server is slowed down
    /// by TCP, and what it holds back it may conflate.
    pub(super) fn hand_on(&mut self) -> Result<(), ()> {
        while self.has_events() {
            match self.tools.cx.events().try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.next_event() {
                        permit.send(event);
                    }
                }
                Err(TrySendError::Full(())) => {
                    self.blocked_since.get_or_insert(Instant::now());
                    return Ok(());
                }
                Err(TrySendError::Closed(())) => return Err(()),
            }
        }
        self.blocked_since = None;
        Ok(())
    }

    /// Hands on what was received before the session ended.
    pub(super) async fn drain(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.has_events() {
            let Ok(Ok(permit)) = timeout_at(deadline, self.tools.cx.events().reserve()).await else {
                tracing::warn!("events received before the end of the session were lost: nobody took them");
                return;
            };
            if let Some(event) = self.next_event() {
                permit.send(event);
            }
        }
    }
}
