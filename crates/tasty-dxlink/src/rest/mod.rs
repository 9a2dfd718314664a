//! The REST calls of tastytrade that this source needs: all of them read, save the one that mints an access token.

mod accounts;
mod betas;
mod body;
mod chains;
mod instruments;
mod oauth;
mod quote_token;
mod refusals;

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use broker_net::http::{Answer, Http, HttpConfig, HttpError};
use broker_net::text::clean;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Error, TastyConfig};

pub(crate) use accounts::PositionRow;
pub(crate) use betas::BetaRow;
pub(crate) use chains::Named;
pub(crate) use oauth::AccessToken;
pub(crate) use quote_token::{Level, QuoteToken};

use oauth::Access;
use refusals::Refusals;

/// A client of the REST API with one access token, renewed when due. The credentials go to the configured host and
/// nowhere else.
#[derive(Debug)]
pub(crate) struct Rest {
    http: Http,
    base: Url,
    refresh_token: Mutex<SecretString>,
    client_secret: SecretString,
    /// Held across the renewal on purpose: whoever comes second waits for the first one's token.
    access: Mutex<Access>,
    refusals: StdMutex<Refusals>,
}

impl Rest {
    pub(crate) fn new(config: &TastyConfig, base: Url, tls: &Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let settings = HttpConfig {
            user_agent: config.user_agent.clone(),
            timeout: config.rest_timeout,
            connect_timeout: config.step_timeout,
            spacing: config.rest_spacing,
            burst: 1,
        };
        let http = Http::new(&settings, tls).map_err(|source| Error::Client { source })?;
        Ok(Self {
            http,
            base,
            refresh_token: Mutex::new(config.refresh_token.clone()),
            client_secret: config.client_secret.clone(),
            access: Mutex::default(),
            refusals: StdMutex::default(),
        })
    }

    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    /// A GET with the access token; a token refused although it is in force is renewed once, unless that has just been in
    /// vain. A page for people says nothing of tokens, since a proxy shows it.
    async fn get(&self, call: &'static str, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let token = self.access_token(None).await?;
        let answer = self.get_with(&token, call, path, query).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.refusals().may_renew(Instant::now()) {
            return self.body_of(call, answer, &token);
        }
        let token = self.access_token(Some(token.number)).await?;
        let answer = self.get_with(&token, call, path, query).await?;
        self.body_of(call, answer, &token)
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

    fn body_of(&self, call: &'static str, answer: Answer, token: &AccessToken) -> Result<Vec<u8>, Error> {
        if answer.status.is_success() {
            self.refusals().accepted();
            return Ok(answer.body);
        }
        let error = failure(call, &answer, &[token.secret.expose_secret()]);
        match error {
            Error::Status { call, status: 401, reason }
                if !body::is_page(&answer.body) && self.refusals().refused(Instant::now()) =>
            {
                Err(Error::AccessRefused { call, reason })
            }
            error => Err(error),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        // Each segment is percent-encoded: symbols hold slashes and blanks.
        url.path_segments_mut()
            .map_err(|()| Error::configuration("api_url", "cannot be a base URL"))?
            .pop_if_empty()
            .extend(path);
        Ok(self.http.request(method, url))
    }

    /// Sends a request in its turn and reads the whole answer.
    async fn send(&self, call: &'static str, request: RequestBuilder) -> Result<Answer, Error> {
        self.http.send(request).await.map_err(|error| match error {
            HttpError::UntrustedPeer { source } => {
                let host = self.base.host_str().unwrap_or_default().to_owned();
                Error::UntrustedPeer { host, source: Box::new(source) }
            }
            HttpError::Refused { source } | HttpError::Transport { source } => Error::Transport { call, source },
            HttpError::BodyTooLarge { limit } => Error::BodyTooLarge { call, limit },
            HttpError::Held { remaining } => Error::RateLimited { call, retry_after: Some(remaining) },
        })
    }
}

fn failure(call: &'static str, answer: &Answer, secrets: &[&str]) -> Error {
    let reason = || clean(&body::reason(answer.status.as_u16(), &answer.body).text, secrets);
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { call, retry_after: answer.retry_after },
        StatusCode::FORBIDDEN if !body::is_page(&answer.body) => Error::Forbidden { call, reason: reason() },
        status => Error::Status { call, status: status.as_u16(), reason: reason() },
    }
}

#[cfg(test)]
mod tests;
