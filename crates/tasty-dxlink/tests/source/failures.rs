//! The failures that users of other clients report, one test each, in the order of the list they are kept in; then a
//! few of the connection itself.
//!
//! Those of tokens and logins (2, 7 to 11 and 21) are in `credentials.rs`; 20, certificates that are not trusted, is in
//! `tls.rs`.

use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::{SinkExt, StreamExt};
use greeks_model::{GapReason, Instrument, Retry, SessionState, SourceEvent, UnixNanos};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Many options of one account.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| POSITION_A.replace("00232500", &format!("{:08}", 1000 * (i + 1)))).collect()
}

#[tokio::test]
async fn f01_a_freeze_is_noticed_and_left() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.keepalive_timeout = Duration::from_millis(300);
    config.silence_margin = Duration::from_millis(100);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.accept().await;
    streamer.expect("SETUP").await;
    streamer
        .say(r#"{"type":"SETUP","channel":0,"version":"1","keepaliveTimeout":0.2,"acceptKeepaliveTimeout":0.2}"#)
        .await;
    streamer.say(include_str!("../fixtures/auth_authorized.json")).await;
    streamer.expect("CHANNEL_REQUEST").await;
    streamer.expect("CHANNEL_REQUEST").await;
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":1}"#).await;
    streamer.say(r#"{"type":"CHANNEL_OPENED","channel":3}"#).await;
    for _ in [1, 3] {
        streamer.expect("FEED_SETUP").await;
        streamer.expect("FEED_SUBSCRIPTION").await;
    }
    streamer.say(CONFIG).await;
    client.state(connected).await;
    let said = streamer.expect("ERROR").await;
    assert!(said.contains("TIMEOUT"), "{said}");
    let error = client.failure().await;
    assert!(error.cause.to_string().contains("silent"), "{}", error.cause);
    let SourceEvent::Gap { reason, .. } = client.quote().await else { panic!() };
    assert_eq!(reason, GapReason::Silence);
    // And the next session is a whole one.
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5));
    stop(client).await;
}

#[tokio::test]
async fn f01_a_feed_that_stops_while_keepalive_goes_on_is_left_and_next_time_later() {
    let broker = Broker::start().await;
    let mut config = one_account(broker.config());
    config.quiet_after = Duration::from_millis(400);
    config.step_timeout = Duration::from_millis(500);
    let mut client = Client::new(config, 64);
    for quiet in [400, 800] {
        client.start();
        let mut streamer = broker.subscribe().await;
        streamer.say(CONFIG).await;
        streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
        let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
        let heard = Instant::now();
        let change = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(change.contains("remove") && change.contains(SYMBOL_A) && !change.contains("add"), "{change}");
        assert!(heard.elapsed() >= Duration::from_millis(quiet - 50), "{:?}", heard.elapsed());
        let (mut sink, mut stream) = streamer.socket.split();
        let beating = tokio::spawn(async move {
            while sink.send(Message::text(r#"{"type":"KEEPALIVE","channel":0}"#)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        client.ends.clock.advance(Duration::from_secs(60));
        let Some(Ok(Message::Text(change))) = stream.next().await else { panic!() };
        assert!(change.contains("add") && change.contains(SYMBOL_A) && !change.contains("remove"), "{change}");
        let error = client.failure().await;
        assert_eq!(error.retry, Retry::Now);
        assert!(error.cause.to_string().contains("does not answer"), "{}", error.cause);
        let SourceEvent::Gap { since, reason } = client.quote().await else { panic!() };
        assert_eq!(
            (since, reason),
            (update.received_at, GapReason::Silence),
            "since the last event, not the last beat"
        );
        beating.abort();
    }
}

#[tokio::test]
async fn f14_a_full_queue_stops_reading_but_not_the_heart_and_loses_nothing() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.keepalive_timeout = Duration::from_secs(1);
    config.silence_margin = Duration::from_millis(100);
    let mut client = Client::new(config, 8);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    let count = 2_000;
    for i in 0..count {
        streamer.say(&deltas(&[(SYMBOL_A, f64::from(i)), (SYMBOL_B, f64::from(i))])).await;
    }
    // Blocked for longer than the link may be silent: the silence is ours.
    for _ in 0..2 {
        assert!(streamer.hear().await.contains("KEEPALIVE"));
    }
    let state = client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    assert_eq!(state, SessionState::Degraded { reason: "events are not taken as fast as they come".into() });
    for i in 0..count {
        assert_eq!(delta(&client.quote().await), Some(f64::from(i)));
        assert_eq!(delta(&client.quote().await), Some(f64::from(i)));
    }
    client.ends.cancel.cancel();
    client.end().await.unwrap();
}

#[tokio::test]
async fn f15_delayed_data_is_told_and_flagged() {
    let broker = Broker::start().await;
    let body = format!(r#"{{"data":{{"token":"{QUOTE}","dxlink-url":"{}","level":"demo"}}}}"#, broker.streamer);
    broker.answer("/api-quote-tokens", Reply::ok(body));
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    let state = client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    assert!(matches!(state, SessionState::Degraded { reason } if reason.contains("delayed")));
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
    assert_eq!(update.flags, greeks_model::Flags::DELAYED);
    client.ends.cancel.cancel();
    client.end().await.unwrap();
}

#[tokio::test]
async fn f03_a_change_of_format_and_fields_in_mid_session_costs_nothing() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(broker.config()).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.1)])).await;
    // Unannounced FULL, then other fields, then FULL as announced, then COMPACT again.
    let full = |delta: f64| {
        format!(
            r#"{{"type":"FEED_DATA","channel":1,"data":[{{"eventSymbol":"{SYMBOL_A}","delta":{delta},"eventType":"Greeks"}}]}}"#
        )
    };
    streamer.say(&full(0.2)).await;
    streamer.say(r#"{"type":"FEED_CONFIG","channel":1,"dataFormat":"FULL","eventFields":{"Greeks":["delta","novelty","eventSymbol"]}}"#).await;
    streamer.say(&full(0.3)).await;
    streamer.say(&format!(r#"{{"channel":1,"data":["Greeks",[0.4,null,"{SYMBOL_A}"]],"type":"FEED_DATA"}}"#)).await;
    for expected in [0.1, 0.2, 0.3, 0.4] {
        assert_eq!(delta(&client.quote().await), Some(expected));
    }
    stop(client).await;
}

#[tokio::test]
async fn f04_a_gateway_in_trouble_is_tried_again_with_a_new_token() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    for attempt in 1..=2 {
        client.start();
        let mut socket = broker.accept_raw().await;
        socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>").await.unwrap();
        let error = client.failure().await;
        assert_eq!(error.retry, Retry::Backoff);
        assert!(error.cause.to_string().contains("cannot open the websocket"), "{}", error.cause);
        assert_eq!(broker.count("/api-quote-tokens"), attempt, "token and address are taken anew");
    }
    client.start();
    let _streamer = broker.subscribe().await;
    stop(client).await;
}

#[tokio::test]
async fn f05_a_symbol_that_never_answers_is_told() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.silent_after = Duration::from_millis(200);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_B, 0.5)])).await;
    let told = client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    assert_eq!(told, SessionState::Degraded { reason: "1 subscribed option(s) never had an event".into() });
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    client.state(connected).await;
    stop(client).await;
}

