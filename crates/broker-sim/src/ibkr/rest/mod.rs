//! The REST half: what a streaming client needs, in the shapes of the real one.

mod accounts;
mod auth;
mod contracts;
mod documents;
mod door;
mod positions;
mod snapshot;
mod upgrade;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

pub(crate) use self::accounts::act_args;
use super::state::Shared;

type App = Arc<Shared>;

/// Where everything is.
pub(crate) const BASE: &str = "/v1/api";

pub(crate) fn router(shared: App) -> Router {
    let api = Router::new()
        .route("/ws", get(upgrade::upgrade))
        .route("/sso/validate", get(auth::validate))
        .route("/iserver/auth/status", get(auth::status).post(auth::status))
        .route("/iserver/auth/ssodh/init", post(auth::init))
        .route("/iserver/reauthenticate", get(auth::reauthenticate).post(auth::reauthenticate))
        .route("/tickle", get(auth::tickle).post(auth::tickle))
        .route("/logout", post(auth::logout))
        .route("/iserver/accounts", get(accounts::brokerage))
        .route("/portfolio/accounts", get(accounts::portfolio))
        .route("/portfolio/subaccounts", get(accounts::sub_accounts))
        .route("/portfolio/subaccounts2", get(accounts::sub_accounts_paged))
        .route("/portfolio/{account}/positions/{page}", get(positions::page))
        .route("/portfolio/{account}/positions/invalidate", post(positions::invalidate))
        .route("/portfolio2/{account}/positions", get(positions::now))
        .route("/trsrv/secdef", get(contracts::secdef).post(contracts::secdef_posted))
        .route("/iserver/contract/{conid}/info", get(contracts::info))
        .route("/iserver/marketdata/snapshot", get(snapshot::snapshot))
        .route("/iserver/marketdata/unsubscribe", post(snapshot::unsubscribe))
        .route("/iserver/marketdata/unsubscribeall", get(snapshot::unsubscribe_all));
    Router::new()
        .nest(BASE, api)
        .fallback(door::not_found)
        .method_not_allowed_fallback(door::not_found)
        .layer(from_fn_with_state(Arc::clone(&shared), door::front_door))
        .with_state(shared)
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text, "statusCode": status.as_u16() }))).into_response()
}

fn ok(body: Value) -> Response {
    Json(body).into_response()
}
