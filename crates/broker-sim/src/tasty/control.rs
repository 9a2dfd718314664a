//! What tests and the demo do to a running double.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use greeks_model::Contract;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::faults::{Faults, Mischief};
use super::state::{ConnectionCommand, Shared};
use super::streamer::Notice;
use crate::SimError;
use crate::market::{Body, Command, Event, GreekValues, SimPosition, Stamp, checked_rate, class_of};

/// For a client to take note of the end of its connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Everything handed out is flushed, then the close handshake follows: a client that reads to the end has all of
    /// the ledger.
    Orderly,
    /// A reset, in the middle of a message if need be: the client may lack what the ledger says was written.
    Abrupt,
}

/// A Greeks event with exact values, for [`Control::emit`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptedGreeks {
    /// Streamer symbol.
    pub symbol: String,
    /// Time and sequence; a connection that has seen a newer stamp of the symbol is not sent an older one.
    pub stamp: Stamp,
    /// The figures.
    pub values: GreekValues,
}

/// A quote of an underlying with exact values, for [`Control::emit_quote`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptedQuote {
    /// Streamer symbol.
    pub symbol: String,
    /// Time and sequence.
    pub stamp: Stamp,
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
}

/// Handle to a running double; cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Stops the market; scripted events still go out. Returns once nothing more is emitted.
    ///
    /// # Errors
    /// [`SimError::Stopped`] after the double was shut down; so for all methods here.
    ///
    /// # Cancel safety
    /// The command is carried out even if nobody waits for it; so for all methods here.
    pub async fn pause(&self) -> Result<(), SimError> {
        self.ask(Command::Pause).await
    }

    /// Lets the market go on where it stopped.
    ///
    /// # Errors
    /// See [`Control::pause`].
    pub async fn resume(&self) -> Result<(), SimError> {
        self.ask(Command::Resume).await
    }

    /// Sets the number of Greeks events per second.
    ///
    /// # Errors
    /// [`SimError::Config`] when it is not between 0.01 and 200,000.
    pub async fn set_rate(&self, rate: f64) -> Result<(), SimError> {
        let rate = checked_rate(rate)?;
        self.ask(|done| Command::Rate(rate, done)).await
    }

    /// Emits these events, in this order, beside those of the market. Returns once they are on their way to the
    /// connections.
    ///
    /// # Errors
    /// [`SimError::Config`] when there are more symbols than a double keeps.
    pub async fn emit(&self, events: &[ScriptedGreeks]) -> Result<(), SimError> {
        let events = events
            .iter()
            .map(|event| self.event(&event.symbol, event.stamp, Body::Greeks(event.values)))
            .collect::<Result<Vec<_>, _>>()?;
        self.ask(|done| Command::Emit(events, done)).await
    }

    /// Emits one quote of an underlying.
    ///
    /// # Errors
    /// See [`Control::emit`].
    pub async fn emit_quote(&self, quote: &ScriptedQuote) -> Result<(), SimError> {
        let body = Body::Quote { bid: quote.bid, ask: quote.ask, size: 100.0 };
        let event = self.event(&quote.symbol, quote.stamp, body)?;
        self.ask(|done| Command::Emit(vec![event], done)).await
    }

    /// Ends every DXLink connection, and returns how many, once they have ended. New ones are accepted meanwhile.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a connection does not end within ten seconds.
    pub async fn disconnect_all(&self, how: Disconnect) -> Result<usize, SimError> {
        self.command_all(match how {
            Disconnect::Orderly => ConnectionCommand::Orderly,
            Disconnect::Abrupt => ConnectionCommand::Abrupt,
        })
        .await
    }

    /// Answers new DXLink connections with 502 until called with `false`. Open ones go on.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::Relaxed);
    }

    /// A quote token without the detour over REST, for a bare DXLink client.
    #[must_use]
    pub fn issue_quote_token(&self) -> String {
        self.shared.tokens.issue_quote(self.shared.config.rest.quote_token_ttl)
    }

    /// Makes every access token worthless; the next REST call is answered with 401.
    pub fn expire_access_tokens(&self) {
        self.shared.tokens.expire_access();
    }

    /// Makes every quote token worthless: live connections are told UNAUTHORIZED and closed.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a connection does not end within ten seconds.
    pub async fn expire_quote_tokens(&self) -> Result<usize, SimError> {
        self.shared.tokens.expire_quote();
        self.command_all(ConnectionCommand::Revoke).await
    }

    /// Revokes the customer's grant: every refresh is answered with `invalid_grant`, as after a change of password.
    pub fn revoke_grant(&self) {
        self.shared.tokens.set_granted(false);
    }

    /// Undoes [`Control::revoke_grant`].
    pub fn restore_grant(&self) {
        self.shared.tokens.set_granted(true);
    }

    /// Changes what goes wrong, from now on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), broker_sim::SimError> {
    /// # let sim = broker_sim::TastySim::start(broker_sim::SimConfig::simulated(7)).await?;
    /// use broker_sim::{WrongAnswer, Wrongness};
    ///
    /// let outage = WrongAnswer { path: "/oauth/token".to_owned(), times: 3, how: Wrongness::Html(502) };
    /// sim.control().change_faults(|faults| faults.rest.answers.push(outage));
    /// # Ok(())
    /// # }
    /// ```
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.change_faults(change);
    }

    /// Does this to every open DXLink connection, and returns to how many, once it is written.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when a connection does not get to it within ten seconds.
    pub async fn inflict(&self, mischief: Mischief) -> Result<usize, SimError> {
        let mischief = Arc::new(mischief);
        let inboxes: Vec<_> =
            self.shared.connections().values().map(|connection| connection.mischief.clone()).collect();
        let deadline = Instant::now() + CLOSE_LIMIT;
        let mut done = 0;
        for inbox in inboxes {
            let (tell, told) = oneshot::channel();
            let inflicted = async { inbox.send((Arc::clone(&mischief), tell)).await.is_ok() && told.await.is_ok() };
            done += usize::from(timeout_at(deadline, inflicted).await.map_err(|_| SimError::Timeout(CLOSE_LIMIT))?);
        }
        Ok(done)
    }

    /// Lets positions change without a word from the account streamer: only REST knows.
    pub fn quiet_positions(&self, quiet: bool) {
        self.shared.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Resets every account streamer connection. New ones are accepted.
    pub fn drop_streamer(&self) {
        self.shared.drop_streamer();
    }

    /// Opens a position, or changes its quantity (signed). The market begins to quote the contract if it did not, and
    /// the account streamer tells of the filled order and of the position.
    ///
    /// # Errors
    /// [`SimError::Unknown`] when there is no such account, or the market cannot price the contract.
    pub async fn open_position(&self, account: &str, contract: &Contract, quantity: i64) -> Result<(), SimError> {
        if self.shared.book().account(account).is_none_or(|account| account.closed) {
            return Err(SimError::Unknown(format!("account {account}")));
        }
        let held = self
            .shared
            .book()
            .positions
            .iter()
            .find_map(|position| position.listing().filter(|listing| listing.contract == *contract).cloned());
        let listing = held
            .or_else(|| class_of(contract).map(|(_, listing)| listing))
            .ok_or_else(|| SimError::Unknown(contract.to_string()))?;
        let boxed = Box::new(listing.clone());
        if !self.ask(|done| Command::List(boxed, done)).await? {
            return Err(SimError::Unknown(contract.to_string()));
        }
        let before = self.shared.book().find(account, contract).map_or(0, |position| position.quantity);
        self.shared.book().set(account, listing, quantity, Timestamp::now());
        self.tell(account, contract, quantity - before);
        Ok(())
    }

    /// Closes a position: its row stays, with quantity 0 and direction Zero, as on the day of the trade. The account
    /// streamer tells of it.
    ///
    /// # Errors
    /// [`SimError::Unknown`] when the account does not hold the contract.
    pub fn close_position(&self, account: &str, contract: &Contract) -> Result<(), SimError> {
        let unknown = || SimError::Unknown(format!("{contract} in {account}"));
        let held = self.shared.book().find(account, contract).map(|position| position.clone()).ok_or_else(unknown)?;
        if let Some(listing) = held.listing() {
            self.shared.book().set(account, listing.clone(), 0, Timestamp::now());
        }
        self.tell(account, contract, -held.quantity);
        Ok(())
    }

    /// Has the account streamer tell of a change.
    fn tell(&self, account: &str, contract: &Contract, change: i64) {
        if change == 0 || self.shared.quiet.load(Ordering::Relaxed) {
            return;
        }
        let book = self.shared.book();
        let mut rows = book.positions.iter().filter(|position| position.account == account).enumerate();
        let held = |position: &SimPosition| position.listing().is_some_and(|listing| listing.contract == *contract);
        if let Some((row, position)) = rows.find(|(_, position)| held(position)) {
            let notice = Notice::new(row, position, change, &self.shared.faults().rest, fastrand::u64(1..1 << 40));
            // Without a listener nobody is told, as in life.
            self.shared.notices.send(Arc::new(notice)).ok();
        }
    }

    fn event(&self, symbol: &str, stamp: Stamp, body: Body) -> Result<Event, SimError> {
        let symbol = self.shared.hub.intern(symbol).ok_or_else(|| SimError::Config("too many symbols".to_owned()))?;
        Ok(Event { symbol, stamp, body })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SimError> {
        let (done, answer) = oneshot::channel();
        self.shared.market.send(command(done)).await.map_err(|_| SimError::Stopped)?;
        answer.await.map_err(|_| SimError::Stopped)
    }

    async fn command_all(&self, command: ConnectionCommand) -> Result<usize, SimError> {
        let ended: Vec<_> = self
            .shared
            .connections()
            .values()
            .map(|connection| {
                connection.command.send_replace(Some(command));
                connection.ended.clone()
            })
            .collect();
        let deadline = Instant::now() + CLOSE_LIMIT;
        for connection in &ended {
            timeout_at(deadline, connection.cancelled()).await.map_err(|_| SimError::Timeout(CLOSE_LIMIT))?;
        }
        Ok(ended.len())
    }
}
