//! Settings of the double of a Client Portal gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::faults::IbkrFaults;
use crate::config::{MarketConfig, SimulatedMarket};

/// A whole double of a gateway: REST and websocket on one port, and the market behind them.
#[derive(Clone, Debug)]
pub struct IbkrSimConfig {
    /// Where it listens; port 0 takes a free one. The real one takes 5000.
    pub listen: SocketAddr,
    /// What is traded.
    pub market: MarketConfig,
    /// Decides what the customer holds.
    pub seed: u64,
    /// Whose accounts these are, and how much is in them.
    pub customer: IbkrCustomer,
    /// Frames the ledger keeps; 0 keeps none, for doubles that run for days.
    pub ledger_capacity: usize,
    /// TLS with a certificate like the gateway's own: self-signed, expired, for another name. Without, plain HTTP.
    pub tls: bool,
    /// Times and limits.
    pub protocol: IbkrProtocol,
    /// How often a contract is sent.
    pub pace: Pace,
    /// What frames are made of.
    pub frames: FrameKind,
    /// Decimals of delta, gamma, theta and vega; three are what captures show.
    pub decimals: usize,
    /// Whether somebody has logged in with the browser before the start.
    pub logged_in: bool,
    /// What goes wrong from the start.
    pub faults: IbkrFaults,
}

impl IbkrSimConfig {
    /// A simulated market from `seed`, on a free port of the loopback interface, with TLS and a ledger of a million
    /// frames.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self::with_market(MarketConfig::Simulated(SimulatedMarket { seed, ..SimulatedMarket::default() }), seed)
    }

    /// The same on any market.
    #[must_use]
    pub fn with_market(market: MarketConfig, seed: u64) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            market,
            seed,
            customer: IbkrCustomer::default(),
            ledger_capacity: 1_000_000,
            tls: true,
            protocol: IbkrProtocol::default(),
            pace: Pace::default(),
            frames: FrameKind::default(),
            decimals: 3,
            logged_in: true,
            faults: IbkrFaults::default(),
        }
    }
}

/// Whose accounts these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbkrCustomer {
    /// The accounts that hold something.
    pub accounts: Vec<String>,
    /// The account of an advisor, of whom the others are clients: they are then told by the sub-account calls only.
    pub advisor: Option<String>,
    /// Option contracts per account. A page has a hundred rows, and two more rows are in each account: a stock, and a
    /// contract that expired yesterday.
    pub positions: usize,
    /// So many of them are contracts that the market's own customer, who is at tastytrade, has too.
    pub shared: usize,
}

impl Default for IbkrCustomer {
    /// Two accounts of one person, with few enough contracts for the usual number of market data lines.
    fn default() -> Self {
        Self { accounts: vec!["U1234567".to_owned(), "U7654321".to_owned()], advisor: None, positions: 30, shared: 6 }
    }
}

impl IbkrCustomer {
    /// An advisor `F1234567` with so many clients.
    #[must_use]
    pub fn advisor(clients: u32) -> Self {
        Self {
            accounts: (0..clients).map(|client| format!("U{}", 2_000_000 + client)).collect(),
            advisor: Some("F1234567".to_owned()),
            positions: 4,
            ..Self::default()
        }
    }
}

/// Times and limits of the protocol, as documented or as users found them.
#[derive(Clone, Debug, PartialEq)]
pub struct IbkrProtocol {
    /// From a login to the next one that is needed.
    pub sso_life: Duration,
    /// A brokerage session ends when no tickle came for this long.
    pub brokerage_life: Duration,
    /// From `ssodh/init` until the session is authenticated.
    pub brokerage_start: Duration,
    /// From the upgrade of a socket to `system`, and from there to `act`.
    pub welcome_delay: Duration,
    /// From `act` to `sts`: whoever sends before that is caught.
    pub status_delay: Duration,
    /// Between two `system` frames with `hb`.
    pub heartbeat: Duration,
    /// A socket without `tic` or `ech+hb` for this long breaks a rule.
    pub tic_limit: Duration,
    /// A market data subscription ends without a word after this long.
    pub subscription_life: Duration,
    /// From a subscription to its first frame.
    pub first_frame_after: Duration,
    /// From the first frame to the Greeks.
    pub greeks_after: Duration,
    /// Whether a renewed subscription is answered with all that is known.
    pub full_on_renewal: bool,
    /// Market data lines over all sockets and snapshots; past them is silence.
    pub lines: usize,
    /// Messages a socket may send in one [`IbkrProtocol::second`], ends of subscriptions not counted.
    pub socket_messages: usize,
    /// The REST calls in one [`IbkrProtocol::second`], over everything.
    pub rest_calls: usize,
    /// What "per second" means in the limits; shorter in tests that divide time.
    pub second: Duration,
    /// Between two calls of `/portfolio/accounts` or of the sub-accounts.
    pub accounts_every: Duration,
    /// Between two calls of `/sso/validate`.
    pub validate_every: Duration,
    /// How long everything is answered with 429 once a limit was broken.
    pub penalty: Duration,
    /// Positions are as old as this, unless invalidated.
    pub position_cache: Duration,
}

impl Default for IbkrProtocol {
    fn default() -> Self {
        Self {
            sso_life: Duration::from_secs(86_400),
            brokerage_life: Duration::from_secs(330),
            brokerage_start: Duration::ZERO,
            welcome_delay: Duration::from_millis(10),
            status_delay: Duration::from_millis(100),
            heartbeat: Duration::from_secs(10),
            tic_limit: Duration::from_secs(120),
            subscription_life: Duration::from_secs(600),
            first_frame_after: Duration::from_millis(10),
            greeks_after: Duration::from_millis(500),
            full_on_renewal: true,
            lines: 100,
            socket_messages: 20,
            rest_calls: 10,
            second: Duration::from_secs(1),
            accounts_every: Duration::from_secs(5),
            validate_every: Duration::from_secs(60),
            penalty: Duration::from_secs(600),
            position_cache: Duration::from_secs(60),
        }
    }
}

impl IbkrProtocol {
    /// All times divided by `n`: a day in 144 seconds with 600. The delays that catch the hasty stay as they are.
    #[must_use]
    pub fn divided_by(mut self, n: u32) -> Self {
        for time in [
            &mut self.sso_life,
            &mut self.brokerage_life,
            &mut self.brokerage_start,
            &mut self.heartbeat,
            &mut self.tic_limit,
            &mut self.subscription_life,
            &mut self.greeks_after,
            &mut self.second,
            &mut self.accounts_every,
            &mut self.validate_every,
            &mut self.penalty,
            &mut self.position_cache,
        ] {
            *time /= n.max(1);
        }
        self
    }
}

/// How often a contract is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the real one: what has changed, at most once per this time and contract.
    Natural(Duration),
    /// A frame for each event of the market, for tests that want so many frames a second: with the option price alone
    /// where no printed figure has changed.
    EveryEvent,
}

impl Default for Pace {
    fn default() -> Self {
        Self::Natural(Duration::from_millis(500))
    }
}

/// What frames are made of; both occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameKind {
    /// Now text, now binary.
    #[default]
    Mixed,
    /// Text.
    Text,
    /// Binary.
    Binary,
}
