//! A look at everything a session needs, without disturbing one that runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker_net::ws::Socket;
use futures_util::{SinkExt, StreamExt};
use greeks_model::{
    AccountId, Clock, InstrumentTable, SourceActivity, SourceContext, SourceLink, SourceStatus, UnixNanos,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::book::Book;
use crate::brokerage::{self, Opened};
use crate::conditions::{ACCOUNTS_NOT_TOLD, NOT_ACKNOWLEDGED};
use crate::config::Endpoints;
use crate::dial::dial;
use crate::discovery::{Chosen, Discoverer, Findings, Shortfall, masked};
use crate::rest::Rest;
use crate::session::{Report, Role, Session, Settings, Wanted};
use crate::source::session_settings;
use crate::{Error, IbkrConfig};

/// How much slower than a source a check calls: both together have to stay below the gateway's limit.
const SLOWER: u32 = 4;
/// The longest that an answer to a subscription is waited for; first frames come within a second.
const LONGEST_SAMPLE: Duration = Duration::from_secs(10);
/// How long the socket may take to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// What [`check`] found. `Display` gives lines for people, with account numbers masked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Scheme, host and port of the gateway.
    pub gateway: String,
    /// How the brokerage session fares.
    pub brokerage: Brokerage,
    /// The accounts that would be streamed.
    pub accounts: Vec<AccountId>,
    /// Whether an advisor has others, which the gateway does not tell.
    pub accounts_not_told: bool,
    /// Configured accounts that are not among those of the login.
    pub accounts_not_found: Vec<AccountId>,
    /// Accounts whose positions need the brokerage session to be understood, where it is in use elsewhere.
    pub accounts_not_read: Vec<AccountId>,
    /// Open option positions in the others.
    pub option_positions: usize,
    /// Option positions that cannot be understood.
    pub skipped_positions: usize,
    /// What one held option, and what it is written on, gave.
    pub market_data: MarketData,
}

/// How the brokerage session fares, beside the login.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Brokerage {
    /// It was open.
    Open,
    /// It was not; now it is.
    Opened,
    /// Another login of the user has it. A source may take it over, a check never does.
    InUseElsewhere {
        /// What the gateway said.
        reason: String,
    },
}

/// What a subscription of one held option gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarketData {
    /// There was nothing to try: no option position, or no brokerage session.
    NotTried,
    /// Live data.
    Live,
    /// Delayed data.
    Delayed,
    /// Frozen data, as outside trading hours.
    Frozen,
    /// The user has no permission for the data of the option, or of its underlying.
    NotPermitted,
    /// The user has not signed IBKR's Market Data API Acknowledgement.
    NotAcknowledged,
    /// Data of the option, and none of what it is written on.
    UnderlyingSilent,
    /// Nothing came.
    Silent,
}

impl MarketData {
    const fn words(self) -> &'static str {
        match self {
            Self::NotTried => "not tried",
            Self::Live => "live",
            Self::Delayed => "delayed: subscribe to live data at IBKR",
            Self::Frozen => "frozen, as outside trading hours",
            Self::NotPermitted => {
                "no permission: subscribe at IBKR to the data of the options and of what they are written on"
            }
            Self::NotAcknowledged => NOT_ACKNOWLEDGED,
            Self::UnderlyingSilent => "of the option alone: without its underlying's there will be no Greeks",
            Self::Silent => "nothing came: is a market data line left for this user?",
        }
    }
}

impl fmt::Display for Brokerage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Opened => f.write_str("opened just now"),
            Self::InUseElsewhere { reason } => write!(f, "in use by another login ({reason}); it will be taken over"),
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gateway: {}, logged in", self.gateway)?;
        writeln!(f, "brokerage session: {}", self.brokerage)?;
        writeln!(f, "accounts: {}", if self.accounts.is_empty() { "none".into() } else { masked(&self.accounts) })?;
        if self.accounts_not_told {
            writeln!(f, "accounts missing: {ACCOUNTS_NOT_TOLD}")?;
        }
        if !self.accounts_not_found.is_empty() {
            writeln!(f, "accounts missing: {} are not among those of this login", masked(&self.accounts_not_found))?;
        }
        if !self.accounts_not_read.is_empty() {
            let accounts = masked(&self.accounts_not_read);
            writeln!(f, "positions not looked at: {accounts}, for which the brokerage session is needed")?;
        }
        writeln!(f, "option positions: {}, not understood: {}", self.option_positions, self.skipped_positions)?;
        write!(f, "market data: {}", self.market_data.words())
    }
}

