//! Market data over REST: the first call opens it, later ones bring it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{App, error, ok};
use crate::ibkr::contracts::Instrument;
use crate::ibkr::socket::print::{self, Known, Printed};
use crate::ibkr::state::{Shared, Snapshot};
use crate::ibkr::violations::IbkrRule;

const MAX_CONIDS: usize = 100;
const MAX_FIELDS: usize = 50;

pub(super) async fn snapshot(State(shared): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    if !shared.login.now().primed {
        shared.violations.add(0, IbkrRule::Unprimed, "a snapshot before /iserver/accounts");
        return error(StatusCode::INTERNAL_SERVER_ERROR, "Please query /accounts first");
    }
    let list = |key: &str| query.get(key).map(String::as_str).unwrap_or_default().split(',').map(str::trim);
    let conids: Vec<Option<Arc<Instrument>>> =
        list("conids").map(|conid| conid.parse().ok().and_then(|conid| shared.instrument(conid))).collect();
    let fields: Vec<u16> = list("fields").filter_map(|field| field.parse().ok()).collect();
    if conids.len() > MAX_CONIDS || fields.len() > MAX_FIELDS {
        let detail = format!("{} contracts, {} fields of a snapshot", conids.len(), fields.len());
        shared.violations.add(0, IbkrRule::BatchSize, detail);
        return error(StatusCode::BAD_REQUEST, "Bad Request: too many");
    }
    // One bad number spoils them all.
    let Some(instruments) = conids.into_iter().collect::<Option<Vec<_>>>() else {
        shared.violations.add(0, IbkrRule::UnknownContract, "a snapshot of an unknown contract");
        return error(StatusCode::BAD_REQUEST, "Bad Request: conids");
    };
    ok(Value::Array(instruments.iter().map(|instrument| quote(&shared, instrument, &fields)).collect()))
}

fn quote(shared: &Shared, instrument: &Instrument, fields: &[u16]) -> Value {
    let now = Instant::now();
    let conid = instrument.conid;
    let mut row = Map::new();
    row.insert("conid".to_owned(), json!(conid));
    row.insert("conidEx".to_owned(), json!(conid.to_string()));
    let opened = {
        let mut open = shared.snapshots();
        match open.get_mut(&conid) {
            Some(snapshot) => {
                snapshot.fields.extend(fields);
                snapshot.clone()
            }
            None if shared.lines.take(conid) => {
                open.insert(conid, Snapshot { since: now, fields: fields.to_vec() });
                return Value::Object(row);
            }
            None => return Value::Object(row),
        }
    };
    let protocol = &shared.config.protocol;
    let age = now.duration_since(opened.since);
    if age < protocol.first_frame_after {
        return Value::Object(row);
    }
    let faults = shared.faults();
    let greeks = age >= protocol.first_frame_after + protocol.greeks_after;
    let known = Known::of(&shared.place.hub, instrument);
    row.insert("_updated".to_owned(), json!(known.time()));
    row.insert("server_id".to_owned(), json!("q0"));
    let printer = print::Printer { instrument, faults: &faults.data, decimals: shared.config.decimals };
    for tag in opened.fields.iter().filter(|tag| greeks || !print::is_late(**tag)) {
        match printer.print(*tag, &known) {
            Some(Printed::Text(text)) => drop(row.insert(tag.to_string(), json!(text))),
            Some(Printed::Json(text)) => drop(row.insert(tag.to_string(), json!(text.parse::<f64>().ok()))),
            None => {}
        }
    }
    Value::Object(row)
}

pub(super) async fn unsubscribe(State(shared): State<App>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let conid = body.get("conid").and_then(|conid| conid.as_i64().or_else(|| conid.as_str()?.parse().ok()));
    match conid.and_then(|conid| shared.snapshots().remove(&conid).map(|_| conid)) {
        Some(conid) => {
            shared.lines.free(conid);
            ok(json!({ "success": true }))
        }
        None => error(StatusCode::INTERNAL_SERVER_ERROR, "not subscribed"),
    }
}

pub(super) async fn unsubscribe_all(State(shared): State<App>) -> Response {
    let open: Vec<i64> = shared.snapshots().drain().map(|(conid, _)| conid).collect();
    open.into_iter().for_each(|conid| shared.lines.free(conid));
    ok(json!({ "unsubscribed": true }))
}
