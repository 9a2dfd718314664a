//! What a user of this crate chooses.

use std::time::Duration;

use broker_net::bounds::objection;
use broker_net::url::{host_only, is_loopback};
use greeks_model::AccountId;
use reqwest::Url;
use secrecy::SecretString;

use crate::Error;

/// The production API of tastytrade.
pub const PRODUCTION_API_URL: &str = "https://api.tastyworks.com";
/// The production account streamer of tastytrade.
pub const PRODUCTION_STREAMER_URL: &str = "wss://streamer.tastyworks.com";

const SANDBOX_API_HOST: &str = "api.cert.tastyworks.com";
const SANDBOX_STREAMER_URL: &str = "wss://streamer.cert.tastyworks.com";

/// How to reach tastytrade and on whose behalf. Everything but the credentials has a default.
///
/// `Debug` shows no secret and masks account numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TastyConfig {
    /// The OAuth refresh token of a personal grant.
    pub refresh_token: SecretString,
    /// The secret of the OAuth application that the grant belongs to.
    pub client_secret: SecretString,
    /// Base of the REST API; default [`PRODUCTION_API_URL`]. `http` is accepted for loopback hosts only.
    pub api_url: String,
    /// The account streamer, which tells of positions as they change; default `None`: the one that belongs to
    /// `api_url`, which is [`PRODUCTION_STREAMER_URL`] unless the API is the sandbox. An API on a loopback host has
    /// none: positions are then only polled. `ws` is accepted for loopback hosts only.
    pub streamer_url: Option<String>,
    /// Stocks and funds whose price is streamed too although nothing on them may be held, by their symbol; default none.
    /// A portfolio is weighted against one of them.
    pub benchmarks: Vec<String>,
    /// Accounts to stream; default `None`: all open accounts of the customer. Those that are not open are told and left out.
    pub accounts: Option<Vec<AccountId>>,
    /// `product/version` as sent in `User-Agent`, which tastytrade requires on every call; default `greekd/<version>`.
    /// Also names the client in the DXLink SETUP.
    pub user_agent: String,
    /// Limit for each REST call, from dialling to the last byte; default 15 s.
    pub rest_timeout: Duration,
    /// Least time between the starts of two REST calls; default 50 ms. tastytrade publishes no rate limit.
    pub rest_spacing: Duration,
    /// Limit for each step of opening a session (dial, SETUP, AUTH_STATE, CHANNEL_OPENED) and for a write that makes no
    /// progress; default 10 s.
    pub step_timeout: Duration,
    /// The longest use of one quote token; default 23 h. Tokens live for 24 h, and what the streamer does at their end is
    /// not documented: a new session with a new token begins before. A token that says it ends sooner is left sooner. Where
    /// no other can be had, the session goes on until two minutes before the end of its own.
    pub quote_token_use: Duration,
    /// The keepalive time-out offered to and asked of the DXLink server; default 60 s. A message goes out every third
    /// of the smallest negotiated one; the link counts as dead after the larger of ours and the server's.
    pub keepalive_timeout: Duration,
    /// Added to the keepalive time-out before silence counts as a dead link; default 5 s.
    pub silence_margin: Duration,
    /// How often positions are read again, whatever the account streamer says; default 60 s.
    pub position_poll: Duration,
    /// How often the list of accounts is read again; default 10 min. When others are open, a new session begins with them.
    /// While none is open, at least as often as positions are read otherwise.
    pub accounts_poll: Duration,
    /// Time between two heartbeats to the account streamer; default 20 s. It closes a connection that says nothing for
    /// 60 s.
    pub account_heartbeat: Duration,
    /// An account streamer that cannot be reached for this long is reported; default 30 s. Polling covers it.
    pub account_outage_after: Duration,
    /// `acceptAggregationPeriod` for Greeks; default 0: the server should not gather updates.
    pub greeks_aggregation: Duration,
    /// `acceptAggregationPeriod` for quotes and trades of underlyings; default 0.1 s: enough to keep a busy index from
    /// flooding the connection, and Greeks never wait long for the price they belong to.
    pub underlying_aggregation: Duration,
    /// How long Greeks wait at most, once authorised, until every underlying has had an event; default 1 s. The first
    /// event of an option is its last known one, out of hours the only one: without the price of its underlying at hand
    /// it would be stored without.
    pub head_start: Duration,
    /// Largest size of one subscription message; default 8 KiB. Halved, down to 1 KiB, each time the streamer closes a
    /// session because a message was too big.
    pub chunk_bytes: usize,
    /// Most symbols in one subscription message; default 500.
    pub chunk_symbols: usize,
    /// Pause between two subscription messages; default 50 ms.
    pub chunk_pause: Duration,
    /// A subscribed option without any event for this long is reported; default 30 s.
    pub silent_after: Duration,
    /// A channel that brings no event for this long, having brought some, is asked for one; default 45 s. One that does not
    /// answer within `step_timeout` ends the session. The time doubles, up to an hour, each time that did not help.
    pub quiet_after: Duration,
    /// Largest message accepted from the server; default 16 MiB. A larger one ends the session.
    pub max_message_bytes: usize,
}