/// Tries the gateway, the login, the brokerage session, the accounts and their positions, and subscribes to one held
/// option for some seconds. Calls more slowly than a source does, takes no session away from another login and ends no
/// subscription, so that it can run beside a source. `now` is the wall clock.
///
/// # Errors
/// The first thing that fails, with what to do about it in its text. A session in use elsewhere is no error where the
/// configuration allows a source to take it over.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn check(config: &IbkrConfig, tls: &Arc<rustls::ClientConfig>, now: UnixNanos) -> Result<CheckReport, Error> {
    let endpoints = config.checked()?;
    let mut config = config.clone();
    config.rest_spacing = config.rest_spacing.saturating_mul(SLOWER);
    config.rest_burst = 1;
    // It is for the whole of a source, and two contracts are looked at.
    config.market_data_lines = None;
    let discoverer = Arc::new(Discoverer::new(Rest::new(&config, endpoints.api.clone(), tls)?));
    let (opened, brokerage) = match brokerage::open(discoverer.rest(), &config, false).await {
        Ok(opened) => {
            let state = if opened.initialised { Brokerage::Opened } else { Brokerage::Open };
            (Some(opened), state)
        }
        Err(Error::Competing { reason }) if config.compete => (None, Brokerage::InUseElsewhere { reason }),
        Err(error) => return Err(error),
    };
    let Chosen { ids: accounts, shortfall } = discoverer.accounts(&config).await?;
    let cx = context(now);
    let (mut book, mut option_positions, mut skipped_positions) = (Book::default(), 0, 0);
    let mut accounts_not_read = Vec::new();
    for account in &accounts {
        let findings = Arc::clone(&discoverer).look(account.clone(), cx.clone()).await;
        let found = match findings.result {
            // What a future is only the brokerage session tells: a source has it once it has taken it over.
            Err(Error::NoBrokerageSession { .. }) if opened.is_none() => {
                accounts_not_read.push(findings.account);
                continue;
            }
            result => result?,
        };
        option_positions += found.holdings.len();
        skipped_positions += found.skipped;
        book.update(vec![Findings { account: findings.account, result: Ok(found) }], &cx);
    }
    let market_data = match (opened, sample(&book.wanted())) {
        (Some(opened), sample) if !sample.is_empty() => {
            let probe = Probe { config: &config, endpoints: &endpoints, tls, rest: discoverer.rest() };
            probe.market_data(&opened, &sample, now).await?
        }
        _ => MarketData::NotTried,
    };
    let gateway = endpoints.gateway();
    Ok(CheckReport {
        gateway,
        brokerage,
        accounts,
        accounts_not_told: shortfall == Shortfall::NotTold,
        accounts_not_found: match shortfall {
            Shortfall::NotFound(accounts) => accounts,
            Shortfall::None | Shortfall::NotTold => Vec::new(),
        },
        accounts_not_read,
        option_positions,
        skipped_positions,
        market_data,
    })
}

/// The most important option, and what it is written on.
fn sample(wanted: &[Wanted]) -> Vec<Wanted> {
    let option = wanted.iter().find(|it| matches!(it.role, Role::Option { .. }));
    let Some(option) = option else { return Vec::new() };
    let Role::Option { underlying } = option.role else { return Vec::new() };
    let underlying = wanted.iter().find(|it| Some(it.conid) == underlying);
    underlying.into_iter().chain([option]).copied().collect()
}

struct Probe<'a> {
    config: &'a IbkrConfig,
    endpoints: &'a Endpoints,
    tls: &'a Arc<rustls::ClientConfig>,
    rest: &'a Rest,
}

