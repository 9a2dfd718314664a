//! Whole sessions against a scripted broker on real sockets.

// Helpers of tests are not inside a test function.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::let_underscore_must_use)]

mod fake;

use std::time::{Duration, Instant};

use fake::*;
use futures_util::SinkExt;
use greeks_model::{
    AccountId, GapReason, Instrument, OperatorReason, Retry, SessionEnd, SessionState, SourceEvent, Underlying,
    UnixNanos,
};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

#[tokio::test]
async fn the_plain_course() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.authorize().await;
    for channel in [1, 3] {
        let request = streamer.expect("CHANNEL_REQUEST").await;
        assert!(
            request.contains(&format!("\"channel\":{channel},"))
                && request.contains("FEED")
                && request.contains("AUTO")
        );
    }
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":1,"service":"FEED","parameters":{"contract":"AUTO"}}"#).await;
    assert!(streamer.expect("FEED_SETUP").await.contains(r#""acceptDataFormat":"COMPACT""#));
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(subscription.contains(SYMBOL_A) && subscription.contains(SYMBOL_B), "{subscription}");
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":3,"service":"FEED"}"#).await;
    streamer.expect("FEED_SETUP").await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    for item in [r#"{"type":"Quote","symbol":"SPX"}"#, r#"{"type":"Trade","symbol":"AAPL"}"#] {
        assert!(subscription.contains(item), "{subscription}");
    }
    streamer.say(CONFIG).await;
    client.state(connected).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5), (".STRANGER", 1.0), (SYMBOL_B, -0.25)])).await;
    streamer.say(r#"{"type":"FEED_DATA","channel":3,"data":["Trade",["Trade","SPX",1,6700.5]]}"#).await;

    let option = |symbol: &str| client.ends.instruments.intern(&Instrument::Option(symbol.parse().unwrap()));
    let underlying = |symbol: &str| client.ends.instruments.intern(&Instrument::Underlying(Underlying::new(symbol)));
    let (a, b) = (option("AAPL  261218C00232500"), option("SPXW  261124P06650000"));
    let (aapl, spx) = (underlying("AAPL"), underlying("SPX"));
    let SourceEvent::Positions(first) = client.event().await else { panic!() };
    assert_eq!(first.account_id, AccountId::new("5WT00001").unwrap());
    let held: Vec<_> = first.positions.iter().map(|p| (p.instrument, p.underlying, p.quantity)).collect();
    assert_eq!(held, [(a, aapl, -3.0), (b, spx, 1.0)]);
    let SourceEvent::Positions(second) = client.event().await else { panic!() };
    assert_eq!((second.account_id.as_str(), second.positions.len()), ("5WT00002", 0));
    let mut updates = Vec::new();
    for _ in 0..3 {
        let SourceEvent::Quote { update, payload: None } = client.event().await else { panic!() };
        updates.push((update.instrument, update.delta, update.last_price, update.event_time));
    }
    let at = Some(UnixNanos::from_millis(1_700_000_000_000));
    assert_eq!(
        updates,
        [
            (a, Some(0.5), None, at),
            (b, Some(-0.25), None, at),
            (spx, None, Some(6700.5), Some(UnixNanos::from_millis(1)))
        ]
    );
    assert_eq!(client.ends.activity.subscriptions(), 4);
    assert_eq!(client.ends.activity.messages(), 2);

    let good_bye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    streamer.socket.close(Some(good_bye)).await.unwrap();
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    let requests = broker.requests.lock().unwrap();
    for request in requests.iter() {
        assert!(request.headers.contains(concat!("user-agent: greekd/", env!("CARGO_PKG_VERSION"))), "{request:?}");
        assert!(request.headers.contains("accept: application/json"), "{request:?}");
        assert_eq!(request.headers.contains("authorization"), !request.line.contains("/oauth/token"), "{request:?}");
    }
    assert_eq!(requests.iter().filter(|request| request.line.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn an_option_on_a_future_takes_its_symbols_from_the_api() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_F]);
    broker.answer(
        "/instruments/future-options/.%2FMNQZ5D4AU5%20250922C24575",
        Reply::ok(r#"{"data":{"streamer-symbol":"./D4AU25C24575:XTEST"}}"#),
    );
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.authorize().await;
    for _ in [1, 3] {
        streamer.expect("CHANNEL_REQUEST").await;
    }
    for (channel, symbol) in [(1, "./D4AU25C24575:XTEST"), (3, "/MNQZ25:XTEST")] {
        streamer.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel}}}"#)).await;
        streamer.expect("FEED_SETUP").await;
        let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(subscription.contains(&format!("\"{symbol}\"")), "{subscription}");
    }
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    let held = client.ends.instruments.get(snapshot.positions[0].instrument).unwrap();
    assert_eq!(*held, Instrument::Option("/MNQZ25 250922C24575".parse().unwrap()));
    assert_eq!(broker.count("/instruments/futures/%2FMNQZ5"), 1);
    client.ends.cancel.cancel();
    assert_eq!(client.end().await.unwrap(), SessionEnd::Cancelled);
}