impl TastyConfig {
    /// A configuration for production with these credentials.
    #[must_use]
    pub fn new(refresh_token: SecretString, client_secret: SecretString) -> Self {
        Self {
            refresh_token,
            client_secret,
            api_url: PRODUCTION_API_URL.into(),
            streamer_url: None,
            accounts: None,
            benchmarks: Vec::new(),
            user_agent: concat!("greekd/", env!("CARGO_PKG_VERSION")).into(),
            rest_timeout: Duration::from_secs(15),
            rest_spacing: Duration::from_millis(50),
            step_timeout: Duration::from_secs(10),
            quote_token_use: Duration::from_secs(23 * 3600),
            keepalive_timeout: Duration::from_secs(60),
            silence_margin: Duration::from_secs(5),
            position_poll: Duration::from_secs(60),
            accounts_poll: Duration::from_secs(600),
            account_heartbeat: Duration::from_secs(20),
            account_outage_after: Duration::from_secs(30),
            greeks_aggregation: Duration::ZERO,
            underlying_aggregation: Duration::from_millis(100),
            head_start: Duration::from_secs(1),
            chunk_bytes: 8 << 10,
            chunk_symbols: 500,
            chunk_pause: Duration::from_millis(50),
            silent_after: Duration::from_secs(30),
            quiet_after: Duration::from_secs(45),
            max_message_bytes: 16 << 20,
        }
    }

    /// The addresses, checked together with everything else that can be wrong before the first call.
    pub(crate) fn checked(&self) -> Result<Endpoints, Error> {
        let product_and_version = |agent: &str| {
            agent.split_once('/').is_some_and(|(product, version)| !product.is_empty() && !version.is_empty())
                && agent.bytes().all(|b| (0x20..0x7f).contains(&b))
        };
        if !product_and_version(&self.user_agent) {
            return Err(Error::configuration("user_agent", "must be product/version, for example greekd/1.0"));
        }
        let positive = [
            ("rest_timeout", self.rest_timeout),
            ("step_timeout", self.step_timeout),
            ("quote_token_use", self.quote_token_use),
            ("keepalive_timeout", self.keepalive_timeout),
            ("position_poll", self.position_poll),
            ("accounts_poll", self.accounts_poll),
            ("account_heartbeat", self.account_heartbeat),
            ("silent_after", self.silent_after),
            ("quiet_after", self.quiet_after),
        ];
        let others = [
            ("rest_spacing", self.rest_spacing),
            ("silence_margin", self.silence_margin),
            ("account_outage_after", self.account_outage_after),
            ("greeks_aggregation", self.greeks_aggregation),
            ("underlying_aggregation", self.underlying_aggregation),
            ("head_start", self.head_start),
            ("chunk_pause", self.chunk_pause),
        ];
        if let Some((setting, why)) = objection(&positive, &others) {
            return Err(Error::configuration(setting, why));
        }
        let counts = [
            ("chunk_bytes", self.chunk_bytes),
            ("chunk_symbols", self.chunk_symbols),
            ("max_message_bytes", self.max_message_bytes),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::configuration(setting, "must be more than zero"));
        }
        let api = check_api_url(&self.api_url)?;
        let account_streamer = match &self.streamer_url {
            Some(text) => Some(check_account_streamer_url(text)?),
            None if is_loopback(&api) => None,
            None if api.host_str() == Some(SANDBOX_API_HOST) => Some(check_account_streamer_url(SANDBOX_STREAMER_URL)?),
            None => Some(check_account_streamer_url(PRODUCTION_STREAMER_URL)?),
        };
        Ok(Endpoints { api, account_streamer })
    }
}

