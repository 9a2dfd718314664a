//! The access token: minted from the refresh token, short-lived, renewed before it ends.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Answer, Rest, body, failure};
use crate::Error;
use crate::error::clean;

const CALL: &str = "POST /oauth/token";
/// How long a token lives when the answer does not say (tastytrade documents 15 minutes).
const DEFAULT_LIFE: Duration = Duration::from_secs(900);
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);

/// A token with the moments that matter, by the monotonic clock: the wall clock may jump.
#[derive(Clone, Debug)]
pub(crate) struct AccessToken {
    pub(crate) secret: SecretString,
    /// Tells one token from its successor.
    pub(crate) number: u64,
    renew_at: Instant,
    expires_at: Instant,
}

impl Rest {
    /// The token in force, renewed when due or when the one with the number `refused` was turned down. Concurrent
    /// callers share one renewal.
    pub(crate) async fn access_token(&self, refused: Option<u64>) -> Result<AccessToken, Error> {
        let mut slot = self.access.lock().await;
        let now = Instant::now();
        let current = slot.as_ref().filter(|token| Some(token.number) != refused);
        if let Some(token) = current.filter(|token| now < token.renew_at) {
            return Ok(token.clone());
        }
        let number = slot.as_ref().map_or(1, |token| token.number + 1);
        match self.mint(number).await {
            Ok(token) => {
                *slot = Some(token.clone());
                Ok(token)
            }
            // The token service can be down for minutes: what is in force stays in use to its end.
            Err(error) => match slot.as_ref().filter(|token| Some(token.number) != refused && now < token.expires_at) {
                Some(token) if !error.needs_operator() => Ok(token.clone()),
                _ => Err(error),
            },
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
        let life = grant.expires_in.and_then(body::double).filter(|seconds| *seconds >= 1.0);
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

/// Tells refused credentials, which will be refused again, from a service in trouble.
fn refusal(answer: &Answer, secrets: &[&str]) -> Error {
    let reason = body::reason(answer.status.as_u16(), &answer.body);
    let rejected = match answer.status {
        StatusCode::BAD_REQUEST => body::REFUSALS.contains(&reason.code.as_str()),
        // A page for people without a known code comes from a proxy in front of the API, not from the API.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            !reason.code.is_empty() || !answer.body.trim_ascii_start().starts_with(b"<")
        }
        _ => false,
    };
    if rejected {
        return Error::CredentialsRejected { reason: clean(&reason.text, secrets) };
    }
    match failure(CALL, answer, secrets) {
        // Forbidden here means the proxy's page: nothing is known about the credentials.
        Error::Forbidden { call, reason } => Error::Status { call, status: 403, reason },
        other => other,
    }
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
            (401, "<html>unauthorized_client</html>", rejected.clone()),
            (401, "", rejected),
            (401, html, Retry::Backoff),
            (403, html, Retry::Backoff),
            (400, r#"{"error":"temporarily_unavailable"}"#, Retry::Backoff),
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
