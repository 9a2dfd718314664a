//! The documents of the gateway, and the sessions in front of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use crate::gateway::{Gateway, LIMIT, config, contracts};
use broker_sim::{IbkrCustomer, IbkrSim, RowShape, WrongAnswer, Wrongness};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_login_is_not_a_brokerage_session() {
    let mut config = config();
    config.logged_in = false;
    config.protocol.validate_every = Duration::ZERO;
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::new(&sim);
    for path in ["/tickle", "/iserver/auth/status", "/portfolio/accounts", "/sso/validate"] {
        assert_eq!(gateway.get(path).await.0, 401, "{path}");
    }
    sim.control().login();
    let (status, body) = gateway.get("/iserver/auth/status").await;
    assert_eq!((status, &body["authenticated"], &body["connected"]), (200, &json!(false), &json!(false)), "{body}");
    let (status, body) = gateway.get("/iserver/accounts").await;
    assert_eq!((status, body["error"].as_str()), (400, Some("Bad Request: no bridge")));
    assert_eq!(gateway.get("/portfolio/accounts").await.0, 200, "the portfolio needs no brokerage session");
    let (status, body) = gateway.init(true, false).await;
    assert_eq!((status, &body["authenticated"], &body["fail"]), (200, &json!(true), &json!("")));
    let (status, body) = gateway.call(Method::POST, "/iserver/auth/status", None).await;
    assert_eq!((status, &body["authenticated"], &body["competing"]), (200, &json!(true), &json!(false)));
    let (_, tickle) = gateway.call(Method::POST, "/tickle", None).await;
    assert_eq!(tickle["session"].as_str().unwrap().len(), 32);
    assert_eq!(tickle["hmds"]["error"], "no bridge", "which is normal");
    assert_eq!(tickle["iserver"]["authStatus"]["authenticated"], true);
    assert!(tickle["ssoExpires"].as_u64().unwrap() > 86_000_000);
    assert_eq!(gateway.get("/sso/validate").await.1["RESULT"], true);
    assert_eq!(gateway.call(Method::POST, "/logout", None).await, (200, json!({"status": true})));
    assert_eq!(gateway.get("/iserver/auth/status").await.0, 401);
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn positions_come_in_pages_and_shapes() {
    let mut config = config();
    config.customer = IbkrCustomer { positions: 230, ..IbkrCustomer::default() };
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let mut classes = BTreeSet::new();
    let (mut shorts, mut zeros, mut short_shape, mut long_shape) = (0, 0, 0, 0);
    for account in sim.accounts() {
        let rows = gateway.rows(&account).await;
        let held: Vec<_> = sim.positions().into_iter().filter(|row| row.account == account).collect();
        assert_eq!(rows.len(), 232);
        assert_eq!(rows.len(), held.len());
        for (row, held) in rows.iter().zip(&held) {
            assert_eq!(
                (row["conid"].as_i64(), row["position"].as_f64()),
                (Some(held.conid), Some(held.quantity as f64))
            );
            classes.insert(row["assetClass"].as_str().unwrap().to_owned());
            shorts += usize::from(held.quantity < 0);
            zeros += usize::from(held.quantity == 0);
            match &row["strike"] {
                Value::String(strike) => {
                    long_shape += 1;
                    if let Some(contract) = held.contract() {
                        assert_eq!(strike.parse(), Ok(contract.strike()));
                        assert_eq!(row["expiry"], contract.expiration().strftime("%Y%m%d").to_string());
                        assert_eq!(row["undConid"].as_i64(), held.underlying_conid);
                    }
                }
                strike => {
                    short_shape += 1;
                    assert_eq!(strike.as_f64(), Some(0.0));
                    assert!(row["multiplier"].is_null() && row.get("ticker").is_none());
                }
            }
            let root = held.contract().filter(|contract| contract.future().is_none());
            if let Some(contract) = root {
                assert!(row["contractDesc"].as_str().unwrap().contains(&format!("[{contract} ")), "{row}");
            }
        }
    }
    assert_eq!(classes, ["FOP", "OPT", "STK"].map(str::to_owned).into());
    assert!(shorts > 50 && zeros == 2 && short_shape > 200 && long_shape > 200);
    let twice: Vec<_> = sim.positions().into_iter().filter(|row| row.conid == contracts(&sim)[0].conid).collect();
    assert_eq!(twice.len(), 2, "one contract is in both accounts");
    assert!(twice[0].quantity.signum() == -twice[1].quantity.signum());
    let roots: BTreeSet<String> =
        contracts(&sim).iter().filter_map(|row| row.contract().map(|contract| contract.root().to_owned())).collect();
    assert!(["SPX", "SPXW", "ES", "6E", "6J", "BRKB", "AAPL1"].iter().all(|root| roots.contains(*root)), "{roots:?}");
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn contracts_are_told_of() {
    let sim = IbkrSim::start(config()).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let held = contracts(&sim);
    let conids: Vec<String> = held.iter().map(|row| row.conid.to_string()).collect();
    let (status, body) = gateway.get(&format!("/trsrv/secdef?conids={}", conids.join(","))).await;
    assert_eq!(status, 200);
    let rows = body["secdef"].as_array().unwrap();
    assert_eq!(rows.len(), held.len());
    for (row, held) in rows.iter().zip(&held) {
        let contract = held.contract().unwrap();
        assert_eq!(row["conid"], held.conid);
        assert_eq!(row["putOrCall"], contract.option_type().to_string());
        assert_eq!(row["undConid"].as_i64(), held.underlying_conid);
        let Some(future) = contract.future() else { continue };
        let (status, info) = gateway.get(&format!("/iserver/contract/{}/info", held.underlying_conid.unwrap())).await;
        assert_eq!((status, info["instrument_type"].as_str()), (200, Some("FUT")));
        let local = format!("{}{}{}", future.product(), future.month().letter(), future.year() % 10);
        assert_eq!(info["local_symbol"], local);
        assert_eq!(
            info["symbol"],
            match future.product() {
                "6E" => "EUR",
                "6J" => "JPY",
                other => other,
            }
        );
    }
    let posted = gateway.post("/trsrv/secdef", json!({ "conids": [held[0].conid] })).await.1;
    assert_eq!(posted["secdef"][0], rows[0]);
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn positions_are_cached_until_invalidated() {
    let sim = IbkrSim::start(config()).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let row = contracts(&sim).remove(0);
    let page = format!("/portfolio/{}/positions/0", row.account);
    let quantity = |rows: &Value| {
        let rows = rows.as_array().unwrap();
        let text = json!(row.conid.to_string());
        let found = rows.iter().find(|found| found["conid"] == row.conid || found["conid"] == text);
        found.unwrap()["position"].as_f64().unwrap()
    };
    let before = quantity(&gateway.get(&page).await.1);
    assert!(before != 0.0);
    sim.control().close_position(&row.account, row.contract().unwrap()).unwrap();
    assert_eq!(quantity(&gateway.get(&page).await.1), before, "stale");
    let now = gateway.get(&format!("/portfolio2/{}/positions", row.account)).await.1;
    assert_eq!(quantity(&now), 0.0, "never stale");
    assert!(now[0]["conid"].is_string() && now[0].get("strike").is_none());
    let (status, body) =
        gateway.call(Method::POST, &format!("/portfolio/{}/positions/invalidate", row.account), None).await;
    assert_eq!((status, body), (200, json!({"message": "success"})));
    assert_eq!(quantity(&gateway.get(&page).await.1), 0.0, "the row stays");
    sim.shutdown().await;
}

#[tokio::test]
async fn an_advisor_has_sub_accounts() {
    let mut config = config();
    config.customer = IbkrCustomer::advisor(45);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::new(&sim);
    let own = gateway.get("/portfolio/accounts").await.1;
    assert_eq!((own.as_array().unwrap().len(), &own[0]["accountId"]), (1, &json!("F1234567")));
    assert_eq!(gateway.get("/portfolio/subaccounts").await.1.as_array().unwrap().len(), 45);
    let mut ids = Vec::new();
    for page in 0..4 {
        let body = gateway.get(&format!("/portfolio/subaccounts2?page={page}")).await.1;
        assert_eq!(body["metadata"]["total"], 45);
        let rows = body["subaccounts"].as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["accountId"].as_str().unwrap().to_owned()));
    }
    assert_eq!(ids, sim.accounts());
    assert_eq!(gateway.rows(&ids[44]).await.len(), 6);
    sim.shutdown().await;
    let sim = IbkrSim::start(crate::gateway::config()).await.unwrap();
    let bare = Gateway::new(&sim).get("/portfolio/subaccounts2?page=0").await.1;
    assert_eq!(bare.as_array().unwrap().len(), 2, "a bare array without an advisor");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_opens_first_and_brings_greeks_last() {
    let mut config = config();
    config.protocol.lines = 2;
    config.protocol.first_frame_after = Duration::ZERO;
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let conids: Vec<i64> = contracts(&sim).iter().take(3).map(|row| row.conid).collect();
    let path = format!("/iserver/marketdata/snapshot?conids={},{}&fields=31,7308", conids[0], conids[1]);
    let first = gateway.get(&path).await.1;
    assert_eq!(first[0], json!({"conid": conids[0], "conidEx": conids[0].to_string()}));
    let second = gateway.get(&path).await.1;
    assert!(second[0]["31"].is_string() && second[0]["_updated"].is_i64());
    let greeks = async {
        loop {
            let row = gateway.get(&path).await.1;
            if row[0]["7308"].is_string() && row[1]["7308"].is_string() {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, greeks).await.unwrap();
    let third = format!("/iserver/marketdata/snapshot?conids={}&fields=31", conids[2]);
    for _ in 0..3 {
        assert_eq!(gateway.get(&third).await.1[0].as_object().unwrap().len(), 2, "no line is left");
    }
    assert_eq!(gateway.post("/iserver/marketdata/unsubscribe", json!({"conid": conids[0]})).await.0, 200);
    assert_eq!(gateway.post("/iserver/marketdata/unsubscribe", json!({"conid": conids[0]})).await.0, 500);
    gateway.get(&third).await;
    assert!(gateway.get(&third).await.1[0]["31"].is_string());
    assert_eq!(gateway.get("/iserver/marketdata/unsubscribeall").await.1, json!({"unsubscribed": true}));
    sim.shutdown().await;
}

#[tokio::test]
async fn rest_fails_as_it_is_told_to() {
    let mut config = config();
    config.customer.positions = 150;
    config.faults.rest.rows = RowShape::Long;
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let control = sim.control();
    let account = &sim.accounts()[0];
    let page = |page: usize| format!("/portfolio/{account}/positions/{page}");
    let fails = WrongAnswer { path: "/positions/1".to_owned(), times: 1, how: Wrongness::Status(500) };
    control.change_faults(|faults| faults.rest.answers.push(fails));
    assert_eq!(gateway.get(&page(0)).await.0, 200);
    assert_eq!(gateway.get(&page(1)).await.0, 500);
    assert_eq!(gateway.get(&page(1)).await.1.as_array().unwrap().len(), 52);
    assert_eq!(gateway.get(&page(2)).await.1, json!([]));
    control.change_faults(|faults| faults.rest.endless_pages = true);
    assert_eq!(gateway.get(&page(9)).await.1.as_array().unwrap().len(), 52);
    control.change_faults(|faults| faults.rest.null_fields = true);
    let rows = gateway.get(&page(0)).await.1;
    assert!(rows[0]["undConid"].is_null() && rows[0]["contractDesc"].is_null() && rows[0].get("ticker").is_none());
    control.change_faults(|faults| {
        faults.rest.answers.push(WrongAnswer { path: "/tickle".to_owned(), times: 1, how: Wrongness::Html(502) });
        faults.rest.answers.push(WrongAnswer { path: "/tickle".to_owned(), times: 1, how: Wrongness::Status(403) });
        faults.rest.terse = true;
    });
    assert_eq!(gateway.get("/tickle").await.0, 502);
    assert_eq!(gateway.get("/tickle").await, (403, json!("access denied")));
    let tickle = gateway.get("/tickle").await.1;
    assert!(tickle["session"].is_string() && tickle.get("ssoExpires").is_none());
    control.maintenance(true);
    assert_eq!(gateway.get("/tickle").await.0, 503);
    assert_eq!(gateway.get(&page(0)).await.0, 503);
    control.maintenance(false);
    assert_eq!(gateway.get(&page(0)).await.0, 200);
    assert_eq!(gateway.get("/iserver/accounts").await.0, 400, "the brokerage session is gone");
    control.penalty(Duration::from_secs(600));
    assert_eq!(gateway.get(&page(0)).await.0, 429);
    control.pardon();
    assert_eq!(gateway.get(&page(0)).await.0, 200);
    assert_eq!(sim.stats().too_many, 1);
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}
