//! The source: open the brokerage session, discover, dial, drive.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_net::ending::{is_protocol_violation, report_gap, report_gap_since};
use broker_net::stall::StallPatience;
use broker_net::ws::Socket;
use greeks_model::{
    AccountId, GapReason, PositionSnapshot, QuoteSource, Retry, SessionEnd, SourceContext, SourceError, SourceEvent,
    SourceId,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

use crate::book::Book;
use crate::brokerage::{self, Identity};
use crate::config::Endpoints;
use crate::dial::dial;
use crate::discovery::{Chosen, Discoverer, Findings, Shortfall, masked};
use crate::driver::{Driver, Tools};
use crate::metrics::Meter;
use crate::rest::Rest;
use crate::session::{Counts, Session, Settings};
use crate::{Error, IbkrConfig};

/// The name of this source, as in `greek_snapshots.broker`.
const SOURCE: &str = "ibkr";

/// How long the accounts are not listed again when a configured one is not among them.
const ACCOUNTS_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to get a brokerage session that IBKR does not open: those who ask on and on
/// during its nightly reset seem to earn a block.
const LONGEST_NIGHT_PAUSE: Duration = Duration::from_secs(300);

/// The option positions of an IBKR user as a stream of Greeks.
#[derive(Debug)]
pub struct IbkrSource {
    id: SourceId,
    config: IbkrConfig,
    endpoints: Endpoints,
    tls: Arc<rustls::ClientConfig>,
    discoverer: Arc<Discoverer>,
    book: Book,
    meter: Meter,
    /// Sessions in a row for which IBKR opened no brokerage session.
    refused: u32,
    patience: StallPatience,
    /// Whether the session before broke on a text that is none.
    without_executions: bool,
}

impl IbkrSource {
    /// A source that has not begun. `tls` is used for REST and websocket alike and names its own crypto provider; see
    /// [`tls`](crate::tls) for one that knows a gateway's certificate again.
    ///
    /// # Errors
    /// [`Error::Configuration`] when a setting cannot work, [`Error::Client`] when the HTTP client cannot be built.
    pub fn new(config: IbkrConfig, tls: Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let id = SourceId::new(SOURCE).map_err(|error| Error::configuration("source", error.to_string()))?;
        let endpoints = config.checked()?;
        let rest = Rest::new(&config, endpoints.api.clone(), &tls)?;
        Ok(Self {
            id,
            discoverer: Arc::new(Discoverer::new(rest)),
            patience: StallPatience::new(config.stalled_after),
            config,
            endpoints,
            tls,
            book: Book::default(),
            meter: Meter::new(SOURCE),
            refused: 0,
            without_executions: false,
        })
    }

    async fn session(&mut self, cx: &SourceContext) -> Result<SessionEnd, Error> {
        let ready = tokio::select! {
            biased;
            () = cx.cancelled() => return Ok(SessionEnd::Cancelled),
            ready = self.prepare(cx) => ready?,
        };
        let Some(Ready { accounts, held, identity, session, socket }) = ready else {
            return Ok(SessionEnd::Cancelled);
        };
        let Chosen { ids: accounts, shortfall } = accounts;
        let discoverer = &self.discoverer;
        let tools = Tools { cx, config: &self.config, discoverer, meter: &self.meter, accounts, shortfall };
        let mut driver = Driver::new(tools, identity, session, &mut self.book, &held);
        let result = driver.run(socket).await;
        // They went with the connection.
        self.meter.subscriptions(Counts::default());
        let streamed = driver.has_streamed();
        self.patience.ended(matches!(result, Err(Error::Stalled { .. })), driver.data_came_for());
        self.without_executions = result.as_ref().is_err_and(is_no_text);
        if self.without_executions {
            // Such texts were seen among them. Where each subscription is answered by one, no session would last; fills
            // show in the positions all the same.
            tracing::warn!("the gateway sent a text that is no UTF-8: the next session goes without executions");
        }
        match result.as_ref().err().filter(|_| streamed) {
            Some(Error::Unauthenticated | Error::LoginRequired { .. } | Error::Competing { .. }) => {
                report_gap_since(cx, driver.sound_until(), GapReason::Disconnected).await;
            }
            // The websocket of a session that is gone has heartbeats to the end.
            None if streamed && driver.was_replaced() => {
                report_gap_since(cx, driver.sound_until(), GapReason::Disconnected).await;
            }
            Some(Error::Stalled { .. }) => {
                if let Some(since) = driver.quiet_since() {
                    report_gap_since(cx, since, GapReason::Silence).await;
                }
            }
            other => {
                if let Some(reason) = other.and_then(gap_reason) {
                    report_gap(cx, reason).await;
                }
            }
        }
        result
    }

    /// Everything before the stream, in the order that the gateway needs. `None` when nobody takes the events any more.
    async fn prepare(&mut self, cx: &SourceContext) -> Result<Option<Ready>, Error> {
        let rest = self.discoverer.rest();
        let opened = brokerage::open(rest, &self.config, self.config.compete).await?;
        let accounts = self.discoverer.accounts(&self.config).await?;
        if let Shortfall::NotFound(missing) = &accounts.shortfall {
            let missing = masked(missing);
            tracing::warn!(missing, "configured accounts are not among those of this login; the others are streamed");
        }
        let gone = self.book.keep(&accounts.ids);
        if !gone.is_empty() && cx.events().send(SourceEvent::Unfollowed(gone)).await.is_err() {
            return Ok(None);
        }
        let Some(held) = self.read_positions(&accounts.ids, cx).await? else { return Ok(None) };
        let identity = brokerage::identify(self.discoverer.rest(), &opened, self.config.compete).await?;
        let socket = dial(&self.config, &self.endpoints, &identity.session, &self.tls).await?;
        tracing::info!(gateway = self.endpoints.gateway(), accounts = accounts.ids.len(), "connected to the gateway");
        let settings = Settings {
            stalled_after: self.patience.next(),
            executions: !self.without_executions,
            ..session_settings(&self.config, cx.keep_payload())
        };
        let session = Session::new(settings, identity.session.clone(), Instant::now().into_std());
        Ok(Some(Ready { accounts, held, identity, session, socket }))
    }

    /// Reads and tells what each account holds; one that cannot be read does not hide the others.
    async fn read_positions(
        &mut self,
        accounts: &[AccountId],
        cx: &SourceContext,
    ) -> Result<Option<Vec<PositionSnapshot>>, Error> {
        let mut all = Vec::with_capacity(accounts.len());
        for account in accounts {
            let findings = Arc::clone(&self.discoverer).look(account.clone(), cx.clone()).await;
            match findings.result {
                // No other call will fare better.
                Err(error) if !self.is_of_one_call(&error).await => return Err(error),
                result => all.push(Findings { account: findings.account, result }),
            }
        }
        if self.book.is_empty() && !all.is_empty() && all.iter().all(|findings| findings.result.is_err()) {
            // Not one account could be read, now or before: there is nothing to stream for.
            let error = all.into_iter().find_map(|findings| findings.result.err());
            return error.map_or(Ok(None), Err);
        }
        let mut held = Vec::with_capacity(all.len());
        for event in self.book.update(all, cx) {
            if let SourceEvent::Positions(snapshot) = &event {
                held.push(snapshot.clone());
            }
            if cx.events().send(event).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(held))
    }

    /// Whether a failed read says nothing of the session, and of the calls to come: the portfolio has a tier of its own at
    /// the gateway, which may be down alone. What is held as far as is known can be streamed without it.
    async fn is_of_one_call(&self, error: &Error) -> bool {
        match error {
            Error::LoginRequired { .. } | Error::Maintenance { .. } => {
                let tickle = self.discoverer.rest().tickle().await;
                tickle.is_ok_and(|tickle| tickle.auth.is_none_or(|status| status.is_healthy()))
            }
            Error::RateLimited { .. } => !self.book.is_empty(),
            error => !error.needs_operator(),
        }
    }

    /// Asks more rarely when IBKR opens no brokerage session again and again, as in its nightly reset.
    fn judge(&mut self, error: Error) -> SourceError {
        if !matches!(error, Error::NoBrokerageSession { .. }) {
            self.refused = 0;
            return match error {
                // Just after a login the list of accounts may not be whole.
                Error::UnknownAccount { .. } => SourceError::new(Retry::After(ACCOUNTS_PAUSE), error),
                error => error.into(),
            };
        }
        self.refused = self.refused.saturating_add(1);
        match self.refused.checked_sub(2) {
            None => error.into(),
            Some(times) => {
                let pause = self.config.maintenance_pause;
                let longer = pause.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX));
                SourceError::new(Retry::After(longer.min(LONGEST_NIGHT_PAUSE.max(pause))), error)
            }
        }
    }
}

