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
/// What is said of credentials that are no good (RFC 6749, sections 4.1.2.1 and 5.2; tastytrade, "Error Handling").
const FINAL: [&str; 7] = [
    "invalid_grant",
    "invalid_client",
    "invalid_credentials",
    "unauthorized_client",
    "access_denied",
    "invalid_scope",
    "unsupported_grant_type",
];
/// What a token service in trouble says (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8628, section 3.5).
const TRANSIENT: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];
/// Refused credentials are not tried again for so long.
const TRUST_IN_REFUSAL: Duration = Duration::from_secs(10);
/// A refusal for another reason is believed after so many attempts, this far apart: the service has been seen to give
/// such answers for minutes (tastyware/tastytrade, issue 351).
const DOUBTS: u32 = 3;
const DOUBT_PAUSE: Duration = Duration::from_secs(60);

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
    failure: Option<Failure>,
    /// Refusals in a row that need not be final.
    doubts: u32,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    error: Error,
    /// Until then nobody asks again.
    trusted_for: Duration,
}

/// How the token service says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Final,
    Doubtful,
    /// It is in trouble, and says nothing of the credentials.
    Trouble,
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
        if let Some(Failure { at, error, trusted_for }) = &access.failure
            && (*at >= asked_at || now < *at + *trusted_for)
        {
            return Err(echo(error));
        }
        let number = access.token.as_ref().map_or(1, |token| token.number + 1);
        let doubts = access.doubts;
        match self.mint(number, &mut access.doubts).await {
            Ok(token) => {
                *access = Access { token: Some(token.clone()), ..Access::default() };
                Ok(token)
            }
            Err(error) => {
                let now = Instant::now();
                // Repeated failed logins lock a customer out for hours.
                let trusted_for = match &error {
                    _ if access.doubts > doubts => DOUBT_PAUSE,
                    error if error.needs_operator() => TRUST_IN_REFUSAL,
                    _ => Duration::ZERO,
                };
                let usable = |token: &&mut AccessToken| Some(token.number) != refused && now < token.expires_at;
                // The token service can be down for minutes: what is in force stays in use to its end, and is not held
                // up by an attempt at each call.
                if let Some(token) = access.token.as_mut().filter(usable).filter(|_| !error.needs_operator()) {
                    token.renew_at = (now + RENEWAL_PAUSE.max(trusted_for)).min(token.expires_at);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the access token could not be renewed yet"
                    );
                    return Ok(token.clone());
                }
                access.failure = Some(Failure { at: now, error: echo(&error), trusted_for });
                Err(error)
            }
        }
    }

    /// Asks for a token; counts a refusal that need not be final.
    async fn mint(&self, number: u64, doubts: &mut u32) -> Result<AccessToken, Error> {
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
            let refusal = refusal(&answer);
            *doubts += u32::from(refusal == Refusal::Doubtful);
            if refusal == Refusal::Final || *doubts >= DOUBTS {
                let reason = body::reason(answer.status.as_u16(), &answer.body).text;
                return Err(Error::CredentialsRejected { reason: clean(&reason, &secrets) });
            }
            return Err(failure(CALL, &answer, &secrets));
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
fn refusal(answer: &Answer) -> Refusal {
    let code = body::reason(answer.status.as_u16(), &answer.body).code;
    let may_be_final = match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            !code.is_empty() && !TRANSIENT.contains(&code.as_str())
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => !body::is_page(&answer.body),
        _ => false,
    };
    match may_be_final {
        true if FINAL.contains(&code.as_str()) => Refusal::Final,
        true => Refusal::Doubtful,
        false => Refusal::Trouble,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_credentials_are_final() {
        use Refusal::{Doubtful, Final, Trouble};
        let html = "<html>no entry</html>";
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant","error_description":"canary revoked"}"#, Final),
            (400, r#"{"error_code":"invalid_grant","error_description":"Grant revoked"}"#, Final),
            (400, r#"{"error":{"code":"invalid_client","message":"x"}}"#, Final),
            (401, r#"{"error":{"code":"invalid_credentials","message":"x"}}"#, Final),
            (400, r#"{"error":{"code":"invalid_credentials","message":"x"}}"#, Final),
            (422, r#"{"error":"invalid_scope"}"#, Final),
            (400, "<html>invalid_grant</html>", Final),
            (401, "<html>unauthorized_client</html>", Final),
            (400, r#"{"error":"invalid_request"}"#, Doubtful),
            (400, r#"{"error_code":"invalid_request","error_description":"User is not a customer"}"#, Doubtful),
            (403, r#"{"error":{"code":"not_permitted","message":"x"}}"#, Doubtful),
            (401, "", Doubtful),
            (400, html, Trouble),
            (400, "", Trouble),
            (401, html, Trouble),
            (403, html, Trouble),
            (400, r#"{"error":"temporarily_unavailable"}"#, Trouble),
            (400, r#"{"error":"slow_down"}"#, Trouble),
            (500, r#"{"error":"invalid_grant"}"#, Trouble),
            (502, html, Trouble),
            (302, "", Trouble),
            (429, "", Trouble),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, retry_after: None, body: body.into() };
            assert_eq!(refusal(&answer), expected, "{status} {body}");
        }
    }
}
