//! The source: dial, authenticate, discover, drive.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_net::ending::{is_protocol_violation, report_gap, report_gap_since};
use broker_net::stall::StallPatience;
use broker_net::ws::{DialSettings, Socket, dial};
use greeks_model::{GapReason, QuoteSource, Retry, SessionEnd, SourceContext, SourceError, SourceEvent, SourceId};
use reqwest::Url;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::book::Book;
use crate::config::Endpoints;
use crate::discovery::{Accounts, Discoverer, masked};
use crate::driver::{Driver, Tools};
use crate::metrics::Meter;
use crate::rest::{Level, QuoteToken, Rest};
use crate::session::{ChunkLimits, Session, Settings};
use crate::{Error, TastyConfig};

/// The name of this source, as in `greek_snapshots.broker`.
const SOURCE: &str = "tastytrade";
/// The DXLink protocol this client speaks.
const PROTOCOL: &str = "0.1";
/// A token serves again after so many sessions in a row that the streamer has lost.
const MOST_LOST: u32 = 2;
/// After the second refusal of a quote token in a row; doubles from one to the next.
const REFUSAL_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_REFUSAL_PAUSE: Duration = Duration::from_secs(900);
/// The code of a websocket closed because a message was too big (RFC 6455, section 7.4.1).
const MESSAGE_TOO_BIG: u16 = 1009;
/// Subscription messages are not made smaller than this.
const SMALLEST_CHUNK: usize = 1 << 10;

/// tastytrade's option positions as a stream of Greeks.
#[derive(Debug)]
pub struct TastySource {
    id: SourceId,
    config: TastyConfig,
    tls: Arc<rustls::ClientConfig>,
    account_streamer: Option<Url>,
    discoverer: Arc<Discoverer>,
    book: Book,
    meter: Meter,
    /// A token that was fetched for the next session, or was not at fault when its session ended before it began.
    token: Option<QuoteToken>,
    /// What the last session began with, for a time when the API says nothing.
    last: Option<Known>,
    /// Sessions lost in a row with the same token.
    lost: u32,
    /// Quote tokens refused in a row.
    refused: u32,
    /// Largest subscription message, as far as learnt.
    chunk_bytes: usize,
    /// With each channel that is quiet.
    patience: [StallPatience; 2],
}

impl TastySource {
    /// A source that has not begun. `tls` is used for REST and websocket alike and names its own crypto provider.
    ///
    /// # Errors
    /// [`Error::Configuration`] when a setting cannot work, [`Error::Client`] when the HTTP client cannot be built.
    pub fn new(config: TastyConfig, tls: Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let id = SourceId::new(SOURCE).map_err(|error| Error::configuration("source", error.to_string()))?;
        let Endpoints { api, account_streamer } = config.checked()?;
        Ok(Self {
            id,
            chunk_bytes: config.chunk_bytes,
            patience: [StallPatience::new(config.quiet_after); 2],
            discoverer: Arc::new(Discoverer::new(Rest::new(&config, api, &tls)?)),
            config,
            tls,
            account_streamer,
            book: Book::default(),
            meter: Meter::new(SOURCE),
            token: None,
            last: None,
            lost: 0,
            refused: 0,
        })
    }

    async fn session(&mut self, cx: &SourceContext) -> Result<SessionEnd, Error> {
        let ready = tokio::select! {
            biased;
            () = cx.cancelled() => return Ok(SessionEnd::Cancelled),
            ready = self.prepare(cx) => ready?,
        };
        let Some(Ready { known: Known { accounts, token }, positions_are_new, session, socket }) = ready else {
            return Ok(SessionEnd::Cancelled);
        };
        self.last = Some(Known { accounts: accounts.clone(), token: token.clone() });
        let missing = masked(&accounts.missing);
        let tools = Tools {
            cx,
            config: &self.config,
            discoverer: &self.discoverer,
            tls: &self.tls,
            meter: &self.meter,
            account_streamer: self.account_streamer.as_ref(),
            accounts: accounts.ids,
            missing_accounts: &missing,
            positions_are_new,
            token: token.clone(),
        };
        self.token = Some(token);
        let mut driver = Driver::new(tools, session, &mut self.book);
        let result = driver.run(socket).await;
        // They went with the connection.
        self.meter.subscriptions(0, 0, 0);
        let (streamed, authorized) = (driver.has_streamed(), driver.is_authorized());
        if authorized {
            (self.refused, self.lost) = (0, 0);
        }
        let stall = driver.stall();
        for ((i, patience), came_for) in self.patience.iter_mut().enumerate().zip(driver.data_came_for()) {
            patience.ended(stall.is_some_and(|stall| stall.channel == i), came_for);
        }
        if let Some(stall) = stall.filter(|_| streamed) {
            report_gap_since(cx, stall.since, GapReason::Silence).await;
        } else if let Some(reason) = result.as_ref().err().filter(|_| streamed).and_then(gap_reason) {
            report_gap(cx, reason).await;
        }
        if matches!(result, Ok(SessionEnd::Closed)) {
            self.token = driver.take_next_token();
        }
        result
    }

