//! What tests and the demo do to a running double of a gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use greeks_model::Contract;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::book::IbkrPosition;
use super::faults::{IbkrFaults, IbkrMischief};
use super::net::Certificate;
use super::state::{Shared, ToSocket};
use crate::SimError;
use crate::market::{Body, Command, Event, Holding, Stamp, class_of};
use crate::tasty::{Disconnect, ScriptedGreeks, ScriptedQuote};

/// For connections to end, or to do what they are told.
const LIMIT: Duration = Duration::from_secs(10);

/// Handle to a running double; cheap to clone.
#[derive(Clone)]
pub struct IbkrControl {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for IbkrControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IbkrControl").finish_non_exhaustive()
    }
}

/// The market.
impl IbkrControl {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Stops the market, at every broker that is on it; scripted events still go out.
    ///
    /// # Errors
    /// [`SimError::Stopped`] after the market was shut down; so for all methods that need it.
    ///
    /// # Cancel safety
    /// The command is carried out even if nobody waits for it; so for all methods here.
    pub async fn pause(&self) -> Result<(), SimError> {
        self.shared.place.ask(Command::Pause).await
    }

    /// Lets the market go on where it stopped.
    ///
    /// # Errors
    /// See [`IbkrControl::pause`].
    pub async fn resume(&self) -> Result<(), SimError> {
        self.shared.place.ask(Command::Resume).await
    }

    /// Sets the number of Greeks events per second.
    ///
    /// # Errors
    /// [`SimError::Config`] when it is not between 0.01 and 200,000.
    pub async fn set_rate(&self, rate: f64) -> Result<(), SimError> {
        self.shared.place.set_rate(rate).await
    }

    /// Emits these events, in this order, beside those of the market. Contracts go by their
    /// [`Listing::streamer_symbol`](crate::Listing), at whichever broker.
    ///
    /// # Errors
    /// [`SimError::Config`] when there are more symbols than a market keeps.
    pub async fn emit(&self, events: &[ScriptedGreeks]) -> Result<(), SimError> {
        let events = events
            .iter()
            .map(|event| self.event(&event.symbol, event.stamp, Body::Greeks(event.values)))
            .collect::<Result<Vec<_>, _>>()?;
        self.shared.place.ask(|done| Command::Emit(events, done)).await
    }

    /// Emits one quote of an underlying.
    ///
    /// # Errors
    /// See [`IbkrControl::emit`].
    pub async fn emit_quote(&self, quote: &ScriptedQuote) -> Result<(), SimError> {
        let body = Body::Quote { bid: quote.bid, ask: quote.ask, size: 100.0 };
        let event = self.event(&quote.symbol, quote.stamp, body)?;
        self.shared.place.ask(|done| Command::Emit(vec![event], done)).await
    }

    fn event(&self, symbol: &str, stamp: Stamp, body: Body) -> Result<Event, SimError> {
        let symbol = self.shared.place.hub.intern(symbol);
        let symbol = symbol.ok_or_else(|| SimError::Config("too many symbols".to_owned()))?;
        Ok(Event { symbol, stamp, body })
    }
}

/// Sessions.
impl IbkrControl {
    /// Somebody logs in with a browser, 2FA included. There is no brokerage session yet.
    pub fn login(&self) {
        self.shared.login.log_in();
    }

    /// The login ends, as after a day or at midnight: REST answers 401 until [`IbkrControl::login`].
    pub fn expire_login(&self) {
        self.shared.login.log_out();
    }

    /// The brokerage session ends though the login stands.
    pub fn lose_brokerage(&self) {
        self.shared.login.lose_brokerage();
    }

    /// The same user logs in on another platform, which takes the brokerage session.
    pub fn compete(&self) {
        self.shared.login.compete();
    }

    /// The other platform is left; the session has to be opened again all the same.
    pub fn stop_competing(&self) {
        self.shared.login.release();
    }

    /// The nightly reset: `/iserver` answers with `status` for a while, the brokerage session is gone, and the login too
    /// if `login_ends`.
    pub fn nightly_reset(&self, outage: Duration, status: u16, login_ends: bool) {
        self.shared.login.reset(outage, status, login_ends);
    }

    /// The weekend: everything is answered with 503 until called with `false`, and sockets are closed.
    pub fn maintenance(&self, on: bool) {
        self.shared.maintenance.store(on, Ordering::Relaxed);
        if on {
            self.shared.login.lose_brokerage();
            for connection in self.shared.connections().values() {
                if let Some(socket) = &connection.socket {
                    // A full inbox is that of a socket which is about to end anyhow.
                    socket.try_send(ToSocket::Close).ok();
                }
            }
        }
    }