/// Where to go.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) api: Url,
    /// `None`: positions are only polled.
    pub(crate) account_streamer: Option<Url>,
}

fn check_api_url(text: &str) -> Result<Url, Error> {
    let refuse = |reason| Err(Error::configuration("api_url", reason));
    let Ok(url) = Url::parse(text) else {
        return refuse("is not a URL; the production API is https://api.tastyworks.com");
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return refuse("must be a plain base URL without user, query or fragment");
    }
    match url.scheme() {
        "https" if url.host_str().is_some() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => refuse("uses http, which is accepted for loopback hosts only; use https"),
        _ => refuse("must begin with https://"),
    }
}

fn check_account_streamer_url(text: &str) -> Result<Url, Error> {
    let refuse = |reason| Err(Error::configuration("streamer_url", reason));
    let Ok(url) = Url::parse(text) else {
        return refuse("is not a URL; the production account streamer is wss://streamer.tastyworks.com");
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return refuse("must be a plain URL without user, query or fragment");
    }
    match url.scheme() {
        "wss" if url.host_str().is_some() => Ok(url),
        "ws" if is_loopback(&url) => Ok(url),
        "ws" => refuse("uses ws, which is accepted for loopback hosts only; use wss"),
        _ => refuse("must begin with wss://"),
    }
}