#[async_trait]
impl QuoteSource for IbkrSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
        cx.set_connecting()?;
        match self.session(cx).await {
            Ok(end) => {
                self.refused = 0;
                Ok(end)
            }
            Err(error) => Err(self.judge(error)),
        }
    }
}

/// What a session begins with.
struct Ready {
    accounts: Chosen,
    held: Vec<PositionSnapshot>,
    identity: Identity,
    session: Session,
    socket: Socket,
}

pub(crate) const fn session_settings(config: &IbkrConfig, keep_payload: bool) -> Settings {
    Settings {
        step_timeout: config.step_timeout,
        tic_every: config.tic_every,
        heartbeat_timeout: config.heartbeat_timeout,
        renew_after: config.renew_after,
        subscription_life: config.subscription_life,
        first_frame_after: config.first_frame_after,
        quiet_after: config.quiet_after,
        stalled_after: config.stalled_after,
        subscribe_spacing: config.subscribe_spacing,
        lines: config.market_data_lines,
        keep_payload,
        executions: true,
    }
}

/// Whether the connection broke on a text frame with bytes that are no UTF-8.
fn is_no_text(error: &Error) -> bool {
    matches!(error, Error::ConnectionLost { source: Some(source) } if matches!(**source, tungstenite::Error::Utf8(_)))
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
