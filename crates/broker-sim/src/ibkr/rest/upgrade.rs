//! From a request to a websocket.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{App, error};
use crate::ibkr::net::Connection;
use crate::ibkr::socket::Cookie;
use crate::ibkr::violations::IbkrRule;
use crate::tasty::use_up;

/// Succeeds for anybody: who is not logged in learns it from the frames.
pub(super) async fn upgrade(State(shared): State<App>, mut request: Request) -> Response {
    tokio::time::sleep(shared.faults().socket.slow_upgrade).await;
    if shared.change_faults(|faults| use_up(&mut faults.socket.refuse_upgrades)) {
        return error(StatusCode::BAD_GATEWAY, "Bad Gateway");
    }
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let cookie = cookie(headers);
    let (Some(key), Some(connection)) = (key, request.extensions().get::<Connection>().cloned()) else {
        return error(StatusCode::BAD_REQUEST, "Bad Request: not a websocket");
    };
    let judged = match &cookie {
        None => {
            shared.violations.add(connection.number, IbkrRule::Cookie, "no cookie `api={\"session\":\"..\"}`");
            Cookie::Foreign
        }
        Some(session) if shared.login.now().sso.is_some_and(|sso| *sso.session == **session) => Cookie::Good,
        Some(session) if shared.login.was_issued(session) => Cookie::Stale,
        Some(_) => {
            shared.violations.add(connection.number, IbkrRule::Cookie, "a cookie that was never given out");
            Cookie::Foreign
        }
    };
    let Some(on) = request.extensions_mut().remove::<OnUpgrade>() else {
        return error(StatusCode::BAD_REQUEST, "Bad Request: not a websocket");
    };
    connection.upgrade(on, judged);
    let headers = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The session in `api={"session":"<id>"}`.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let api = cookies.flat_map(|line| line.split(';')).find_map(|part| part.trim().strip_prefix("api="))?;
    let api: serde_json::Value = serde_json::from_str(api).ok()?;
    api.get("session")?.as_str().map(str::to_owned)
}
