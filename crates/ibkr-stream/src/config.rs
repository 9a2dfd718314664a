//! What a user of this crate chooses.

use std::time::Duration;

use broker_net::bounds::objection;
use broker_net::url::{host_only, is_loopback};
use greeks_model::AccountId;
use reqwest::Url;

use crate::Error;

/// Where a Client Portal gateway listens unless its `conf.yaml` says otherwise.
pub const DEFAULT_GATEWAY_URL: &str = "https://localhost:5000/v1/api";

/// Where the API lies below a gateway's address when that names no path.
const API_PATH: &str = "/v1/api";

/// How to reach a Client Portal gateway, and how to treat it. Everything has a default.
///
/// There are no credentials: a person logs in at the gateway with a browser.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IbkrConfig {
    /// Base of the REST API; default [`DEFAULT_GATEWAY_URL`]. Without a path, `/v1/api` is meant. `http` is accepted for
    /// loopback hosts only.
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
    /// Least time between two calls of `tickle`, and before the first; default 1 s, the gateway's limit.
    pub tickle_spacing: Duration,
    /// Least time between two calls that list the accounts, and before the first; default 5 s, the gateway's limit.
    pub account_list_spacing: Duration,
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
    /// A contract that has had frames and then none for this long is subscribed again, and then ever less often, until it
    /// flows; default 45 s. One that flowed steadily and does so again as soon as it is asked is reported as a gap.
    pub quiet_after: Duration,
    /// A stream in which no contract has had a frame for this long, although all were subscribed again, is left for a new
    /// connection; default 60 s. After one that fared no better twice as long, up to an hour.
    pub stalled_after: Duration,
    /// Pause between two messages on the websocket; default 110 ms. No limit is documented; ten a second is what is
    /// advised, and at 100 ms a second can hold eleven.
    pub subscribe_spacing: Duration,
    /// How often positions are read again, whatever executions say; default 60 s.
    pub position_poll: Duration,
    /// After an execution positions are read past IBKR's cache; when nothing has changed, once more after this long;
    /// default 3 s.
    pub execution_recheck: Duration,
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
            tickle_spacing: Duration::from_secs(1),
            account_list_spacing: Duration::from_secs(5),
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
            quiet_after: Duration::from_secs(45),
            stalled_after: Duration::from_secs(60),
            subscribe_spacing: Duration::from_millis(110),
            position_poll: Duration::from_secs(60),
            execution_recheck: Duration::from_secs(3),
            max_message_bytes: 16 << 20,
        }
    }

    /// Refuses settings that cannot work.
    pub(crate) fn checked(&self) -> Result<Endpoints, Error> {
        if self.user_agent.is_empty() || !self.user_agent.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(Error::configuration("user_agent", "must be visible ASCII, for example greekd/1.0"));
        }
        let positive = [
            ("rest_timeout", self.rest_timeout),
            ("penalty", self.penalty),
            ("maintenance_pause", self.maintenance_pause),
            ("step_timeout", self.step_timeout),
            ("init_timeout", self.init_timeout),
            ("init_poll", self.init_poll),
            ("tickle_every", self.tickle_every),
            ("tic_every", self.tic_every),
            ("heartbeat_timeout", self.heartbeat_timeout),
            ("renew_after", self.renew_after),
            ("first_frame_after", self.first_frame_after),
            ("quiet_after", self.quiet_after),
            ("stalled_after", self.stalled_after),
            ("position_poll", self.position_poll),
        ];
        let others = [
            ("rest_spacing", self.rest_spacing),
            ("tickle_spacing", self.tickle_spacing),
            ("account_list_spacing", self.account_list_spacing),
            ("subscription_life", self.subscription_life),
            ("subscribe_spacing", self.subscribe_spacing),
            ("execution_recheck", self.execution_recheck),
        ];
        if let Some((setting, why)) = objection(&positive, &others) {
            return Err(Error::configuration(setting, why));
        }
        if self.renew_after >= self.subscription_life {
            return Err(Error::configuration("renew_after", "must be shorter than subscription_life"));
        }
        if self.market_data_lines == Some(0) {
            return Err(Error::configuration("market_data_lines", "must be more than zero"));
        }
        if self.max_message_bytes == 0 {
            return Err(Error::configuration("max_message_bytes", "must be more than zero"));
        }
        let api = self.api()?;
        let websocket = match &self.websocket_url {
            Some(text) => checked_url("websocket_url", text, "wss", "ws")?,
            None => websocket_below(&api)?,
        };
        Ok(Endpoints { api, websocket })
    }

    fn api(&self) -> Result<Url, Error> {
        let mut api = checked_url("gateway_url", &self.gateway_url, "https", "http")?;
        let path = match api.path().trim_end_matches('/') {
            "" => API_PATH.to_owned(),
            path => path.to_owned(),
        };
        api.set_path(&path);
        Ok(api)
    }
}

