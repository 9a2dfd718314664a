//! The double of tastytrade.

mod control;
mod dxlink;
mod faults;
mod ledger;
mod rest;
mod state;
mod stats;
mod streamer;
mod violations;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use control::{Control, Disconnect, ScriptedGreeks, ScriptedQuote};
pub use faults::{
    ConnectionFaults, Escapes, Faults, FeedFaults, Figure, Mischief, NumberStyle, RestFaults, SetupTimeouts,
    StreamerSymbols, Substitute, WrongAnswer, Wrongness,
};
pub(crate) use faults::{hits, use_up};
pub use ledger::{Ledger, LedgerEntry, LedgerView};
pub use state::{Credentials, RequestLine};
pub use stats::Stats;
pub use violations::{Rule, Violation};

use self::state::Shared;
use crate::SimError;
use crate::config::SimConfig;
use crate::market::{Account, Event, Kind, SimMarket, SimPosition};
use crate::service::{Tasks, listen};

/// A running double: REST server, DXLink server, account streamer and market. Dropping it stops everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), broker_sim::SimError> {
/// use broker_sim::{SimConfig, TastySim};
///
/// let sim = TastySim::start(SimConfig::simulated(7)).await?;
/// println!("REST at {}, credentials {:?}", sim.api_url(), sim.credentials());
/// assert!(sim.positions().iter().any(|position| position.is_open_option()));
/// sim.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct TastySim {
    shared: Arc<Shared>,
    api: SocketAddr,
    streamer: SocketAddr,
    tasks: Tasks,
    /// Where it has one of its own.
    market: Option<SimMarket>,
}

impl std::fmt::Debug for TastySim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TastySim").field("api", &self.api).finish_non_exhaustive()
    }
}

impl TastySim {
    /// Opens the listeners and the market.
    ///
    /// # Errors
    /// [`SimError`] when an address is taken, a chain file cannot be read, or a setting makes no sense.
    ///
    /// # Cancel safety
    /// A dropped start leaves nothing behind.
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let market = SimMarket::start(config.market.clone()).await?;
        let mut sim = Self::start_on(&market, config).await?;
        sim.market = Some(market);
        Ok(sim)
    }

    /// Opens the listeners on a market that others may use too; [`SimConfig::market`] counts for nothing.
    ///
    /// # Errors
    /// [`SimError`] when an address is taken.
    ///
    /// # Cancel safety
    /// A dropped start leaves nothing behind.
    pub async fn start_on(market: &SimMarket, config: SimConfig) -> Result<Self, SimError> {
        let place = market.place();
        let (api_listener, api) = listen(config.listen).await?;
        let (dxlink_listener, dxlink) = listen(config.dxlink_listen).await?;
        let (streamer_listener, streamer) = listen(config.streamer_listen).await?;
        let dxlink_url = format!("ws://{dxlink}{}", dxlink::PATH);
        let (hub, commands) = (Arc::clone(&place.hub), place.commands.clone());
        let shared = Arc::new(Shared::new(config, hub, place.book.clone(), commands, dxlink_url));
        let counted = Arc::downgrade(&shared);
        place.observers.add(Box::new(move |events, finished| match counted.upgrade() {
            Some(shared) => {
                count(&shared, events, finished);
                true
            }
            None => false,
        }));

        let mut tasks = Tasks::new();
        tasks.spawn(|stop| rest::serve(api_listener, Arc::clone(&shared), stop));
        tasks.spawn(|stop| dxlink::listen(dxlink_listener, Arc::clone(&shared), stop));
        tasks.spawn(|stop| streamer::listen(streamer_listener, Arc::clone(&shared), stop));
        Ok(Self { shared, api, streamer, tasks, market: None })
    }

    /// Base of the REST calls, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// The stream, `ws://127.0.0.1:PORT/realtime`; clients get it with their quote token.
    #[must_use]
    pub fn dxlink_url(&self) -> &str {
        &self.shared.dxlink_url
    }

    /// The account streamer, `ws://127.0.0.1:PORT`.
    #[must_use]
    pub fn streamer_url(&self) -> String {
        format!("ws://{}", self.streamer)
    }

    /// What a client logs in with; new for each double.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.shared.tokens.credentials()
    }

    /// The handle that changes things while the double runs.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// What was sent.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.get()
    }

    /// Waits until the counters fulfil `condition`; it is looked at on every change, so no event is waited for in vain.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when they do not within `limit`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_until(&self, limit: Duration, condition: impl FnMut(&Stats) -> bool) -> Result<Stats, SimError> {
        self.shared.counters.wait(limit, condition).await
    }

    /// Mistakes that clients made, at most 1000. A test of a client asserts that there are none.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.violations.all()
    }

    /// Symbols whose Greeks were subscribed though no position has them: not an error of the protocol, but streams are
    /// silent about them forever, so a client that asks for them has built a symbol wrongly.
    #[must_use]
    pub fn unknown_symbols(&self) -> Vec<String> {
        self.shared.unknown_symbols()
    }

    /// REST requests so far, at most 10,000.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestLine> {
        self.shared.requests()
    }

    /// All accounts, the closed one included.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        self.shared.book().accounts.clone()
    }

    /// All rows of all accounts, stocks and closed positions included.
    #[must_use]
    pub fn positions(&self) -> Vec<SimPosition> {
        self.shared.book().positions.clone()
    }

    /// Closes every connection in good order and waits for all tasks, at most ten seconds.
    ///
    /// # Cancel safety
    /// When dropped, what still runs is aborted.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
        if let Some(market) = self.market {
            market.shutdown().await;
        }
    }
}

fn count(shared: &Shared, events: &[Event], finished: bool) {
    if events.is_empty() && !finished {
        return;
    }
    let greeks = events.iter().filter(|event| event.kind() == Kind::Greeks).count() as u64;
    shared.counters.update(|stats| {
        stats.greeks_emitted += greeks;
        stats.underlying_emitted += events.len() as u64 - greeks;
        stats.market_finished |= finished;
    });
}
