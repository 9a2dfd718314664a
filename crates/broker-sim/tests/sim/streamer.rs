//! The account streamer: connect first, a good token in every message, heartbeats; and what it tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::common::{LIMIT, Raw, config, get, log_in};
use broker_sim::{Rule, TastySim};
use serde_json::{Value, json};

const ACCOUNTS: [&str; 2] = ["5WT00001", "5WT00002"];

async fn start() -> TastySim {
    TastySim::start(config()).await.unwrap()
}

fn message(action: &str, token: &str, id: Value) -> Value {
    json!({ "action": action, "auth-token": format!("Bearer {token}"), "request-id": id, "source": "raw/1.0" })
}

fn connect(value: Value, token: &str) -> Value {
    let mut message = message("connect", token, json!(1));
    message["value"] = value;
    message
}

async fn answer(raw: &mut Raw) -> Value {
    raw.next().await.expect("open").expect("no close")
}

/// A connection whose `connect` was accepted.
async fn connected(sim: &TastySim, accounts: Value) -> (Raw, String) {
    let token = log_in(sim).await;
    let mut raw = Raw::connect_to(&sim.streamer_url()).await;
    raw.send(connect(accounts.clone(), &token)).await;
    let answer = answer(&mut raw).await;
    assert_eq!((&answer["status"], &answer["action"], &answer["value"]), (&json!("ok"), &json!("connect"), &accounts));
    (raw, token)
}

fn rules(sim: &TastySim) -> Vec<Rule> {
    sim.violations().iter().map(|violation| violation.rule).collect()
}

#[tokio::test]
async fn connect_and_heartbeats_are_answered_with_the_request_id_as_sent() {
    let sim = start().await;
    let (mut raw, token) = connected(&sim, json!(ACCOUNTS)).await;
    for id in [json!(2), json!("three"), Value::Null] {
        let mut heartbeat = message("heartbeat", &token, id.clone());
        if id.is_null() {
            heartbeat.as_object_mut().unwrap().remove("request-id");
        }
        raw.send(heartbeat).await;
        let answer = answer(&mut raw).await;
        assert_eq!((&answer["status"], &answer["action"]), (&json!("ok"), &json!("heartbeat")));
        assert_eq!(answer.get("request-id"), (!id.is_null()).then_some(&id), "{answer}");
        assert!(answer["web-socket-session-id"].is_string());
    }
    let stats = sim.stats();
    assert_eq!((stats.streamer_connected, stats.streamer_heartbeats, stats.streamer_messages), (1, 3, 4));
    assert_eq!(sim.violations(), []);
    drop(raw);
    sim.wait_until(LIMIT, |stats| stats.streamer_open == 0 && stats.streamer_connected == 0).await.unwrap();
}

#[tokio::test]
async fn nothing_goes_before_connect_and_foreign_accounts_are_refused() {
    let sim = start().await;
    let token = log_in(&sim).await;
    let mut raw = Raw::connect_to(&sim.streamer_url()).await;
    for action in ["heartbeat", "quote-alerts-subscribe"] {
        raw.send(message(action, &token, json!(7))).await;
        let answer = answer(&mut raw).await;
        assert_eq!((&answer["status"], &answer["message"]), (&json!("error"), &json!("connect-not-completed")));
        assert_eq!(answer["request-id"], 7);
    }
    for accounts in [json!([]), json!(["5WT00001", "9ZZ99999"]), json!("5WT00003"), json!(null)] {
        raw.send(connect(accounts, &token)).await;
        assert_eq!(answer(&mut raw).await["message"], "failed");
    }
    assert_eq!(rules(&sim), [Rule::StreamerConnect; 6]);
    raw.send(connect(json!("5WT00001"), &token)).await;
    assert_eq!(answer(&mut raw).await["status"], "ok", "one account may stand alone");
    raw.send(message("quote-alerts-subscribe", &token, json!(8))).await;
    assert_eq!(answer(&mut raw).await["status"], "ok");
    raw.send(message("dance", &token, json!(9))).await;
    assert_eq!(answer(&mut raw).await["status"], "error");
    assert_eq!(rules(&sim).last(), Some(&Rule::InvalidMessage));
}

#[tokio::test]
async fn every_message_carries_a_good_token() {
    let sim = start().await;
    let token = log_in(&sim).await;
    let mut raw = Raw::connect_to(&sim.streamer_url()).await;
    let mut bare = connect(json!(ACCOUNTS), &token);
    bare["auth-token"] = json!(token);
    raw.send(bare.clone()).await;
    assert_eq!(answer(&mut raw).await["message"], "failed", "not without Bearer");
    bare.as_object_mut().unwrap().remove("auth-token");
    raw.send(bare).await;
    assert_eq!(answer(&mut raw).await["message"], "failed");
    assert_eq!(rules(&sim), [Rule::StreamerToken; 2]);
    raw.send(connect(json!(ACCOUNTS), &token)).await;
    assert_eq!(answer(&mut raw).await["status"], "ok");
    sim.control().expire_access_tokens();
    raw.send(message("heartbeat", &token, json!(2))).await;
    assert_eq!(answer(&mut raw).await["status"], "error");
    assert_eq!((sim.stats().refused, sim.stats().streamer_heartbeats), (1, 0));
    assert_eq!(rules(&sim).len(), 2, "an expired token is no mistake");
}

