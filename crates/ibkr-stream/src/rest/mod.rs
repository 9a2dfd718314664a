//! The REST calls of a Client Portal gateway that this source needs.
//!
//! Facts from IBKR's Client Portal Web API reference and from recorded answers; shapes vary between versions of the
//! gateway, so no key is relied on that a call can do without.

mod accounts;
mod body;
mod definitions;
mod positions;
mod session;
mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_net::http::{Answer, Http, HttpConfig, HttpError};
use broker_net::text::clean;
use broker_net::url::host_only;
use reqwest::header;
use reqwest::{Method, RequestBuilder, Url};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Error, IbkrConfig};

pub(crate) use accounts::Accounts;
pub(crate) use definitions::{ContractInfo, Definition, MOST_DEFINITIONS};
pub(crate) use positions::{PositionNow, PositionRow, Positions};
pub(crate) use session::{AuthStatus, Tickle};
pub(crate) use terms::{AssetClass, Terms};

use accounts::AccountList;
use session::LastTickle;

/// A client of the gateway, below its limits: all calls share one token bucket, and those with limits of their own wait
/// for them besides.
#[derive(Debug)]
pub(crate) struct Rest {
    http: Http,
    /// For tickles while all other calls are held; held itself when one of them was too much.
    tickles: Http,
    base: Url,
    /// Scheme, host and port: where a person logs in.
    gateway: String,
    penalty: Duration,
    maintenance_pause: Duration,
    /// Whether any call ever has.
    succeeded: AtomicBool,
    tickle_spacing: Duration,
    account_list_spacing: Duration,
    last_tickle: Mutex<LastTickle>,
    account_list: Mutex<AccountList>,
}

/// A call: its name in messages, its method, and its path below the base.
#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    name: &'static str,
    method: &'static Method,
    path: &'a [&'a str],
}

