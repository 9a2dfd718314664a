//! One task, one `select!`: owns the socket of a session, reads, writes, beats, follows positions, hands events on.

mod accounts;
mod betas;
mod handover;
mod inbound;
mod positions;
mod renewal;
mod report;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use broker_net::handover::Handover;
use broker_net::outbound::Outbound;
use broker_net::refresh::Refresher;
use broker_net::ws::Socket;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use greeks_model::{AccountId, SessionEnd, SourceContext};
use reqwest::Url;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::account::{Link, Signal};
use crate::book::Book;
use crate::conditions::Conditions;
use crate::discovery::{Accounts, Discoverer, Findings};
use crate::metrics::Meter;
use crate::rest::{BetaRow, QuoteToken};
use crate::session::{Session, Stall};
use crate::{Error, TastyConfig};

use accounts::Roll;
use positions::Watch;
use renewal::Renewal;

/// How long the last words of a session may take.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// Configured accounts that are not open, masked.
    pub(crate) missing_accounts: &'a str,
    /// Whether positions have been read for this session.
    pub(crate) positions_are_new: bool,
    pub(crate) token: QuoteToken,
}

/// What goes on beside the stream.
enum Job {
    /// An account has been read.
    Read(Findings),
    /// The API has said, or not, which accounts are open.
    Accounts(Result<Accounts, Error>),
    /// The account streamer has something to say.
    Signal(Box<Link>, Signal),
    /// The API has answered, or not, about the betas of these underlyings.
    Betas(Vec<String>, Result<Vec<BetaRow>, Error>),
    /// The API has answered, or not, with a quote token for the next session.
    Token(Box<Result<QuoteToken, Error>>),
}

/// One session from its first byte to its last.
pub(crate) struct Driver<'a> {
    tools: Tools<'a>,
    session: Session,
    book: &'a mut Book,
    handover: Handover<'a>,
    outbound: Outbound,
    refresher: Refresher,
    watch: Watch,
    roll: Roll,
    renewal: Renewal,
    /// Each is looked at only when it has woken, so that a busy stream does not pay for them.
    jobs: FuturesUnordered<BoxFuture<'static, Job>>,
    streaming: bool,
    conditions: Option<Conditions<'a>>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(tools: Tools<'a>, mut session: Session, book: &'a mut Book) -> Self {
        let now = Instant::now();
        session.want(&book.wanted(), now.into_std());
        book.betas.hold(book.beta_names(), now.into_std());
        book.betas.begin(now.into_std());
        let mut refresher = Refresher::new(&tools.accounts, tools.config.position_poll, now.into_std());
        if !tools.positions_are_new {
            refresher.touch_all(now.into_std());
        }
        Self {
            refresher,
            roll: Roll::new(&tools.accounts, tools.positions_are_new, tools.config, now),
            renewal: Renewal::new(&tools.token, tools.config.quote_token_use),
            handover: Handover::new(tools.cx.events()),
            outbound: Outbound::new(tools.config.step_timeout),
            tools,
            session,
            book,
            watch: Watch::default(),
            jobs: FuturesUnordered::new(),
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

    /// The channel for whose sake the session has ended, if it was one's silence.
    pub(crate) const fn stall(&self) -> Option<Stall> {
        self.session.stall()
    }

    /// For how long each channel has brought events of its own accord.
    pub(crate) fn data_came_for(&self) -> [Duration; 2] {
        self.session.data_came_for()
    }

    /// Runs the session to its end and closes the socket in good order if that is possible within a second.
    pub(crate) async fn run(&mut self, socket: Socket) -> Result<SessionEnd, Error> {
        let (mut sink, mut stream) = socket.split();
        self.watch_accounts();
        let result = self.stream(&mut sink, &mut stream).await;
        if result.is_ok() {
            self.outbound.take();
        }
        let leaving = self.leave_account_streamer();
        let farewell = async {
            while let Some(text) = self.outbound.take().or_else(|| self.session.take_last_word()) {
                sink.send(Message::text(text)).await?;
            }
            sink.close().await
        };
        // The connection may be broken already; it is dropped either way.
        let (farewell, ()) = tokio::join!(timeout(FAREWELL, farewell), leaving);
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
            if let Some(end) = self.tick(now)? {
                return Ok(end);
            }
            let blocked = self.handover.has_events(&self.session);
            self.arm(sleep.as_mut(), now);
            tokio::select! {
                biased;
                () = &mut cancelled => return Ok(SessionEnd::Cancelled),
                progress = self.outbound.advance(sink), if self.outbound.is_busy() => match progress {
                    Ok(true) => self.report_subscriptions(),
                    Ok(false) => {}
                    Err(error) => {
                        return self.hear_last_words(stream).and_then(|end| end.ok_or_else(|| self.broken(error)));
                    }
                },
                permit = cx.events().reserve(), if blocked => match (permit, self.handover.next_event(&mut self.session)) {
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

    /// Does what is due; gives the end when the time has come for it.
    fn tick(&mut self, now: Instant) -> Result<Option<SessionEnd>, Error> {
        if self.renew(now) || self.roll.has_changed() {
            return Ok(Some(SessionEnd::Closed));
        }
        if self.outbound.is_overdue(now) {
            return Err(Error::StepTimeout { step: "progress in writing", after: self.tools.config.step_timeout });
        }
        self.session.on_tick(now.into_std(), !self.handover.has_events(&self.session))?;
        self.outbound.fill(|| self.session.poll_output(now.into_std()));
        self.start_reads(now);
        self.ask_for_accounts(now);
        self.ask_for_betas(now);
        let silent = self.session.take_newly_silent();
        if !silent.is_empty() {
            tracing::warn!(symbols = ?silent, "subscribed options without any event; asking for their symbols again");
            self.tools.discoverer.doubt(silent);
            self.report_subscriptions();
        }
        self.announce(now);
        Ok(None)
    }

    /// Sets the timer to the next thing that is due. A timer that rings too early does no harm, so that the frequent
    /// case, a frame that moves a deadline back, does not touch it.
    fn arm(&self, mut sleep: Pin<&mut Sleep>, now: Instant) {
        let mut due = self.outbound.postpone(Instant::from_std(self.session.deadline()), now).min(self.renewal.due());
        let others = [
            self.outbound.due(),
            self.handover.deadline(),
            self.positions_due(now),
            self.betas_due(now),
            self.roll.due(),
        ];
        for other in others.into_iter().flatten() {
            due = due.min(other);
        }
        if due < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
    }
}