    /// Answers everything with 429 for so long.
    pub fn penalty(&self, length: Duration) {
        self.shared.limits.punish(length);
    }

    /// Ends a penalty.
    pub fn pardon(&self) {
        self.shared.limits.pardon();
    }
}

/// The network and what goes wrong.
impl IbkrControl {
    /// The gateway is killed: every connection is reset, and new ones are refused by the machine. Returns once the port
    /// is closed.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a connection does not end within ten seconds.
    pub async fn take_down(&self) -> Result<(), SimError> {
        self.listen(false).await?;
        self.disconnect_all(Disconnect::Abrupt).await.map(|_| ())
    }

    /// The gateway is started again, on the same port. Logins survive, which the real one would not let them: see
    /// [`IbkrControl::expire_login`].
    ///
    /// # Errors
    /// [`SimError::Timeout`] when the port is not free within ten seconds.
    pub async fn bring_up(&self) -> Result<(), SimError> {
        self.listen(true).await
    }

    async fn listen(&self, open: bool) -> Result<(), SimError> {
        self.shared.up.send_replace(open);
        let mut port = self.shared.open.subscribe();
        let reached = port.wait_for(|is| *is == open);
        match timeout_at(Instant::now() + LIMIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(SimError::Stopped),
            Err(_) => Err(SimError::Timeout(LIMIT)),
        }
    }

    /// Ends every connection, those of REST included, and returns how many. An orderly end of a socket is a close with
    /// 1000, which a client that reads to the end gets after all of the ledger.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a connection does not end within ten seconds.
    pub async fn disconnect_all(&self, how: Disconnect) -> Result<usize, SimError> {
        let ended: Vec<_> = self
            .shared
            .connections()
            .values()
            .map(|connection| {
                match (how, &connection.socket) {
                    (Disconnect::Orderly, Some(socket)) => {
                        socket.try_send(ToSocket::Close).ok();
                    }
                    (Disconnect::Orderly, None) => connection.kill.cancel(),
                    (Disconnect::Abrupt, _) => {
                        connection.abrupt.store(true, Ordering::Relaxed);
                        connection.kill.cancel();
                    }
                }
                connection.ended.clone()
            })
            .collect();
        let deadline = Instant::now() + LIMIT;
        for connection in &ended {
            timeout_at(deadline, connection.cancelled()).await.map_err(|_| SimError::Timeout(LIMIT))?;
        }
        Ok(ended.len())
    }

    /// A new certificate for connections from now on; its fingerprint.
    ///
    /// # Errors
    /// [`SimError::Config`] without TLS.
    pub fn change_certificate(&self) -> Result<String, SimError> {
        let mut place = self.shared.certificate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if place.is_none() {
            return Err(SimError::Config("a double without TLS has no certificate".to_owned()));
        }
        let certificate = Certificate::make()?;
        let fingerprint = certificate.fingerprint.clone();
        *place = Some(certificate);
        Ok(fingerprint)
    }

    /// Changes what goes wrong, from now on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), broker_sim::SimError> {
    /// # let sim = broker_sim::IbkrSim::start(broker_sim::IbkrSimConfig::simulated(7)).await?;
    /// use broker_sim::{WrongAnswer, Wrongness};
    ///
    /// // The second page of positions fails, once.
    /// let fails = WrongAnswer { path: "/positions/1".to_owned(), times: 1, how: Wrongness::Status(500) };
    /// sim.control().change_faults(|faults| faults.rest.answers.push(fails));
    /// # Ok(())
    /// # }
    /// ```
    pub fn change_faults(&self, change: impl FnOnce(&mut IbkrFaults)) {
        self.shared.change_faults(change);
    }

    /// Does this to every open socket, and returns to how many, once it is written.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a socket does not get to it within ten seconds.
    pub async fn inflict(&self, mischief: IbkrMischief) -> Result<usize, SimError> {
        let mischief = Arc::new(mischief);
        let sockets: Vec<_> =
            self.shared.connections().values().filter_map(|connection| connection.socket.clone()).collect();
        let deadline = Instant::now() + LIMIT;
        let mut done = 0;
        for socket in sockets {
            let (tell, told) = oneshot::channel();
            let told = async {
                socket.send(ToSocket::Mischief(Arc::clone(&mischief), tell)).await.is_ok() && told.await.is_ok()
            };
            done += usize::from(timeout_at(deadline, told).await.map_err(|_| SimError::Timeout(LIMIT))?);
        }
        Ok(done)
    }
}

