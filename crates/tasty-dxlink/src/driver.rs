//! One task, one `select!`: owns the socket of a session, reads, writes, beats, polls positions, hands events on.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use greeks_model::{AccountId, GapReason, SessionEnd, SessionState, SourceContext, SourceEvent};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::book::Book;
use crate::conditions::Conditions;
use crate::discovery::{Discoverer, Findings};
use crate::error::clean;
use crate::metrics::Meter;
use crate::session::{Received, Session};
use crate::wire::Defect;
use crate::{Error, TastyConfig};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long the last words of a session may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// A queue that stays full for so long is worth telling.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How often to look for what is due while the socket takes nothing.
const RING_WHILE_WRITING: Duration = Duration::from_millis(100);
/// How long it is told after it was last seen.
const SLOW_FOR: Duration = Duration::from_secs(5);

/// What a driver works with.
pub(crate) struct Tools<'a> {
    pub(crate) cx: &'a SourceContext,
    pub(crate) config: &'a TastyConfig,
    pub(crate) discoverer: &'a Arc<Discoverer>,
    pub(crate) meter: &'a Meter,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) delayed: bool,
    /// When the quote token is to be replaced.
    pub(crate) renew_at: Instant,
}

/// One session from its first byte to its last.
pub(crate) struct Driver<'a> {
    tools: Tools<'a>,
    session: Session,
    book: &'a mut Book,
    /// Events that do not come from the feed.
    outbox: VecDeque<SourceEvent>,
    output: Option<String>,
    /// Set while written bytes have not left: when that becomes a fault.
    write_due: Option<Instant>,
    poll: Option<BoxFuture<'static, Vec<Findings>>>,
    poll_at: Instant,
    blocked_since: Option<Instant>,
    slow_until: Option<Instant>,
    streaming: bool,
    conditions: Option<Conditions>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(tools: Tools<'a>, mut session: Session, book: &'a mut Book) -> Self {
        let now = Instant::now();
        session.want(&book.wanted(), now.into_std());
        Self {
            poll_at: now + tools.config.position_poll,
            tools,
            session,
            book,
            outbox: VecDeque::new(),
            output: None,
            write_due: None,
            poll: None,
            blocked_since: None,
            slow_until: None,
            streaming: false,
            conditions: None,
        }
    }

    /// Whether the session ever streamed.
    pub(crate) const fn has_streamed(&self) -> bool {
        self.streaming
    }

    /// Whether the streamer accepted the token.
    pub(crate) fn is_authorized(&self) -> bool {
        self.session.is_authorized()
    }

    /// Runs the session to its end and closes the socket in good order if that is possible within a second.
    pub(crate) async fn run(&mut self, socket: Socket) -> Result<SessionEnd, Error> {
        let (mut sink, mut stream) = socket.split();
        let result = self.stream(&mut sink, &mut stream).await;
        if result.is_ok() {
            self.output = None;
        }
        let farewell = async {
            while let Some(text) = self.output.take().or_else(|| self.session.take_last_word()) {
                sink.send(Message::text(text)).await?;
            }
            sink.close().await
        };
        // The connection may be broken already; it is dropped either way.
        let farewell = timeout(FAREWELL, farewell).await;
        tracing::debug!(orderly = matches!(farewell, Ok(Ok(()))), "socket closed");
        self.drain().await;
        result
    }

    async fn stream(
        &mut self,
        sink: &mut SplitSink<Socket, Message>,
        stream: &mut SplitStream<Socket>,
    ) -> Result<SessionEnd, Error> {
        let cx = self.tools.cx;
        let mut cancelled = pin!(cx.cancelled());
        let mut sleep = pin!(sleep_until(Instant::now()));
        loop {
            if self.hand_on().is_err() {
                // Nobody takes the events: as good as a request to stop.
                return Ok(SessionEnd::Cancelled);
            }
            let now = Instant::now();
            if let Some(end) = self.tick(now)? {
                return Ok(end);
            }
            let blocked = self.has_events();
            self.arm(sleep.as_mut());
            tokio::select! {
                biased;
                () = &mut cancelled => return Ok(SessionEnd::Cancelled),
                progress = advance(sink, self.output.is_some()), if self.output.is_some() || self.write_due.is_some() => {
                    if let Err(error) = progress.and_then(|()| self.on_writable(sink, now)) {
                        return self.hear_last_words(stream).and_then(|end| end.ok_or_else(|| self.broken(error)));
                    }
                }
                permit = cx.events().reserve(), if blocked => match (permit, self.next_event()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Ok(SessionEnd::Cancelled),
                },
                findings = next_findings(&mut self.poll) => self.on_findings(findings)?,
                () = &mut sleep => {}
                frame = stream.next(), if !blocked => {
                    if let Some(end) = self.on_message(frame)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// The socket takes another message, or has taken all there were.
    fn on_writable(&mut self, sink: &mut SplitSink<Socket, Message>, now: Instant) -> Result<(), tungstenite::Error> {
        match self.output.take() {
            Some(text) => {
                sink.start_send_unpin(Message::text(text))?;
                self.write_due.get_or_insert(now + self.tools.config.step_timeout);
                self.report_subscriptions();
            }
            None => self.write_due = None,
        }
        Ok(())
    }

    /// The socket takes nothing any more. Why may stand in what the server has sent before.
    fn hear_last_words(&mut self, stream: &mut SplitStream<Socket>) -> Result<Option<SessionEnd>, Error> {
        while let Some(Some(Ok(frame))) = stream.next().now_or_never() {
            if let Some(end) = self.on_message(Some(Ok(frame)))? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Does what is due; gives the end when the time has come for it.
    fn tick(&mut self, now: Instant) -> Result<Option<SessionEnd>, Error> {
        if now >= self.tools.renew_at {
            tracing::info!("the quote token is about to end; a new session takes a new one");
            return Ok(Some(SessionEnd::Closed));
        }
        if self.write_due.is_some_and(|due| now >= due) {
            return Err(Error::StepTimeout { step: "progress in writing", after: self.tools.config.step_timeout });
        }
        self.session.on_tick(now.into_std(), !self.has_events())?;
        if self.output.is_none() {
            self.output = self.session.poll_output(now.into_std());
        }
        if now >= self.poll_at && self.poll.is_none() && self.outbox.is_empty() {
            let discoverer = Arc::clone(self.tools.discoverer);
            self.poll = Some(discoverer.discover(self.tools.accounts.clone(), self.tools.cx.clone()).boxed());
        }
        let silent = self.session.take_newly_silent();
        if !silent.is_empty() {
            tracing::warn!(symbols = ?silent, "subscribed options without any event; asking for their symbols again");
            self.tools.discoverer.doubt(silent);
            self.report_subscriptions();
        }
        if self.blocked_since.is_some_and(|since| now >= since + SLOW_AFTER) {
            self.slow_until = Some(now + SLOW_FOR);
        }
        self.announce(now);
        Ok(None)
    }

    /// Sets the timer to the next thing that is due. A timer that rings too early does no harm, so that the frequent
    /// case, a frame that moves a deadline back, does not touch it.
    fn arm(&self, mut sleep: Pin<&mut Sleep>) {
        let mut due = Instant::from_std(self.session.deadline());
        if self.output.is_some() {
            // What is due to be said waits for the socket: no use in ringing for it.
            due = due.max(Instant::now() + RING_WHILE_WRITING);
        }
        due = due.min(self.tools.renew_at);
        if self.poll.is_none() && self.outbox.is_empty() {
            due = due.min(self.poll_at);
        }
        let slow_at = self.blocked_since.filter(|_| self.slow_until.is_none()).map(|since| since + SLOW_AFTER);
        for other in [self.write_due, slow_at, self.slow_until].into_iter().flatten() {
            due = due.min(other);
        }
        if due < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
    }

    fn on_message(&mut self, frame: Option<Result<Message, tungstenite::Error>>) -> Result<Option<SessionEnd>, Error> {
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
            Some(Ok(Message::Ping(_))) => {
                self.write_due.get_or_insert(Instant::now() + self.tools.config.step_timeout);
            }
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
        if tally != crate::wire::Tally::default() {
            meter.tally(tally);
        }
        if let Some(since) = self.session.take_lost_channel() {
            self.outbox.push_back(SourceEvent::Gap { since, reason: GapReason::SubscriptionExpired });
        }
    }

    fn on_close(&self, close: Option<CloseFrame>) -> Result<SessionEnd, Error> {
        // A server may refuse a token by closing, without a word.
        if self.session.awaits_authorization() {
            return Err(Error::Unauthorized);
        }
        let (code, reason) =
            close.map_or((1005, String::new()), |frame| (frame.code.into(), clean(&frame.reason, &[])));
        match code {
            1000 | 1001 if self.streaming => Ok(SessionEnd::Closed),
            _ => Err(Error::Closed { code, reason }),
        }
    }

    fn broken(&self, error: tungstenite::Error) -> Error {
        match error {
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                Error::MessageTooLarge { limit: self.tools.config.max_message_bytes }
            }
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Error::ConnectionLost { source: None }
            }
            other => Error::ConnectionLost { source: Some(Box::new(other)) },
        }
    }

    fn on_findings(&mut self, findings: Vec<Findings>) -> Result<(), Error> {
        self.poll = None;
        let now = Instant::now();
        let asked = findings.iter().filter_map(|it| match &it.result {
            Err(Error::RateLimited { retry_after, .. }) => *retry_after,
            _ => None,
        });
        self.poll_at = now + asked.fold(self.tools.config.position_poll, Duration::max);
        let events = self.book.update(findings, self.tools.cx)?;
        self.outbox.extend(events);
        self.session.want(&self.book.wanted(), now.into_std());
        self.report_subscriptions();
        Ok(())
    }

    fn has_events(&self) -> bool {
        !self.outbox.is_empty() || self.session.has_events()
    }

    fn next_event(&mut self) -> Option<SourceEvent> {
        self.outbox.pop_front().or_else(|| self.session.next_event())
    }

    /// Hands events on as long as there is room. While there is none the socket is not read: the server is slowed down
    /// by TCP, and what it holds back it may conflate.
    fn hand_on(&mut self) -> Result<(), ()> {
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
    async fn drain(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.has_events() {
            let Ok(Ok(permit)) = tokio::time::timeout_at(deadline, self.tools.cx.events().reserve()).await else {
                tracing::warn!("events received before the end of the session were lost: nobody took them");
                return;
            };
            if let Some(event) = self.next_event() {
                permit.send(event);
            }
        }
    }

    fn announce(&mut self, now: Instant) {
        self.streaming = self.streaming || self.session.is_streaming();
        if !self.streaming {
            return;
        }
        self.slow_until = self.slow_until.filter(|until| now < *until);
        let conditions = Conditions {
            delayed: self.tools.delayed,
            book: self.book.faults(),
            silent: self.session.silent_options(),
            channel_lost: self.session.has_lost_channel(),
            slow: self.slow_until.is_some(),
        };
        if self.conditions == Some(conditions) {
            return;
        }
        self.conditions = Some(conditions);
        let reason = conditions.to_string();
        let state = if reason.is_empty() { SessionState::Connected } else { SessionState::Degraded { reason } };
        if let Err(error) = self.tools.cx.set_state(state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the state could not be announced");
        }
    }

    fn report_subscriptions(&self) {
        let (wanted, sent) = self.session.subscription_counts();
        self.tools.meter.subscriptions(wanted, sent, self.session.silent_options());
        self.tools.cx.activity().set_subscriptions(self.session.subscribed_instruments());
    }
}

/// Waits until the socket takes a message, or, when none waits, until those it took have left.
async fn advance(sink: &mut SplitSink<Socket, Message>, message_waits: bool) -> Result<(), tungstenite::Error> {
    match message_waits {
        true => poll_fn(|task| sink.poll_ready_unpin(task)).await,
        false => sink.flush().await,
    }
}

async fn next_findings(poll: &mut Option<BoxFuture<'static, Vec<Findings>>>) -> Vec<Findings> {
    match poll {
        Some(poll) => poll.await,
        None => pending().await,
    }
}