#[tokio::test]
async fn a_cancelled_session_says_good_bye_at_once() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    let began = Instant::now();
    client.ends.cancel.cancel();
    assert!(streamer.until_closed().await);
    assert_eq!(client.end().await.unwrap(), SessionEnd::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_session_can_be_cancelled_before_it_begins() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 1);
    client.start();
    // The second account's positions find no room.
    client.ends.clock.advance(Duration::from_secs(1));
    client.ends.cancel.cancel();
    assert_eq!(client.end().await.unwrap(), SessionEnd::Cancelled);
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once() {
    let broker = Broker::start().await;
    let stale = std::sync::Mutex::new(true);
    broker.on(move |request| {
        let refuse = request.line.contains("/api-quote-tokens") && std::mem::take(&mut *stale.lock().unwrap());
        refuse.then(|| Reply::status(401, "<html>expired</html>"))
    });
    let mut client = Client::new(broker.config(), 64);
    client.start();
    drop(broker.subscribe().await);
    assert_eq!(client.failure().await.retry, Retry::Backoff);
    assert_eq!((broker.count("/oauth/token"), broker.count("/api-quote-tokens")), (2, 2));
    let requests = broker.requests.lock().unwrap();
    let tokens: Vec<_> =
        requests.iter().filter(|r| r.line.contains("/api-quote-tokens")).map(|r| r.headers.clone()).collect();
    assert_ne!(tokens[0], tokens[1]);
    let renewal = requests.iter().rfind(|r| r.line.contains("/oauth/token")).unwrap();
    assert!(!renewal.headers.contains("authorization"));
}

