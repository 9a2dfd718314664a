//! Every rule of the protocol, broken once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::common::{LIMIT, Raw, config, quote_token};
use broker_sim::{Rule, SimConfig, TastySim};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn rules(sim: &TastySim) -> Vec<Rule> {
    sim.violations().into_iter().map(|violation| violation.rule).collect()
}

async fn start() -> TastySim {
    TastySim::start(config()).await.unwrap()
}

/// A client that is ready, then sends one wrong message on channel 1.
async fn wrong(message: Value, error: &str, rule: Rule) {
    let sim = start().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    assert_eq!(sim.violations(), [], "up to here everything is right");
    raw.send(message.clone()).await;
    let answer = raw.find("ERROR").await;
    assert_eq!(answer["error"], error, "{message}: {answer}");
    assert_eq!(rules(&sim), [rule], "{message}");
    drop(raw);
    sim.shutdown().await;
}

#[tokio::test]
async fn first_message_is_setup() {
    for first in [json!({"type": "AUTH", "channel": 0, "token": "x"}), json!({"type": "KEEPALIVE", "channel": 0})] {
        let sim = start().await;
        let mut raw = Raw::connect(&sim).await;
        raw.send(first).await;
        assert_eq!(raw.expect("ERROR").await["error"], "BAD_ACTION");
        assert_eq!(raw.expect_close().await, 1008);
        assert_eq!(rules(&sim), [Rule::SetupOrder]);
    }
}

#[tokio::test]
async fn setup_comes_once() {
    wrong(json!({"type": "SETUP", "channel": 0, "version": "0.1-raw/1"}), "BAD_ACTION", Rule::SetupOrder).await;
}

#[tokio::test]
async fn auth_waits_for_the_challenge() {
    let sim = start().await;
    let token = quote_token(&sim).await;
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.send(json!({"type": "AUTH", "channel": 0, "token": token})).await;
    let error = raw.expect("ERROR").await;
    assert_eq!(error["error"], "UNAUTHORIZED");
    assert!(error["message"].as_str().unwrap().contains("Session not found"));
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(rules(&sim), [Rule::AuthBeforeState]);
}

