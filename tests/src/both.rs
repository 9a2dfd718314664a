//! Both brokers' doubles on one market, and a greekd that streams from both into a database of its own.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use broker_sim::{
    IbkrCustomer, IbkrSim, IbkrSimConfig, MarketConfig, Pace, SimConfig, SimMarket, SimulatedMarket, TastySim,
};

use crate::cluster::{Cluster, Database};
use crate::daemon::{Daemon, tail};
use crate::ibkr::{environment, options, streams};
use crate::scratch::scratch;
use crate::tasty::{self, PATIENCE};

/// Both doubles, a database, and what a greekd is told of them.
#[derive(Debug)]
pub struct Both {
    /// What both quote.
    pub market: SimMarket,
    /// The double of IBKR's gateway.
    pub ibkr: IbkrSim,
    /// The double of tastytrade.
    pub tasty: TastySim,
    /// Where rows go.
    pub database: Database,
    /// The environment of greekd.
    pub settings: Vec<(&'static str, String)>,
    /// Where greekd keeps its data.
    pub directory: tempfile::TempDir,
}

impl Both {
    /// A market of `rate` events a second; `at_tasty` and `at_ibkr` positions at the two.
    ///
    /// # Panics
    /// When a double cannot be started.
    pub async fn start(cluster: &Cluster, name: &str, rate: f64, at_tasty: usize, at_ibkr: usize) -> Self {
        let market = SimulatedMarket { rate, positions: at_tasty, ..SimulatedMarket::default() };
        let market = MarketConfig::Simulated(market);
        let mut config = IbkrSimConfig::with_market(market.clone(), 1);
        config.customer = IbkrCustomer { positions: at_ibkr, ..IbkrCustomer::default() };
        config.pace = Pace::EveryEvent;
        let market = SimMarket::start(market).await.unwrap();
        let tasty = TastySim::start_on(&market, SimConfig::simulated(1)).await.unwrap();
        let ibkr = IbkrSim::start_on(&market, config).await.unwrap();
        let database = cluster.database(name).await;
        let mut settings = environment(&ibkr);
        settings.extend(tasty::environment(&tasty));
        settings.push(("DATABASE_URL", database.url.clone()));
        Self { market, ibkr, tasty, database, settings, directory: scratch() }
    }

    /// The environment as a greekd is started with it.
    #[must_use]
    pub fn environment(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// A greekd that streams from both.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn daemon(&self) -> Daemon {
        let daemon = Daemon::start_in(self.directory.path(), &["run"], &self.environment());
        streams(&self.ibkr, &daemon, options(&self.ibkr)).await;
        let there =
            self.tasty.wait_until(PATIENCE, |stats| stats.streaming == 1 && stats.streamer_connected == 1).await;
        there.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
        daemon
    }

    /// Ends the doubles.
    pub async fn shutdown(self) {
        self.ibkr.shutdown().await;
        self.tasty.shutdown().await;
        self.market.shutdown().await;
    }
}