#[tokio::test]
async fn each_refusal_of_the_api_has_its_remedy() {
    let rejected = Retry::Operator(OperatorReason::CredentialsRejected);
    for (part, reply, expected) in [
        (
            "/oauth/token",
            Reply::status(400, r#"{"error":"invalid_grant","error_description":"canary-refresh revoked"}"#),
            rejected.clone(),
        ),
        ("/oauth/token", Reply::status(401, r#"{"error_code":"invalid_client"}"#), rejected.clone()),
        ("/oauth/token", Reply::status(503, "<html>"), Retry::Backoff),
        ("/oauth/token", Reply::ok("<html>"), Retry::Backoff),
        ("/accounts", Reply::status(401, ""), rejected.clone()),
        ("/accounts", Reply::status(403, r#"{"error":{"code":"insufficient_scope"}}"#), rejected),
        (
            "/accounts",
            Reply { headers: "Retry-After: 7\r\n".into(), ..Reply::status(429, "") },
            Retry::After(Duration::from_secs(7)),
        ),
        ("/positions", Reply::status(500, ""), Retry::Backoff),
        ("/api-quote-tokens", Reply::status(302, ""), Retry::Backoff),
        ("/api-quote-tokens", Reply::ok("x".repeat(17 << 20)), Retry::Backoff),
        (
            "/api-quote-tokens",
            Reply::ok(r#"{"data":{"token":"canary","dxlink-url":"http://169.254.169.254/"}}"#),
            Retry::Operator(OperatorReason::UntrustedPeer),
        ),
        (
            "/api-quote-tokens",
            Reply::ok(r#"{"data":{"token":"canary","dxlink-url":"wss://example.org/"}}"#),
            Retry::Operator(OperatorReason::UntrustedPeer),
        ),
    ] {
        let broker = Broker::start().await;
        let text = format!("{part} {} {:.60}", reply.status, reply.body);
        broker.answer(part, reply);
        let mut client = Client::new(broker.config(), 64);
        client.start();
        assert_eq!(client.failure().await.retry, expected, "{text}");
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_tried_again() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    drop(broker);
    config.rest_timeout = Duration::from_secs(2);
    let mut client = Client::new(config, 64);
    client.start();
    assert_eq!(client.failure().await.retry, Retry::Backoff);
}

#[tokio::test]
async fn a_missing_account_is_named() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.accounts = Some(vec![AccountId::new("5WT00002").unwrap(), AccountId::new("5WT00077").unwrap()]);
    let mut client = Client::new(config, 64);
    client.start();
    let error = client.failure().await;
    assert_eq!(error.retry, Retry::Operator(OperatorReason::Configuration));
    let text = error.cause.to_string();
    assert!(text.contains("··0077") && text.contains("··0001, ··0002"), "{text}");
}

#[tokio::test]
async fn a_refused_quote_token_gets_one_immediate_successor() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    for (attempt, expected) in [(1, Retry::Now), (2, Retry::Backoff), (3, Retry::Backoff)] {
        client.start();
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("fixtures/setup.json")).await;
        streamer.say(include_str!("fixtures/auth_unauthorized.json")).await;
        streamer.expect("AUTH").await;
        if attempt == 3 {
            // Some servers close without a word.
            streamer.socket.close(None).await.unwrap();
        } else {
            streamer.say(include_str!("fixtures/auth_unauthorized.json")).await;
        }
        assert_eq!(client.failure().await.retry, expected);
        assert_eq!(broker.count("/api-quote-tokens"), attempt, "each time with a new token");
    }
    client.start();
    drop(broker.subscribe().await);
    client.failure().await;
    client.start();
    let mut streamer = broker.authorize().await;
    streamer.say(include_str!("fixtures/auth_unauthorized.json")).await;
    assert_eq!(client.failure().await.retry, Retry::Now, "an accepted token in between forgives");
}

#[tokio::test]
async fn frames_in_pieces_are_read_whole() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    let text = deltas(&[(SYMBOL_A, 0.125)]);
    // As three fragments of one message, with a ping between them.
    let (first, rest) = text.split_at(40);
    let (second, third) = rest.split_at(1);
    let fragment =
        |text: &str, code, last| Message::Frame(Frame::message(text.to_owned().into_bytes(), OpCode::Data(code), last));
    streamer.socket.send(fragment(first, Data::Text, false)).await.unwrap();
    streamer.socket.send(Message::Ping("x".into())).await.unwrap();
    streamer.socket.send(fragment(second, Data::Continue, false)).await.unwrap();
    streamer.socket.send(fragment(third, Data::Continue, true)).await.unwrap();
    assert_eq!(delta(&client.quote().await), Some(0.125));
    // As single bytes on the wire.
    let text = deltas(&[(SYMBOL_A, 0.75)]);
    let mut frame = vec![0x81];
    assert!((126..65536).contains(&text.len()) || text.len() < 126);
    if text.len() < 126 {
        frame.push(u8::try_from(text.len()).unwrap());
    } else {
        frame.push(126);
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    }
    frame.extend(text.bytes());
    for byte in frame {
        streamer.socket.get_mut().write_all(&[byte]).await.unwrap();
        streamer.socket.get_mut().flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(delta(&client.quote().await), Some(0.75));
    stop(client).await;
}

#[tokio::test]
async fn a_server_that_never_speaks_is_left() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.step_timeout = Duration::from_millis(300);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.accept().await;
    streamer.expect("SETUP").await;
    streamer.expect("ERROR").await;
    let error = client.failure().await;
    assert!(error.cause.to_string().contains("no SETUP within"), "{}", error.cause);
}

#[tokio::test]
async fn ends_of_the_connection_are_told_apart() {
    for (code, text) in [(1009, "code 1009"), (1011, "code 1011"), (0, "broke")] {
        let broker = Broker::start().await;
        let mut client = Client::new(broker.config(), 64);
        client.start();
        let mut streamer = broker.subscribe().await;
        streamer.say(CONFIG).await;
        client.state(connected).await;
        match code {
            0 => drop(streamer),
            code => {
                let frame = CloseFrame { code: code.into(), reason: "too much".into() };
                streamer.socket.close(Some(frame)).await.unwrap();
            }
        }
        let error = client.failure().await;
        assert_eq!(error.retry, Retry::Backoff);
        assert!(error.cause.to_string().contains(text), "{}", error.cause);
    }
}

#[tokio::test]
async fn ten_mebibytes_are_read_and_seventeen_end_the_session() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 1024);
    client.start();
    let mut streamer = broker.subscribe().await;
    let count = 65_000;
    streamer.say(include_str!("fixtures/feed_config.json")).await;
    let row = |i: usize| {
        format!(
            r#""Greeks","{SYMBOL_A}",{i},0,7301577213829054464,0,1.25,0.679123456789012,{i},0.0123456789012345,-0.0261234567890123,0.0061234567890123,0.0152345678901234"#
        )
    };
    let rows: Vec<String> = (0..count).map(row).collect();
    let text = format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}]]}}"#, rows.join(","));
    assert!((10 << 20..16 << 20).contains(&text.len()), "{}", text.len());
    let feeding = tokio::spawn(async move {
        streamer.say(&text).await;
        streamer
    });
    for i in 0..count {
        assert_eq!(delta(&client.quote().await), Some(i as f64));
    }
    let mut streamer = feeding.await.unwrap();
    let feeding = tokio::spawn(async move {
        // The client leaves in the middle of it.
        let _ = streamer.socket.send(Message::text(" ".repeat(17 << 20))).await;
    });
    let error = client.failure().await;
    assert!(error.cause.to_string().contains("more than 16777216 bytes"), "{}", error.cause);
    let SourceEvent::Gap { reason, .. } = client.quote().await else { panic!() };
    assert_eq!(reason, GapReason::OversizedMessage);
    feeding.await.unwrap();
}

