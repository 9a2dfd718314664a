//! A message on its way to a socket that may not take it.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::{Sink, SinkExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};

/// How often to look for what is due while the socket takes nothing.
const RING_WHILE_WRITING: Duration = Duration::from_millis(100);

/// The one message that waits for a socket, and since when written bytes have not left.
///
/// A driver keeps it beside its other branches of a `select!`, so that a socket that takes nothing stops neither its
/// reading nor its clock.
#[derive(Debug)]
pub struct Outbound {
    waiting: Option<String>,
    /// Set while written bytes have not left: when that becomes a fault.
    due: Option<Instant>,
    within: Duration,
}

impl Outbound {
    /// Nothing to write. `within` is how long written bytes may take to leave.
    #[must_use]
    pub const fn new(within: Duration) -> Self {
        Self { waiting: None, due: None, within }
    }

    /// Whether a message waits for the socket: no other one can be put.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether [`Outbound::advance`] has anything to do.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.waiting.is_some() || self.due.is_some()
    }

    /// Takes the next message from `next`, unless one waits.
    pub fn fill(&mut self, next: impl FnOnce() -> Option<String>) {
        if self.waiting.is_none() {
            self.waiting = next();
        }
    }

    /// The message that waits, taken back.
    pub const fn take(&mut self) -> Option<String> {
        self.waiting.take()
    }

    /// The websocket library has queued an answer of its own, to a ping: see to it that it leaves.
    pub fn expect_flush(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.within);
    }

    /// Whether bytes were written and have not left for too long.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// When [`Outbound::is_overdue`] becomes true, unless the socket takes bytes before.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When to ring for something that will be said at `due`: while a message waits, no use in doing so at once.
    #[must_use]
    pub fn postpone(&self, due: Instant, now: Instant) -> Instant {
        if self.waiting.is_some() { due.max(now + RING_WHILE_WRITING) } else { due }
    }

    /// Gives the socket the message that waits as soon as it takes one, or, when none waits, pushes on the bytes it took.
    /// True when a message was taken.
    ///
    /// # Errors
    /// What the socket says: it is broken.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time; no message is lost or sent twice.
    pub async fn advance<S>(&mut self, sink: &mut S) -> Result<bool, tungstenite::Error>
    where
        S: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        if self.waiting.is_none() {
            sink.flush().await?;
            self.due = None;
            return Ok(false);
        }
        poll_fn(|task| sink.poll_ready_unpin(task)).await?;
        let Some(text) = self.waiting.take() else { return Ok(false) };
        sink.start_send_unpin(Message::text(text))?;
        self.expect_flush(Instant::now());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::FutureExt;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(15);

    /// Takes messages and lets them leave when it is told to.
    #[derive(Default)]
    struct Gate {
        takes: bool,
        flushes: bool,
        taken: Vec<String>,
    }

    impl Sink<Message> for Gate {
        type Error = tungstenite::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            if self.takes { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<(), Self::Error> {
            self.taken.push(item.to_text().unwrap().to_owned());
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            if self.flushes { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_the_socket_and_is_sent_once() {
        let (mut gate, mut outbound) = (Gate::default(), Outbound::new(WITHIN));
        let begin = Instant::now();
        assert!(!outbound.is_busy());
        outbound.fill(|| Some("a".into()));
        outbound.fill(|| panic!("one waits already"));
        for _ in 0..3 {
            assert!(outbound.advance(&mut gate).now_or_never().is_none());
        }
        assert!(outbound.is_full() && gate.taken.is_empty() && outbound.due().is_none());
        assert_eq!(outbound.postpone(begin, begin), begin + RING_WHILE_WRITING);
        gate.takes = true;
        assert!(outbound.advance(&mut gate).now_or_never().unwrap().unwrap());
        assert_eq!(gate.taken, ["a"]);
        assert!(!outbound.is_full() && outbound.is_busy());
        assert_eq!(outbound.postpone(begin, begin), begin);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_do_not_leave_are_a_fault_in_time() {
        let (mut gate, mut outbound) = (Gate { takes: true, ..Gate::default() }, Outbound::new(WITHIN));
        outbound.fill(|| Some("a".into()));
        assert!(outbound.advance(&mut gate).await.unwrap());
        let due = outbound.due().unwrap();
        tokio::time::advance(WITHIN / 2).await;
        // A second message does not move the moment.
        outbound.fill(|| Some("b".into()));
        assert!(outbound.advance(&mut gate).await.unwrap());
        outbound.expect_flush(Instant::now());
        assert_eq!(outbound.due(), Some(due));
        assert!(outbound.advance(&mut gate).now_or_never().is_none());
        assert!(!outbound.is_overdue(due - Duration::from_millis(1)) && outbound.is_overdue(due));
        gate.flushes = true;
        assert!(!outbound.advance(&mut gate).await.unwrap());
        assert!(!outbound.is_busy() && !outbound.is_overdue(due));
    }
}
