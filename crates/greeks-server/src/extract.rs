//! What requests bring: parameters and bodies, read strictly.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use greeks_model::UnixNanos;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;

use crate::api::Shared;
use crate::problem::Problem;
use crate::status::Time;

/// The longest text that a filter takes.
const LONGEST: usize = 64;

/// The parameters of a query string; what is unknown, twice there or of another type is a 400.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// No parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A JSON body within the limits of size and time.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let limits = &shared.limits;
        let (parts, body) = request.into_parts();
        let bytes = match timeout(limits.body, to_bytes(body, limits.body_bytes)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) if too_large(&error) => {
                let detail = format!("a body has at most {} bytes", limits.body_bytes);
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            Ok(Err(_)) => return Err(Problem::bad_request("the body broke off")),
            Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        };
        Self::parse(parts, bytes).await
    }
}

impl<T: DeserializeOwned> JsonBody<T> {
    async fn parse(parts: Parts, bytes: Bytes) -> Result<Self, Problem> {
        // An array would be taken for the fields in the order of their declaration, which nobody promises.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(Problem::unprocessable("the body must be a JSON object"));
        }
        match Json::from_request(Request::from_parts(parts, bytes.into()), &()).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection @ JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::new(rejection.status(), "the body must be sent as 'Content-Type: application/json'"))
            }
            Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
        }
    }
}

fn too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // The type is of a crate that is not used here otherwise.
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A short text without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            return Err(D::Error::custom(format_args!("a text of 1 to {LONGEST} visible characters is needed")));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: greeks_model::jiff::Timestamp = text.parse().map_err(|error| {
            D::Error::custom(format_args!(
                "a time is written as RFC 3339 with its offset, like 2026-11-28T14:30:00Z ({error})"
            ))
        })?;
        Ok(Self(UnixNanos::from_timestamp(at)))
    }
}

/// The stretch from `from` to before `to`.
pub(crate) fn check_stretch(from: Option<Time>, to: Option<Time>) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(Problem::bad_request("from must be before to")),
        _ => Ok(()),
    }
}