/// Where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Without a slash at its end.
    pub(crate) api: Url,
    pub(crate) websocket: Url,
}

impl Endpoints {
    /// Where a person logs in.
    pub(crate) fn gateway(&self) -> String {
        host_only(self.api.as_str())
    }
}

fn websocket_below(api: &Url) -> Result<Url, Error> {
    let mut websocket = api.clone();
    let scheme = if api.scheme() == "https" { "wss" } else { "ws" };
    let changed = websocket.set_scheme(scheme);
    changed.map_err(|()| Error::configuration("gateway_url", "has no websocket below it"))?;
    websocket.set_path(&format!("{}/ws", api.path()));
    Ok(websocket)
}

fn checked_url(setting: &'static str, text: &str, scheme: &str, plain: &str) -> Result<Url, Error> {
    let refuse = |reason: String| Err(Error::configuration(setting, reason));
    let Ok(url) = Url::parse(text) else {
        return refuse(format!("is not a URL; a gateway's usual one is {DEFAULT_GATEWAY_URL}"));
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return refuse("must be a plain URL without user, query or fragment".into());
    }
    match url.scheme() {
        given if given == scheme && url.host_str().is_some() => Ok(url),
        given if given == plain && is_loopback(&url) => Ok(url),
        given if given == plain => {
            refuse(format!("uses {plain}, which is accepted for loopback hosts only; use {scheme}"))
        }
        _ => refuse(format!("must begin with {scheme}://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(gateway: &str, websocket: Option<&str>) -> Result<(String, String), Error> {
        let config = IbkrConfig { websocket_url: websocket.map(Into::into), ..IbkrConfig::new(gateway) };
        config.checked().map(|it| (it.api.to_string(), it.websocket.to_string()))
    }

    #[test]
    fn the_websocket_lies_below_the_api() {
        for (gateway, websocket, expected) in [
            (DEFAULT_GATEWAY_URL, None, ["https://localhost:5000/v1/api", "wss://localhost:5000/v1/api/ws"]),
            ("https://localhost:5000/", None, ["https://localhost:5000/v1/api", "wss://localhost:5000/v1/api/ws"]),
            ("https://gw:1/v1/portal/", None, ["https://gw:1/v1/portal", "wss://gw:1/v1/portal/ws"]),
            ("http://127.0.0.1:9", None, ["http://127.0.0.1:9/v1/api", "ws://127.0.0.1:9/v1/api/ws"]),
            ("https://gw", Some("ws://[::1]:2/ws"), ["https://gw/v1/api", "ws://[::1]:2/ws"]),
        ] {
            let (api, ws) = endpoints(gateway, websocket).unwrap();
            assert_eq!([api.as_str(), ws.as_str()], expected, "{gateway}");
        }
        let config = IbkrConfig::new("https://localhost:5000/v1/api");
        assert_eq!(config.checked().unwrap().gateway(), "https://localhost:5000");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_and_not_repeated() {
        for gateway in [
            "",
            "localhost:5000",
            "http://10.0.0.1",
            "ftp://localhost",
            "https://u:secret@localhost",
            "https://x?secret",
        ] {
            let error = endpoints(gateway, None).unwrap_err().to_string();
            assert!(error.contains("gateway_url") && !error.contains("secret"), "{gateway}: {error}");
        }
        for websocket in ["", "ws://10.0.0.1/ws", "https://localhost/ws", "wss://localhost/ws?secret"] {
            let error = endpoints(DEFAULT_GATEWAY_URL, Some(websocket)).unwrap_err().to_string();
            assert!(error.contains("websocket_url") && !error.contains("secret"), "{websocket}: {error}");
        }
    }

    #[test]
    fn unusable_settings_are_named() {
        let config = || IbkrConfig::new(DEFAULT_GATEWAY_URL);
        for (setting, config) in [
            ("user_agent", IbkrConfig { user_agent: "greekd/1\r\nX: y".into(), ..config() }),
            ("tickle_every", IbkrConfig { tickle_every: Duration::ZERO, ..config() }),
            ("penalty", IbkrConfig { penalty: Duration::ZERO, ..config() }),
            ("quiet_after", IbkrConfig { quiet_after: Duration::MAX, ..config() }),
            ("subscribe_spacing", IbkrConfig { subscribe_spacing: Duration::MAX, ..config() }),
            ("maintenance_pause", IbkrConfig { maintenance_pause: Duration::ZERO, ..config() }),
            ("renew_after", IbkrConfig { renew_after: Duration::from_secs(600), ..config() }),
            ("market_data_lines", IbkrConfig { market_data_lines: Some(0), ..config() }),
            ("max_message_bytes", IbkrConfig { max_message_bytes: 0, ..config() }),
        ] {
            let error = config.checked().unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }
}