#[tokio::test]
async fn a_wrong_token_is_no_violation_but_gets_nothing() {
    let sim = start().await;
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.expect("AUTH_STATE").await;
    raw.send(json!({"type": "AUTH", "channel": 0, "token": "made up"})).await;
    assert_eq!(raw.expect("AUTH_STATE").await["state"], "UNAUTHORIZED");
    assert_eq!(raw.expect("ERROR").await["error"], "UNAUTHORIZED");
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(sim.stats().refused, 1);
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn channels_wait_for_authorization() {
    let sim = start().await;
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.expect("AUTH_STATE").await;
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    assert_eq!(raw.expect("ERROR").await["error"], "BAD_ACTION");
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(rules(&sim), [Rule::BeforeAuthorized]);
}

#[tokio::test]
async fn channel_requests_are_checked() {
    let request = |channel: u64, service: &str, contract: Value| json!({"type": "CHANNEL_REQUEST", "channel": channel, "service": service, "parameters": {"contract": contract}});
    for (message, rule) in [
        (request(2, "FEED", json!("AUTO")), Rule::ChannelNumber),
        (request(0, "FEED", json!("AUTO")), Rule::ChannelNumber),
        (request(1, "FEED", json!("AUTO")), Rule::ChannelNumber),
        (request(3, "FOOD", json!("AUTO")), Rule::ChannelRequest),
        (request(3, "FEED", json!("SOMETIMES")), Rule::ChannelRequest),
        (request(3, "FEED", json!(7)), Rule::ChannelRequest),
        (json!({"type": "CHANNEL_CANCEL", "channel": 5}), Rule::ChannelNotOpen),
        (json!({"type": "FEED_SETUP", "channel": 5}), Rule::ChannelNotOpen),
        (json!({"type": "FEED_SUBSCRIPTION", "channel": 5, "reset": true}), Rule::ChannelNotOpen),
    ] {
        wrong(message, "BAD_ACTION", rule).await;
    }
}

#[tokio::test]
async fn feed_setups_are_checked() {
    for (key, value) in [
        ("acceptDataFormat", json!("TINY")),
        ("acceptAggregationPeriod", json!(-1)),
        ("acceptEventFields", json!({"Greeks": []})),
        ("acceptEventFields", json!({"Grease": ["delta"]})),
    ] {
        wrong(json!({"type": "FEED_SETUP", "channel": 1, key: value}), "BAD_ACTION", Rule::FeedSetup).await;
    }
}

#[tokio::test]
async fn subscriptions_need_a_feed_setup() {
    let sim = start().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 3, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    raw.send(json!({"type": "FEED_SUBSCRIPTION", "channel": 3, "add": [{"type": "Greeks", "symbol": ".A"}]})).await;
    assert_eq!(raw.expect("ERROR").await["channel"], 3);
    assert_eq!(rules(&sim), [Rule::FeedSetup]);
}

#[tokio::test]
async fn subscriptions_are_checked() {
    for change in [
        json!({"add": []}),
        json!({"remove": []}),
        json!({}),
        json!({"add": [{"type": "Grease", "symbol": ".A"}]}),
        json!({"add": [{"type": "Greeks", "symbol": ""}]}),
        json!({"add": [{"type": "Greeks", "symbol": ".A", "fromTime": 0}]}),
        json!({"remove": [{"type": "Greeks", "symbol": ".A", "source": "NTV"}]}),
    ] {
        let mut message = json!({"type": "FEED_SUBSCRIPTION", "channel": 1});
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        wrong(message, "BAD_ACTION", Rule::Subscription).await;
    }
}

#[tokio::test]
async fn unreadable_messages_are_named() {
    for message in [
        json!({"type": "FEED_SUBSCRIPTION", "channel": 1, "add": [{"type": "Greeks"}]}),
        json!({"type": "KEEPALIVE"}),
        json!({"type": "KEEPALIVE", "channel": 1}),
        json!({"channel": 0}),
        json!([1, 2]),
    ] {
        wrong(message, "INVALID_MESSAGE", Rule::InvalidMessage).await;
    }
}

#[tokio::test]
async fn unknown_messages_are_ignored() {
    let sim = start().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    raw.send(json!({"type": "WEATHER", "channel": 0, "sunny": true})).await;
    raw.send(json!({"type": "CHANNEL_CANCEL", "channel": 1})).await;
    assert_eq!(raw.expect("CHANNEL_CLOSED").await["channel"], 1);
    raw.send(json!({"type": "CHANNEL_CANCEL", "channel": 1})).await;
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn large_and_binary_messages_end_the_connection() {
    let sim = start().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    let items: Vec<Value> =
        (0..2000).map(|n| json!({"type": "Greeks", "symbol": format!(".AAPL261218C{n}")})).collect();
    raw.send(json!({"type": "FEED_SUBSCRIPTION", "channel": 1, "add": items})).await;
    assert_eq!(raw.expect_close().await, 1009);

    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    raw.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(raw.expect_close().await, 1003);
    assert_eq!(rules(&sim), [Rule::TooLarge, Rule::Binary]);
    assert_eq!(sim.violations()[0].connection, 1);
}

fn impatient() -> SimConfig {
    let mut config = config();
    config.dxlink.keepalive_timeout = Duration::from_millis(300);
    config.dxlink.setup_timeout = Duration::from_millis(300);
    config
}

#[tokio::test]
async fn silence_is_punished_and_keepalives_prevent_it() {
    let sim = TastySim::start(impatient()).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    let mut kept = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    for _ in 0..10 {
        kept.send(json!({"type": "KEEPALIVE", "channel": 0})).await;
        // The pace of the client, not a wait for luck: the limit is 300 ms.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let error = raw.find("ERROR").await;
    assert_eq!(error["error"], "TIMEOUT");
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(rules(&sim), [Rule::Keepalive]);
    sim.wait_until(LIMIT, |stats| stats.open == 1).await.expect("the other one lives");
}

#[tokio::test]
async fn a_connection_has_to_get_somewhere() {
    let sim = TastySim::start(impatient()).await.unwrap();
    let mut silent = Raw::connect(&sim).await;
    assert_eq!(silent.expect("ERROR").await["error"], "TIMEOUT");
    assert_eq!(silent.expect_close().await, 1008);
}

#[tokio::test]
async fn the_server_keeps_a_quiet_connection_alive() {
    let sim = start().await;
    let mut raw = Raw::connect(&sim).await;
    raw.setup(0.4).await;
    raw.expect("AUTH_STATE").await;
    for _ in 0..3 {
        let keepalive = tokio::time::timeout(Duration::from_millis(390), raw.expect("KEEPALIVE")).await;
        assert_eq!(keepalive.expect("in time")["channel"], 0);
    }
    sim.wait_until(LIMIT, |stats| stats.open == 1).await.unwrap();
}

#[tokio::test]
async fn there_is_one_path() {
    let sim = start().await;
    let url = sim.dxlink_url().replace("/realtime", "/elsewhere");
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
}