#[tokio::test]
async fn silence_ends_the_connection_and_heartbeats_prevent_it() {
    let mut config = config();
    config.streamer.heartbeat_timeout = Duration::from_millis(300);
    config.streamer.connect_timeout = Duration::from_millis(300);
    let sim = TastySim::start(config).await.unwrap();
    let mut idle = Raw::connect_to(&sim.streamer_url()).await;
    let (mut raw, _) = connected(&sim, json!(ACCOUNTS)).await;
    let (mut kept, token) = connected(&sim, json!(ACCOUNTS)).await;
    for n in 0..8 {
        kept.send(message("heartbeat", &token, json!(n))).await;
        assert_eq!(answer(&mut kept).await["request-id"], n);
        // The pace of the client, not a wait for luck: the limit is 300 ms.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(idle.expect_close().await, 1008, "a connection has to get somewhere");
    assert_eq!(rules(&sim), [Rule::Heartbeat]);
    assert_eq!(sim.stats().streamer_open, 1);
}

/// The messages of one change, batched or not.
async fn change(raw: &mut Raw) -> (bool, Vec<Value>) {
    let first = answer(raw).await;
    match first["results"].as_array() {
        Some(results) => (true, results.clone()),
        None => (false, vec![first, answer(raw).await]),
    }
}

#[tokio::test]
async fn changes_are_told_to_the_accounts_that_are_connected() {
    let sim = start().await;
    let control = sim.control();
    let (mut both, token) = connected(&sim, json!(ACCOUNTS)).await;
    let (mut second, _) = connected(&sim, json!("5WT00002")).await;
    let contract = "SPXW  300118P06500000".parse().unwrap();

    control.open_position("5WT00001", &contract, 3).await.unwrap();
    control.open_position("5WT00002", &contract, -4).await.unwrap();
    control.close_position("5WT00002", &contract).unwrap();
    let expected = [
        ("5WT00001", 3, "Long", "Buy to Open", 3),
        ("5WT00002", 4, "Short", "Sell to Open", 4),
        ("5WT00002", 0, "Zero", "Buy to Close", 4),
    ];
    let mut newest = String::new();
    for (n, (account, quantity, direction, action, traded)) in expected.into_iter().enumerate() {
        let (batched, messages) = change(&mut both).await;
        assert_eq!(batched, n % 2 == 1, "some come as a batch");
        assert_eq!([&messages[0]["type"], &messages[1]["type"]], ["Order", "CurrentPosition"]);
        assert!(messages.iter().all(|message| message["timestamp"].is_i64()));
        let (order, position) = (&messages[0]["data"], &messages[1]["data"]);
        let leg = &order["legs"][0];
        assert_eq!((&order["status"], &order["account-number"]), (&json!("Filled"), &json!(account)));
        assert_eq!((&leg["action"], &leg["quantity"]), (&json!(action), &json!(traded)));
        assert_eq!(leg["symbol"], "SPXW  300118P06500000");
        assert_eq!((&position["account-number"], &position["symbol"]), (&json!(account), &leg["symbol"]));
        let told = position["quantity"].as_i64().or_else(|| position["quantity"].as_str()?.parse().ok());
        assert_eq!((told, &position["quantity-direction"]), (Some(quantity), &json!(direction)));
        let updated = position["updated-at"].as_str().unwrap().to_owned();
        assert!(n < 2 || updated > newest, "later changes of a position look later");
        newest = updated;
        if account == "5WT00002" {
            assert_eq!(change(&mut second).await.1[1]["data"], *position, "only the second account");
        }
    }
    // REST says the same, word for word.
    let rows = get(&sim, &token, "/accounts/5WT00002/positions").await.json();
    let row = rows["data"]["items"].as_array().unwrap().iter().find(|row| row["symbol"] == "SPXW  300118P06500000");
    assert_eq!(row.unwrap()["updated-at"], newest.as_str());

    control.quiet_positions(true);
    control.open_position("5WT00001", &contract, 9).await.unwrap();
    control.quiet_positions(false);
    control.open_position("5WT00001", &contract, 10).await.unwrap();
    let (_, messages) = change(&mut both).await;
    assert_eq!(messages[0]["data"]["legs"][0]["quantity"], 1, "the change to 9 went without a word");
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn no_state_comes_with_connect_and_dropped_connections_can_come_back() {
    let sim = start().await;
    let (mut raw, token) = connected(&sim, json!(ACCOUNTS)).await;
    raw.send(message("heartbeat", &token, json!("next"))).await;
    assert_eq!(answer(&mut raw).await["request-id"], "next", "nothing in between");
    sim.control().drop_streamer();
    assert!(raw.next().await.is_none(), "a reset says no farewell");
    sim.wait_until(LIMIT, |stats| stats.streamer_open == 0).await.unwrap();
    let (mut again, _) = connected(&sim, json!(ACCOUNTS)).await;
    let ((), code) = tokio::join!(sim.shutdown(), again.expect_close());
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn nonsense_ends_the_connection() {
    let sim = start().await;
    let mut raw = Raw::connect_to(&sim.streamer_url()).await;
    raw.send(json!(["connect"])).await;
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(rules(&sim), [Rule::InvalidMessage]);
}
