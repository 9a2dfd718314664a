//! Positions: paged and cached, or all at once and of now.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, documents, error, ok};
use crate::ibkr::state::Shared;
use crate::ibkr::violations::IbkrRule;

/// Rows of a page.
const PAGE: usize = 100;

pub(super) async fn page(State(shared): State<App>, Path((account, page)): Path<(String, String)>) -> Response {
    let Ok(page) = page.parse::<usize>() else {
        shared.violations.add(0, IbkrRule::UnknownPath, format!("page {page:?}"));
        return error(StatusCode::BAD_REQUEST, "Bad Request: page");
    };
    if let Some(refusal) = refuse(&shared, &account) {
        return refusal;
    }
    let faults = shared.faults();
    let rows = shared.cached_positions(&account);
    let pages = rows.len().div_ceil(PAGE).max(1);
    let page = if faults.rest.endless_pages { page.min(pages - 1) } else { page };
    let rows = rows.iter().enumerate().skip(page.saturating_mul(PAGE)).take(PAGE);
    ok(Value::Array(rows.filter_map(|(number, row)| documents::row(&shared, number, row, &faults.rest)).collect()))
}

pub(super) async fn invalidate(State(shared): State<App>, Path(account): Path<String>) -> Response {
    if let Some(refusal) = refuse(&shared, &account) {
        return refusal;
    }
    shared.invalidate(&account);
    ok(json!({ "message": "success" }))
}

pub(super) async fn now(State(shared): State<App>, Path(account): Path<String>) -> Response {
    if let Some(refusal) = refuse(&shared, &account) {
        return refusal;
    }
    let rows = shared.positions_now(&account);
    ok(Value::Array(rows.iter().filter_map(|row| documents::row_now(&shared, row)).collect()))
}

fn refuse(shared: &Shared, account: &str) -> Option<Response> {
    if !shared.login.now().portfolio_primed {
        shared.violations.add(0, IbkrRule::PortfolioUnprimed, account.to_owned());
        return Some(error(StatusCode::BAD_REQUEST, "Please query /portfolio/accounts first"));
    }
    if !shared.book().knows(account) {
        shared.violations.add(0, IbkrRule::UnknownAccount, account.to_owned());
        return Some(error(StatusCode::BAD_REQUEST, "Bad Request: account"));
    }
    None
}
