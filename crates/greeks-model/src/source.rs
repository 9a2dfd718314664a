//! The trait every broker implements, and what it is given to work with.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    IllegalTransition, Instrument, InstrumentId, InstrumentTable, SessionState, SourceActivity, SourceEvent, SourceId,
    SourceStatus, UnixNanos,
};

/// A broker's stream of quotes.
///
/// # What a session says of itself
///
/// Whoever runs a session sees nothing of its events, which go straight to the pipeline. By the state and the activity it
/// tells a stream from a failed attempt: the gap after a lost stream, the end of the backoff and the status that people see
/// all depend on them. So a session
///
/// - announces [`SessionState::Connected`] as soon as it streams, and [`SessionState::Degraded`] while something is wrong;
/// - counts every message with data by [`SourceActivity::message`] and every other sign of life by
///   [`SourceActivity::heartbeat`]: a gap begins at the last of them;
/// - sends [`SourceEvent::Positions`] before the quotes of what is held, and again whenever that has changed.
///
/// [`SessionState::Connecting`], the begin of an epoch and the gap after its end are the supervisor's to tell.
///
/// ```
/// use greeks_model::{
///     async_trait, AccountId, Decimal, Instrument, Position, PositionSnapshot, QuoteSource, QuoteUpdate, SessionEnd,
///     SessionState, SourceContext, SourceError, SourceEvent, SourceId, Underlying,
/// };
///
/// /// One option, whose delta is told once a second.
/// struct Ticker {
///     id: SourceId,
/// }
///
/// #[async_trait]
/// impl QuoteSource for Ticker {
///     fn id(&self) -> &SourceId {
///         &self.id
///     }
///
///     async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
///         let contract = "SPXW  261124P06650000".parse().expect("an OSI symbol");
///         let instrument = cx.instrument(&Instrument::Option(contract));
///         let underlying = cx.instrument(&Instrument::Underlying(Underlying::new("SPX")));
///         let held = Position { instrument, underlying, quantity: 1.0, multiplier: Decimal::ONE_HUNDRED };
///         let account_id = AccountId::new("A1").expect("an account");
///         let positions = PositionSnapshot { account_id, observed_at: cx.now(), positions: vec![held] };
///         let mut event = SourceEvent::Positions(positions);
///         cx.set_state(SessionState::Connected)?;
///         loop {
///             tokio::select! {
///                 () = cx.cancelled() => return Ok(SessionEnd::Cancelled),
///                 sent = cx.events().send(event) => if sent.is_err() {
///                     return Ok(SessionEnd::Cancelled);
///                 },
///             }
///             tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///             let now = cx.now();
///             cx.activity().message(now);
///             let mut update = QuoteUpdate::new(instrument, now);
///             update.delta = Some(-0.25);
///             event = SourceEvent::Quote { update, payload: None };
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait QuoteSource: Send {
    /// The source's name.
    fn id(&self) -> &SourceId;

    /// One session: dial, authenticate, discover positions, subscribe, stream until it ends. Ends soon after
    /// [`SourceContext::cancelled`] resolves. Never waits before it begins: when to try again is the supervisor's
    /// choice.
    ///
    /// # Errors
    /// [`SourceError`] when the session failed; its [`Retry`] says how to go on.
    async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError>;
}

/// How a session ended without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The source was asked to stop.
    Cancelled,
    /// The broker closed the connection in good order, or it was closed to renew credentials: begin again at once.
    Closed,
}

/// Tells the time. Libraries take it from outside, so that tests can set it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock now.
    fn now(&self) -> UnixNanos;

    /// The time since a moment that stays the same for the life of the clock, sleep of the machine included: what nobody
    /// sets. `None` where that cannot be told.
    fn elapsed(&self) -> Option<Duration> {
        None
    }
}

/// The ends that a source's supervisor holds or hands on: what a [`SourceContext`] is made of.
#[derive(Clone, Debug)]
pub struct SourceLink {
    /// Where events go: bounded, with credit of the source's own.
    pub events: mpsc::Sender<SourceEvent>,
    /// Where state goes: readable when queues are full.
    pub status: watch::Sender<SourceStatus>,
    /// Where counters go.
    pub activity: Arc<SourceActivity>,
    /// Resolves when the source is to stop.
    pub cancel: CancellationToken,
    /// Numbers of instruments, shared by all sources of the process.
    pub instruments: Arc<InstrumentTable>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether quotes are to carry their raw event.
    pub keep_payload: bool,
}

