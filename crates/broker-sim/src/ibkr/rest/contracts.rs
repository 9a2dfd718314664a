//! What the broker knows about contracts.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, documents, error, ok};
use crate::ibkr::state::Shared;
use crate::ibkr::violations::IbkrRule;

/// Contracts of one call.
const MAX_CONIDS: usize = 200;

pub(super) async fn secdef(State(shared): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let conids = query.get("conids").map(|list| list.split(',').map(|conid| conid.trim().parse().ok()).collect());
    definitions(&shared, conids.unwrap_or_default())
}

pub(super) async fn secdef_posted(State(shared): State<App>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let conids = body.get("conids").and_then(Value::as_array);
    let conid = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    definitions(&shared, conids.map(|list| list.iter().map(conid).collect()).unwrap_or_default())
}

fn definitions(shared: &Shared, conids: Vec<Option<i64>>) -> Response {
    let Some(conids) = conids.into_iter().collect::<Option<Vec<i64>>>().filter(|conids| !conids.is_empty()) else {
        shared.violations.add(0, IbkrRule::Body, "secdef wants contract numbers");
        return error(StatusCode::BAD_REQUEST, "Bad Request: conids");
    };
    if conids.len() > MAX_CONIDS {
        shared.violations.add(0, IbkrRule::BatchSize, format!("{} contracts of secdef", conids.len()));
        return error(StatusCode::BAD_REQUEST, "Bad Request: too many conids");
    }
    let found = conids.iter().filter_map(|conid| shared.instrument(*conid));
    ok(json!({ "secdef": found.map(|instrument| documents::secdef(&instrument)).collect::<Vec<_>>() }))
}

pub(super) async fn info(State(shared): State<App>, Path(conid): Path<String>) -> Response {
    match conid.parse().ok().and_then(|conid| shared.instrument(conid)) {
        Some(instrument) => ok(documents::info(&instrument)),
        None => {
            shared.violations.add(0, IbkrRule::UnknownContract, format!("info of {conid}"));
            error(StatusCode::INTERNAL_SERVER_ERROR, "no contract data")
        }
    }
}
