//! What needs the database, over one that was filled.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{NOW, Noon, Running, config, no_database, start};
use greeks_model::{
    AccountId, Contract, Decimal, GreekSnapshot, PositionsRecord, Record, Series, SourceId, UnixNanos, testkit,
};
use greeks_processor::book::{BookConfig, LiveBook};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{Committer, CommitterConfig, DatabaseConfig, Queries, migrate};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use regex::Regex;
use serde_json::{Value, json};

const CALL: &str = "AAPL  261218C00232500";

struct Database {
    _private: PrivateServer,
    queries: Queries,
    _dir: tempfile::TempDir,
}

fn series() -> Arc<Series> {
    let contract: Contract = CALL.parse().unwrap();
    Arc::new(Series {
        broker: SourceId::new("one").unwrap(),
        account_id: AccountId::new("5WT00001").unwrap(),
        underlying: "AAPL".into(),
        contract,
        multiplier: Decimal::from(100),
    })
}

fn minutes_ago(minutes: u64) -> UnixNanos {
    UnixNanos::from_nanos(NOW.as_nanos() - i64::try_from(minutes * 60_000_000_000).unwrap())
}

/// A position held for an hour, with a row a minute whose theta counts the minutes left.
async fn filled() -> Database {
    let dir = tempfile::tempdir().unwrap();
    let private = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let database = DatabaseConfig::new(private.create_database("api").await.unwrap());
    migrate(&database).await.unwrap();
    let series = series();
    let mut records = vec![Record::Positions(PositionsRecord {
        source: series.broker.clone(),
        account_id: series.account_id.clone(),
        observed_at: minutes_ago(61),
        positions: vec![(Arc::clone(&series), -2.0)],
    })];
    records.extend((1..=60_u32).rev().map(|minute| {
        let time = minutes_ago(u64::from(minute));
        let mut row =
            GreekSnapshot::new(Arc::clone(&series), time, time.saturating_add(Duration::from_nanos(1_500)), -2.0);
        row.theta = Some(f64::from(minute));
        row.delta = (minute == 7).then_some(0.1 + 0.2);
        row.source_payload = (minute == 7).then(|| r#"{"eventSymbol": "x"}"#.into());
        Record::Snapshot(row)
    }));
    let log = Box::new(testkit::MemoryLog::new(records));
    Committer::new(CommitterConfig::new(database.clone(), "test"), log, Box::new(()), Arc::new(Noon))
        .0
        .run()
        .await
        .unwrap();
    let queries = Queries::new(&database, 4).unwrap();
    Database { _private: private, queries, _dir: dir }
}

async fn serve(database: &Database) -> Running {
    start(config(), LiveBook::new(BookConfig::default()), database.queries.clone()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_answered() {
    let database = filled().await;
    let server = serve(&database).await;
    snapshots(&server).await;
    history(&server).await;
    trades(&server).await;
}

/// The description of the parameter allows what the page before has handed out.
async fn is_as_described(server: &Running, path: &str, cursor: &str) {
    let document = server.get("/openapi.json").await.json();
    let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
    let parameter = parameters.iter().find(|parameter| parameter["name"] == "cursor").unwrap();
    let pattern = Regex::new(parameter["schema"]["pattern"].as_str().unwrap()).unwrap();
    assert!(pattern.is_match(cursor), "{cursor}: {pattern}");
}

async fn snapshots(server: &Running) {
    let mut found = Vec::new();
    let mut target = "/v1/greeks/snapshots?limit=7&underlying=AAPL".to_owned();
    loop {
        let answer = server.get(&target).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        found.extend(page["rows"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        is_as_described(server, "/v1/greeks/snapshots", cursor).await;
        target = format!("/v1/greeks/snapshots?limit=7&underlying=AAPL&cursor={cursor}");
    }
    let thetas: Vec<f64> = found.iter().map(|row| row["theta"].as_f64().unwrap()).collect();
    assert_eq!(thetas, (1..=60).map(f64::from).collect::<Vec<_>>(), "newest first, each once");
    let mut seventh = found[6].clone();
    let persisted = seventh.as_object_mut().unwrap().remove("persisted_at").unwrap();
    assert!(persisted.as_str().unwrap().ends_with('Z'), "{persisted}");
    let expected = json!({
        "event_time": "2026-11-20T14:53:00Z", "received_at": "2026-11-20T14:53:00.000001Z", "broker": "one",
        "account_id": "5WT00001", "underlying": "AAPL", "contract_key": CALL, "expiration": "2026-12-18",
        "strike": 232.5, "option_type": "C", "quantity": -2.0, "multiplier": 100.0, "delta": 0.1 + 0.2, "gamma": null,
        "theta": 7.0, "vega": null, "rho": null, "implied_volatility": null, "option_price": null,
        "underlying_price": null, "flags": 0, "source_payload": {"eventSymbol": "x"},
    });
    assert_eq!(seventh, expected);
    for (filter, rows) in [
        ("broker=one", 60),
        ("broker=two", 0),
        ("account_id=5WT00001", 60),
        ("account_id=5WT00002", 0),
        ("contract_key=AAPL++261218C00232500", 60),
        ("contract_key=AAPL%20%20261218C00232500", 60),
        ("contract_key=AAPL", 0),
        ("from=2026-11-20T14:53:00Z", 7),
        ("to=2026-11-20T14:53:00Z", 53),
        ("from=2026-11-20T15:53:00%2B01:00&to=2026-11-20T14:54:00Z", 1),
        ("limit=10000", 60),
    ] {
        let page = server.get(&format!("/v1/greeks/snapshots?{filter}")).await.json();
        assert_eq!(page["rows"].as_array().map(Vec::len), Some(rows), "{filter}: {page}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
}

async fn history(server: &Running) {
    let target = "/v1/history?metric=theta&from=2026-11-20T14:50:00Z&to=2026-11-20T14:53:00Z&step=60";
    let answer = server.get(target).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "metric": "theta", "step_seconds": 60, "gaps": [],
        "points": [
            {"at": "2026-11-20T14:50:00Z", "value": -2_000.0, "covered": 1, "held": 1},
            {"at": "2026-11-20T14:51:00Z", "value": -1_800.0, "covered": 1, "held": 1},
            {"at": "2026-11-20T14:52:00Z", "value": -1_600.0, "covered": 1, "held": 1},
        ],
    });
    assert_eq!(answer.json(), expected);
    let day = server.get("/v1/history?metric=gamma_1pct&broker=two").await.json();
    assert_eq!(day["step_seconds"], 300);
    assert_eq!(server.get("/v1/history?metric=theta&from=2026-11-19T14:50:00Z&step=1").await.status, 400);
}

async fn trades(server: &Running) {
    let id = "7b0a2ad2-7d5a-4b8e-9f8a-000000000001";
    let trade = json!({
        "id": id, "broker": "one", "account_id": "5WT00001", "symbol": "AAPL call", "contract_key": CALL,
        "action": "sell to open", "quantity": -2, "price": 1.15, "strategy_tag": "wheel", "metadata": {"why": ["iv"]},
    });
    let mut stored = Vec::new();
    for _ in 0..2 {
        let answer = server.post("/v1/trades", &trade.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let mut document = answer.json();
        stored.push(document.as_object_mut().unwrap().remove("created_at").unwrap());
        let mut expected = trade.clone();
        expected["quantity"] = json!(-2.0);
        assert_eq!(document, expected);
    }
    assert_eq!(stored[0], stored[1], "the same trade");
    let mut other = trade.clone();
    other["price"] = json!(1.16);
    assert_eq!(server.post("/v1/trades", &other.to_string()).await.status, 409);
    let plain = json!({"broker": "one", "account_id": "U1", "symbol": "F", "action": "buy", "quantity": 1e-2});
    assert_eq!(server.post("/v1/trades", &plain.to_string()).await.status, 201);
    for (field, value) in [
        ("id", json!("7")),
        ("broker", json!("One")),
        ("account_id", json!("")),
        ("symbol", json!("a\u{0}b")),
        ("quantity", json!(0)),
        ("quantity", json!("1")),
        ("quantity", json!(1e300)),
        ("contract_key", json!("AAPL 261218C00232500")),
        ("metadata", json!([1])),
        ("metadata", json!({"a": "\u{0}"})),
        ("unknown", json!(1)),
    ] {
        let mut wrong = plain.clone();
        wrong[field] = value.clone();
        let answer = server.post("/v1/trades", &wrong.to_string()).await;
        assert_eq!(answer.status, 422, "{field} {value}: {answer:?}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{answer:?}");
    }
    let page = server.get("/v1/trades?limit=1").await.json();
    assert_eq!(page["trades"][0]["symbol"], "F");
    assert_eq!((&page["trades"][0]["price"], &page["trades"][0]["quantity"]), (&Value::Null, &json!(0.01)));
    let cursor = page["next_cursor"].as_str().unwrap();
    is_as_described(server, "/v1/trades", cursor).await;
    let rest = server.get(&format!("/v1/trades?cursor={cursor}")).await.json();
    assert_eq!((rest["trades"].as_array().unwrap().len(), &rest["trades"][0]["id"]), (1, &json!(id)));
    assert_eq!(server.get("/v1/trades?strategy_tag=wheel").await.json()["trades"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_database_the_book_goes_on() {
    let server = start(config(), LiveBook::new(BookConfig::default()), no_database()).await;
    let trade = r#"{"broker":"one","account_id":"U1","symbol":"F","action":"buy","quantity":1}"#;
    for (target, body) in [
        ("/v1/greeks/snapshots", None),
        ("/v1/history?metric=delta", None),
        ("/v1/trades", None),
        ("/v1/trades", Some(trade)),
    ] {
        let answer = match body {
            Some(body) => server.post(target, body).await,
            None => server.get(target).await,
        };
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{target}: {answer:?}");
        let expected = json!({
            "type": "about:blank", "title": "Service Unavailable", "status": 503,
            "detail": "the database does not answer; the live book does",
        });
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for target in ["/v1/greeks/latest", "/v1/portfolio", "/v1/streaming/status", "/healthz", "/metrics"] {
        assert_eq!(server.get(target).await.status, 200, "{target}");
    }
}

/// Texts that look like parameters, in the right places and in wrong ones.
fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        9 => proptest::sample::select(vec![
            "broker", "account_id", "contract_key", "underlying", "from", "to", "limit", "cursor", "metric", "step",
            "lookback", "group_by", "strategy_tag", "token", "last_event_id",
        ])
        .prop_map(str::to_owned),
        1 => "[a-z%&=;+\\[\\]]{0,8}",
    ];
    let value = prop_oneof![
        "[!-~]{0,24}".prop_map(|text| text.replace(['#', ' '], "+")),
        "(%[0-9A-F]{2}){1,8}",
        any::<i64>().prop_map(|number| number.to_string()),
        (-20_000i16..20_000, 1u8..14, 1u8..33).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}T00:00:00Z")),
        (any::<i64>(), any::<i64>()).prop_map(|(time, seq)| format!("{time}.{seq}")),
        proptest::sample::select(vec![
            "delta",
            "theta",
            "one",
            "AAPL",
            "expiry",
            "1",
            "100",
            "1e3",
            "-1",
            "%00",
            "AAPL++261218C00232500",
            "0.0",
            "9223372036854775807.9223372036854775807",
            "-9223372036854775808.-1",
            "%ff%fe",
            "0.00000000-0000-0000-0000-000000000000",
            "2026-11-20T14:50:00Z",
            "-9999-01-01T00:00:00Z",
            "",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec((name, value), 0..4)
        .prop_map(|pairs| pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&"))
}

#[test]
fn no_query_string_is_a_fault_of_the_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_database, server) = runtime.block_on(async {
        let database = filled().await;
        let server = serve(&database).await;
        (database, server)
    });
    let paths =
        ["/v1/greeks/latest", "/v1/greeks/snapshots", "/v1/portfolio", "/v1/history", "/v1/trades", "/", "/readyz"];
    let (good, bad) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    runner
        .run(&(proptest::sample::select(paths.to_vec()), query()), |(path, query)| {
            let answer = runtime.block_on(server.get(&format!("{path}?{query}")));
            prop_assert!(answer.status == 200 || answer.status == 400, "{path}?{query}: {answer:?}");
            if answer.status == 200 {
                good.set(good.get() + 1);
            } else {
                bad.set(bad.get() + 1);
                prop_assert!(answer.body.is_empty() || answer.json()["detail"].is_string());
            }
            Ok(())
        })
        .unwrap();
    let (good, bad) = (good.get(), bad.get());
    assert!(good > 20 && bad > 20, "{good} good and {bad} bad ones tell little");
}
