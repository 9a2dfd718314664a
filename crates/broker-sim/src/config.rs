//! Settings of the doubles, with defaults that need no thought.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::market::CarrySource;
use crate::tasty::Faults;

/// A whole double of tastytrade: REST, DXLink, and the market behind them.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where REST listens; port 0 takes a free one. There is no TLS, so the loopback interface is the place.
    pub listen: SocketAddr,
    /// Where DXLink listens.
    pub dxlink_listen: SocketAddr,
    /// Where the account streamer listens.
    pub streamer_listen: SocketAddr,
    /// What is traded.
    pub market: MarketConfig,
    /// Events the ledger keeps; 0 keeps none, for doubles that run for days.
    pub ledger_capacity: usize,
    /// Tokens and documents.
    pub rest: RestConfig,
    /// The stream.
    pub dxlink: DxLinkConfig,
    /// The account streamer.
    pub streamer: StreamerConfig,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl SimConfig {
    /// A simulated market from `seed`, on free ports of the loopback interface, with a ledger of a million events.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self::new(MarketConfig::Simulated(SimulatedMarket { seed, ..SimulatedMarket::default() }))
    }

    /// A replay of the chain in the file `path`, on free ports of the loopback interface.
    #[must_use]
    pub fn chain(path: impl Into<PathBuf>) -> Self {
        Self::new(MarketConfig::Chain(ChainMarket::new(path)))
    }

    fn new(market: MarketConfig) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: loopback,
            dxlink_listen: loopback,
            streamer_listen: loopback,
            market,
            ledger_capacity: 1_000_000,
            rest: RestConfig::default(),
            dxlink: DxLinkConfig::default(),
            streamer: StreamerConfig::default(),
            faults: Faults::default(),
        }
    }
}

/// Which market is behind a double.
#[derive(Clone, Debug)]
pub enum MarketConfig {
    /// Invented, coherent, repeatable.
    Simulated(SimulatedMarket),
    /// A real chain from a file.
    Chain(ChainMarket),
}

/// The simulated market. Equal settings give equal contracts, positions, paths and values.
#[derive(Clone, Debug)]
pub struct SimulatedMarket {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Different option contracts held. With nine or more, every kind of contract occurs, and one whose volatility
    /// often has no solution.
    pub positions: usize,
    /// Greeks events per second, 0.01 to 200,000.
    pub rate: f64,
    /// Underlying quotes (each with a trade) per second, over all underlyings.
    pub underlying_rate: f64,
    /// The market's own time at the start; today's opening in New York when `None`. Expirations follow from it.
    pub opened: Option<jiff::Timestamp>,
}

impl Default for SimulatedMarket {
    fn default() -> Self {
        Self { seed: 1, positions: 60, rate: 50.0, underlying_rate: 8.0, opened: None }
    }
}

/// A replayed chain. Event times are those of the chain, so rows land in the months of the file.
#[derive(Clone, Debug)]
pub struct ChainMarket {
    /// The end-of-day file.
    pub path: PathBuf,
    /// Wall time of one trading day.
    pub day: Duration,
    /// Pause after each close; at least twice the aggregation period a client asks for, or it may miss closes.
    pub night: Duration,
    /// Greeks events per second between two closes.
    pub rate: f64,
    /// Underlying quotes (each with a trade) per second.
    pub underlying_rate: f64,
    /// Chooses which contract is quoted when, and the sizes of positions.
    pub seed: u64,
    /// Accounts that share the contracts, 1 or 2.
    pub accounts: u8,
    /// Interest and dividends.
    pub carry: CarrySource,
    /// The replay begins once a client is subscribed and has not changed its subscriptions for this long, so that the
    /// first day is not played to nobody; `None` begins at once.
    pub settle: Option<Duration>,
}

impl ChainMarket {
    /// Two seconds a day at 100 events a second, begun when somebody listens.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            day: Duration::from_secs(2),
            night: Duration::from_millis(500),
            rate: 100.0,
            underlying_rate: 10.0,
            seed: 1,
            accounts: 2,
            carry: CarrySource::File,
            settle: Some(Duration::from_millis(500)),
        }
    }
}

/// The REST half.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// Life of an access token; tastytrade's is 15 minutes.
    pub access_token_ttl: Duration,
    /// Life of a quote token; tastytrade's is 24 hours.
    pub quote_token_ttl: Duration,
}

impl Default for RestConfig {
    fn default() -> Self {
        Self { access_token_ttl: Duration::from_secs(900), quote_token_ttl: Duration::from_secs(86_400) }
    }
}

/// The DXLink half.
#[derive(Clone, Debug)]
pub struct DxLinkConfig {
    /// A client that is silent for longer is disconnected; advertised in SETUP.
    pub keepalive_timeout: Duration,
    /// A connection without SETUP, or without AUTH after it, is closed after this long.
    pub setup_timeout: Duration,
    /// Between the answer to SETUP and AUTH_STATE UNAUTHORIZED: a client that does not wait for the latter is caught.
    pub auth_state_delay: Duration,
    /// Larger messages are answered with close code 1009.
    pub max_message_bytes: usize,
    /// Rows of one FEED_DATA message.
    pub max_rows: usize,
    /// A socket that takes no bytes for this long is closed.
    pub slow_reader_timeout: Duration,
    /// Order of the columns.
    pub columns: ColumnOrder,
}

impl Default for DxLinkConfig {
    fn default() -> Self {
        Self {
            keepalive_timeout: Duration::from_secs(60),
            setup_timeout: Duration::from_secs(10),
            auth_state_delay: Duration::from_millis(20),
            max_message_bytes: 64 * 1024,
            max_rows: 1000,
            slow_reader_timeout: Duration::from_secs(30),
            columns: ColumnOrder::Scrambled,
        }
    }
}

/// The account streamer.
#[derive(Clone, Debug)]
pub struct StreamerConfig {
    /// A client whose last accepted message is older is disconnected; tastytrade's limit is a minute.
    pub heartbeat_timeout: Duration,
    /// A connection without a successful `connect` is closed after this long.
    pub connect_timeout: Duration,
}

impl Default for StreamerConfig {
    fn default() -> Self {
        Self { heartbeat_timeout: Duration::from_secs(60), connect_timeout: Duration::from_secs(10) }
    }
}

/// In which order the server answers for the columns that a client asked for. Any is legal; the client has to read it
/// from FEED_CONFIG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnOrder {
    /// Type and symbol, then the alphabet: different from what any client would ask for.
    #[default]
    Scrambled,
    /// As the event's schema lists them.
    Schema,
    /// As the client asked.
    Asked,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// Flat arrays of values, in the order of the columns.
    Compact,
    /// Objects.
    Full,
}

impl DataFormat {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Compact => "COMPACT",
            Self::Full => "FULL",
        }
    }
}
