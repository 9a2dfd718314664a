//! One connection to the account streamer after the other, for the life of a DXLink session.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use broker_net::ws::{DialSettings, Socket, dial};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use greeks_model::AccountId;
use reqwest::Url;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::session::{Heard, Session, Settings};
use crate::Error;
use crate::discovery::Discoverer;
use crate::rest::AccessToken;

/// No message of this streamer comes near this size.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// What a link needs to know.
#[derive(Debug)]
pub(crate) struct LinkSettings {
    pub(crate) url: Url,
    pub(crate) accounts: Vec<AccountId>,
    /// `product/version`.
    pub(crate) user_agent: String,
    pub(crate) heartbeat: Duration,
    /// Limit for a dial, a write and an answer each.
    pub(crate) step_timeout: Duration,
}

/// What a link has to say.
#[derive(Debug)]
pub(crate) enum Signal {
    Heard {
        /// The accounts have just been taken. What changed before was not told: read all of them.
        acknowledged: bool,
        /// Accounts to read again.
        touched: Vec<AccountId>,
        unknown: u64,
        malformed: u64,
    },
    /// The connection broke or could not be made; the next try is planned.
    Lost { error: Error, pause: Duration },
    /// It was told to stop.
    Stopped,
}

/// The account streamer as seen by a driver, which calls [`Link::next`] again and again.
pub(crate) struct Link {
    settings: LinkSettings,
    discoverer: Arc<Discoverer>,
    tls: Arc<rustls::ClientConfig>,
    stop: CancellationToken,
    backoff: Backoff,
    /// The number of the access token last used.
    token: u64,
    /// The number of an access token that the streamer turned down.
    refused: Option<u64>,
    state: State,
}

enum State {
    Waiting { until: Instant },
    Standing(Box<Connection>),
}

struct Connection {
    socket: Socket,
    session: Session,
    /// The token for the next message, while it is fetched.
    token: Option<BoxFuture<'static, Result<AccessToken, Error>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Link {
    /// A link that dials as soon as it is asked for its first signal. `stop` ends it.
    pub(crate) fn new(
        settings: LinkSettings,
        discoverer: Arc<Discoverer>,
        tls: Arc<rustls::ClientConfig>,
        stop: CancellationToken,
    ) -> Self {
        let state = State::Waiting { until: Instant::now() };
        Self { settings, discoverer, tls, stop, backoff: Backoff::default(), token: 0, refused: None, state }
    }

    /// Keeps the connection until there is something to say.
    pub(crate) async fn next(mut self) -> (Self, Signal) {
        loop {
            let stop = self.stop.clone();
            let result = match &mut self.state {
                State::Waiting { until } => {
                    let until = *until;
                    let dialled = async {
                        sleep_until(until).await;
                        open(&self.settings, &self.tls).await
                    };
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return (self, Signal::Stopped),
                        connected = dialled => connected,
                    }
                    .map(|connection| {
                        self.state = State::Standing(Box::new(connection));
                        None
                    })
                }
                State::Standing(connection) => tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        // The caller limits the time; the connection may be broken already.
                        let closed = connection.socket.close(None).await;
                        tracing::debug!(orderly = closed.is_ok(), "account streamer left");
                        return (self, Signal::Stopped);
                    }
                    result = connection.attend(&self.discoverer, &mut self.token, self.refused, self.settings.step_timeout) => result,
                },
            };
            match result {
                Ok(None) => {}
                Ok(Some(Heard { acknowledged, touched, unknown, malformed })) => {
                    if acknowledged {
                        self.refused = None;
                        self.backoff.acknowledged(Instant::now().into_std());
                    }
                    return (self, Signal::Heard { acknowledged, touched, unknown, malformed });
                }
                Err(error) => {
                    // Another token is tried once: what is refused with it too is not refused for the token's sake.
                    if matches!(error, Error::AccountStreamer { .. }) && self.refused.is_none() {
                        self.refused = Some(self.token);
                    }
                    let now = Instant::now();
                    let pause = self.backoff.lost(now.into_std(), fastrand::f64());
                    self.state = State::Waiting { until: now + pause };
                    return (self, Signal::Lost { error, pause });
                }
            }
        }
    }
}

async fn open(settings: &LinkSettings, tls: &Arc<rustls::ClientConfig>) -> Result<Connection, Error> {
    let dialling = DialSettings {
        user_agent: settings.user_agent.clone(),
        headers: Vec::new(),
        max_message_bytes: MAX_MESSAGE_BYTES,
        within: settings.step_timeout,
    };
    let socket = dial(&settings.url, &dialling, tls).await?;
    let settings = Settings {
        accounts: settings.accounts.clone(),
        source: settings.user_agent.clone(),
        heartbeat: settings.heartbeat,
        answer_within: settings.step_timeout,
    };
    Ok(Connection { socket, session: Session::new(settings, Instant::now().into_std()), token: None })
}

impl Connection {
    /// Does one thing: says what is due, or takes what comes.
    async fn attend(
        &mut self,
        discoverer: &Arc<Discoverer>,
        token_number: &mut u64,
        refused: Option<u64>,
        write_within: Duration,
    ) -> Result<Option<Heard>, Error> {
        let now = Instant::now().into_std();
        self.session.on_tick(now)?;
        if self.token.is_none() && self.session.must_speak(now) {
            let discoverer = Arc::clone(discoverer);
            self.token = Some(async move { discoverer.rest().access_token(refused).await }.boxed());
        }
        let fetching = self.token.is_some();
        tokio::select! {
            token = fetched(&mut self.token) => {
                self.token = None;
                let token = token?;
                *token_number = token.number;
                let text = self.session.speak(&token.secret, Instant::now().into_std());
                match timeout(write_within, self.socket.send(Message::text(text))).await {
                    Ok(sent) => sent.map(|()| None).map_err(broken),
                    Err(_) => Err(Error::StepTimeout { step: "progress in writing", after: write_within }),
                }
            }
            () = sleep_until(Instant::from_std(self.session.deadline())), if !fetching => Ok(None),
            frame = self.socket.next() => match frame {
                Some(Ok(Message::Text(text))) => self.session.on_text(&text).map(Some),
                Some(Ok(Message::Binary(_))) => Ok(Some(Heard { malformed: 1, ..Heard::default() })),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
                Some(Ok(Message::Close(close))) => Err(Error::closed(close)),
                Some(Err(error)) => Err(broken(error)),
                None => Err(Error::ConnectionLost { source: None }),
            },
        }
    }
}

fn broken(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Capacity(tungstenite::error::CapacityError::MessageTooLong { .. }) => {
            Error::MessageTooLarge { limit: MAX_MESSAGE_BYTES }
        }
        other => Error::ConnectionLost { source: Some(Box::new(other)) },
    }
}

async fn fetched(token: &mut Option<BoxFuture<'static, Result<AccessToken, Error>>>) -> Result<AccessToken, Error> {
    match token {
        Some(token) => token.await,
        None => pending().await,
    }
}
