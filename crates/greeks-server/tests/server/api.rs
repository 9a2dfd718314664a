//! What the endpoints answer over a book fed by hand.

use crate::support::book::{CALL, FUTURE, PUT, filled};
use crate::support::{Running, config, no_database, start};
use greeks_server::{DatabaseState, SourceState};
use serde_json::{Value, json};

async fn server() -> Running {
    start(config(), filled(), no_database()).await
}

#[tokio::test]
async fn the_newest_greeks_are_those_of_the_book() {
    let server = server().await;
    let answer = server.get("/v1/greeks/latest?contract_key=SPY+++261218P00600000").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    let mut document = answer.json();
    let line = document["lines"][0].as_object_mut().unwrap();
    assert!(line.remove("id").unwrap().is_u64() && line.remove("version").unwrap().is_u64());
    let position = line.remove("position").unwrap();
    let now = "2026-11-20T15:00:00Z";
    let expected = json!({
        "broker": "one", "account_id": "5WT00001", "underlying": "SPY", "contract_key": PUT, "expiration": "2026-12-18",
        "days_to_expiry": 28, "strike": 600.0, "option_type": "P", "quantity": -3.0, "multiplier": 100.0,
        "event_time": now, "received_at": now, "age_seconds": 0.0, "delta": -0.25, "gamma": 0.01, "theta": -0.1,
        "vega": 0.2, "rho": null, "implied_volatility": null, "option_price": null, "underlying_price": 640.0, "flags": 0,
        "stale": null, "stale_since": null,
    });
    assert_eq!(document["lines"], json!([expected]));
    for (figure, value) in [("delta", 75.0), ("delta_dollars", 48_000.0), ("theta", 30.0), ("vega", -60.0)] {
        assert!((position[figure].as_f64().unwrap() - value).abs() < 1e-9, "{figure}: {position}");
    }
    assert_eq!(document["durable"], json!({"seq": 41, "at": now}));
    assert_eq!(document["version"], server.book.version());

    for (filter, keys) in [
        ("", vec![FUTURE, CALL, PUT]),
        ("?broker=one", vec![PUT]),
        ("?broker=two", vec![FUTURE, CALL]),
        ("?broker=three", vec![]),
        ("?account_id=U7&underlying=AAPL", vec![CALL]),
        ("?account_id=5WT00001&underlying=AAPL", vec![]),
        ("?underlying=%2FESZ26", vec![FUTURE]),
        ("?contract_key=%2FESZ26%20261127P5000", vec![FUTURE]),
    ] {
        let document = server.get(&format!("/v1/greeks/latest{filter}")).await.json();
        let found: Vec<&str> =
            document["lines"].as_array().unwrap().iter().map(|line| line["contract_key"].as_str().unwrap()).collect();
        assert_eq!(found, keys, "{filter}");
    }
    let without = server.get("/v1/greeks/latest?underlying=%2FESZ26").await.json();
    assert_eq!((&without["lines"][0]["delta"], &without["lines"][0]["received_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn portfolios_are_grouped_and_say_what_is_missing() {
    let server = server().await;
    for (query, keys) in [
        ("", vec!["/ESZ26", "AAPL", "SPY"]),
        ("?group_by=underlying", vec!["/ESZ26", "AAPL", "SPY"]),
        ("?group_by=expiry", vec!["0", "1-7", "22-45"]),
        ("?group_by=account", vec!["5WT00001", "U7"]),
        ("?group_by=broker", vec!["one", "two"]),
    ] {
        let answer = server.get(&format!("/v1/portfolio{query}")).await;
        let document = answer.json();
        let groups = document["groups"].as_array().unwrap();
        assert_eq!(groups.iter().map(|group| group["key"].as_str().unwrap()).collect::<Vec<_>>(), keys, "{query}");
        assert_eq!(document["total"]["lines"], 3);
        assert_eq!(document["total"]["covered"], 2);
        // -0.25 x -3 x 100 x 640 + 0.5 x 2 x 100 x 230.
        assert_eq!(document["total"]["delta_dollars"], json!({"value": 71_000.0, "lines": 2}), "{query}");
        assert_eq!(document["total"]["theta"]["lines"], 1);
        let missing = document["not_included"].as_array().unwrap();
        assert!(missing.iter().any(|line| line["contract_key"] == FUTURE && line["reason"] == "no_row"), "{missing:?}");
        assert_eq!(document["not_included_count"], missing.len());
        assert_eq!(document["benchmark"], "SPY");
    }
    let by_broker = server.get("/v1/portfolio?group_by=broker").await.json();
    assert_eq!(by_broker["groups"][0]["delta_dollars"]["value"], 48_000.0);
    assert_eq!(by_broker["groups"][1]["delta_dollars"]["value"], 23_000.0);
    assert_eq!(by_broker["groups"][1]["vega"], json!({"value": null, "lines": 0}), "unknown is not zero");
    let refused = server.get("/v1/portfolio?group_by=colour").await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["detail"].as_str().unwrap().contains("underlying"), "{refused:?}");
}

#[tokio::test]
async fn the_status_is_told_and_sources_are_started_and_stopped() {
    let server = server().await;
    let document = server.get("/v1/streaming/status").await.json();
    let now = "2026-11-20T15:00:00Z";
    let source = |name: &str| {
        json!({
            "source": name, "state": "connected", "reason": null, "since": now, "retry_at": null, "wanted": true,
            "last_heartbeat": now, "last_message": "2026-11-20T14:59:59.999999999Z", "reconnect_attempt": 0,
            "subscriptions": 7, "last_error": null,
        })
    };
    let expected = json!({
        "version": "1.2.3", "simulated": true, "as_of": now, "started_at": now, "sources": [source("one"), source("two")],
        "database": {
            "state": "connected", "last_error": null, "waiting_records": 3, "durable": {"seq": 41, "at": now},
            "quarantined": 0,
        },
        "journal": {"bytes": 4_096, "oldest_seconds": 0.5, "quota_share": 0.25, "full": false},
        "receive_to_durable": {"count": 9, "p50": 0.001, "p95": 0.002, "p99": null},
        "gaps_open": 0, "market": {"state": "open", "until": null}, "alerts": [],
    });
    assert_eq!(document, expected);

    let stopped = server.post("/v1/streaming/stop", r#"{"broker":"two"}"#).await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    assert_eq!((&stopped.json()["state"], &stopped.json()["wanted"]), (&json!("disconnected"), &json!(false)));
    assert_eq!(server.get("/readyz").await.status, 200, "a source that was stopped is not missed");
    let started = server.post("/v1/streaming/start", r#"{"broker":"two"}"#).await.json();
    assert_eq!((&started["state"], &started["wanted"]), (&json!("connecting"), &json!(true)));
    let unknown = server.post("/v1/streaming/start", r#"{"broker":"three"}"#).await;
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!(unknown.json()["detail"], "no source three is configured");
    server.desk.set(|document| document.sources[0].subscriptions = 13);
    let refused = server.post("/v1/streaming/stop", r#"{"broker":"one"}"#).await;
    assert_eq!((refused.status, &refused.json()["detail"]), (409, &json!("the source is being replaced")));
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let server = server().await;
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true})));
    server.desk.set(|document| {
        document.sources[1].state = SourceState::Degraded;
        document.sources[1].reason = Some("delayed quotes".into());
        document.database.state = DatabaseState::Retrying;
        document.database.last_error = Some("connection refused".into());
        document.journal.full = true;
    });
    let answer = server.get("/readyz").await;
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/problem+json")), "{answer:?}");
    let expected = json!([
        {"component": "two", "reason": "degraded: delayed quotes"},
        {"component": "database", "reason": "retrying: connection refused"},
        {"component": "journal", "reason": "full: records are given up"},
    ]);
    assert_eq!(answer.json()["components"], expected);
    assert_eq!(server.get("/healthz").await.json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn plain_answers_and_what_is_not_there() {
    let server = server().await;
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.ends_with("greekd_rows_written_total 5\n"), "{metrics:?}");
    let page = server.get("/").await;
    assert!(page.body.contains("<title>greekd</title>"), "{page:?}");
    let head = server.request("HEAD", "/v1/greeks/latest", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for target in ["/nowhere", "/v1", "/v1/greeks/latest/", "/V1/portfolio", "/%2e%2e/etc/passwd"] {
        let answer = server.get(target).await;
        assert_eq!((answer.status, &answer.json()["title"]), (404, &json!("Not Found")), "{target}");
    }
    for (target, part) in [
        ("/v1/greeks/latest?colour=red", "colour"),
        ("/v1/greeks/latest?broker=ONE", "ONE"),
        ("/v1/greeks/latest?broker=", "broker"),
        ("/v1/greeks/latest?broker=one&broker=two", "duplicate field `broker`"),
        ("/v1/greeks/latest?account_id=%00", "account_id"),
        ("/v1/greeks/snapshots?limit=0", "limit is 1 to 10000"),
        ("/v1/greeks/snapshots?limit=10001", "limit is 1 to 10000"),
        ("/v1/greeks/snapshots?limit=ten", "limit"),
        ("/v1/greeks/snapshots?cursor=x", "not a cursor"),
        ("/v1/greeks/snapshots?from=yesterday", "RFC 3339"),
        ("/v1/greeks/snapshots?from=2026-11-20T00:00:00Z&to=2026-11-20T00:00:00Z", "from must be before to"),
        ("/v1/history", "missing field `metric`"),
        ("/v1/history?metric=rho", "rho"),
        ("/v1/history?metric=delta&step=0", "step"),
        ("/v1/history?metric=delta&lookback=604801", "lookback"),
        ("/v1/trades?limit=1001", "limit is 1 to 1000"),
        ("/v1/streaming/status?x", "x"),
        ("/healthz?x=1", "x"),
    ] {
        let answer = server.get(target).await;
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{target}");
    }
}