#[tokio::test]
async fn positions_are_followed_while_streaming() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.position_poll = Duration::from_millis(100);
    config.accounts = Some(vec![AccountId::new("5WT00001").unwrap()]);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;

    broker.positions(&[POSITION_B]);
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains(SYMBOL_A) && !change.contains("add"), "{change}");
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains("\"AAPL\"") && !change.contains("SPX"), "{change}");
    loop {
        let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
        if snapshot.positions.len() == 1 {
            break;
        }
    }
    broker.answer("/positions", Reply::status(500, ""));
    let failed = |state: &SessionState| matches!(state, SessionState::Degraded { reason } if reason.contains("could not be read"));
    client.state(failed).await;
    while client.ends.events.try_recv().is_ok() {}
    let polls = broker.count("/positions");
    while broker.count("/positions") < polls + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(client.ends.events.try_recv().is_err(), "a failed poll says nothing");

    broker.positions(&[r#"{"instrument-type":"Equity Option","symbol":"nonsense","underlying-symbol":"X","quantity":1,"quantity-direction":"Long","multiplier":1}"#, POSITION_B, POSITION_A]);
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("add") && change.contains(SYMBOL_A) && !change.contains(SYMBOL_B), "{change}");
    streamer.expect("FEED_SUBSCRIPTION").await;
    let skipped = |state: &SessionState| matches!(state, SessionState::Degraded { reason } if reason == "1 option position(s) cannot be streamed");
    client.state(skipped).await;

    broker.positions(&[]);
    for _ in [1, 3] {
        assert!(streamer.expect("FEED_SUBSCRIPTION").await.contains("remove"));
    }
    client.state(connected).await;

    broker.on(|request| request.line.contains("/positions").then(|| Reply::status(401, "")));
    assert_eq!(client.failure().await.retry, Retry::Operator(OperatorReason::CredentialsRejected));
}

