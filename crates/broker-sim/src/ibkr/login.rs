//! Who is logged in where: the SSO session of a browser login, the brokerage session on top of it, and who competes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::IbkrProtocol;

/// Cookies that are remembered as having been given out.
const MAX_ISSUED: usize = 10_000;

/// What is true at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) sso: Option<Sso>,
    brokerage: Brokerage,
    /// Another platform has the brokerage session of this user.
    pub(crate) competing: bool,
    /// `/iserver/accounts` was called in this brokerage session.
    pub(crate) primed: bool,
    /// The accounts of the portfolio were asked for in this SSO session.
    pub(crate) portfolio_primed: bool,
    /// Number of the brokerage session, from 1.
    pub(crate) epoch: u64,
    tickled: Option<Instant>,
    /// `/iserver` answers with this status until then.
    outage: Option<(Instant, u16)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sso {
    pub(crate) session: Arc<str>,
    pub(crate) since: i64,
    pub(crate) expires: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Brokerage {
    #[default]
    Closed,
    /// Authenticated from then on.
    Open(Instant),
}

impl State {
    pub(crate) fn connected(&self) -> bool {
        self.sso.is_some() && self.brokerage != Brokerage::Closed
    }

    pub(crate) fn authenticated(&self, now: Instant) -> bool {
        self.sso.is_some() && matches!(self.brokerage, Brokerage::Open(from) if from <= now)
    }

    /// What `/iserver` is answered with at present, whatever the call.
    pub(crate) fn outage(&self, now: Instant) -> Option<u16> {
        self.outage.filter(|(until, _)| *until > now).map(|(_, status)| status)
    }

    fn deadline(&self, protocol: &IbkrProtocol) -> Option<Instant> {
        let expiry = self.sso.as_ref().map(|sso| sso.expires);
        let open = matches!(self.brokerage, Brokerage::Open(_));
        let lapse = self.tickled.filter(|_| open).map(|at| at + protocol.brokerage_life);
        let starts = match self.brokerage {
            Brokerage::Open(from) if from > Instant::now() => Some(from),
            _ => None,
        };
        [expiry, lapse, starts].into_iter().flatten().min()
    }

    fn close_brokerage(&mut self) {
        self.brokerage = Brokerage::Closed;
        self.primed = false;
    }

    fn end_sso(&mut self) {
        self.sso = None;
        self.portfolio_primed = false;
        self.close_brokerage();
    }
}

/// The state, whoever wants to hear of its changes, and every cookie ever given out.
pub(crate) struct Login {
    protocol: IbkrProtocol,
    state: watch::Sender<State>,
    issued: Mutex<Vec<Arc<str>>>,
}

impl Login {
    pub(crate) fn new(protocol: IbkrProtocol, logged_in: bool) -> Self {
        let login = Self { protocol, state: watch::Sender::new(State::default()), issued: Mutex::default() };
        if logged_in {
            login.log_in();
        }
        login
    }

    /// What is true now.
    pub(crate) fn now(&self) -> State {
        self.expire();
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Ends what has come of age, at its time, so that sockets hear of it; until `stop`.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        let mut changes = self.watch();
        loop {
            let deadline = changes.borrow_and_update().deadline(&self.protocol);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = until(deadline) => { self.expire(); }
            }
        }
    }

    fn expire(&self) {
        let now = Instant::now();
        self.state.send_if_modified(|state| {
            if state.sso.as_ref().is_some_and(|sso| sso.expires <= now) {
                state.end_sso();
                return true;
            }
            let open = matches!(state.brokerage, Brokerage::Open(_));
            let lapsed = state.tickled.is_some_and(|at| at + self.protocol.brokerage_life <= now);
            if open && lapsed {
                state.close_brokerage();
            }
            open && lapsed
        });
    }

    /// Somebody has logged in with a browser. A new SSO session; the brokerage session is still to be opened.
    pub(crate) fn log_in(&self) {
        let session: Arc<str> = hex(16).into();
        {
            let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
            if issued.len() < MAX_ISSUED {
                issued.push(Arc::clone(&session));
            }
        }
        self.state.send_modify(|state| {
            state.end_sso();
            let expires = Instant::now() + self.protocol.sso_life;
            state.sso = Some(Sso { session, since: Timestamp::now().as_millisecond(), expires });
        });
    }

    pub(crate) fn log_out(&self) {
        self.state.send_modify(State::end_sso);
    }

    /// Opens the brokerage session unless another platform has it and is not to be thrown out. Returns whether one was
    /// thrown out, and whether a session was opened.
    pub(crate) fn open_brokerage(&self, compete: bool) -> (bool, bool) {
        let (mut won, mut opened) = (false, false);
        self.state.send_modify(|state| {
            if state.sso.is_none() || (state.competing && !compete) {
                return;
            }
            won = state.competing;
            state.competing = false;
            let now = Instant::now();
            if won || !state.connected() {
                state.brokerage = Brokerage::Open(now + self.protocol.brokerage_start);
                state.epoch += 1;
                state.primed = false;
                opened = true;
            }
            state.tickled = Some(now);
        });
        (won, opened)
    }

    /// Postpones the end of the brokerage session.
    pub(crate) fn tickle(&self) {
        self.quietly(|state| state.tickled = Some(Instant::now()));
    }

    pub(crate) fn prime(&self) {
        self.quietly(|state| state.primed = true);
    }

    pub(crate) fn prime_portfolio(&self) {
        self.quietly(|state| state.portfolio_primed = true);
    }

    /// Another platform takes the brokerage session.
    pub(crate) fn compete(&self) {
        self.state.send_modify(|state| {
            state.close_brokerage();
            state.competing = true;
        });
    }

    /// The other platform logs out.
    pub(crate) fn release(&self) {
        self.state.send_modify(|state| state.competing = false);
    }

    pub(crate) fn lose_brokerage(&self) {
        self.state.send_modify(State::close_brokerage);
    }

    /// The nightly reset of `/iserver`: it answers with `status` for a while, and afterwards everything is to be done
    /// again, the login too if so wanted.
    pub(crate) fn reset(&self, outage: Duration, status: u16, login_ends: bool) {
        self.state.send_modify(|state| {
            state.close_brokerage();
            state.outage = Some((Instant::now() + outage, status));
            if login_ends {
                state.end_sso();
            }
        });
    }

    /// Whether this cookie was ever given out.
    pub(crate) fn was_issued(&self, session: &str) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.iter().any(|known| **known == *session)
    }

    /// A change that no socket has to hear of, but the timer does.
    fn quietly(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// So many random bytes in hexadecimal.
pub(crate) fn hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", fastrand::u8(..))).collect()
}
