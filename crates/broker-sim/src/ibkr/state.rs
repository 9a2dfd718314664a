//! What REST, the sockets and the control handle of a double share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::book::{Book, IbkrPosition};
use super::config::IbkrSimConfig;
use super::contracts::{Directory, Instrument};
use super::faults::{IbkrFaults, IbkrMischief};
use super::ledger::IbkrLedger;
use super::limits::Limits;
use super::login::Login;
use super::net::Certificate;
use super::stats::IbkrStats;
use super::violations::Violations;
use crate::counters::Counters;
use crate::market::Place;
use crate::tasty::RequestLine;

/// REST requests that are remembered.
const MAX_REQUESTS: usize = 10_000;

/// Executions that a socket may fall behind before it misses some.
const MAX_NOTICES: usize = 1_000;

pub(crate) struct Shared {
    pub(crate) config: IbkrSimConfig,
    pub(crate) place: Arc<Place>,
    pub(crate) login: Login,
    pub(crate) limits: Limits,
    pub(crate) ledger: IbkrLedger,
    pub(crate) counters: Counters<IbkrStats>,
    pub(crate) violations: Violations,
    pub(crate) lines: Lines,
    pub(crate) certificate: Mutex<Option<Certificate>>,
    /// Whether the port is to be open.
    pub(crate) up: watch::Sender<bool>,
    /// Whether it is.
    pub(crate) open: watch::Sender<bool>,
    /// Executions, word for word.
    pub(crate) executions: broadcast::Sender<Arc<str>>,
    /// Positions change without a word while set.
    pub(crate) quiet: AtomicBool,
    /// Everything is answered with 503 while set.
    pub(crate) maintenance: AtomicBool,
    pub(crate) snapshots: Mutex<HashMap<i64, Snapshot>>,
    directory: Mutex<Directory>,
    book: Mutex<Book>,
    cache: Mutex<HashMap<String, (Instant, Vec<IbkrPosition>)>>,
    faults: Mutex<Arc<IbkrFaults>>,
    requests: Mutex<Vec<RequestLine>>,
    connections: Mutex<BTreeMap<u64, Registered>>,
}

/// A contract that a snapshot has opened.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) since: Instant,
    pub(crate) fields: Vec<u16>,
}

/// A live connection, as the control handle sees it.
pub(crate) struct Registered {
    pub(crate) abrupt: Arc<AtomicBool>,
    pub(crate) kill: CancellationToken,
    pub(crate) ended: CancellationToken,
    /// Once it is a websocket.
    pub(crate) socket: Option<mpsc::Sender<ToSocket>>,
}

/// What a control handle tells a socket.
pub(crate) enum ToSocket {
    Close,
    Mischief(Arc<IbkrMischief>, oneshot::Sender<()>),
}

impl Shared {
    pub(crate) fn new(
        config: IbkrSimConfig,
        place: Arc<Place>,
        book: Book,
        directory: Directory,
        certificate: Option<Certificate>,
    ) -> Self {
        Self {
            login: Login::new(config.protocol.clone(), config.logged_in),
            limits: Limits::new(config.protocol.clone()),
            ledger: IbkrLedger::new(config.ledger_capacity),
            counters: Counters::new(),
            violations: Violations::default(),
            lines: Lines::new(config.protocol.lines),
            certificate: Mutex::new(certificate),
            up: watch::Sender::new(true),
            open: watch::Sender::new(true),
            executions: broadcast::Sender::new(MAX_NOTICES),
            quiet: AtomicBool::new(false),
            maintenance: AtomicBool::new(false),
            snapshots: Mutex::default(),
            directory: Mutex::new(directory),
            book: Mutex::new(book),
            cache: Mutex::default(),
            faults: Mutex::new(Arc::new(config.faults.clone())),
            requests: Mutex::default(),
            connections: Mutex::default(),
            config,
            place,
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn instrument(&self, conid: i64) -> Option<Arc<Instrument>> {
        self.directory().get(conid).cloned()
    }

    /// What is wrong at present.
    pub(crate) fn faults(&self) -> Arc<IbkrFaults> {
        Arc::clone(&self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_faults<T>(&self, change: impl FnOnce(&mut IbkrFaults) -> T) -> T {
        change(Arc::make_mut(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The rows of an account as the cache has them, oldest truth first.
    pub(crate) fn cached_positions(&self, account: &str) -> Vec<IbkrPosition> {
        let now = Instant::now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, rows)) = cache.get(account)
            && *at + self.config.protocol.position_cache > now
        {
            return rows.clone();
        }
        let rows = self.positions_now(account);
        cache.insert(account.to_owned(), (now, rows.clone()));
        rows
    }

    pub(crate) fn positions_now(&self, account: &str) -> Vec<IbkrPosition> {
        self.book().positions.iter().filter(|row| row.account == account).cloned().collect()
    }

    pub(crate) fn invalidate(&self, account: &str) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }

    pub(crate) fn note_request(&self, line: RequestLine) {
        self.counters.update(|stats| {
            stats.rest_requests += 1;
            stats.unauthorized += u64::from(line.status == 401);
            stats.too_many += u64::from(line.status == 429);
        });
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < MAX_REQUESTS {
            requests.push(line);
        }
    }

    pub(crate) fn requests(&self) -> Vec<RequestLine> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Registered>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_in_maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Relaxed)
    }

    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn snapshots(&self) -> MutexGuard<'_, HashMap<i64, Snapshot>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Market data lines in use, over all sockets and snapshots: one per contract, however often it is asked for.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    used: Mutex<HashMap<i64, usize>>,
}

impl Lines {
    fn new(limit: usize) -> Self {
        Self { limit, used: Mutex::default() }
    }

    pub(crate) fn take(&self, conid: i64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let full = used.len() >= self.limit;
        match used.get_mut(&conid) {
            Some(users) => *users += 1,
            None if full => return false,
            None => {
                used.insert(conid, 1);
            }
        }
        true
    }

    pub(crate) fn free(&self, conid: i64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(users) = used.get_mut(&conid) {
            *users -= 1;
            if *users == 0 {
                used.remove(&conid);
            }
        }
    }
}
