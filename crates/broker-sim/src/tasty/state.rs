//! What the REST server, the stream and the control handle share.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::faults::{Faults, Mischief};
use super::ledger::Ledger;
use super::stats::Stats;
use super::streamer::Notice;
use super::violations::Violations;
use crate::config::SimConfig;
use crate::counters::Counters;
use crate::market::{Book, Command, Hub};

/// REST requests that are remembered.
const MAX_REQUESTS: usize = 10_000;

/// Changes that an account streamer connection may fall behind before it misses some.
const MAX_NOTICES: usize = 1_000;

/// Unknown symbols that are remembered.
const MAX_UNKNOWN: usize = 1_000;

/// One REST request, for tests that look at what a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// `GET`, `POST`.
    pub method: String,
    /// Path and query as they came, still percent-encoded.
    pub path: String,
    /// The status that was answered.
    pub status: u16,
}

/// What a control handle tells a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionCommand {
    Orderly,
    Abrupt,
    Revoke,
}

/// A mischief, and whom to tell once it is done.
pub(crate) type Inflicted = (Arc<Mischief>, oneshot::Sender<()>);

/// A live connection, as the control handle sees it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) command: watch::Sender<Option<ConnectionCommand>>,
    pub(crate) mischief: mpsc::Sender<Inflicted>,
    pub(crate) ended: CancellationToken,
}

pub(crate) struct Shared {
    pub(crate) config: SimConfig,
    pub(crate) hub: Arc<Hub>,
    pub(crate) ledger: Ledger,
    pub(crate) counters: Counters<Stats>,
    pub(crate) violations: Violations,
    pub(crate) tokens: Tokens,
    pub(crate) market: mpsc::Sender<Command>,
    pub(crate) dxlink_url: String,
    /// New DXLink connections are answered with 502 while set.
    pub(crate) refusing: AtomicBool,
    /// Changes of positions, for the account streamer.
    pub(crate) notices: broadcast::Sender<Arc<Notice>>,
    /// Positions change without a word while set.
    pub(crate) quiet: AtomicBool,
    /// Ends the account streamer connections of today; replaced when used.
    drop_streamer: Mutex<CancellationToken>,
    faults: Mutex<Arc<Faults>>,
    book: Mutex<Book>,
    requests: Mutex<Vec<RequestLine>>,
    unknown: Mutex<BTreeSet<String>>,
    connections: Mutex<BTreeMap<u64, Registered>>,
}

impl Shared {
    pub(crate) fn new(
        config: SimConfig,
        hub: Arc<Hub>,
        book: Book,
        market: mpsc::Sender<Command>,
        dxlink_url: String,
    ) -> Self {
        Self {
            ledger: Ledger::new(config.ledger_capacity, Arc::clone(&hub)),
            tokens: Tokens::new(config.rest.access_token_ttl),
            faults: Mutex::new(Arc::new(config.faults.clone())),
            config,
            hub,
            counters: Counters::new(),
            violations: Violations::default(),
            market,
            dxlink_url,
            refusing: AtomicBool::new(false),
            notices: broadcast::Sender::new(MAX_NOTICES),
            quiet: AtomicBool::new(false),
            drop_streamer: Mutex::default(),
            book: Mutex::new(book),
            requests: Mutex::default(),
            unknown: Mutex::default(),
            connections: Mutex::default(),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong at present.
    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(Arc::make_mut(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Cancelled by the next [`Shared::drop_streamer`].
    pub(crate) fn streamer_token(&self) -> CancellationToken {
        self.drop_streamer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn drop_streamer(&self) {
        std::mem::take(&mut *self.drop_streamer.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
    }

    pub(crate) fn note_request(&self, line: RequestLine) {
        self.counters.update(|stats| stats.rest_requests += 1);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < MAX_REQUESTS {
            requests.push(line);
        }
    }

    pub(crate) fn requests(&self) -> Vec<RequestLine> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stream is silent about symbols that nobody lists, which hides a client's mistake: here it is remembered.
    pub(crate) fn note_greeks_subscriptions<'a>(&self, symbols: impl Iterator<Item = &'a str>) {
        let book = self.book();
        let listings = book.positions.iter().filter_map(|position| position.listing());
        let listed: HashSet<&str> = listings.map(|listing| listing.streamer_symbol.as_str()).collect();
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        for symbol in symbols.filter(|symbol| !listed.contains(symbol)) {
            if unknown.len() < MAX_UNKNOWN {
                unknown.insert(symbol.to_owned());
            }
        }
    }

    pub(crate) fn unknown_symbols(&self) -> Vec<String> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Registered>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }
}

/// Credentials of the one customer.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// For `TASTYTRADE_REFRESH_TOKEN`.
    pub refresh_token: String,
    /// For `TASTYTRADE_CLIENT_SECRET`.
    pub client_secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Every token that was given out.
#[derive(Debug)]
pub(crate) struct Tokens {
    credentials: Credentials,
    granted: AtomicBool,
    access_ttl: Duration,
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    access: HashMap<String, Instant>,
    quote: HashMap<String, Instant>,
}

impl Tokens {
    fn new(access_ttl: Duration) -> Self {
        Self {
            credentials: Credentials {
                refresh_token: format!("sim-refresh-{}", random()),
                client_secret: format!("sim-secret-{}", random()),
            },
            granted: AtomicBool::new(true),
            access_ttl,
            issued: Mutex::default(),
        }
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    pub(crate) fn secret_is_right(&self, secret: &str) -> bool {
        secret == self.credentials.client_secret
    }

    pub(crate) fn grant_is_good(&self, refresh_token: &str) -> bool {
        self.granted.load(Ordering::Relaxed) && refresh_token == self.credentials.refresh_token
    }

    pub(crate) fn set_granted(&self, granted: bool) {
        self.granted.store(granted, Ordering::Relaxed);
    }

    pub(crate) fn issue_access(&self) -> String {
        let token = format!("sim-access-{}", random());
        issue(&mut self.issued().access, &token, self.access_ttl);
        token
    }

    pub(crate) fn issue_quote(&self, ttl: Duration) -> String {
        let token = format!("sim-quote-{}", random());
        issue(&mut self.issued().quote, &token, ttl);
        token
    }

    pub(crate) fn access_token_is_good(&self, token: &str) -> bool {
        self.issued().access.get(token).is_some_and(|expiry| Instant::now() < *expiry)
    }

    /// Until when a quote token is good; `None` when it is not.
    pub(crate) fn quote_token_expiry(&self, token: &str) -> Option<Instant> {
        self.issued().quote.get(token).copied().filter(|expiry| Instant::now() < *expiry)
    }

    pub(crate) fn expire_access(&self) {
        self.issued().access.clear();
    }

    pub(crate) fn expire_quote(&self) {
        self.issued().quote.clear();
    }
}

/// Adds a token; those that have expired make room.
fn issue(tokens: &mut HashMap<String, Instant>, token: &str, ttl: Duration) {
    let now = Instant::now();
    tokens.retain(|_, expiry| *expiry > now);
    tokens.insert(token.to_owned(), now + ttl);
}

fn random() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}