    /// Everything before the stream. `None` when nobody takes the events any more.
    async fn prepare(&mut self, cx: &SourceContext) -> Result<Option<Ready>, Error> {
        let (accounts, old_token) = match self.learn(cx).await {
            Ok(Some(accounts)) => (accounts, None),
            Ok(None) => return Ok(None),
            Err(error) => {
                let Known { accounts, token } = self.remember(error)?;
                self.book.doubt();
                (accounts, Some(token))
            }
        };
        let positions_are_new = old_token.is_none();
        let in_time = |token: &QuoteToken| Instant::now() < token.renew_at(self.config.quote_token_use);
        let token = match self.token.take().filter(in_time).or(old_token) {
            Some(token) => token,
            None => match self.discoverer.rest().quote_token(cx.now()).await {
                Ok(token) => token,
                Err(error) => self.remember(error)?.token,
            },
        };
        let socket = dial(&token.url, &dial_settings(&self.config), &self.tls).await?;
        tracing::info!(host = token.url.host_str(), accounts = accounts.ids.len(), "connected to the streamer");
        let settings = Settings {
            chunk: ChunkLimits { bytes: self.chunk_bytes, symbols: self.config.chunk_symbols },
            delayed: token.level == Level::Demo,
            quiet_after: self.patience.each_ref().map(StallPatience::next),
            uninvited: self.lost == 0,
            keep_payload: cx.keep_payload(),
            ..session_settings(&self.config, token.secret.clone())
        };
        let session = Session::new(settings, Instant::now().into_std());
        Ok(Some(Ready { known: Known { accounts, token }, positions_are_new, session, socket }))
    }

    /// Asks whose positions are streamed, and for the positions. `None` when nobody takes the events any more.
    async fn learn(&mut self, cx: &SourceContext) -> Result<Option<Accounts>, Error> {
        self.discoverer.begin();
        let accounts = self.discoverer.accounts(&self.config).await?;
        if !accounts.missing.is_empty() {
            let missing = masked(&accounts.missing);
            tracing::warn!(missing, "configured accounts are not open; the others are streamed");
        }
        let gone = self.book.keep(&accounts.ids);
        if !gone.is_empty() && cx.events().send(SourceEvent::Unfollowed(gone)).await.is_err() {
            return Ok(None);
        }
        let findings = Arc::clone(&self.discoverer).discover(accounts.ids.clone(), cx.clone()).await;
        if !findings.is_empty() && findings.iter().all(|it| it.result.is_err()) {
            // Not one account could be read: there is nothing to stream for.
            let error = findings.into_iter().find_map(|it| it.result.err());
            return error.map_or(Ok(None), Err);
        }
        self.book.watch(&self.config.benchmarks, cx);
        for event in self.book.update(findings, cx)? {
            if cx.events().send(event).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(accounts))
    }

    /// What the last session began with, when the API could not be asked and the streamer may well be there: an outage of
    /// the one is none of the other, as long as the token lives.
    fn remember(&self, error: Error) -> Result<Known, Error> {
        let in_time = |known: &&Known| Instant::now() < known.token.leave_at();
        let Some(known) = self.last.as_ref().filter(in_time).filter(|_| !error.needs_operator()) else {
            return Err(error);
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the API cannot be asked; what it said last is streamed with"
        );
        Ok(known.clone())
    }

