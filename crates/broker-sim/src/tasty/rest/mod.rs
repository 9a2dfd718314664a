//! The REST half: the documents that a streaming client needs, in the shapes of production.

pub(crate) mod documents;
mod metrics;
mod oauth;
mod wrong;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::faults::Wrongness;
use super::state::{RequestLine, Shared};
use super::violations::Rule;
use crate::market::Holding;

type App = Arc<Shared>;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let served = axum::serve(listener, router(shared)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the REST double failed");
    }
}

fn router(shared: App) -> Router {
    let protected = Router::new()
        .route("/customers/me/accounts", get(accounts))
        .route("/accounts/{number}/positions", get(positions))
        .route("/instruments/equity-options/{symbol}", get(equity_option))
        .route("/instruments/future-options/{symbol}", get(future_option))
        .route("/instruments/futures/{symbol}", get(future))
        .route("/instruments/equities/{symbol}", get(equity))
        .route("/market-metrics", get(metrics::answer))
        .route("/api-quote-tokens", get(quote_token))
        .route_layer(from_fn_with_state(Arc::clone(&shared), authorized));
    Router::new()
        .route("/oauth/token", post(oauth::token))
        .merge(protected)
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&shared), front_door))
        .with_state(shared)
}

/// The proxy in front of everything: it keeps the log, and turns away who does not say who he is.
async fn front_door(State(shared): State<App>, request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    if path.contains("/orders") || path.contains("/complex-orders") || (method != "GET" && path != "/oauth/token") {
        shared.violations.add(0, Rule::Order, format!("{method} {path}"));
    }
    let response = if has_user_agent(request.headers()) {
        let wrong = shared.change_faults(|faults| wrong::answer(&mut faults.rest, &path));
        if let Some(Wrongness::Late(delay)) = wrong {
            tokio::time::sleep(delay).await;
        }
        match wrong.and_then(wrong::response) {
            Some(response) => response,
            None => next.run(request).await,
        }
    } else {
        shared.violations.add(0, Rule::UserAgent, format!("{method} {path}"));
        (StatusCode::UNAUTHORIZED, Html("<html><body><h1>401 Authorization Required</h1></body></html>"))
            .into_response()
    };
    shared.note_request(RequestLine { method, path, status: response.status().as_u16() });
    response
}

/// `product/version` (developer.tastytrade.com, API overview).
fn has_user_agent(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    agent.and_then(|agent| agent.split_once('/')).is_some_and(|(product, version)| {
        !product.is_empty() && version.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

async fn authorized(State(shared): State<App>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    if token.is_some_and(|token| shared.tokens.access_token_is_good(token)) {
        return next.run(request).await;
    }
    shared.counters.update(|stats| stats.refused += 1);
    refusal(StatusCode::UNAUTHORIZED, "token_invalid", "This token is invalid or has expired")
}

async fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", "Resource not found")
}

async fn accounts(State(shared): State<App>) -> Response {
    let items: Vec<Value> = shared.book().accounts.iter().map(documents::account).collect();
    answer("/customers/me/accounts", json!({ "items": items }))
}

async fn positions(State(shared): State<App>, Path(number): Path<String>) -> Response {
    let context = format!("/accounts/{number}/positions");
    let book = shared.book();
    if book.account(&number).is_none() {
        return refusal(StatusCode::FORBIDDEN, "not_permitted", "User not permitted access");
    }
    let held = book.positions.iter().filter(|position| position.account == number);
    let style = &shared.faults().rest;
    let items: Vec<Value> = held.enumerate().map(|(row, position)| documents::position(row, position, style)).collect();
    answer(&context, json!({ "items": items }))
}

async fn equity_option(State(shared): State<App>, Path(symbol): Path<String>) -> Response {
    instrument(&shared, "equity-options", &symbol, |listing| listing.option_code.is_none())
}

async fn future_option(State(shared): State<App>, Path(symbol): Path<String>) -> Response {
    instrument(&shared, "future-options", &symbol, |listing| listing.option_code.is_some())
}

fn instrument(
    shared: &Shared,
    class: &str,
    symbol: &str,
    belongs: impl Fn(&crate::market::Listing) -> bool,
) -> Response {
    let book = shared.book();
    let listing = book
        .positions
        .iter()
        .filter_map(|position| position.listing())
        .find(|listing| listing.rest_symbol == symbol && belongs(listing));
    match listing {
        Some(listing) => answer(&format!("/instruments/{class}/{symbol}"), documents::option(listing)),
        None => refusal(StatusCode::NOT_FOUND, "not_found", "Resource not found"),
    }
}

async fn future(State(shared): State<App>, Path(symbol): Path<String>) -> Response {
    let book = shared.book();
    let mut listings = book.positions.iter().filter_map(|position| position.listing());
    match listings.find(|listing| listing.option_code.is_some() && listing.underlying == symbol) {
        Some(listing) => answer(&format!("/instruments/futures/{symbol}"), documents::future(listing)),
        None => refusal(StatusCode::NOT_FOUND, "not_found", "Resource not found"),
    }
}

async fn equity(State(shared): State<App>, Path(symbol): Path<String>) -> Response {
    let known = shared.book().positions.iter().any(|position| match &position.holding {
        Holding::Option(listing) => listing.option_code.is_none() && listing.underlying == symbol,
        Holding::Stock(stock) => *stock == symbol,
    });
    if known {
        answer(&format!("/instruments/equities/{symbol}"), documents::equity(&symbol))
    } else {
        refusal(StatusCode::NOT_FOUND, "not_found", "Resource not found")
    }
}

async fn quote_token(State(shared): State<App>) -> Response {
    let faults = shared.faults();
    let ttl = faults.rest.quote_token_ttl.unwrap_or(shared.config.rest.quote_token_ttl);
    let token = shared.tokens.issue_quote(ttl);
    shared.counters.update(|stats| stats.quote_tokens += 1);
    let now = Timestamp::now();
    let life = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2);
    let expiry = now.checked_add(life.milliseconds()).unwrap_or(Timestamp::MAX);
    let data = json!({
        "token": token, "dxlink-url": shared.dxlink_url, "level": if faults.rest.delayed_level { "demo" } else { "api" },
        "issued-at": documents::timestamp(now), "expires-at": documents::timestamp(expiry),
    });
    answer("/api-quote-tokens", data)
}

fn answer(context: &str, data: Value) -> Response {
    Json(json!({ "data": data, "context": context })).into_response()
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
