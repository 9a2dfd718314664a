//! `POST /oauth/token`: the one endpoint whose answers have no envelope (RFC 6749, section 5).

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::App;

#[derive(Deserialize)]
struct Grant {
    grant_type: Option<String>,
    refresh_token: Option<String>,
    client_secret: Option<String>,
}

pub(super) async fn token(State(shared): State<App>, body: Bytes) -> Response {
    let Ok(grant) = serde_json::from_slice::<Grant>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "The body is not a JSON object");
    };
    let tokens = &shared.tokens;
    let refusal = if grant.grant_type.as_deref() != Some("refresh_token") {
        Some((StatusCode::BAD_REQUEST, "unsupported_grant_type", "The grant type is not supported"))
    } else if !grant.client_secret.is_some_and(|secret| tokens.secret_is_right(&secret)) {
        Some((StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed"))
    } else if !grant.refresh_token.is_some_and(|token| tokens.grant_is_good(&token)) {
        Some((StatusCode::BAD_REQUEST, "invalid_grant", "Grant revoked"))
    } else {
        None
    };
    if let Some((status, code, why)) = refusal {
        shared.counters.update(|stats| stats.refused += 1);
        return refuse(status, code, why);
    }
    shared.counters.update(|stats| stats.access_tokens += 1);
    let life = shared.config.rest.access_token_ttl.as_secs();
    Json(json!({"access_token": tokens.issue_access(), "token_type": "Bearer", "expires_in": life})).into_response()
}

/// Users report `error_code` for a revoked grant and RFC 6749's `error` otherwise: clients have to read both.
fn refuse(status: StatusCode, code: &str, why: &str) -> Response {
    let key = if code == "invalid_grant" { "error_code" } else { "error" };
    (status, Json(json!({ key: code, "error_description": why }))).into_response()
}
