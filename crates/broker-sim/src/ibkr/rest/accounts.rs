//! Accounts: as the brokerage session, the portfolio and an advisor see them.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{App, error, ok};
use crate::ibkr::state::Shared;

/// Sub-accounts of one page.
const PAGE: usize = 20;

/// Sub-accounts that the call without pages gives.
const UNPAGED: usize = 100;

pub(super) async fn brokerage(State(shared): State<App>) -> Response {
    shared.login.prime();
    ok(act_args(&shared))
}

/// What `/iserver/accounts` and the topic `act` say.
pub(crate) fn act_args(shared: &Shared) -> Value {
    let book = shared.book();
    let all: Vec<&String> = book.advisor.iter().chain(&book.accounts).collect();
    let props: Map<String, Value> = all
        .iter()
        .map(|account| {
            let props = json!({ "hasChildAccounts": false, "supportsCashQty": true, "supportsFractions": true });
            ((*account).clone(), props)
        })
        .collect();
    let aliases: Map<String, Value> = all.iter().map(|account| ((*account).clone(), json!(account))).collect();
    let session = shared.login.now().sso.map(|sso| sso.session.get(..8).unwrap_or_default().to_owned());
    json!({
        "accounts": all, "acctProps": props, "aliases": aliases,
        "allowFeatures": { "showGFIS": true, "allowFXConv": true, "allowCrypto": false, "allowedAssetTypes": "STK,CFD,OPT,FOP" },
        "chartPeriods": { "STK": ["*"], "OPT": ["2h", "1d"] }, "groups": [], "profiles": [],
        "selectedAccount": all.first(), "serverInfo": { "serverName": "JifZ18045", "serverVersion": "Build 10.44.1d" },
        "sessionId": session, "isFT": false, "isPaper": true,
    })
}

pub(super) async fn portfolio(State(shared): State<App>) -> Response {
    shared.login.prime_portfolio();
    let book = shared.book();
    let rows: Vec<Value> = match &book.advisor {
        Some(advisor) => vec![row(advisor, "ADVISOR", true)],
        None => book.accounts.iter().map(|account| row(account, "INDIVIDUAL", false)).collect(),
    };
    ok(Value::Array(rows))
}

pub(super) async fn sub_accounts(State(shared): State<App>) -> Response {
    shared.login.prime_portfolio();
    let book = shared.book();
    ok(Value::Array(book.accounts.iter().take(UNPAGED).map(|account| row(account, "INDIVIDUAL", false)).collect()))
}

/// Documented as an object with metadata, but recorded as a bare array where there is no advisor.
pub(super) async fn sub_accounts_paged(
    State(shared): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    shared.login.prime_portfolio();
    let Some(page) = query.get("page").and_then(|page| page.parse::<usize>().ok()) else {
        return error(StatusCode::BAD_REQUEST, "Bad Request: page");
    };
    let book = shared.book();
    let rows = book.accounts.iter().skip(page.saturating_mul(PAGE)).take(PAGE);
    let rows: Vec<Value> = rows.map(|account| row(account, "INDIVIDUAL", false)).collect();
    if book.advisor.is_none() {
        return ok(Value::Array(rows));
    }
    let metadata = json!({ "total": book.accounts.len(), "pageSize": PAGE, "pageNum": page });
    ok(json!({ "metadata": metadata, "subaccounts": rows }))
}

fn row(account: &str, kind: &str, advisor: bool) -> Value {
    json!({
        "id": account, "PrepaidCrypto-Z": false, "PrepaidCrypto-P": false, "brokerageAccess": true,
        "accountId": account, "accountVan": account, "accountTitle": "A Customer", "displayName": "A Customer",
        "accountAlias": null, "accountStatus": 1_614_834_000_000_i64, "currency": "USD", "type": kind,
        "tradingType": "STKNOPT", "businessType": "INDEPENDENT", "ibEntity": "IBLLC-US", "faclient": advisor,
        "clearingStatus": "O", "covestor": false, "noClientTrading": false, "trackVirtualFXPortfolio": true,
        "acctCustType": "INDIVIDUAL", "parent": { "mmc": [], "accountId": "", "isMParent": false, "isMChild": false, "isMultiplex": false },
        "desc": account,
    })
}
