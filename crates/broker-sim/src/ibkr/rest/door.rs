//! What happens to a request before anybody looks at what it asks for.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use tokio::time::Instant;

use super::{App, BASE, error};
use crate::ibkr::limits::Verdict;
use crate::ibkr::state::Shared;
use crate::ibkr::violations::IbkrRule;
use crate::tasty::{RequestLine, Wrongness, use_up};

/// The log, faults, limits, and who is logged in.
pub(crate) async fn front_door(State(shared): State<App>, request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let call = path.strip_prefix(BASE).unwrap_or(&path).to_owned();
    if trades(&method, &call) {
        shared.violations.add(0, IbkrRule::Order, format!("{method} {path}"));
    }
    let response = match judge(&shared, &call).await {
        Some(response) => response,
        None => next.run(request).await,
    };
    shared.note_request(RequestLine { method, path, status: response.status().as_u16() });
    response
}

/// Whether a call would change something at the broker.
fn trades(method: &str, call: &str) -> bool {
    let order = ["/order", "/orders", "/orders/whatif"].iter().any(|end| call.ends_with(end));
    method != "GET" && (order || call.starts_with("/iserver/account"))
}

/// The answer that a call gets whatever it asks for; `None` lets it in.
async fn judge(shared: &Shared, call: &str) -> Option<Response> {
    let wrong = shared.change_faults(|faults| {
        let found =
            faults.rest.answers.iter_mut().find(|answer| answer.times > 0 && call.contains(answer.path.as_str()))?;
        use_up(&mut found.times);
        Some(found.how)
    });
    if let Some(Wrongness::Late(delay)) = wrong {
        late(delay).await;
    } else if let Some(response) = wrong.and_then(response) {
        return Some(response);
    }
    if shared.is_in_maintenance() {
        return Some(
            (StatusCode::SERVICE_UNAVAILABLE, Html("<html><body>Service Unavailable</body></html>")).into_response(),
        );
    }
    let now = Instant::now();
    if call == "/ws" || call.starts_with("/ws?") {
        return None;
    }
    match shared.limits.judge(call, now) {
        Verdict::Pass => {}
        verdict => {
            match verdict {
                Verdict::Broken(group) => shared.violations.add(0, IbkrRule::RateLimit, format!("{call}: {group:?}")),
                Verdict::Insolent => shared.violations.add(0, IbkrRule::PenaltyBox, call.to_owned()),
                Verdict::Pass | Verdict::Boxed => {}
            }
            return Some(error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"));
        }
    }
    let state = shared.login.now();
    if state.sso.is_none() {
        return Some(StatusCode::UNAUTHORIZED.into_response());
    }
    if !call.starts_with("/iserver/") {
        return None;
    }
    if let Some(status) = state.outage(now) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        return Some(error(status, "Service Unavailable"));
    }
    let needs_bridge = !call.starts_with("/iserver/auth/") && !call.starts_with("/iserver/reauthenticate");
    (needs_bridge && !state.authenticated(now)).then(|| error(StatusCode::BAD_REQUEST, "Bad Request: no bridge"))
}

async fn late(delay: Duration) {
    tokio::time::sleep(delay).await;
}

fn response(how: Wrongness) -> Option<Response> {
    let status = |code| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Some(match how {
        Wrongness::Status(403) => (StatusCode::FORBIDDEN, "access denied").into_response(),
        Wrongness::Status(code) => error(status(code), "internal error"),
        Wrongness::Html(code) => (status(code), Html("<html><body>Bad Gateway</body></html>")).into_response(),
        Wrongness::TooMany(seconds) => {
            let retry = [(header::RETRY_AFTER, seconds.to_string())];
            (retry, error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")).into_response()
        }
        Wrongness::Late(_) => return None,
    })
}

pub(crate) async fn not_found(State(shared): State<App>, request: Request) -> Response {
    shared.violations.add(0, IbkrRule::UnknownPath, format!("{} {}", request.method(), request.uri().path()));
    error(StatusCode::NOT_FOUND, "Not Found")
}
