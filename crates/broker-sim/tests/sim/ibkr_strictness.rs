//! Each rule can be broken, and is noted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::gateway::{Gateway, LIMIT, OPTION_FIELDS, Raw, config, contracts};
use broker_sim::{IbkrRule, IbkrSim, IbkrSimConfig};
use futures_util::SinkExt;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

async fn start(config: IbkrSimConfig) -> (IbkrSim, Gateway) {
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::new(&sim);
    (sim, gateway)
}

fn rules(sim: &IbkrSim) -> Vec<IbkrRule> {
    sim.violations().into_iter().map(|violation| violation.rule).collect()
}

/// Waits until this many mistakes are known, and that they are these.
async fn expect(sim: &IbkrSim, expected: &[IbkrRule]) {
    let known = async {
        while sim.violations().len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(LIMIT, known).await.is_ok(), "only {:?}", sim.violations());
    assert_eq!(rules(sim), expected);
}

#[tokio::test]
async fn a_call_in_the_wrong_place_or_shape() {
    let (sim, gateway) = start(config()).await;
    let account = &sim.accounts()[0];
    assert_eq!(gateway.init(false, true).await.0, 500);
    assert_eq!(gateway.call(Method::POST, "/iserver/auth/ssodh/init", None).await.0, 400);
    assert_eq!(gateway.get(&format!("/portfolio/{account}/positions/0")).await.0, 400);
    assert_eq!(gateway.get("/portfolio/accounts").await.0, 200);
    assert_eq!(gateway.get("/portfolio/U9/positions/0").await.0, 400);
    assert_eq!(gateway.init(true, false).await.0, 200);
    let snapshot = gateway.get("/iserver/marketdata/snapshot?conids=265598&fields=31").await;
    assert_eq!((snapshot.0, snapshot.1["error"].as_str()), (500, Some("Please query /accounts first")));
    assert_eq!(gateway.get("/iserver/accounts").await.0, 200);
    assert_eq!(gateway.get("/iserver/marketdata/snapshot?conids=265598,17&fields=31").await.0, 400);
    let many = vec!["265598"; 101].join(",");
    assert_eq!(gateway.get(&format!("/iserver/marketdata/snapshot?conids={many}&fields=31")).await.0, 400);
    let many = vec![265_598; 201];
    assert_eq!(gateway.post("/trsrv/secdef", json!({ "conids": many })).await.0, 400);
    assert_eq!(gateway.get("/trsrv/secdef").await.0, 400);
    assert_eq!(gateway.get("/iserver/contract/17/info").await.0, 500);
    assert_eq!(gateway.get("/iserver/positions").await.0, 404);
    assert_eq!(gateway.post(&format!("/iserver/account/{account}/orders"), json!({})).await.0, 404);
    use IbkrRule::{
        BatchSize, Body, Order, PortfolioUnprimed, Publish, UnknownAccount, UnknownContract, UnknownPath, Unprimed,
    };
    expect(
        &sim,
        &[
            Publish,
            Body,
            PortfolioUnprimed,
            UnknownAccount,
            Unprimed,
            UnknownContract,
            BatchSize,
            BatchSize,
            Body,
            UnknownContract,
            UnknownPath,
            Order,
            UnknownPath,
        ],
    )
    .await;
    sim.shutdown().await;
}

