//! The access token: minted from the refresh token, short-lived, renewed before it ends.

use std::time::Duration;

use broker_net::json::double;
use broker_net::text::clean;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Answer, Rest, body, failure};
use crate::Error;

const CALL: &str = "POST /oauth/token";
/// How long a token lives when the answer does not say (tastytrade documents 15 minutes).
const DEFAULT_LIFE: Duration = Duration::from_secs(900);
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);
/// Between attempts to renew a token that is still in force.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// What a token service in trouble says (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8628, section 3.5).
const TRANSIENT: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];
/// Refused credentials are not tried again for so long.
const TRUST_IN_REFUSAL: Duration = Duration::from_secs(10);

/// A token with the moments that matter, by the monotonic clock: the wall clock may jump.
#[derive(Clone, Debug)]
pub(crate) struct AccessToken {
    pub(crate) secret: SecretString,
    /// Tells one token from its successor.
    pub(crate) number: u64,
    renew_at: Instant,
    expires_at: Instant,
}

/// The token in force, and how the last attempt to renew it failed.
#[derive(Debug, Default)]
pub(super) struct Access {
    token: Option<AccessToken>,
    failure: Option<(Instant, Error)>,
}

impl Rest {
    /// The token in force, renewed when due or when the one with the number `refused` was turned down. Concurrent
    /// callers share one renewal, and its failure.
    pub(crate) async fn access_token(&self, refused: Option<u64>) -> Result<AccessToken, Error> {
        let asked_at = Instant::now();
        let mut access = self.access.lock().await;
        let now = Instant::now();
        let current = access.token.as_ref().filter(|token| Some(token.number) != refused);
        if let Some(token) = current.filter(|token| now < token.renew_at) {
            return Ok(token.clone());
        }
        if let Some((failed_at, error)) = &access.failure {
            let shared = *failed_at >= asked_at;
            // Repeated failed logins lock a customer out for hours.
            let refused = error.needs_operator() && now < *failed_at + TRUST_IN_REFUSAL;
            if shared || refused {
                return Err(echo(error));
            }
        }
        let number = access.token.as_ref().map_or(1, |token| token.number + 1);
        match self.mint(number).await {
            Ok(token) => {
                *access = Access { token: Some(token.clone()), failure: None };
                Ok(token)
            }
            Err(error) => {
                let now = Instant::now();
                let usable = |token: &&mut AccessToken| Some(token.number) != refused && now < token.expires_at;
                // The token service can be down for minutes: what is in force stays in use to its end, and is not held
                // up by an attempt at each call.
                if let Some(token) = access.token.as_mut().filter(usable).filter(|_| !error.needs_operator()) {
                    token.renew_at = (now + RENEWAL_PAUSE).min(token.expires_at);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the access token could not be renewed yet"
                    );
                    return Ok(token.clone());
                }
                let told = echo(&error);
                access.failure = Some((now, told));
                Err(error)
            }
        }
    }

    async fn mint(&self, number: u64) -> Result<AccessToken, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            grant_type: &'static str,
            refresh_token: &'a str,
            client_secret: &'a str,
        }
        #[derive(Deserialize)]
        struct Grant<'a> {
            access_token: String,
            #[serde(borrow)]
            expires_in: Option<&'a RawValue>,
            refresh_token: Option<String>,
        }
        let refresh_token = self.refresh_token.lock().await.clone();
        let request = self.request(Method::POST, &["oauth", "token"])?.json(&Request {
            grant_type: "refresh_token",
            refresh_token: refresh_token.expose_secret(),
            client_secret: self.client_secret.expose_secret(),
        });
        let asked_at = Instant::now();
        let answer = self.send(CALL, request).await?;
        if !answer.status.is_success() {
            let secrets = [refresh_token.expose_secret(), self.client_secret.expose_secret()];
            return Err(refusal(&answer, &secrets));
        }
        // Not wrapped in `data`, unlike every other answer.
        let grant: Grant<'_> = body::read(CALL, &answer.body)?;
        if let Some(replacement) = grant.refresh_token.filter(|token| !token.is_empty()) {
            *self.refresh_token.lock().await = replacement.into();
        }
        let life = grant.expires_in.and_then(double).filter(|seconds| *seconds >= 1.0);
        let life = life.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs_f64(seconds.min(86_400.0)));
        // A life too short for the usual margin is used by half.
        let margin = RENEW_BEFORE_END.min(life / 2);
        Ok(AccessToken {
            secret: grant.access_token.into(),
            number,
            renew_at: asked_at + life - margin,
            expires_at: asked_at + life,
        })
    }
}

/// A failure as told to those who waited for the attempt.
fn echo(error: &Error) -> Error {
    match error {
        Error::CredentialsRejected { reason } => Error::CredentialsRejected { reason: reason.clone() },
        Error::RateLimited { call, retry_after } => Error::RateLimited { call, retry_after: *retry_after },
        Error::Status { call, status, reason } => Error::Status { call, status: *status, reason: reason.clone() },
        // An untrusted peer is found out anew by each caller that is told this.
        other => Error::NoAccessToken { reason: other.to_string() },
    }
}

/// Tells refused credentials, which will be refused again, from a service in trouble.
fn refusal(answer: &Answer, secrets: &[&str]) -> Error {
    let reason = body::reason(answer.status.as_u16(), &answer.body);
    let rejected = match answer.status {
        // What it says no to is the same the next time, whatever word it has for it.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            !reason.code.is_empty() && !TRANSIENT.contains(&reason.code.as_str())
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => !body::is_page(&answer.body),
        _ => false,
    };
    if rejected {
        return Error::CredentialsRejected { reason: clean(&reason.text, secrets) };
    }
    failure(CALL, answer, secrets)
}

#[cfg(test)]
mod tests {
    use greeks_model::{OperatorReason, Retry};

    use super::*;

    #[test]
    fn only_refused_credentials_are_final() {
        let rejected = Retry::Operator(OperatorReason::CredentialsRejected);
        let html = "<html>no entry</html>";
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant","error_description":"canary revoked"}"#, rejected.clone()),
            (400, r#"{"error_code":"invalid_grant","error_description":"Grant revoked"}"#, rejected.clone()),
            (400, r#"{"error":{"code":"invalid_client","message":"x"}}"#, rejected.clone()),
            (401, r#"{"error":{"code":"invalid_credentials","message":"x"}}"#, rejected.clone()),
            (400, r#"{"error":{"code":"invalid_credentials","message":"x"}}"#, rejected.clone()),
            (400, r#"{"error":"invalid_request"}"#, rejected.clone()),
            (422, r#"{"error":"invalid_scope"}"#, rejected.clone()),
            (400, "<html>invalid_grant</html>", rejected.clone()),
            (400, html, Retry::Backoff),
            (400, "", Retry::Backoff),
            (401, "<html>unauthorized_client</html>", rejected.clone()),
            (401, "", rejected),
            (401, html, Retry::Backoff),
            (403, html, Retry::Backoff),
            (400, r#"{"error":"temporarily_unavailable"}"#, Retry::Backoff),
            (400, r#"{"error":"slow_down"}"#, Retry::Backoff),
            (500, r#"{"error":"invalid_grant"}"#, Retry::Backoff),
            (502, html, Retry::Backoff),
            (302, "", Retry::Backoff),
            (429, "", Retry::After(Duration::from_secs(9))),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: (status == 429).then(|| Duration::from_secs(9)),
                body: body.into(),
            };
            let error = refusal(&answer, &["canary"]);
            assert_eq!(error.retry(), expected, "{status} {body}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
