//! Whole sessions against a scripted broker on real sockets.

use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::SinkExt;
use greeks_model::{
    AccountId, GapReason, Instrument, Retry, SessionEnd, SessionState, SourceEvent, Underlying, UnixNanos,
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
async fn a_refused_quote_token_gets_one_immediate_successor() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    let after = |seconds| Retry::After(Duration::from_secs(seconds));
    for (attempt, expected) in [(1, Retry::Now), (2, after(60)), (3, after(120))] {
        client.start();
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("../fixtures/setup.json")).await;
        streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
        streamer.expect("AUTH").await;
        if attempt == 3 {
            // Some servers close without a word.
            streamer.socket.close(None).await.unwrap();
        } else {
            streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
        }
        assert_eq!(client.failure().await.retry, expected);
        assert_eq!(broker.count("/api-quote-tokens"), attempt, "each time with a new token");
    }
    client.start();
    drop(broker.subscribe().await);
    client.failure().await;
    client.start();
    let mut streamer = broker.authorize().await;
    streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
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
    streamer.say(include_str!("../fixtures/feed_config.json")).await;
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
    let mut config = one_account(broker.config());
    config.position_poll = Duration::from_millis(100);
    // Subscribed as long as anything is held.
    config.benchmarks = vec!["SPY".to_owned()];
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;

    broker.positions(&[POSITION_B]);
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains(SYMBOL_A) && !change.contains("add"), "{change}");
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains("\"AAPL\"") && !change.contains("SP"), "{change}");
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
    for symbol in [SYMBOL_A, "\"SPY\""] {
        let change = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(change.contains("remove") && change.contains(symbol), "{change}");
    }
    client.state(connected).await;

    broker.on(|request| request.line.contains("/positions").then(|| Reply::status(401, "")));
    client.state(failed).await;
    stop(client).await;
}

#[tokio::test]
async fn a_limited_poll_waits_as_long_as_it_is_told() {
    let broker = Broker::start().await;
    let mut config = one_account(broker.config());
    config.position_poll = Duration::from_millis(50);
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
