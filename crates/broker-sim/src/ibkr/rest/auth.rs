//! The two sessions: who is logged in, and with what.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{App, error, ok};
use crate::ibkr::state::Shared;
use crate::ibkr::violations::IbkrRule;

pub(super) const USER: &str = "user123";
const USER_ID: u32 = 123_456_789;

pub(super) async fn validate(State(shared): State<App>) -> Response {
    let Some(sso) = shared.login.now().sso else { return error(StatusCode::UNAUTHORIZED, "") };
    ok(json!({
        "USER_ID": USER_ID, "USER_NAME": USER, "RESULT": true, "AUTH_TIME": sso.since, "SF_ENABLED": false,
        "IS_FREE_TRIAL": false, "CREDENTIAL": USER, "IP": "127.0.0.1", "EXPIRES": millis_left(sso.expires),
        "QUALIFIED_FOR_MOBILE_AUTH": null, "LANDING_APP": "UNIVERSAL", "IS_MASTER": false, "LOGIN_TYPE": 2,
    }))
}

pub(super) async fn status(State(shared): State<App>) -> Response {
    ok(auth_status(&shared, ""))
}

pub(super) async fn init(State(shared): State<App>, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        shared.violations.add(0, IbkrRule::Body, "ssodh/init wants a JSON body");
        return error(StatusCode::BAD_REQUEST, "Bad Request");
    };
    if body.get("publish") != Some(&Value::Bool(true)) {
        shared.violations.add(0, IbkrRule::Publish, body.to_string());
        return error(StatusCode::INTERNAL_SERVER_ERROR, "failed to generate sso dh token");
    }
    let compete = body.get("compete") == Some(&Value::Bool(true));
    let (won, opened) = shared.login.open_brokerage(compete);
    shared.counters.update(|stats| {
        stats.compete_requests += u64::from(compete);
        stats.brokerage_sessions += u64::from(opened);
        stats.competed += u64::from(won);
    });
    let beaten = shared.login.now().competing;
    let fail = if beaten { "Force compete capability must be used together with compete flag" } else { "" };
    ok(auth_status(&shared, fail))
}

pub(super) async fn reauthenticate(State(shared): State<App>) -> Response {
    let (won, opened) = shared.login.open_brokerage(false);
    shared.counters.update(|stats| {
        stats.brokerage_sessions += u64::from(opened);
        stats.competed += u64::from(won);
    });
    ok(json!({ "message": "triggered" }))
}

pub(super) async fn tickle(State(shared): State<App>) -> Response {
    shared.login.tickle();
    shared.counters.update(|stats| stats.tickles += 1);
    let Some(sso) = shared.login.now().sso else { return error(StatusCode::UNAUTHORIZED, "") };
    let mut body = json!({
        "session": &*sso.session, "hmds": { "error": "no bridge" },
        "iserver": { "authStatus": auth_status(&shared, "") },
    });
    if let (false, Some(object)) = (shared.faults().rest.terse, body.as_object_mut()) {
        object.insert("ssoExpires".to_owned(), json!(millis_left(sso.expires)));
        // Spelled like this.
        object.insert("collission".to_owned(), json!(false));
        object.insert("userId".to_owned(), json!(USER_ID));
    }
    ok(body)
}

pub(super) async fn logout(State(shared): State<App>) -> Response {
    shared.login.log_out();
    ok(json!({ "status": true }))
}

fn auth_status(shared: &Shared, fail: &str) -> Value {
    let state = shared.login.now();
    let (authenticated, connected) = (state.authenticated(Instant::now()), state.connected());
    if !connected && !state.competing || shared.faults().rest.terse {
        return json!({ "authenticated": authenticated, "competing": state.competing, "connected": connected });
    }
    let server = authenticated.then_some("JifZ18045");
    json!({
        "authenticated": authenticated, "established": authenticated, "competing": state.competing,
        "connected": connected || state.competing, "message": "", "MAC": "98:F2:B3:23:BF:A0", "fail": fail,
        "serverInfo": { "serverName": server, "serverVersion": server.map(|_| "Build 10.44.1d, Jul 6, 2026 5:30:00 PM") },
        "hardware_info": "44c59200|98:F2:B3:23:BF:A0",
    })
}

fn millis_left(until: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}