#[tokio::test]
async fn a_limited_poll_waits_as_long_as_it_is_told() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.position_poll = Duration::from_millis(50);
    config.accounts = Some(vec![AccountId::new("5WT00001").unwrap()]);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    broker.answer("/positions", Reply { headers: "Retry-After: 3600\r\n".into(), ..Reply::status(429, "") });
    client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    let polls = broker.count("/positions");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(broker.count("/positions"), polls);
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5), "the stream goes on");
    stop(client).await;
}

#[tokio::test]
async fn no_positions_is_connected() {
    let broker = Broker::start().await;
    broker.positions(&[]);
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.authorize().await;
    client.state(connected).await;
    client.ends.cancel.cancel();
    assert!(streamer.until_closed().await);
    client.end().await.unwrap();
}

const ASK_A: &str = "/instruments/equity-options/AAPL%20%20261218C00232500";

/// The symbol under which the position A is subscribed.
async fn symbol_of_a(broker: &Broker) -> String {
    broker.positions(&[POSITION_A]);
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.authorize().await;
    for _ in [1, 3] {
        streamer.expect("CHANNEL_REQUEST").await;
    }
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":1}"#).await;
    streamer.expect("FEED_SETUP").await;
    let said: serde_json::Value = serde_json::from_str(&streamer.expect("FEED_SUBSCRIPTION").await).unwrap();
    client.ends.cancel.cancel();
    client.end().await.unwrap();
    said["add"][0]["symbol"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn streamer_symbols_come_from_four_sources_in_turn() {
    let chain = |streamer: &str| {
        let strike = format!(r#"{{"call":"AAPL  261218C00232500","call-streamer-symbol":"{streamer}"}}"#);
        Reply::ok(format!(r#"{{"data":{{"items":[{{"expirations":[{{"strikes":[{strike}]}}]}}]}}}}"#))
    };
    // Each source hides those after it.
    let broker = Broker::start().await;
    assert_eq!(symbol_of_a(&broker).await, SYMBOL_A, "computed: both endpoints are gone");
    assert_eq!((broker.count(ASK_A), broker.count("/option-chains/AAPL/nested")), (1, 1), "once for both accounts");
    broker.answer("/option-chains/AAPL/nested", chain(".CHAIN"));
    assert_eq!(symbol_of_a(&broker).await, ".CHAIN");
    broker.answer(ASK_A, Reply::status(500, "<html>"));
    assert_eq!(symbol_of_a(&broker).await, ".CHAIN", "the endpoint fails");
    broker.answer(ASK_A, Reply::ok(r#"{"data":{"symbol":"AAPL  261218C00232500"}}"#));
    assert_eq!(symbol_of_a(&broker).await, ".CHAIN", "the endpoint knows the option but not its symbol");
    let chains = broker.count("/nested");
    broker.answer(ASK_A, Reply::ok(r#"{"data":{"streamer-symbol":".ENDPOINT"}}"#));
    assert_eq!(symbol_of_a(&broker).await, ".ENDPOINT");
    assert_eq!(broker.count("/nested"), chains, "no chain is read when the endpoint answers");
}

#[tokio::test]
async fn the_chain_helps_an_option_on_a_future_of_an_unknown_product() {
    let broker = Broker::start().await;
    let position = POSITION_F.replace("MNQZ5", "ZZZZ5");
    broker.positions(&[&position]);
    broker.answer(
        "/futures-option-chains/ZZZ/nested",
        Reply::ok(r#"{"data":{"futures":[],"option-chains":[{"expirations":[{"strikes":[{"call":"./ZZZZ5D4AU5 250922C24575","call-streamer-symbol":"./D4AU25C24575:XTEST"}]}]}]}}"#),
    );
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.authorize().await;
    for _ in [1, 3] {
        streamer.expect("CHANNEL_REQUEST").await;
    }
    for (channel, symbol) in [(1, "./D4AU25C24575:XTEST"), (3, "/ZZZZ25:XTEST")] {
        streamer.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel}}}"#)).await;
        streamer.expect("FEED_SETUP").await;
        let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(subscription.contains(&format!("\"{symbol}\"")), "{subscription}");
    }
    stop(client).await;
}

#[tokio::test]
async fn a_large_book_is_not_asked_for_option_by_option() {
    let broker = Broker::start().await;
    let positions: Vec<String> =
        (0..100).map(|strike| POSITION_A.replace("00232500", &format!("{:08}", 100_000 + strike * 1000))).collect();
    broker.positions(&positions.iter().map(String::as_str).collect::<Vec<_>>());
    let mut config = broker.config();
    config.accounts = Some(vec![AccountId::new("5WT00001").unwrap()]);
    let mut client = Client::new(config, 64);
    client.start();
    let _streamer = broker.subscribe().await;
    assert_eq!((broker.count("/instruments/"), broker.count("/nested")), (16, 1));
    stop(client).await;
}

#[tokio::test]
async fn an_api_that_hangs_does_not_hold_up_an_equity_option() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_A]);
    broker.answer("/instruments/", Reply { delay: Duration::from_secs(30), ..Reply::status(500, "") });
    let began = Instant::now();
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let _streamer = broker.subscribe().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    stop(client).await;
}

#[tokio::test]
async fn a_silent_computed_symbol_is_asked_of_the_api() {
    let broker = Broker::start().await;
    // An API in trouble at first.
    let troubled = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let recovered = std::sync::Arc::clone(&troubled);
    broker.on(move |request| {
        let asked = request.line.contains(ASK_A);
        let reply = match troubled.load(std::sync::atomic::Ordering::SeqCst) {
            true => Reply::status(500, ""),
            false => Reply::ok(r#"{"data":{"streamer-symbol":".AAPLX"}}"#),
        };
        asked.then_some(reply)
    });
    let mut config = broker.config();
    config.silent_after = Duration::from_millis(100);
    config.position_poll = Duration::from_millis(300);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    recovered.store(false, std::sync::atomic::Ordering::SeqCst);
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_B, 0.5)])).await;
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(
        change.contains(&format!(r#""remove":[{{"type":"Greeks","symbol":"{SYMBOL_A}"}}]"#))
            && change.contains(".AAPLX"),
        "{change}"
    );
    streamer.say(&deltas(&[(".AAPLX", 0.25)])).await;
    client.state(connected).await;
    stop(client).await;
}

#[tokio::test]
async fn a_closed_channel_is_a_gap_and_opens_again() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    streamer.say(r#"{"type":"CHANNEL_CLOSED","channel":1}"#).await;
    let SourceEvent::Gap { reason, .. } = client.quote().await else { panic!() };
    assert_eq!(reason, GapReason::SubscriptionExpired);
    assert!(streamer.expect("CHANNEL_REQUEST").await.contains("\"channel\":5,"));
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":5}"#).await;
    streamer.expect("FEED_SETUP").await;
    assert!(streamer.expect("FEED_SUBSCRIPTION").await.contains(SYMBOL_A));
    client.state(connected).await;
    stop(client).await;
}

#[tokio::test]
async fn check_tells_what_a_session_would_find() {
    let broker = Broker::start().await;
    let report = tasty_dxlink::check(&broker.config(), &tls(), UnixNanos::EPOCH).await.unwrap();
    assert_eq!((report.accounts.len(), report.option_positions, report.skipped_positions), (2, 2, 0));
    let text = report.to_string();
    assert!(text.contains("··0001, ··0002") && text.contains("ws://127.0.0.1:") && !text.contains("canary"), "{text}");
    broker.answer("/oauth/token", Reply::status(400, r#"{"error":"invalid_grant"}"#));
    let error = tasty_dxlink::check(&broker.config(), &tls(), UnixNanos::EPOCH).await.unwrap_err();
    assert!(error.to_string().contains("create a new grant"), "{error}");
}