/// What a source is given for its sessions.
#[derive(Clone, Debug)]
pub struct SourceContext {
    link: SourceLink,
}

impl SourceContext {
    /// A context over these ends.
    #[must_use]
    pub const fn new(link: SourceLink) -> Self {
        Self { link }
    }

    /// The channel for events. When it is full, stop reading the socket but keep heartbeats going, and report
    /// [`SessionState::Degraded`].
    #[must_use]
    pub const fn events(&self) -> &mpsc::Sender<SourceEvent> {
        &self.link.events
    }

    /// The number of `instrument` for the life of the process.
    #[must_use]
    pub fn instrument(&self, instrument: &Instrument) -> InstrumentId {
        self.link.instruments.intern(instrument)
    }

    /// The time, for `received_at`.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.link.clock.now()
    }

    /// Whether [`SourceEvent::Quote`] is to carry the raw event.
    #[must_use]
    pub const fn keep_payload(&self) -> bool {
        self.link.keep_payload
    }

    /// Counters to keep while running.
    #[must_use]
    pub fn activity(&self) -> &SourceActivity {
        &self.link.activity
    }

    /// Announces a new state.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the state does not follow from the present one; nothing changes then.
    pub fn set_state(&self, next: SessionState) -> Result<(), IllegalTransition> {
        let mut outcome = Ok(());
        self.link.status.send_if_modified(|status| {
            if status.state == next {
                return false;
            }
            if !status.state.may_become(&next) {
                outcome = Err(IllegalTransition { from: status.state.as_str(), to: next.as_str() });
                return false;
            }
            status.state = next;
            true
        });
        outcome
    }

    /// Announces that a session begins. A caller without a supervisor may come straight from one that streamed: then its end
    /// is announced first.
    ///
    /// # Errors
    /// [`IllegalTransition`] when no session may begin here.
    pub fn set_connecting(&self) -> Result<(), IllegalTransition> {
        self.set_state(SessionState::Connecting).or_else(|_| {
            self.set_state(SessionState::Disconnected { retry_at: None })?;
            self.set_state(SessionState::Connecting)
        })
    }

    /// Resolves when the source is to stop.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn cancelled(&self) {
        self.link.cancel.cancelled().await;
    }

    /// The token behind [`SourceContext::cancelled`], for parts of a source that run beside each other.
    #[must_use]
    pub const fn cancel_token(&self) -> &CancellationToken {
        &self.link.cancel
    }
}

/// When to begin the next session after a failed one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// At once: the fault is gone already.
    Now,
    /// After a growing, jittered delay.
    Backoff,
    /// Not before this delay has passed: the broker said so.
    After(Duration),
    /// Only when a person has acted.
    Operator(OperatorReason),
}

/// What a person has to do before a source can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperatorReason {
    /// The broker refused the credentials.
    CredentialsRejected,
    /// A person has to log in at the broker.
    LoginRequired,
    /// The configuration asks for something the broker does not have.
    Configuration,
    /// The other side is not who it should be.
    UntrustedPeer,
    /// The one session that the broker allows is in use elsewhere.
    SessionTaken,
}

impl OperatorReason {
    /// The name used in the status document and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CredentialsRejected => "credentials_rejected",
            Self::LoginRequired => "login_required",
            Self::Configuration => "configuration",
            Self::UntrustedPeer => "untrusted_peer",
            Self::SessionTaken => "session_taken",
        }
    }
}

/// A session failed.
#[derive(Debug, thiserror::Error)]
#[error("the session failed")]
pub struct SourceError {
    /// When to try again.
    pub retry: Retry,
    /// What happened; without secrets.
    #[source]
    pub cause: Box<dyn StdError + Send + Sync>,
}

impl SourceError {
    /// A failure with its cause.
    pub fn new(retry: Retry, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { retry, cause: cause.into() }
    }
}

impl From<IllegalTransition> for SourceError {
    fn from(error: IllegalTransition) -> Self {
        Self::new(Retry::Backoff, error)
    }
}