/// Positions.
impl IbkrControl {
    /// The customer opens one more account, with nothing in it. Sockets are told of it by [`IbkrMischief::Accounts`].
    pub fn add_account(&self, account: &str) {
        let mut book = self.shared.book();
        if !book.knows(account) {
            book.accounts.push(account.to_owned());
        }
    }

    /// Lets positions change without an execution on the sockets: only REST knows.
    pub fn quiet_positions(&self, quiet: bool) {
        self.shared.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Opens a position, or changes its quantity (signed). The market begins to quote the contract if it did not, and
    /// sockets with `str` are told of the execution. REST may go on to tell of what was before, see
    /// [`IbkrProtocol::position_cache`](crate::IbkrProtocol::position_cache).
    ///
    /// # Errors
    /// [`SimError::Unknown`] when there is no such account, or the market cannot price the contract.
    pub async fn open_position(&self, account: &str, contract: &Contract, quantity: i64) -> Result<(), SimError> {
        let unknown = || SimError::Unknown(contract.to_string());
        if !self.shared.book().accounts.iter().any(|known| known == account) {
            return Err(SimError::Unknown(format!("account {account}")));
        }
        let held = {
            let book = self.shared.book();
            book.positions.iter().filter_map(IbkrPosition::listing).find(|held| held.contract == *contract).cloned()
        };
        let listing = held.or_else(|| class_of(contract).map(|(_, listing)| listing)).ok_or_else(unknown)?;
        let boxed = Box::new(listing.clone());
        if !self.shared.place.ask(|done| Command::List(boxed, done)).await? {
            return Err(unknown());
        }
        let conid = self.shared.directory().option(&listing, &self.shared.place.hub).ok_or_else(unknown)?;
        let underlying_conid = self.shared.instrument(conid).and_then(|instrument| instrument.underlying());
        let before = {
            let mut book = self.shared.book();
            match book.find(account, contract) {
                Some(row) => std::mem::replace(&mut row.quantity, quantity),
                None => {
                    let (account, holding) = (account.to_owned(), Holding::Option(Box::new(listing)));
                    book.positions.push(IbkrPosition { account, conid, underlying_conid, holding, quantity });
                    0
                }
            }
        };
        self.tell(account, conid, quantity - before);
        Ok(())
    }

    /// Closes a position: its row stays, with position 0.
    ///
    /// # Errors
    /// [`SimError::Unknown`] when the account does not hold the contract.
    pub fn close_position(&self, account: &str, contract: &Contract) -> Result<(), SimError> {
        let unknown = || SimError::Unknown(format!("{contract} in {account}"));
        let (conid, before) = {
            let mut book = self.shared.book();
            let row = book.find(account, contract).ok_or_else(unknown)?;
            (row.conid, std::mem::take(&mut row.quantity))
        };
        self.tell(account, conid, -before);
        Ok(())
    }

    fn tell(&self, account: &str, conid: i64, change: i64) {
        if change == 0 || self.shared.quiet.load(Ordering::Relaxed) {
            return;
        }
        let Some(instrument) = self.shared.instrument(conid) else { return };
        let now = Timestamp::now();
        let execution = json!({ "topic": "str", "args": [{
            "execution_id": format!("0000e0d5.{:08x}.01.01", fastrand::u32(..)), "symbol": instrument.ticker(),
            "side": if change > 0 { "B" } else { "S" }, "order_description": "", "trade_time": now.strftime("%Y%m%d-%H:%M:%S").to_string(),
            "trade_time_r": now.as_millisecond(), "size": change.unsigned_abs(), "price": "1.50", "order_ref": "",
            "submitter": "user123", "exchange": "SMART", "commission": "0.65", "net_amount": 150.0, "account": account,
            "accountCode": account, "account_allocation_name": account, "company_name": instrument.ticker(),
            "contract_description_1": instrument.description(), "sec_type": instrument.asset_class(),
            "conid": conid, "conidEx": conid.to_string(), "clearing_id": "IB", "clearing_name": "IB",
        }] });
        // Without a socket nobody is told, as in life.
        self.shared.executions.send(execution.to_string().into()).ok();
    }
}