/// Checks the websocket address that came with a quote token. A hostile or broken answer must not send the token
/// elsewhere: only dxFeed, tastytrade, the API's own host, or loopback when the API is on loopback.
pub(crate) fn check_streamer_url(text: &str, api: &Url) -> Result<Url, Error> {
    let refuse = |reason| Err(Error::UntrustedStreamer { url: host_only(text), reason });
    let Ok(url) = Url::parse(text) else { return refuse("it is not a URL") };
    let Some(host) = url.host_str() else { return refuse("it names no host") };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it carries a user name");
    }
    let local = is_loopback(&url) && is_loopback(api);
    match url.scheme() {
        "wss" => {}
        "ws" if local => {}
        "ws" => return refuse("it is not encrypted"),
        _ => return refuse("it is not a websocket address"),
    }
    let own = api.host_str() == Some(host);
    let brokers = [".dxfeed.com", ".tastyworks.com", ".tastytrade.com"];
    if local || own || brokers.iter().any(|domain| host.ends_with(domain)) {
        return Ok(url);
    }
    refuse("its host belongs neither to dxFeed nor to tastytrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TastyConfig {
        TastyConfig::new("canary-refresh".into(), "canary-secret".into())
    }

    #[test]
    fn plain_text_is_for_loopback_only() {
        for (url, accepted) in [
            ("https://api.tastyworks.com", true),
            ("https://api.cert.tastyworks.com", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://api.tastyworks.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://10.0.0.1", false),
            ("ftp://api.tastyworks.com", false),
            ("https://user:secret@api.tastyworks.com", false),
            ("https://api.tastyworks.com?token=1", false),
            ("api.tastyworks.com", false),
            ("", false),
        ] {
            let result = TastyConfig { api_url: url.into(), ..config() }.checked();
            assert_eq!(result.is_ok(), accepted, "{url}: {result:?}");
            if let Err(error) = result {
                assert!(!error.to_string().contains("secret"), "{error}");
            }
        }
    }

    #[test]
    fn the_account_streamer_belongs_to_the_api() {
        let streamer = |api: &str, chosen: Option<&str>| {
            let config = TastyConfig { api_url: api.into(), streamer_url: chosen.map(Into::into), ..config() };
            config.checked().map(|endpoints| endpoints.account_streamer.map(|url| host_only(url.as_str())))
        };
        for (api, chosen, expected) in [
            (PRODUCTION_API_URL, None, Some(PRODUCTION_STREAMER_URL)),
            ("https://api.cert.tastyworks.com", None, Some("wss://streamer.cert.tastyworks.com")),
            ("http://127.0.0.1:8080", None, None),
            ("https://localhost:8443", None, None),
            ("http://127.0.0.1:8080", Some("ws://127.0.0.1:9/x"), Some("ws://127.0.0.1:9")),
            (PRODUCTION_API_URL, Some("ws://localhost:9"), Some("ws://localhost:9")),
            (PRODUCTION_API_URL, Some("wss://example.org"), Some("wss://example.org")),
        ] {
            assert_eq!(streamer(api, chosen).unwrap().as_deref(), expected, "{api} {chosen:?}");
        }
        for chosen in [
            "",
            "streamer.tastyworks.com",
            "ws://streamer.tastyworks.com",
            "https://x.org",
            "wss://u:secret@x",
            "wss://x?t=secret",
        ] {
            let error = streamer(PRODUCTION_API_URL, Some(chosen)).unwrap_err().to_string();
            assert!(error.contains("streamer_url") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn unusable_settings_are_named() {
        for (setting, config) in [
            ("user_agent", TastyConfig { user_agent: "greekd".into(), ..config() }),
            ("user_agent", TastyConfig { user_agent: "greekd/1\r\nX: y".into(), ..config() }),
            ("step_timeout", TastyConfig { step_timeout: Duration::ZERO, ..config() }),
            ("accounts_poll", TastyConfig { accounts_poll: Duration::ZERO, ..config() }),
            ("quiet_after", TastyConfig { quiet_after: Duration::MAX, ..config() }),
            ("rest_spacing", TastyConfig { rest_spacing: Duration::MAX, ..config() }),
            ("chunk_symbols", TastyConfig { chunk_symbols: 0, ..config() }),
        ] {
            let error = config.checked().unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn streamer_hosts_are_limited() {
        let production = Url::parse(PRODUCTION_API_URL).unwrap();
        let local = Url::parse("http://127.0.0.1:1").unwrap();
        for (url, api, accepted) in [
            ("wss://tasty-openapi-ws.dxfeed.com/realtime", &production, true),
            ("wss://streamer.tastyworks.com", &production, true),
            ("wss://api.tastyworks.com/x", &production, true),
            ("ws://tasty-openapi-ws.dxfeed.com/realtime", &production, false),
            ("wss://evildxfeed.com", &production, false),
            ("wss://dxfeed.com.example.org", &production, false),
            ("http://169.254.169.254", &production, false),
            ("ws://127.0.0.1:9", &production, false),
            ("wss://127.0.0.1:9", &production, false),
            ("ws://127.0.0.1:9/realtime", &local, true),
            ("wss://localhost:9", &local, true),
            ("wss://u:p@x.dxfeed.com", &production, false),
            ("", &production, false),
        ] {
            assert_eq!(check_streamer_url(url, api).is_ok(), accepted, "{url}");
        }
    }

    #[test]
    fn debug_hides_secrets_and_accounts() {
        let accounts = Some(vec![AccountId::new("5WT00001").unwrap()]);
        let text = format!("{:?}", TastyConfig { accounts, ..config() });
        assert!(!text.contains("canary") && !text.contains("5WT00001"), "{text}");
    }
}
