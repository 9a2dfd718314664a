//! One task, one `select!`: owns the socket of a session, reads, writes, beats, tickles, follows positions, hands
//! events on.

mod executions;
mod inbound;
mod positions;
mod priming;
mod report;
mod tickler;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use broker_net::handover::Handover;
use broker_net::outbound::Outbound;
use broker_net::refresh::Refresher;
use broker_net::ws::Socket;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use greeks_model::{AccountId, PositionSnapshot, SessionEnd, SourceContext, UnixNanos};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::book::Book;
use crate::brokerage::Identity;
use crate::discovery::{Chosen, Discoverer, Findings, Shortfall};
use crate::metrics::Meter;
use crate::rest::Tickle;
use crate::session::Session;
use crate::{Error, IbkrConfig};

use executions::Executions;
use priming::Priming;
use report::Told;
use tickler::Tickler;

/// How long the last words of a session may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a driver works with.
pub(crate) struct Tools<'a> {
    pub(crate) cx: &'a SourceContext,
    pub(crate) config: &'a IbkrConfig,
    pub(crate) discoverer: &'a Arc<Discoverer>,
    pub(crate) meter: &'a Meter,
    pub(crate) accounts: Vec<AccountId>,
    /// Which others were to be streamed.
    pub(crate) shortfall: Shortfall,
}

/// What goes on beside the stream.
enum Job {
    Read(Findings),
    Tickled(Result<Tickle, Error>),
    Accounts(Result<Chosen, Error>),
    Primed(Result<(), Error>),
}

/// One session from its first byte to its last.
pub(crate) struct Driver<'a> {
    tools: Tools<'a>,
    session: Session,
    book: &'a mut Book,
    handover: Handover<'a>,
    outbound: Outbound,
    refresher: Refresher,
    executions: Executions,
    tickler: Tickler,
    priming: Priming,
    /// Each is looked at only when it has woken, so that a busy stream does not pay for them.
    jobs: FuturesUnordered<BoxFuture<'static, Job>>,
    /// Whether a job reads the list of accounts.
    listing: bool,
    /// When one that was not complete is read again.
    list_again_at: Instant,
    /// Since when the stream has stood.
    streaming_since: Option<UnixNanos>,
    /// Whether the gateway has another session than that of the websocket.
    replaced: bool,
    /// When the session began.
    began_at: UnixNanos,
    /// When a call last found the brokerage session in order.
    sound_at: UnixNanos,
    told: Told,
}

impl<'a> Driver<'a> {
    /// A driver of a session that has just been opened, after a read of all positions.
    pub(crate) fn new(
        tools: Tools<'a>,
        identity: Identity,
        mut session: Session,
        book: &'a mut Book,
        held: &[PositionSnapshot],
    ) -> Self {
        let (now, config) = (Instant::now(), tools.config);
        session.want(&book.wanted());
        let mut executions = Executions::new(config.execution_recheck);
        held.iter().for_each(|snapshot| executions.read(snapshot, now));
        Self {
            handover: Handover::new(tools.cx.events()),
            outbound: Outbound::new(config.step_timeout),
            refresher: Refresher::new(&tools.accounts, config.position_poll, now.into_std()),
            executions,
            tickler: Tickler::new(identity, config.tickle_every, config.compete, now),
            priming: Priming::new(now),
            began_at: tools.cx.now(),
            sound_at: tools.cx.now(),
            tools,
            session,
            book,
            jobs: FuturesUnordered::new(),
            listing: false,
            list_again_at: now + config.position_poll,
            streaming_since: None,
            replaced: false,
            told: Told::default(),
        }
    }

    /// Until when the stream was whole, should the brokerage session turn out to be lost: heartbeats go on without it.
    pub(crate) fn sound_until(&self) -> UnixNanos {
        self.tools.cx.activity().last_message().map_or(self.sound_at, |data| data.max(self.sound_at))
    }

    /// From the first market data of the session to the last.
    pub(crate) fn data_came_for(&self) -> Duration {
        self.session.data_came_for()
    }

    /// Whether the session ever streamed.
    pub(crate) const fn has_streamed(&self) -> bool {
        self.streaming_since.is_some()
    }

    /// Whether the session ended because the gateway has another one.
    pub(crate) const fn was_replaced(&self) -> bool {
        self.replaced
    }

    /// Since when nothing has come, in a stream that brings nothing: the last data of this session, or its beginning.
    pub(crate) fn quiet_since(&self) -> Option<UnixNanos> {
        let data = self.tools.cx.activity().last_message().filter(|data| *data >= self.began_at);
        data.or(self.streaming_since)
    }

