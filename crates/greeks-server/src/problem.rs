//! What is answered when a request cannot be served: `application/problem+json` of RFC 9457.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use greeks_store::{InvalidTrade, QueryError};
use serde::Serialize;
use utoipa::ToSchema;

/// Seconds after which a client may ask again what needs the database.
const RETRY_SECONDS: &str = "5";

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says all there is to say.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, in a sentence.
    detail: Cow<'static, str>,
    /// What is not ready, and why; only of `/readyz`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
}

/// A part of the program that is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Component {
    /// Its name: `database`, `journal`, or a source.
    pub component: String,
    /// Why it is not ready.
    pub reason: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            components: Vec::new(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    pub(crate) fn not_ready(components: Vec<Component>) -> Self {
        Self { components, ..Self::unavailable("some components are not ready") }
    }
}

/// A question that cannot be answered, or a database that cannot answer now: then the client is not told the cause.
impl From<&QueryError> for Problem {
    fn from(error: &QueryError) -> Self {
        match error {
            QueryError::History(invalid) => Self::bad_request(invalid.to_string()),
            QueryError::Trade(taken @ InvalidTrade::IdTaken { .. }) => {
                Self::new(StatusCode::CONFLICT, taken.to_string())
            }
            QueryError::Trade(invalid) => Self::unprocessable(invalid.to_string()),
            QueryError::NotAllowed { .. } => Self::forbidden(error.to_string()),
            _ => Self::unavailable("the database does not answer; the live book does"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"greeks\""));
            }
            _ => {}
        }
        response
    }
}