#[tokio::test]
async fn f06_messages_too_big_for_the_streamer_become_smaller() {
    let broker = Broker::start().await;
    broker.hold(&many(1000));
    let mut client = Client::new(one_account(broker.config()), 64);
    for largest in [8192, 4096, 2048, 1024, 1024] {
        client.start();
        let mut streamer = broker.request_channels().await;
        streamer.open(1).await;
        let (mut symbols, mut longest) = (0, 0);
        while symbols < 1000 {
            let chunk = streamer.expect("FEED_SUBSCRIPTION").await;
            symbols += chunk.matches(r#""symbol""#).count();
            longest = longest.max(chunk.len());
        }
        assert!(longest <= largest && longest > largest * 3 / 4, "{longest} of {largest}");
        let frame = CloseFrame { code: 1009.into(), reason: "too big".into() };
        streamer.socket.close(Some(frame)).await.unwrap();
        assert_eq!(client.failure().await.retry, Retry::Backoff);
        while client.ends.events.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn f12_a_quiet_market_is_no_dead_link() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.keepalive_timeout = Duration::from_millis(300);
    config.silence_margin = Duration::from_millis(100);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.accept().await;
    streamer.expect("SETUP").await;
    streamer
        .say(r#"{"type":"SETUP","channel":0,"version":"1","keepaliveTimeout":0.3,"acceptKeepaliveTimeout":0.3}"#)
        .await;
    streamer.say(include_str!("../fixtures/auth_authorized.json")).await;
    for _ in [1, 3] {
        streamer.expect("CHANNEL_REQUEST").await;
    }
    for channel in [1, 3] {
        streamer.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel}}}"#)).await;
        streamer.expect("FEED_SETUP").await;
        streamer.expect("FEED_SUBSCRIPTION").await;
    }
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    // The last value of Friday, in November 2023, told at the start and never again: old, and kept as old.
    let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
    assert_eq!(update.event_time, Some(UnixNanos::from_millis(1_700_000_000_000)));
    for _ in 0..15 {
        streamer.say(r#"{"type":"KEEPALIVE","channel":0}"#).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.ends.status.borrow().state, SessionState::Connected);
    streamer.say(&deltas(&[(SYMBOL_A, 0.6)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.6));
    stop(client).await;
}

#[tokio::test]
async fn f13_nan_is_unknown_and_spoils_nothing_beside_it() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(broker.config()).await;
    streamer.say(include_str!("../fixtures/feed_config.json")).await;
    streamer
        .say(&format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",["Greeks","{SYMBOL_A}",1700000000000,0,1,0,"NaN","Infinity","NaN",0.01,"-Infinity",null,0.12,"Greeks","{SYMBOL_B}",1700000000000,0,1,0,1,2,0.5,4,5,6,7]]}}"#))
        .await;
    let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
    for unknown in [update.option_price, update.delta, update.rho] {
        assert!(unknown.is_some_and(f64::is_nan), "{update:?}");
    }
    assert_eq!((update.implied_volatility, update.theta), (Some(f64::INFINITY), Some(f64::NEG_INFINITY)));
    assert_eq!((update.gamma, update.vega), (Some(0.01), Some(0.12)));
    assert_eq!(delta(&client.quote().await), Some(0.5));
    stop(client).await;
}

#[tokio::test]
async fn f16_a_network_drop_ends_the_session_and_all_that_belongs_to_it() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config_with_accounts(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    let mut accounts = broker.connect_account().await;
    // A reset in the middle of a frame.
    streamer.socket.get_mut().write_all(&[0x81, 126, 1, 0, b'{']).await.unwrap();
    streamer.socket.get_mut().flush().await.unwrap();
    streamer.socket.get_mut().set_zero_linger().unwrap();
    drop(streamer);
    let error = client.failure().await;
    assert_eq!(error.retry, Retry::Backoff);
    assert!(error.cause.to_string().contains("broke"), "{}", error.cause);
    assert!(accounts.until_closed().await, "the account streamer is left as well");
}

#[tokio::test]
async fn f17_every_row_of_a_message_is_an_event() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(broker.config()).await;
    streamer
        .say(&format!(
            r#"{{"type":"FEED_DATA","channel":1,"data":["Profile",["x",1],"Greeks",["{SYMBOL_A}",1,0.1,"{SYMBOL_B}",2,0.2],"Greeks",["{SYMBOL_A}",3,0.3]]}}"#
        ))
        .await;
    for (expected, at) in [(0.1, 1), (0.2, 2), (0.3, 3)] {
        let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
        assert_eq!((update.delta, update.event_time), (Some(expected), Some(UnixNanos::from_millis(at))));
    }
    stop(client).await;
}

#[tokio::test]
async fn f18_what_is_filled_before_the_accounts_are_taken_is_not_missed() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_B]);
    let mut client = Client::new(one_account(broker.config_with_accounts()), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    let mut accounts = broker.accept_account().await;
    let connect = accounts.hear().await;
    // Filled now: no message will tell it.
    broker.positions(&[POSITION_B, POSITION_A]);
    assert!(accounts.is_quiet(Duration::from_millis(200)).await, "nothing is said before the acknowledgement");
    accounts.say(&acknowledgement(&connect)).await;
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("add") && change.contains(SYMBOL_A), "{change}");
    stop(client).await;
}

