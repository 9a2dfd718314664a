//! What a user of this crate chooses.

use std::time::Duration;

use greeks_model::AccountId;

/// Where a Client Portal gateway listens unless its `conf.yaml` says otherwise.
pub const DEFAULT_GATEWAY_URL: &str = "https://localhost:5000/v1/api";

/// How to reach a Client Portal gateway, and how to treat it. Everything has a default.
///
/// There are no credentials: a person logs in at the gateway with a browser.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IbkrConfig {
    /// Base of the REST API; default [`DEFAULT_GATEWAY_URL`]. `http` is accepted for loopback hosts only.
    pub gateway_url: String,
    /// The websocket; default `None`: `ws` below `gateway_url`. Plain `ws` is accepted for loopback hosts only.
    pub websocket_url: Option<String>,
    /// Accounts to stream; default `None`: all of the user, sub-accounts of an advisor included.
    pub accounts: Option<Vec<AccountId>>,
    /// Whether to take the brokerage session away from another login of the same user (the mobile app, Trader
    /// Workstation); default `false`: wait until it is free.
    pub compete: bool,
    /// Market data lines this source may use, of options and underlyings together; default `None`: ask for everything
    /// in the order of priority, and find out what stays silent.
    pub market_data_lines: Option<usize>,
    /// Sent as `User-Agent`; default `greekd/<version>`.
    pub user_agent: String,
    /// Limit for each REST call, from dialling to the last byte; default 15 s.
    pub rest_timeout: Duration,
    /// Time in which one REST call is earned; default 1/7 s. The gateway allows 10 calls a second.
    pub rest_spacing: Duration,
    /// REST calls that may go out at once after a pause; default 2.
    pub rest_burst: u32,
    /// How long nothing is asked after a 429 without `Retry-After`; default 10 minutes, the time an offender spends in
    /// the penalty box.
    pub penalty: Duration,
    /// How long nothing is asked while IBKR is down for maintenance; default 60 s: many retries in the night seem to earn
    /// a block.
    pub maintenance_pause: Duration,
    /// Limit for each step of opening a session (dial, upgrade, `sts authenticated:true`) and for a write that makes no
    /// progress; default 15 s.
    pub step_timeout: Duration,
    /// How long a brokerage session may take to open after `ssodh/init`; default 20 s.
    pub init_timeout: Duration,
    /// Time between two looks at a brokerage session that is being opened; default 1 s.
    pub init_poll: Duration,
    /// Time between two calls of `tickle`; default 60 s. A brokerage session ends after 5 to 6 minutes without.
    pub tickle_every: Duration,
    /// Time between two `tic` on the websocket; default 50 s. One a minute is asked for.
    pub tic_every: Duration,
    /// The websocket counts as dead when no frame came for this long; default 30 s. A heartbeat comes every 10 s.
    pub heartbeat_timeout: Duration,
    /// A subscription is sent again after this long; default 8 minutes.
    pub renew_after: Duration,
    /// The life of a subscription that is not sent again; default 10 minutes (15 were seen). One that got older is
    /// reported as a gap.
    pub subscription_life: Duration,
    /// A subscription without a first frame is sent again after this long, and then ever less often; default 15 s.
    pub first_frame_after: Duration,
    /// A contract that has had frames and then none for this long is subscribed again, and then ever less often; default
    /// 90 s.
    pub quiet_after: Duration,
    /// Pause between two subscriptions; default 100 ms. No limit is documented; ten a second is what is advised.
    pub subscribe_spacing: Duration,
    /// How often positions are read again, whatever executions say; default 60 s.
    pub position_poll: Duration,
    /// Largest message accepted from the gateway; default 16 MiB. A larger one ends the session.
    pub max_message_bytes: usize,
}

impl IbkrConfig {
    /// A configuration for the gateway at `gateway_url`, for example [`DEFAULT_GATEWAY_URL`].
    #[must_use]
    pub fn new(gateway_url: &str) -> Self {
        Self {
            gateway_url: gateway_url.to_owned(),
            websocket_url: None,
            accounts: None,
            compete: false,
            market_data_lines: None,
            user_agent: concat!("greekd/", env!("CARGO_PKG_VERSION")).into(),
            rest_timeout: Duration::from_secs(15),
            rest_spacing: Duration::from_millis(143),
            rest_burst: 2,
            penalty: Duration::from_secs(600),
            maintenance_pause: Duration::from_secs(60),
            step_timeout: Duration::from_secs(15),
            init_timeout: Duration::from_secs(20),
            init_poll: Duration::from_secs(1),
            tickle_every: Duration::from_secs(60),
            tic_every: Duration::from_secs(50),
            heartbeat_timeout: Duration::from_secs(30),
            renew_after: Duration::from_secs(480),
            subscription_life: Duration::from_secs(600),
            first_frame_after: Duration::from_secs(15),
            quiet_after: Duration::from_secs(90),
            subscribe_spacing: Duration::from_millis(100),
            position_poll: Duration::from_secs(60),
            max_message_bytes: 16 << 20,
        }
    }
}
