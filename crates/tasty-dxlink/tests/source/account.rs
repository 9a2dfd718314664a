//! The account streamer beside a session, against a scripted broker on real sockets.

use std::time::{Duration, Instant};

use crate::fake::*;
use greeks_model::{OperatorReason, Retry, SessionState, SourceEvent};
use tokio_tungstenite::tungstenite::Message;

const POSITIONS: &str = "/accounts/5WT00001/positions";

fn notice(kind: &str, account: &str) -> String {
    format!(r#"{{"type":"{kind}","data":{{"account-number":"{account}"}},"timestamp":1688595114405}}"#)
}

/// Waits until the API has been asked `count` times.
async fn asked(broker: &Broker, part: &str, count: usize) {
    let until = Instant::now() + PATIENCE;
    while broker.count(part) < count {
        assert!(Instant::now() < until, "{part}: {} of {count}", broker.count(part));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A session that streams, with both its sockets.
async fn streaming(broker: &Broker, config: tasty_dxlink::TastyConfig) -> (Client, Streamer, Streamer) {
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    let accounts = broker.connect_account().await;
    client.state(|state| matches!(state, SessionState::Connected)).await;
    (client, streamer, accounts)
}

#[tokio::test]
async fn connect_names_all_accounts_and_positions_are_read_after_its_acknowledgement() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config_with_accounts(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    let mut accounts = broker.accept_account().await;
    let connect: serde_json::Value = serde_json::from_str(&accounts.hear().await).unwrap();
    let token = connect["auth-token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("Bearer canary-access-"), "{token}");
    let expected = serde_json::json!({
        "action": "connect", "value": ["5WT00001", "5WT00002"], "auth-token": token, "request-id": 1,
        "source": concat!("greekd/", env!("CARGO_PKG_VERSION")),
    });
    assert_eq!(connect, expected);
    streamer.say(CONFIG).await;
    client.state(|state| matches!(state, SessionState::Connected)).await;
    assert_eq!(broker.count("/positions"), 2, "once per account so far");
    // The number comes back as text.
    accounts.say(r#"{"status":"ok","action":"connect","web-socket-session-id":"5b6e2799","request-id":"1"}"#).await;
    asked(&broker, "/positions", 4).await;
    client.ends.cancel.cancel();
    assert!(accounts.until_closed().await, "a good-bye for the account streamer too");
    client.end().await.unwrap();
}

#[tokio::test]
async fn a_new_position_streams_and_a_closed_one_is_dropped_within_two_seconds() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_B]);
    let (client, mut streamer, mut accounts) = streaming(&broker, broker.config_with_accounts()).await;
    asked(&broker, POSITIONS, 2).await;

    broker.positions(&[POSITION_B, POSITION_A]);
    let began = Instant::now();
    accounts.say(&notice("CurrentPosition", "5WT00001")).await;
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("add") && change.contains(SYMBOL_A) && !change.contains("remove"), "{change}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    streamer.expect("FEED_SUBSCRIPTION").await;

    broker.positions(&[POSITION_B]);
    let began = Instant::now();
    // A fill can be told by the order before the position is, and in a batch.
    accounts.say(&format!(r#"{{"results":[{{"type":"Novelty"}},{}]}}"#, notice("Order", "5WT00001"))).await;
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains(SYMBOL_A) && !change.contains("add"), "{change}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    stop(client).await;
}

#[tokio::test]
async fn a_change_that_the_api_shows_only_later_is_looked_for_again() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_A]);
    let config = one_account(broker.config_with_accounts());
    let (client, mut streamer, mut accounts) = streaming(&broker, config).await;
    asked(&broker, POSITIONS, 2).await;
    accounts.say(&notice("CurrentPosition", "5WT00001")).await;
    asked(&broker, POSITIONS, 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    broker.positions(&[POSITION_A, POSITION_B]);
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("add") && change.contains(SYMBOL_B), "{change}");
    stop(client).await;
}

#[tokio::test]
async fn notices_are_gathered_and_strangers_ignored() {
    let broker = Broker::start().await;
    let (mut client, mut streamer, mut accounts) = streaming(&broker, broker.config_with_accounts()).await;
    asked(&broker, "/positions", 4).await;
    for text in
        ["garbage", "[]", r#"{"type":"Novelty","data":7}"#, r#"{"status":"ok","action":"public-watchlists-subscribe"}"#]
    {
        accounts.say(text).await;
    }
    futures_util::SinkExt::send(&mut accounts.socket, Message::Binary(vec![1, 2].into())).await.unwrap();
    accounts.say(&notice("AccountBalance", "5WT00001")).await;
    accounts.say(&notice("CurrentPosition", "5WT99999")).await;
    for _ in 0..200 {
        accounts.say(&notice("CurrentPosition", "5WT00001")).await;
    }
    asked(&broker, POSITIONS, 3).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let reads = broker.count(POSITIONS);
    assert!((3..=5).contains(&reads), "{reads} reads for 200 notices");
    assert_eq!(broker.count("/accounts/5WT00002/positions"), 2, "the other account is left alone");
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert!(matches!(client.quote().await, SourceEvent::Quote { .. }));
    stop(client).await;
}

#[tokio::test]
async fn heartbeats_carry_a_token_in_force() {
    let broker = Broker::start().await;
    // Each token lives for a second and is renewed after half of it.
    broker.on(|request| {
        let number = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let grant = format!(r#"{{"access_token":"canary-access-{number}","token_type":"Bearer","expires_in":1}}"#);
        request.line.contains("/oauth/token").then(|| Reply::ok(grant))
    });
    let mut config = broker.config_with_accounts();
    config.account_heartbeat = Duration::from_millis(600);
    let (client, _streamer, mut accounts) = streaming(&broker, config).await;
    let mut tokens = Vec::new();
    for request in 2..5 {
        let text = accounts.hear().await;
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((said["action"].as_str(), said["request-id"].as_u64()), (Some("heartbeat"), Some(request)));
        assert!(said.get("value").is_none());
        tokens.push(said["auth-token"].to_string());
        accounts.say(&acknowledgement(&text)).await;
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "{tokens:?}");
    stop(client).await;
}

#[tokio::test]
async fn an_outage_is_told_after_a_time_and_never_touches_the_stream() {
    let broker = Broker::start().await;
    let mut config = broker.config_with_accounts();
    config.account_outage_after = Duration::from_millis(1500);
    let (mut client, mut streamer, accounts) = streaming(&broker, config).await;
    asked(&broker, "/positions", 4).await;
    drop(accounts);
    // Back within the time: not worth a word. Whatever changed meanwhile is read.
    let accounts = broker.connect_account().await;
    asked(&broker, "/positions", 6).await;
    assert_eq!(client.ends.status.borrow().state, SessionState::Connected);
    drop(accounts);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1300) {
        streamer.say(&deltas(&[(SYMBOL_A, began.elapsed().as_secs_f64())])).await;
        assert!(matches!(client.quote().await, SourceEvent::Quote { .. }));
        drop(tokio::time::timeout(Duration::from_millis(100), broker.accept_account()).await);
    }
    let told = client.state(|state| *state != SessionState::Connected).await;
    let reason = "the account streamer cannot be reached; positions are polled".to_owned();
    assert_eq!(told, SessionState::Degraded { reason });
    let _accounts = broker.connect_account().await;
    client.state(|state| *state == SessionState::Connected).await;
    stop(client).await;
}

#[tokio::test]
async fn a_refusal_is_followed_by_a_fresh_token() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config_with_accounts(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    let mut refused = broker.accept_account().await;
    let token = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["auth-token"].to_string();
    let first = token(&refused.hear().await);
    refused.say(r#"{"status":"error","action":"connect","web-socket-session-id":"x","message":"failed"}"#).await;
    let mut refused = broker.accept_account().await;
    let second = token(&refused.hear().await);
    assert_ne!(second, first);
    assert_eq!(broker.count("/oauth/token"), 2);
    refused.say(r#"{"status":"error","action":"connect","web-socket-session-id":"x","message":"failed"}"#).await;
    // What is refused with that one too is not refused for the token's sake: repeated logins lock a customer out.
    let mut accounts = broker.accept_account().await;
    let connect = accounts.hear().await;
    assert_eq!((token(&connect), broker.count("/oauth/token")), (second, 2));
    accounts.say(&acknowledgement(&connect)).await;
    client.state(|state| *state == SessionState::Connected).await;
    stop(client).await;
}

#[tokio::test]
async fn a_heartbeat_without_answer_ends_the_connection() {
    let broker = Broker::start().await;
    let mut config = broker.config_with_accounts();
    config.account_heartbeat = Duration::from_millis(100);
    config.step_timeout = Duration::from_millis(400);
    let (client, _streamer, mut accounts) = streaming(&broker, config).await;
    assert!(accounts.hear().await.contains("heartbeat"));
    // What it tells meanwhile is no answer.
    accounts.say(&notice("Order", "5WT00002")).await;
    let _again = broker.connect_account().await;
    stop(client).await;
}

#[tokio::test]
async fn a_failed_read_after_a_notice_is_repeated_soon() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_B]);
    let (client, mut streamer, mut accounts) = streaming(&broker, broker.config_with_accounts()).await;
    asked(&broker, POSITIONS, 2).await;
    let failures = std::sync::atomic::AtomicU32::new(0);
    broker.positions(&[POSITION_B, POSITION_A]);
    broker.on(move |request| {
        let fails = request.line.contains(POSITIONS) && failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        fails.then(|| Reply::status(502, "<html>"))
    });
    accounts.say(&notice("CurrentPosition", "5WT00001")).await;
    assert!(streamer.expect("FEED_SUBSCRIPTION").await.contains(SYMBOL_A));
    stop(client).await;
}

#[tokio::test]
async fn revoked_credentials_end_the_session_whoever_hears_it_first() {
    let broker = Broker::start().await;
    broker.on(|request| {
        let grant = r#"{"access_token":"canary-access-1","token_type":"Bearer","expires_in":2}"#;
        request.line.contains("/oauth/token").then(|| Reply::ok(grant))
    });
    let mut config = broker.config_with_accounts();
    config.account_heartbeat = Duration::from_millis(200);
    let (mut client, _streamer, mut accounts) = streaming(&broker, config).await;
    broker
        .answer("/oauth/token", Reply::status(400, r#"{"error":"invalid_grant","error_description":"Grant revoked"}"#));
    let mints = broker.count("/oauth/token");
    let answering = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = futures_util::StreamExt::next(&mut accounts.socket).await {
            accounts.say(&acknowledgement(&text)).await;
        }
    });
    assert_eq!(client.failure().await.retry, Retry::Operator(OperatorReason::CredentialsRejected));
    assert!(broker.count("/oauth/token") <= mints + 2, "a refusal is not asked for again and again");
    answering.abort();
}