#[tokio::test]
async fn f19_symbols_without_a_blank_are_read_by_their_columns() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_F]);
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    let held = client.ends.instruments.get(snapshot.positions[0].instrument).unwrap();
    assert_eq!(*held, Instrument::Option("/MNQZ26 260922C24575".parse().unwrap()));
    client.ends.cancel.cancel();
    client.end().await.unwrap();
}

#[tokio::test]
async fn garbage_costs_one_message() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(broker.config()).await;
    for (i, garbage) in [
        "{",
        "\u{0}",
        r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",[1,2]]}"#,
        r#"{"type":"FEED_DATA","channel":1,"data":{"Greeks":1}}"#,
        r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Greeks":["time"]}}"#,
        r#"{"type":"NOVELTY","channel":77}"#,
    ]
    .into_iter()
    .enumerate()
    {
        streamer.socket.send(Message::text(garbage)).await.unwrap();
        streamer.socket.send(Message::Binary(garbage.as_bytes().to_vec().into())).await.unwrap();
        streamer.say(&deltas(&[(SYMBOL_A, i as f64)])).await;
        assert_eq!(delta(&client.quote().await), Some(i as f64), "{garbage}");
    }
    stop(client).await;
}

#[tokio::test]
async fn a_streamer_that_takes_nothing_is_left() {
    let broker = Broker::start().await;
    // More than the buffers of both systems hold.
    let positions: Vec<String> = (0..40)
        .map(|i| {
            let symbol = format!(".{i}{}", "X".repeat(300_000));
            many(40)[i].replace('}', &format!(r#","streamer-symbol":"{symbol}"}}"#))
        })
        .collect();
    broker.hold(&positions);
    let mut config = one_account(broker.config());
    config.step_timeout = Duration::from_millis(700);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.authorize().await;
    for channel in [1, 3] {
        streamer.expect("CHANNEL_REQUEST").await;
        streamer.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel}}}"#)).await;
    }
    let began = Instant::now();
    let error = client.failure().await;
    assert!(error.cause.to_string().contains("no progress in writing"), "{}", error.cause);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(streamer);
}
