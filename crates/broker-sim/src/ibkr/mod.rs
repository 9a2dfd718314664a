//! The double of a Client Portal gateway.

mod book;
mod config;
mod contracts;
mod control;
mod faults;
mod ledger;
mod limits;
mod login;
mod net;
mod rest;
mod socket;
mod state;
mod stats;
mod violations;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use book::IbkrPosition;
pub use config::{FrameKind, IbkrCustomer, IbkrProtocol, IbkrSimConfig, Pace};
pub use control::IbkrControl;
pub use faults::{IbkrDataFaults, IbkrFaults, IbkrMischief, IbkrRestFaults, IbkrSocketFaults, RowShape, UnknownFigure};
pub use ledger::{IbkrEntry, IbkrFigures, IbkrLedger, IbkrLedgerView, IbkrUnderlying};
pub use stats::IbkrStats;
pub use violations::{IbkrRule, IbkrViolation};

use self::book::Book;
use self::contracts::Directory;
use self::net::Certificate;
use self::state::Shared;
use crate::SimError;
use crate::config::MarketConfig;
use crate::market::{Kind, SimMarket};
use crate::service::{Tasks, listen};
use crate::tasty::RequestLine;

/// A running double of a gateway and its broker. Dropping it stops everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), broker_sim::SimError> {
/// use broker_sim::{IbkrSim, IbkrSimConfig};
///
/// let sim = IbkrSim::start(IbkrSimConfig::simulated(7)).await?;
/// println!("gateway at {}, certificate {:?}", sim.gateway_url(), sim.fingerprint());
/// assert!(sim.positions().iter().any(|position| position.is_open_option()));
/// sim.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct IbkrSim {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Tasks,
    /// Where it has one of its own.
    market: Option<SimMarket>,
}

impl std::fmt::Debug for IbkrSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IbkrSim").field("address", &self.address).finish_non_exhaustive()
    }
}

impl IbkrSim {
    /// Opens the gateway, and a market that quotes what the customer holds and nothing else:
    /// [`SimulatedMarket::positions`](crate::SimulatedMarket::positions) and [`IbkrCustomer::shared`] count for nothing.
    ///
    /// # Errors
    /// [`SimError`] when the address is taken, a chain file cannot be read, or a setting makes no sense.
    ///
    /// # Cancel safety
    /// A dropped start leaves nothing behind.
    pub async fn start(mut config: IbkrSimConfig) -> Result<Self, SimError> {
        if let MarketConfig::Simulated(market) = &mut config.market {
            // The market's own book has one contract more than it is asked for, and two more come from here.
            let held = config.customer.accounts.len() * config.customer.positions;
            market.positions = held.saturating_sub(4).max(1);
            config.customer.shared = usize::MAX;
        }
        let market = SimMarket::start(config.market.clone()).await?;
        let mut sim = Self::start_on(&market, config).await?;
        sim.market = Some(market);
        Ok(sim)
    }

    /// Opens the gateway on a market that others may use too; [`IbkrSimConfig::market`] counts for nothing.
    ///
    /// # Errors
    /// [`SimError`] when the address is taken, or the market has too few contracts.
    ///
    /// # Cancel safety
    /// A dropped start leaves nothing behind.
    pub async fn start_on(market: &SimMarket, config: IbkrSimConfig) -> Result<Self, SimError> {
        let place = Arc::clone(market.place());
        let mut directory = Directory::default();
        let (book, fresh) = Book::fill(&config, &place, &mut directory)?;
        place.list(fresh).await?;
        let certificate = if config.tls { Some(Certificate::make()?) } else { None };
        let (listener, address) = listen(config.listen).await?;
        let shared = Arc::new(Shared::new(config, Arc::clone(&place), book, directory, certificate));
        let counted = Arc::downgrade(&shared);
        place.observers.add(Box::new(move |events, finished| {
            let Some(shared) = counted.upgrade() else { return false };
            let greeks = events.iter().filter(|event| event.kind() == Kind::Greeks).count() as u64;
            if greeks > 0 || finished {
                shared.counters.update(|stats| {
                    stats.greeks_emitted += greeks;
                    stats.market_finished |= finished;
                });
            }
            true
        }));
        let mut tasks = Tasks::new();
        tasks.spawn(|stop| net::listen(listener, address, Arc::clone(&shared), stop));
        let login = Arc::clone(&shared);
        tasks.spawn(|stop| async move { login.login.keep_time(stop).await });
        Ok(Self { shared, address, tasks, market: None })
    }

    /// Base of the REST calls, `https://127.0.0.1:PORT/v1/api`; the websocket is at `/ws` behind it. Plain `http`
    /// without TLS.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        let scheme = if self.shared.config.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, rest::BASE)
    }

    /// SHA-256 of the certificate of now, in small hexadecimal digits; `None` without TLS.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.shared.certificate().map(|certificate| certificate.fingerprint)
    }

    /// The certificate of now; `None` without TLS. It is its own authority, expired, and for another name.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<String> {
        self.shared.certificate().map(|certificate| certificate.pem)
    }

    /// The handle that changes things while the double runs.
    #[must_use]
    pub fn control(&self) -> IbkrControl {
        IbkrControl::new(Arc::clone(&self.shared))
    }

    /// What was sent.
    #[must_use]
    pub fn ledger(&self) -> &IbkrLedger {
        &self.shared.ledger
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> IbkrStats {
        self.shared.counters.get()
    }

    /// Waits until the counters fulfil `condition`; it is looked at on every change, so no event is waited for in vain.
    ///
    /// # Errors
    /// [`SimError::Timeout`] when they do not within `limit`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&IbkrStats) -> bool,
    ) -> Result<IbkrStats, SimError> {
        self.shared.counters.wait(limit, condition).await
    }

    /// Mistakes that clients made, at most 1000. A test of a client asserts that there are none.
    #[must_use]
    pub fn violations(&self) -> Vec<IbkrViolation> {
        self.shared.violations.all()
    }

    /// REST requests so far, at most 10,000.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestLine> {
        self.shared.requests()
    }

    /// The accounts that hold something; an advisor's own is not among them.
    #[must_use]
    pub fn accounts(&self) -> Vec<String> {
        self.shared.book().accounts.clone()
    }

    /// All rows of all accounts, stocks and closed positions included.
    #[must_use]
    pub fn positions(&self) -> Vec<IbkrPosition> {
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