    /// Draws the lessons of a failed session: smaller messages, or one immediate successor for a refused token.
    fn judge(&mut self, error: Error) -> SourceError {
        // A token outlives its session only when the streamer lost that session before it could judge the token.
        // One that loses session after session means the token by it.
        if matches!(error, Error::SessionNotFound) && self.lost < MOST_LOST {
            self.lost += 1;
        } else {
            if matches!(error, Error::Unauthorized | Error::SessionNotFound) {
                self.last = None;
            }
            (self.token, self.lost) = (None, 0);
        }
        if matches!(error, Error::Closed { code: MESSAGE_TOO_BIG, .. }) {
            self.chunk_bytes = (self.chunk_bytes / 2).max(SMALLEST_CHUNK.min(self.config.chunk_bytes));
            tracing::warn!(
                bytes = self.chunk_bytes,
                "a message was too big; smaller subscription messages from now on"
            );
        }
        if matches!(error, Error::Unauthorized) {
            self.refused = self.refused.saturating_add(1);
            return SourceError::new(after_refusals(self.refused), error);
        }
        error.into()
    }
}

#[async_trait]
impl QuoteSource for TastySource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
        cx.set_connecting()?;
        match self.session(cx).await {
            Ok(SessionEnd::Closed) => Ok(SessionEnd::Closed),
            Ok(end) => {
                self.token = None;
                Ok(end)
            }
            Err(error) => Err(self.judge(error)),
        }
    }
}

/// What has to be known for a session, besides what is held.
#[derive(Clone, Debug)]
struct Known {
    accounts: Accounts,
    token: QuoteToken,
}

/// What a session begins with.
struct Ready {
    known: Known,
    /// Whether they have just been read.
    positions_are_new: bool,
    session: Session,
    socket: Socket,
}

/// How the streamer is dialled.
pub(crate) fn dial_settings(config: &TastyConfig) -> DialSettings {
    DialSettings {
        user_agent: config.user_agent.clone(),
        headers: Vec::new(),
        max_message_bytes: config.max_message_bytes,
        within: config.step_timeout,
    }
}

/// The settings of a session with live data, whose payloads nobody keeps.
pub(crate) fn session_settings(config: &TastyConfig, token: SecretString) -> Settings {
    Settings {
        version: format!("{PROTOCOL}-{}", config.user_agent),
        token,
        step_timeout: config.step_timeout,
        keepalive: config.keepalive_timeout,
        silence_margin: config.silence_margin,
        greeks_aggregation: config.greeks_aggregation,
        underlying_aggregation: config.underlying_aggregation,
        head_start: config.head_start,
        chunk: ChunkLimits { bytes: config.chunk_bytes, symbols: config.chunk_symbols },
        chunk_pause: config.chunk_pause,
        silent_after: config.silent_after,
        quiet_after: [config.quiet_after; 2],
        delayed: false,
        uninvited: true,
        keep_payload: false,
    }
}

/// When to try again after so many quote tokens in a row were refused: the first one at once, with another. A streamer
/// that refuses fresh ones is not asked four times a minute for ever, and each is a call of the API.
fn after_refusals(refused: u32) -> Retry {
    let Some(doublings) = refused.checked_sub(2) else { return Retry::Now };
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    Retry::After(REFUSAL_PAUSE.saturating_mul(factor).min(LONGEST_REFUSAL_PAUSE))
}

/// The ends of a stream that say more than "disconnected", which its supervisor reports by itself.
fn gap_reason(error: &Error) -> Option<GapReason> {
    match error {
        Error::Silence { .. } => Some(GapReason::Silence),
        Error::MessageTooLarge { .. } => Some(GapReason::OversizedMessage),
        Error::ConnectionLost { source: Some(source) } if is_protocol_violation(source) => {
            Some(GapReason::ProtocolViolation)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_tokens_are_tried_ever_more_rarely() {
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        let expected = [Retry::Now, after(60), after(120), after(240), after(480), after(900), after(900)];
        for (refused, expected) in (1..).zip(expected) {
            assert_eq!(after_refusals(refused), expected, "{refused}");
        }
        assert_eq!(after_refusals(u32::MAX), after(900));
    }
}