#[tokio::test]
async fn too_many_calls_lead_to_the_penalty_box() {
    let mut config = config();
    config.protocol.second = Duration::from_secs(1);
    config.protocol.penalty = Duration::from_secs(60);
    let (sim, gateway) = start(config).await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/iserver/auth/status").await.0, 200);
    }
    assert_eq!(gateway.get("/iserver/auth/status").await.0, 429);
    expect(&sim, &[IbkrRule::RateLimit]).await;
    assert_eq!(gateway.get("/tickle").await.0, 429, "everything is, and for long");
    let insolent = async {
        while sim.violations().len() < 2 {
            assert_eq!(gateway.get("/tickle").await.0, 429);
        }
    };
    timeout(LIMIT, insolent).await.unwrap();
    assert_eq!(rules(&sim)[1], IbkrRule::PenaltyBox);
    sim.control().pardon();
    assert_eq!(gateway.get("/tickle").await.0, 200);
    assert_eq!(gateway.get("/tickle").await.0, 429, "one a second");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_socket_needs_its_cookie_and_the_accounts() {
    let (sim, gateway) = start(config()).await;
    gateway.init(true, false).await;
    let mut raw = gateway.socket().await;
    assert_eq!(raw.expect_close().await, 1000, "not primed");
    gateway.get("/iserver/accounts").await;
    sim.control().change_faults(|faults| faults.socket.no_heartbeats = true);
    for cookie in [None, Some("api={\"session\":\"0123\"}"), Some("api=0123"), Some("x=1")] {
        let mut raw = Raw::dial(&gateway, cookie).await.unwrap();
        assert_eq!(raw.next().await, json!({"message": "waiting for session"}));
        assert_eq!(raw.next().await, json!({"topic": "sts", "args": {"authenticated": false}}));
        raw.subscribe(contracts(&sim)[0].conid, &OPTION_FIELDS).await;
        raw.socket.close(None).await.unwrap();
    }
    use IbkrRule::{BeforeStatus, Cookie, Unprimed};
    expect(&sim, &[Unprimed, Cookie, BeforeStatus, Cookie, BeforeStatus, Cookie, BeforeStatus, Cookie, BeforeStatus])
        .await;
    assert_eq!(sim.stats().lines, 0);
    sim.wait_until(LIMIT, |stats| stats.closed_by_client == 4).await.unwrap();
    sim.shutdown().await;
}

#[tokio::test]
async fn what_is_sent_too_early_is_lost() {
    let mut config = config();
    config.protocol.status_delay = Duration::from_millis(300);
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.socket().await;
    let conid = contracts(&sim)[0].conid;
    raw.find(|frame| frame["topic"] == "act").await;
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.send("tic").await;
    raw.until_authenticated().await;
    expect(&sim, &[IbkrRule::BeforeStatus, IbkrRule::BeforeStatus]).await;
    assert_eq!((sim.stats().lines, sim.stats().tics), (0, 0));
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.market_data(conid).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn messages_that_are_wrong() {
    let mut config = config();
    config.protocol.heartbeat = Duration::from_secs(60);
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let conid = contracts(&sim)[0].conid;
    for text in [
        format!("smd+{conid}+{{\"fields\":[31,7308]}}"),
        format!("smd+{conid}+{{\"fields\":[]}}"),
        format!("smd+{conid}+{{\"fields\":[\"31\"],\"snapshot\":true}}"),
        format!("smd+{conid}"),
        "smd+17+{\"fields\":[\"31\"]}".to_owned(),
        "umd+18+{}".to_owned(),
        "{\"session\":\"x\"}".to_owned(),
    ] {
        raw.send(text).await;
    }
    assert_eq!(raw.next().await, json!({"error": "Topic unknown '{\"s'"}), "and the others are answered by silence");
    raw.socket.send(Message::binary(b"tic".to_vec())).await.unwrap();
    use IbkrRule::{Binary, Message as Wrong, NoFields, NotSubscribed, NumericFields, Snapshot, UnknownContract};
    expect(
        &sim,
        &[NumericFields, NoFields, Snapshot, Wrong, UnknownContract, NotSubscribed, IbkrRule::UnknownTopic, Binary],
    )
    .await;
    assert_eq!(sim.stats().lines, 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn too_many_messages_and_too_few() {
    let mut config = config();
    config.protocol.second = Duration::from_secs(1);
    config.protocol.socket_messages = 5;
    config.protocol.tic_limit = Duration::from_millis(200);
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    for _ in 0..6 {
        raw.send("tic").await;
    }
    expect(&sim, &[IbkrRule::MessagePace, IbkrRule::Tic]).await;
    sim.shutdown().await;
}