    /// Runs the session to its end and closes the socket in good order if that is possible within a second: later
    /// connections may fare badly otherwise.
    pub(crate) async fn run(&mut self, socket: Socket) -> Result<SessionEnd, Error> {
        let (mut sink, mut stream) = socket.split();
        let result = self.stream(&mut sink, &mut stream).await;
        // What was not said yet is no use any more.
        self.outbound.take();
        // REST tells of a lost session before the websocket does: whatever comes then is discarded, or counted against us.
        let is_heard =
            !matches!(result, Err(Error::Unauthenticated | Error::LoginRequired { .. } | Error::Competing { .. }));
        let (spacing, last_word) = (self.tools.config.subscribe_spacing, Instant::now() + FAREWELL / 2);
        let farewell = async {
            // Subscriptions end with the socket anyway: as many are ended in good order as may be said in that time.
            while let Some(text) = is_heard.then(|| self.session.take_last_word()).flatten() {
                sink.send(Message::text(text)).await?;
                if Instant::now() + spacing > last_word {
                    break;
                }
                sleep(spacing).await;
            }
            sink.close().await
        };
        // The connection may be broken already; it is dropped either way.
        let farewell = timeout(FAREWELL, farewell).await;
        tracing::debug!(orderly = matches!(farewell, Ok(Ok(()))), "socket closed");
        if !self.handover.drain(&mut self.session, FAREWELL).await {
            tracing::warn!("events received before the end of the session were lost: nobody took them");
        }
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
            if self.handover.hand_on(&mut self.session).is_err() {
                // Nobody takes the events: as good as a request to stop.
                return Ok(SessionEnd::Cancelled);
            }
            let now = Instant::now();
            self.tick(now)?;
            let blocked = self.handover.has_events(&self.session);
            self.arm(sleep.as_mut(), now);
            tokio::select! {
                biased;
                () = &mut cancelled => return Ok(SessionEnd::Cancelled),
                progress = self.outbound.advance(sink), if self.outbound.is_busy() => {
                    if let Err(error) = progress {
                        return self.hear_last_words(stream).and_then(|end| end.ok_or_else(|| self.broken(error)));
                    }
                }
                permit = cx.events().reserve(), if blocked => match (permit, self.handover.next_event(&mut self.session)) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Ok(SessionEnd::Cancelled),
                },
                Some(job) = self.jobs.next(), if !self.jobs.is_empty() => {
                    if let Some(end) = self.on_job(job)? {
                        return Ok(end);
                    }
                }
                () = &mut sleep => {}
                frame = stream.next(), if !blocked => {
                    if let Some(end) = self.on_message(frame)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        if self.outbound.is_overdue(now) {
            return Err(Error::StepTimeout { step: "progress in writing", after: self.tools.config.step_timeout });
        }
        self.session.on_tick(now.into_std(), !self.handover.has_events(&self.session))?;
        self.heed(now)?;
        self.outbound.fill(|| self.session.poll_output(now.into_std()));
        if self.tickler.start(now) {
            let discoverer = Arc::clone(self.tools.discoverer);
            self.jobs.push(async move { Job::Tickled(discoverer.rest().tickle().await) }.boxed());
        }
        self.start_priming(now);
        self.start_reads(now);
        self.note_silence();
        self.report_subscriptions();
        self.announce(now);
        Ok(())
    }

    /// Sets the timer to the next thing that is due. A timer that rings too early does no harm, so that the frequent
    /// case, a frame that moves a deadline back, does not touch it.
    fn arm(&self, mut sleep: Pin<&mut Sleep>, now: Instant) {
        let mut due = self.outbound.postpone(Instant::from_std(self.session.deadline()), now);
        let others = [
            self.outbound.due(),
            self.handover.deadline(),
            self.tickler.deadline(),
            self.positions_due(),
            self.priming_due(),
            self.told.deadline(now),
        ];
        for other in others.into_iter().flatten() {
            due = due.min(other);
        }
        if due < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
    }

    fn on_job(&mut self, job: Job) -> Result<Option<SessionEnd>, Error> {
        let now = Instant::now();
        match job {
            Job::Read(findings) => {
                self.on_findings(findings, now);
                Ok(None)
            }
            Job::Tickled(outcome) => {
                let answered = outcome.is_ok();
                let end = self.tickler.done(outcome, now)?;
                if end.is_some() {
                    self.replaced = true;
                } else if answered {
                    self.sound_at = self.tools.cx.now();
                }
                Ok(end)
            }
            Job::Accounts(outcome) => Ok(self.on_accounts(outcome, now)),
            Job::Primed(outcome) => {
                self.on_primed(outcome, now);
                Ok(None)
            }
        }
    }
}
