//! A gateway's double with a greekd of its own.

use std::time::{Duration, Instant};

use broker_sim::{IbkrCustomer, IbkrSim, IbkrSimConfig, IbkrStats, MarketConfig, Pace, SimulatedMarket};

use crate::cluster::{Cluster, Database};
use crate::daemon::{Daemon, tail};
use crate::ibkr::{environment, gaps, options, rows, stop_and_compare, streams};
use crate::tasty::PATIENCE;
use crate::wait::until;

/// Positions so many in each of two accounts, on a slow market, every event of which is a frame.
pub fn config(positions: usize) -> IbkrSimConfig {
    let market = SimulatedMarket { rate: 50.0, ..SimulatedMarket::default() };
    let mut config = IbkrSimConfig::with_market(MarketConfig::Simulated(market), 1);
    config.customer = IbkrCustomer { positions, ..IbkrCustomer::default() };
    config.pace = Pace::EveryEvent;
    config
}

/// A gateway and a greekd of its own.
#[derive(Debug)]
pub struct Scene {
    /// Where greekd stores.
    pub database: Database,
    /// The gateway.
    pub sim: IbkrSim,
    /// greekd.
    pub daemon: Daemon,
    /// When that was started.
    pub began: Instant,
}

impl Scene {
    /// A gateway, a database of this name, and greekd.
    ///
    /// # Panics
    /// When they cannot be started.
    pub async fn start(cluster: &Cluster, name: &str, config: IbkrSimConfig) -> Self {
        Self::start_with(cluster, name, config, &[]).await
    }

    /// With more settings.
    ///
    /// # Panics
    /// When they cannot be started.
    pub async fn start_with(
        cluster: &Cluster,
        name: &str,
        config: IbkrSimConfig,
        more: &[(&'static str, &str)],
    ) -> Self {
        let sim = IbkrSim::start(config).await.expect("a gateway");
        Self::connect(cluster, name, sim, more).await
    }

    /// With a gateway that is there.
    ///
    /// # Panics
    /// When the others cannot be started.
    pub async fn connect(cluster: &Cluster, name: &str, sim: IbkrSim, more: &[(&'static str, &str)]) -> Self {
        let database = cluster.database(name).await;
        let mut settings = environment(&sim);
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let daemon = Daemon::run_with(&database, &settings);
        Self { database, sim, daemon, began: Instant::now() }
    }

    /// Scheme, host and port: where a person logs in.
    pub fn origin(&self) -> String {
        self.sim.gateway_url().trim_end_matches("/v1/api").to_owned()
    }

    /// Waits until all options stream.
    ///
    /// # Panics
    /// When they do not.
    pub async fn streams(&self) {
        streams(&self.sim, &self.daemon, options(&self.sim)).await;
    }

    /// Waits until all options stream in another socket than those of before.
    ///
    /// # Panics
    /// When they do not.
    pub async fn is_back(&self, connections: u64, within: Duration) -> Duration {
        let (began, wanted) = (Instant::now(), options(&self.sim));
        let back = |stats: &IbkrStats| stats.connections > connections && stats.streaming == wanted;
        let came = self.sim.wait_until(within, back).await;
        came.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.sim.stats(), tail(&self.daemon.stderr())));
        began.elapsed()
    }

    /// Waits for more rows than so many.
    ///
    /// # Panics
    /// When there are none.
    pub async fn has_more_rows(&self, than: usize) {
        until("there are more rows", PATIENCE, async || (rows(&self.database).await > than).then_some(())).await;
    }

    /// Everything that was sent is stored once. Returns the gaps of lost connections.
    ///
    /// # Panics
    /// When anything is missing, doubled or different, or was received in the midst of a gap.
    pub async fn ends_exactly(self) -> Vec<(Option<i64>, i64)> {
        let Self { database, sim, daemon, .. } = self;
        let rows = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
        assert!(rows > 0);
        let gaps = gaps(&database, "disconnected").await;
        assert!(gaps.iter().all(|(_, rows)| *rows == 0), "rows in the midst of a gap: {gaps:?}");
        sim.shutdown().await;
        gaps
    }
}

/// What the log told last of a stream that is not as it should be.
///
/// # Panics
/// When the log is not in JSON.
pub fn fault(daemon: &Daemon) -> Option<String> {
    let log = daemon.stderr();
    let line = log.iter().rfind(|line| line.contains("\"degraded\"") && line.contains("\"WARN\""))?;
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line.pointer("/fields/reason")?.as_str().map(str::to_owned)
}
