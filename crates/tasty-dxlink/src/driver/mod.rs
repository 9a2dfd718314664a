//! One task, one `select!`: owns the socket of a session, reads, writes, beats, follows positions, hands events on.

mod handover;
mod inbound;
mod positions;
mod report;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use greeks_model::{AccountId, SessionEnd, SourceContext, SourceEvent};
use reqwest::Url;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::account::{Link, Signal};
use crate::book::Book;
use crate::conditions::Conditions;
use crate::dial::Socket;
use crate::discovery::{Discoverer, Findings};
use crate::metrics::Meter;
use crate::refresh::Refresher;
use crate::session::Session;
use crate::{Error, TastyConfig};

use positions::Watch;

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
    pub(crate) tls: &'a Arc<rustls::ClientConfig>,
    pub(crate) meter: &'a Meter,
    /// `None`: positions are only polled.
    pub(crate) account_streamer: Option<&'a Url>,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) delayed: bool,
    /// When the quote token is to be replaced.
    pub(crate) renew_at: Instant,
}

/// What goes on beside the stream.
enum Job {
    /// An account has been read.
    Read(Findings),
    /// The account streamer has something to say.
    Signal(Box<Link>, Signal),
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
    refresher: Refresher,
    watch: Watch,
    /// Each is looked at only when it has woken, so that a busy stream does not pay for them.
    jobs: FuturesUnordered<BoxFuture<'static, Job>>,
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
            refresher: Refresher::new(&tools.accounts, tools.config.position_poll, now.into_std()),
            tools,
            session,
            book,
            outbox: VecDeque::new(),
            output: None,
            write_due: None,
            watch: Watch::default(),
            jobs: FuturesUnordered::new(),
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
        self.watch_accounts();
        let result = self.stream(&mut sink, &mut stream).await;
        if result.is_ok() {
            self.output = None;
        }
        let leaving = self.leave_account_streamer();
        let farewell = async {
            while let Some(text) = self.output.take().or_else(|| self.session.take_last_word()) {
                sink.send(Message::text(text)).await?;
            }
            sink.close().await
        };
        // The connection may be broken already; it is dropped either way.
        let (farewell, ()) = tokio::join!(timeout(FAREWELL, farewell), leaving);
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
            self.arm(sleep.as_mut(), now);
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
                Some(job) = self.jobs.next(), if !self.jobs.is_empty() => self.on_job(job)?,
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
        self.start_reads(now);
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
    fn arm(&self, mut sleep: Pin<&mut Sleep>, now: Instant) {
        let mut due = Instant::from_std(self.session.deadline());
        if self.output.is_some() {
            // What is due to be said waits for the socket: no use in ringing for it.
            due = due.max(now + RING_WHILE_WRITING);
        }
        due = due.min(self.tools.renew_at);
        let slow_at = self.blocked_since.filter(|_| self.slow_until.is_none()).map(|since| since + SLOW_AFTER);
        for other in [self.write_due, slow_at, self.slow_until, self.positions_due(now)].into_iter().flatten() {
            due = due.min(other);
        }
        if due < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
    }
}

/// Waits until the socket takes a message, or, when none waits, until those it took have left.
async fn advance(sink: &mut SplitSink<Socket, Message>, message_waits: bool) -> Result<(), tungstenite::Error> {
    match message_waits {
        true => poll_fn(|task| sink.poll_ready_unpin(task)).await,
        false => sink.flush().await,
    }
}
