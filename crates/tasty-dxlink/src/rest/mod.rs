//! The REST calls of tastytrade that this source needs: all of them read, save the one that mints an access token.

mod accounts;
mod body;
mod chains;
mod instruments;
mod oauth;
mod quote_token;

use std::sync::Arc;
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_model::jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{clean, is_certificate_fault};
use crate::{Error, TastyConfig};

pub(crate) use accounts::PositionRow;
pub(crate) use body::plain;
pub(crate) use chains::Named;
pub(crate) use oauth::AccessToken;
pub(crate) use quote_token::{Level, QuoteToken};

use oauth::Access;

/// The largest answer there is, the nested chain of a large index, has a few MiB.
const MAX_BODY_BYTES: usize = 16 << 20;
/// The longest a `Retry-After` is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// A client of the REST API with one access token, renewed when due.
///
/// Redirects are not followed and proxies of the environment are not used: the credentials go to the configured host
/// and nowhere else.
#[derive(Debug)]
pub(crate) struct Rest {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    spacing: Duration,
    refresh_token: Mutex<SecretString>,
    client_secret: SecretString,
    /// Held across the renewal on purpose: whoever comes second waits for the first one's token.
    access: Mutex<Access>,
    next_call: Mutex<Instant>,
}

impl Rest {
    pub(crate) fn new(config: &TastyConfig, base: Url, tls: &Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(&config.user_agent)
            .connect_timeout(config.step_timeout)
            .timeout(config.rest_timeout)
            .build()
            .map_err(|source| Error::Client { source })?;
        Ok(Self {
            http,
            base,
            timeout: config.rest_timeout,
            spacing: config.rest_spacing,
            refresh_token: Mutex::new(config.refresh_token.clone()),
            client_secret: config.client_secret.clone(),
            access: Mutex::default(),
            next_call: Mutex::new(Instant::now()),
        })
    }

    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    /// A GET with the access token; a token refused although it is in force is renewed once.
    async fn get(&self, call: &'static str, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let token = self.access_token(None).await?;
        let answer = self.get_with(&token, call, path, query).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Self::body_of(call, answer, &token);
        }
        let token = self.access_token(Some(token.number)).await?;
        let answer = self.get_with(&token, call, path, query).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Self::body_of(call, answer, &token);
        }
        let reason = body::reason(answer.status.as_u16(), &answer.body).text;
        Err(Error::CredentialsRejected { reason: clean(&reason, &[token.secret.expose_secret()]) })
    }

    async fn get_with(
        &self,
        token: &AccessToken,
        call: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        let mut request = self.request(Method::GET, path)?.bearer_auth(token.secret.expose_secret());
        if !query.is_empty() {
            request = request.query(query);
        }
        self.send(call, request).await
    }

    fn body_of(call: &'static str, answer: Answer, token: &AccessToken) -> Result<Vec<u8>, Error> {
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(failure(call, &answer, &[token.secret.expose_secret()]))
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        // Each segment is percent-encoded: symbols hold slashes and blanks.
        url.path_segments_mut()
            .map_err(|()| Error::configuration("api_url", "cannot be a base URL"))?
            .pop_if_empty()
            .extend(path);
        Ok(self.http.request(method, url).header(header::ACCEPT, "application/json"))
    }

    /// Sends a request in its turn and reads the whole answer, within the limits of time and size.
    async fn send(&self, call: &'static str, request: RequestBuilder) -> Result<Answer, Error> {
        self.wait_for_turn().await;
        let transport = |source: reqwest::Error| {
            // The URL may hold an account number.
            let source = source.without_url();
            if is_certificate_fault(&source) {
                let host = self.base.host_str().unwrap_or_default().to_owned();
                return Error::UntrustedPeer { host, source: Box::new(source) };
            }
            Error::Transport { call, source }
        };
        let mut response = request.timeout(self.timeout).send().await.map_err(transport)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Error::BodyTooLarge { call, limit: MAX_BODY_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, body })
    }

    async fn wait_for_turn(&self) {
        let turn = {
            let mut next = self.next_call.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + self.spacing;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

fn failure(call: &'static str, answer: &Answer, secrets: &[&str]) -> Error {
    let reason = || clean(&body::reason(answer.status.as_u16(), &answer.body).text, secrets);
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { call, retry_after: answer.retry_after },
        StatusCode::FORBIDDEN => Error::Forbidden { call, reason: reason() },
        status => Error::Status { call, status: status.as_u16(), reason: reason() },
    }
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The delay a `Retry-After` asks for: seconds, or a date, which is compared with the server's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let time = |text: &str| DateTimeParser::new().parse_timestamp(text).ok().map(UnixNanos::from_timestamp);
    let asked = text(header::RETRY_AFTER)?;
    let delay = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => time(asked)?.saturating_since(time(text(header::DATE)?)?),
    };
    Some(delay.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
