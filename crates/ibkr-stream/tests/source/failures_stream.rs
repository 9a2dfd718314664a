//! The failures that users of other clients report, one test each, numbered as in the list they are kept in: those of the
//! stream.
//!
//! Number 17 is about `smh`, which this client never sends.

use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::SinkExt;
use greeks_model::{AccountId, Flags, GapReason, Retry, SessionEnd};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn f01_each_contract_is_subscribed_again_well_before_its_time_is_up() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.renew_after = Duration::from_millis(400);
    config.subscription_life = Duration::from_millis(4_000);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    let begin = Instant::now();
    for _ in 0..2 {
        let mut renewed = Vec::new();
        while renewed.len() < ALL.len() {
            let text = wire.hear_until("smd+").await;
            let contract: i64 = text.split('+').nth(1).unwrap().parse().unwrap();
            assert!(!renewed.contains(&contract), "{contract} twice before the others: {renewed:?}");
            renewed.push(contract);
            wire.say(&quote(contract)).await;
        }
    }
    assert!(begin.elapsed() < Duration::from_millis(2_000), "{:?}", begin.elapsed());
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f02_nothing_is_said_before_the_gateway_says_authenticated() {
    let gateway = Gateway::start().await;
    let client = Client::started(gateway.config());
    let mut wire = gateway.accept().await;
    wire.say(r#"{"topic":"system","success":"user123","isFT":false,"isPaper":true}"#).await;
    wire.say(HEARTBEAT).await;
    assert!(wire.is_quiet(Duration::from_millis(200)).await, "said too early: it would be discarded");
    wire.greet().await;
    wire.expect_subscriptions(&ALL).await;
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f02_a_gateway_that_never_says_so_is_left() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.step_timeout = Duration::from_millis(200);
    let mut client = Client::started(config);
    let mut wire = gateway.accept().await;
    wire.say(HEARTBEAT).await;
    let (retry, text) = client.failure().await;
    assert_eq!(retry, Retry::Backoff, "{text}");
    assert_eq!(wire.until_closed().await, Some(Vec::new()));
}

#[tokio::test]
async fn f02_a_gateway_that_knows_the_login_and_never_says_so_streams() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.step_timeout = Duration::from_millis(400);
    let mut client = Client::started(config);
    let mut wire = gateway.accept().await;
    let begin = Instant::now();
    wire.say(r#"{"topic":"system","success":"user123"}"#).await;
    wire.expect_subscriptions(&ALL).await;
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    // Such a gateway may leave out more topics.
    wire.say(&format!(r#"{{"conid":{SPY_CALL},"7308":"0.25"}}"#)).await;
    client.delta(0.25).await;
    client.stop().await;
}

#[tokio::test]
async fn f12_a_gateway_that_waits_for_the_session_is_told_its_id_once() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.accept().await;
    wire.say(r#"{"message":"waiting for session"}"#).await;
    assert_eq!(wire.hear().await, r#"{"session":"canary0001"}"#);
    wire.say(r#"{"message":"waiting for session"}"#).await;
    assert!(wire.is_quiet(Duration::from_millis(200)).await);
    wire.say(r#"{"topic":"sts","authenticated":true}"#).await;
    wire.expect_subscriptions(&ALL).await;
    wire.say(r#"{"topic":"sts","authenticated":false}"#).await;
    assert_eq!(client.failure().await.0, Retry::Now);
}

#[tokio::test]
async fn f09_missing_greeks_and_missing_permissions_are_told() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.quiet_after = Duration::from_millis(300);
    let mut client = Client::started(config);
    let mut wire = gateway.authenticate().await;
    wire.expect_subscriptions(&ALL).await;
    // A first frame of what there is: no Greek yet.
    let begin = Instant::now();
    for contract in ALL {
        wire.say(&frame(contract, r#""84":"5.15","86":"5.25","6509":"RpB""#)).await;
    }
    wire.say(HEARTBEAT).await;
    client.degraded("2 option(s) have quotes and no Greeks").await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "they come later than quotes: not told at once");
    // They come last, and alone.
    for contract in [SPY_CALL, SPY_PUT] {
        wire.say(&delta_frame(contract, 0.5)).await;
    }
    client.delta(0.5).await;
    for contract in ALL {
        wire.say(&frame(contract, r#""84":"5.16""#)).await;
    }
    client.connected().await;
    wire.say(&frame(SPY, r#""6509":"N""#)).await;
    client.degraded("no market data permission for 1 underlying(s)").await;
    wire.say(&frame(SPY, r#""6509":"DpB""#)).await;
    client.degraded("1 contract(s) are delayed").await;
    wire.say(&frame(SPY_CALL, r#""7308":"0.625","6509":"ZpB""#)).await;
    wire.say(&frame(SPY, r#""31":"450.1","6509":"RpB""#)).await;
    // Frozen alone is how every evening looks.
    client.connected().await;
    assert_eq!(client.delta(0.625).await.flags, Flags::FROZEN);
    client.stop().await;
}

#[tokio::test]
async fn f10_a_websocket_closed_at_once_is_not_dialled_at_once() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.config());
    for _ in 0..3 {
        client.start();
        let mut wire = gateway.accept().await;
        let good_bye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        wire.socket.send(Message::Close(Some(good_bye))).await.unwrap();
        let (retry, text) = client.failure().await;
        assert_eq!(retry, Retry::Backoff, "{text}");
        assert!(text.contains("code 1000 (bye)"), "{text}");
        let calls = gateway.take_calls();
        assert!(calls.contains(&"GET /iserver/accounts".into()), "the whole order each time: {calls:?}");
    }
    // Out of a stream the same close is good order.
    client.start();
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    wire.socket.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await.unwrap();
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    gateway.assert_clean();
}

#[tokio::test]
async fn f11_a_text_frame_that_is_no_utf8_costs_one_connection_and_a_gap() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    wire.say(&delta_frame(SPY_CALL, 0.25)).await;
    client.delta(0.25).await;
    wire.say_raw(b"\x81\x03a\x99b").await;
    let (retry, text) = client.failure().await;
    assert_eq!(retry, Retry::Now, "{text}");
    assert_eq!(client.gaps(), [GapReason::ProtocolViolation]);
    client.start();
    let mut wire = gateway.stream(&ALL).await;
    // The same bytes in a binary frame are read as far as they go.
    let mut bytes = br#"{"server_id":"q0","conid":584891614,"_updated":1767225600000,"7308":"0.75","55":"S"#.to_vec();
    bytes.extend_from_slice(b"\x99\",\"topic\":\"smd+584891614\"}");
    wire.say_binary(&bytes).await;
    client.delta(0.75).await;
    client.stop().await;
    gateway.assert_clean();
}

/// Such a frame was seen among the executions, where the answer to their subscription repeats it.
#[tokio::test]
async fn f11_after_a_text_frame_that_is_no_utf8_one_session_goes_without_executions() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.config());
    for (first, breaks) in [("str+", true), ("smd+", true), ("smd+", false), ("str+", true)] {
        client.start();
        let mut wire = gateway.authenticate().await;
        let said = wire.hear().await;
        assert!(said.starts_with(first), "{said}");
        if breaks {
            wire.say_raw(b"\x81\x03a\x99b").await;
            assert_eq!(client.failure().await.0, Retry::Now);
        } else {
            wire.say(HEARTBEAT).await;
            wire.socket.send(Message::Close(None)).await.unwrap();
            let heard = wire.until_closed().await.unwrap_or_default();
            assert!(!heard.iter().any(|text| text == "utr"), "{heard:?}");
            client.failure().await;
        }
    }
    gateway.assert_clean();
}

/// What a gateway says that has forgotten the accounts, as after the nightly reset: subscriptions are refused until they are
/// listed again.
#[tokio::test]
async fn a_websocket_that_has_no_accounts_is_told_them_and_asked_again() {
    for refusal in [
        r#"{"error":"No accounts","code":500,"topic":"smd"}"#,
        r#"{"topic":"error","message":"Please query /accounts first"}"#,
    ] {
        let gateway = Gateway::start().await;
        let mut client = Client::started(gateway.config());
        let mut wire = gateway.authenticate().await;
        wire.expect_subscriptions(&ALL).await;
        gateway.take_calls();
        for _ in 0..3 {
            wire.say(refusal).await;
        }
        wire.expect_subscriptions(&ALL).await;
        assert_eq!(gateway.take_calls(), ["GET /iserver/accounts"]);
        for contract in ALL {
            wire.say(&quote(contract)).await;
        }
        client.connected().await;
        // At once again would be again and again.
        wire.say(refusal).await;
        assert!(wire.is_quiet(Duration::from_millis(200)).await);
        assert_eq!(gateway.count("/iserver/accounts"), 0);
        client.stop().await;
        gateway.assert_clean();
    }
}

#[tokio::test]
async fn f12_the_session_travels_as_a_cookie_and_in_no_message() {
    let gateway = Gateway::start().await;
    let client = Client::started(gateway.config());
    let mut wire = gateway.authenticate().await;
    assert_eq!(wire.cookie, r#"api={"session":"canary0001"}"#);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(wire.hear().await);
    }
    client.ends.cancel.cancel();
    heard.extend(wire.until_closed().await.unwrap());
    let plain = heard.iter().all(|text| text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.contains("canary"));
    assert!(plain, "{heard:?}");
    client.stop().await;
}

#[tokio::test]
async fn f16_positions_are_read_to_the_last_page_and_past_the_cache_after_a_fill() {
    let gateway = Gateway::start().await;
    let many: Vec<Held> = (0..230).map(|i| spy_option(ACCOUNT, 1_000 + i64::from(i), 1.0, 300 + i, 'C')).collect();
    gateway.state().hold(many.clone());
    let mut client = Client::started(gateway.config());
    assert_eq!(client.positions().await.positions.len(), 230);
    let mut wire = gateway.authenticate().await;
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 231 {
        heard.insert(wire.hear_until("smd+").await);
    }
    // A fill: the backend still shows its cache, and shows the fill late.
    gateway.take_calls();
    let fill = r#"{"topic":"str","args":[{"execution_id":"0000e0d5.1","side":"B","size":1.0,"account":"U0000001","conid":1000}]}"#;
    wire.say(fill).await;
    gateway.until_called("/positions/invalidate", 2).await;
    assert_eq!(client.positions().await.positions.len(), 230);
    gateway.state().held.truncate(229);
    wire.say(fill).await;
    loop {
        let positions = client.positions().await.positions.len();
        if positions == 229 {
            break;
        }
        assert_eq!(positions, 230);
    }
    assert_eq!(wire.hear_until("umd+").await.split('+').nth(1), Some("1229"));
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f18_after_a_429_nothing_is_asked_and_the_stream_goes_on() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.tickle_every = Duration::from_millis(20);
    config.position_poll = Duration::from_millis(20);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.on(|_| Some(Reply { headers: "Retry-After: 1\r\n".into(), ..Reply::status(429, "") }));
    client.degraded("limits the rate of calls").await;
    let asked = gateway.count("/");
    // Calls that were under way when the first answer came have ended by now or never began.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(gateway.count("/") <= asked + 1, "{:?}", gateway.take_calls());
    wire.say(&delta_frame(SPY_CALL, 0.25)).await;
    client.delta(0.25).await;
    gateway.recover();
    client.connected().await;
    client.stop().await;
    // Before the stream it is a pause.
    let gateway = Gateway::start().await;
    gateway.answer("/tickle", Reply::status(429, ""));
    let mut client = Client::new(gateway.config());
    assert_eq!(client.fail().await.0, Retry::After(gateway.config().penalty));
    assert_eq!(gateway.take_calls(), ["POST /tickle"]);
    let Retry::After(left) = client.fail().await.0 else { panic!("no pause") };
    assert!(left <= gateway.config().penalty && left > gateway.config().penalty / 2);
    assert_eq!(gateway.take_calls(), Vec::<String>::new(), "the penalty outlives a session");
}

#[tokio::test]
async fn f20_market_data_lines_go_to_the_most_important_and_the_rest_is_told() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.market_data_lines = Some(2);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL[..2]).await;
    client.degraded("1 contract(s) are not streamed: no market data line is left").await;
    // The heavier position is closed: its line goes to the other.
    gateway.state().hold(vec![spy_put(ACCOUNT, -1.0)]);
    wire.say(r#"{"topic":"str","args":[{"execution_id":"1"}]}"#).await;
    let first = wire.hear_until("umd+").await;
    assert!(first.starts_with(&format!("umd+{SPY_CALL}+")), "{first}");
    wire.expect_subscriptions(&[SPY_PUT]).await;
    wire.say(&quote(SPY_PUT)).await;
    client.connected().await;
    client.stop().await;
}

#[tokio::test]
async fn sub_accounts_that_an_advisors_gateway_does_not_tell_are_told_as_missing() {
    let gateway = Gateway::start().await;
    gateway.answer("/portfolio/accounts", Reply::ok(r#"[{"id":"F1000000"}]"#));
    gateway.answer("/portfolio/subaccounts", Reply::status(400, r#"{"error":"too many subaccounts"}"#));
    gateway.change(|state| state.listed = true);
    let mut config = gateway.config();
    config.position_poll = Duration::from_millis(20);
    let mut client = Client::started(config);
    let _wire = gateway.authenticate().await;
    client.degraded("does not tell all sub-accounts of the advisor").await;
    // They are asked for again. With what is told then it begins anew.
    gateway.answer("/portfolio/subaccounts", Reply::ok(format!(r#"[{{"id":"{ACCOUNT}"}}]"#)));
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    client.start();
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.stop().await;
    // Whoever names the accounts has what was asked for.
    gateway.answer("/portfolio/subaccounts", Reply::status(400, ""));
    let mut config = gateway.config();
    config.accounts = Some(vec![AccountId::new(ACCOUNT).unwrap()]);
    let mut client = Client::started(config);
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.stop().await;
}