impl<'a> Call<'a> {
    const fn get(name: &'static str, path: &'a [&'a str]) -> Self {
        Self { name, method: &Method::GET, path }
    }

    const fn post(name: &'static str, path: &'a [&'a str]) -> Self {
        Self { name, method: &Method::POST, path }
    }
}

impl Rest {
    pub(crate) fn new(config: &IbkrConfig, base: Url, tls: &Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let settings = HttpConfig {
            user_agent: config.user_agent.clone(),
            timeout: config.rest_timeout,
            connect_timeout: config.step_timeout,
            spacing: config.rest_spacing,
            burst: config.rest_burst,
        };
        let http = || Http::new(&settings, tls).map_err(|source| Error::Client { source: Box::new(source) });
        Ok(Self {
            http: http()?,
            tickles: http()?,
            gateway: host_only(base.as_str()),
            base,
            penalty: config.penalty,
            maintenance_pause: config.maintenance_pause,
            succeeded: AtomicBool::new(false),
            tickle_spacing: config.tickle_spacing,
            account_list_spacing: config.account_list_spacing,
            // As if both had been called just now: perhaps they were, by a process that has ended a moment ago, such as a
            // check. Whoever breaks a limit is shut out for minutes.
            last_tickle: Mutex::new(LastTickle::at(Instant::now())),
            account_list: Mutex::new(AccountList::asked_at(Instant::now())),
        })
    }

    /// The body of a successful answer. When the gateway asks for the accounts to be listed first, which its nightly reset
    /// makes it forget, they are listed and the call is made once more.
    async fn ask(&self, call: Call<'_>, query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let outcome = self.call(call, query, None::<&()>).await;
        let unprimed = matches!(&outcome, Err(Error::Status { reason, .. }) if body::wants_accounts(reason));
        if !unprimed {
            return outcome;
        }
        tracing::debug!(call = call.name, "the accounts have to be listed again");
        match call.path.first() {
            Some(&"portfolio" | &"portfolio2") => self.portfolio_accounts_anew().await.map(drop)?,
            _ => self.brokerage_accounts().await?,
        }
        self.call(call, query, None::<&()>).await
    }

    /// The body of a successful answer to one request.
    async fn call(
        &self,
        call: Call<'_>,
        query: &[(&str, &str)],
        content: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, Error> {
        self.call_by(&self.http, call, query, content).await
    }

    async fn call_by(
        &self,
        http: &Http,
        call: Call<'_>,
        query: &[(&str, &str)],
        content: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, Error> {
        let mut request = self.request(http, call)?;
        if !query.is_empty() {
            request = request.query(query);
        }
        request = match content {
            Some(content) => request.json(content),
            // Says that nothing follows, without which servers refuse a POST.
            None if *call.method == Method::POST => request.header(header::CONTENT_LENGTH, 0),
            None => request,
        };
        let mut answer = http.send(request).await.map_err(|error| self.unanswered(call.name, error))?;
        answer.body = body::readable(answer.body);
        if answer.status.is_success() && body::fault(&answer.body).is_none() {
            self.succeeded.store(true, Ordering::Relaxed);
            return Ok(answer.body);
        }
        Err(self.failure(call.name, &answer))
    }

    fn request(&self, http: &Http, call: Call<'_>) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::configuration("gateway_url", "cannot be a base URL"))?
            .pop_if_empty()
            .extend(call.path);
        Ok(http.request(call.method.clone(), url))
    }

    fn unanswered(&self, call: &'static str, error: HttpError) -> Error {
        match error {
            HttpError::Refused { source } => {
                Error::NotRunning { gateway: self.gateway.clone(), source: Box::new(source) }
            }
            HttpError::UntrustedPeer { source } => Error::untrusted(self.gateway.clone(), Box::new(source)),
            HttpError::Transport { source } => Error::Transport { call, source: Box::new(source) },
            HttpError::BodyTooLarge { limit } => Error::BodyTooLarge { call, limit },
            HttpError::Held { remaining } => Error::RateLimited { call, pause: remaining },
        }
    }

    /// No call is made for so long; but tickles are, now and then, unless one of them was too much.
    fn hold(&self, call: &'static str, pause: Duration) {
        let until = Instant::now() + pause;
        self.http.hold(until);
        if call == session::TICKLE {
            self.tickles.hold(until);
        }
    }

    /// What an answer that is no success means; 429 holds calls for a while.
    fn failure(&self, call: &'static str, answer: &Answer) -> Error {
        let fault = body::reason(answer.status.as_u16(), &answer.body);
        let reason = clean(&fault.text, &[]);
        let says = |words: &str| fault.text.to_ascii_lowercase().contains(words);
        let says_no_session = fault.text.trim().trim_end_matches('.').eq_ignore_ascii_case("no session");
        let refused = fault.status == 403 || says("access denied") && session::is_of_session(call);
        match fault.status {
            429 => {
                let pause = answer.retry_after.unwrap_or(self.penalty);
                self.hold(call, pause);
                Error::RateLimited { call, pause }
            }
            // Some gateways send a browser, and whoever looks like one, to their login page.
            401 | 302 | 303 | 307 => Error::LoginRequired { gateway: self.gateway.clone() },
            // Which session is meant depends on who was asked. Whoever tells nothing of the login leaves that to a tickle.
            _ if says_no_session && matches!(call, session::TICKLE | session::INIT) => {
                Error::LoginRequired { gateway: self.gateway.clone() }
            }
            _ if says_no_session || says("no bridge") || says("init session first") => {
                Error::NoBrokerageSession { reason }
            }
            // Whether it talks to this address at all, the gateway tells at the first call. Later a refusal is about one
            // call, such as a list that this user may not see, or passes like any other failure.
            _ if refused && !self.succeeded.load(Ordering::Relaxed) => Error::Forbidden { call, reason },
            _ if says("not authenticated") => Error::LoginRequired { gateway: self.gateway.clone() },
            status @ (502..=504) => Error::Maintenance { call, status, pause: self.maintenance_pause },
            // Perhaps the gateway was started anew with another configuration.
            status if refused && session::is_of_session(call) => {
                let reason =
                    format!("{reason}: should that last, add this machine to ips.allow in the gateway's conf.yaml");
                Error::Status { call, status, reason }
            }
            status => Error::Status { call, status, reason },
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