impl Probe<'_> {
    async fn market_data(&self, opened: &Opened, sample: &[Wanted], now: UnixNanos) -> Result<MarketData, Error> {
        let identity = brokerage::identify(self.rest, opened, false).await?;
        let mut socket = dial(self.config, self.endpoints, &identity.session, self.tls).await?;
        let settings = Settings { executions: false, ..session_settings(self.config, false) };
        let mut session = Session::new(settings, identity.session, Instant::now().into_std());
        session.want(sample);
        let result = self.listen(&mut session, &mut socket, now).await;
        // No `umd`: a source in the same gateway session may stream the same contract. What is left ends with the socket,
        // or by itself within minutes.
        let closed = timeout(FAREWELL, socket.close(None)).await;
        tracing::debug!(orderly = matches!(closed, Ok(Ok(()))), "socket closed");
        result
    }

    async fn listen(&self, session: &mut Session, socket: &mut Socket, at: UnixNanos) -> Result<MarketData, Error> {
        let mut deadline = Instant::now() + self.config.step_timeout;
        let mut authenticated = false;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(verdict(&session.report(), true).unwrap_or(MarketData::Silent));
            }
            session.on_tick(now.into_std(), true)?;
            if !authenticated && session.is_authenticated() {
                authenticated = true;
                deadline = now + self.config.first_frame_after.min(LONGEST_SAMPLE);
            }
            while let Some(text) = session.poll_output(now.into_std()) {
                let sent = timeout_at(deadline, socket.send(Message::text(text))).await;
                match sent {
                    Ok(sent) => sent.map_err(lost)?,
                    Err(_) => return Err(Error::StepTimeout { step: "progress in writing", after: deadline - now }),
                }
            }
            let due = Instant::from_std(session.deadline()).min(deadline);
            let bytes = match timeout_at(due, socket.next()).await {
                Err(_) => continue,
                Ok(Some(Ok(Message::Text(text)))) => text.as_bytes().to_vec(),
                Ok(Some(Ok(Message::Binary(bytes)))) => bytes.to_vec(),
                Ok(Some(Ok(Message::Close(close)))) => {
                    let code = close.map_or(1005, |frame| frame.code.into());
                    return Err(Error::Closed { code, reason: "before any data".into() });
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return Err(lost(error)),
                Ok(None) => return Err(Error::ConnectionLost { source: None }),
            };
            session.on_frame(&bytes, Instant::now().into_std(), at)?;
            while session.next_event().is_some() {}
            if let Some(verdict) = verdict(&session.report(), false) {
                return Ok(verdict);
            }
        }
    }
}

/// What the subscriptions say, once all have answered or the time is `over`.
fn verdict(report: &Report, over: bool) -> Option<MarketData> {
    let all = report.total();
    if all.not_permitted > 0 {
        return Some(MarketData::NotPermitted);
    }
    if all.not_acknowledged > 0 {
        return Some(MarketData::NotAcknowledged);
    }
    if !over && all.live < all.wanted {
        return None;
    }
    Some(match report.options {
        options if options.live == 0 => MarketData::Silent,
        _ if all.live < all.wanted => MarketData::UnderlyingSilent,
        _ if all.delayed > 0 => MarketData::Delayed,
        _ if all.frozen > 0 => MarketData::Frozen,
        _ => MarketData::Live,
    })
}

fn lost(error: tokio_tungstenite::tungstenite::Error) -> Error {
    Error::ConnectionLost { source: Some(Box::new(error)) }
}

/// A clock that stands: a check keeps no times.
#[derive(Debug)]
struct Moment(UnixNanos);

impl Clock for Moment {
    fn now(&self) -> UnixNanos {
        self.0
    }
}

/// A context whose other ends nobody holds.
fn context(now: UnixNanos) -> SourceContext {
    SourceContext::new(SourceLink {
        events: mpsc::channel(1).0,
        status: watch::channel(SourceStatus::default()).0,
        activity: Arc::new(SourceActivity::default()),
        cancel: CancellationToken::new(),
        instruments: Arc::new(InstrumentTable::new()),
        clock: Arc::new(Moment(now)),
        keep_payload: false,
    })
}
