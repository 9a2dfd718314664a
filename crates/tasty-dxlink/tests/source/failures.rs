//! The failures that users of other clients report, one test each, in the order of the list they are kept in; then a
//! few of the connection itself.
//!
//! Number 20, certificates that are not trusted, is in `tls.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::{SinkExt, StreamExt};
use greeks_model::{GapReason, Instrument, OperatorReason, Retry, SessionEnd, SessionState, SourceEvent, UnixNanos};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Many options of one account.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| POSITION_A.replace("00232500", &format!("{:08}", 1000 * (i + 1)))).collect()
}

/// A session that streams.
async fn streaming(broker: &Broker, config: tasty_dxlink::TastyConfig) -> (Client, Streamer) {
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    (client, streamer)
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
async fn f02_auth_waits_to_be_asked_for_and_a_lost_session_keeps_its_token() {
    let broker = Broker::start().await;
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.accept().await;
    streamer.expect("SETUP").await;
    streamer.say(include_str!("../fixtures/setup.json")).await;
    assert!(streamer.is_quiet(Duration::from_millis(200)).await, "AUTH before it was asked for");
    streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
    let first = streamer.expect("AUTH").await;
    streamer.say(include_str!("../fixtures/session_not_found.json")).await;
    assert_eq!(client.failure().await.retry, Retry::Backoff);
    // One that loses session after session means the token by it.
    for same in [true, true, false] {
        client.start();
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("../fixtures/setup.json")).await;
        streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
        assert_eq!(streamer.expect("AUTH").await == first, same);
        assert_eq!(broker.count("/api-quote-tokens"), if same { 1 } else { 2 });
        streamer.say(include_str!("../fixtures/session_not_found.json")).await;
        assert_eq!(client.failure().await.retry, Retry::Backoff);
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
    let (mut client, mut streamer) = streaming(&broker, broker.config()).await;
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
async fn f07_a_session_makes_room_for_a_new_token_before_the_old_one_ends() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.quote_token_use = Duration::from_millis(400);
    let mut client = Client::new(config, 64);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        client.start();
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("../fixtures/setup.json")).await;
        streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
        tokens.push(streamer.expect("AUTH").await);
        streamer.say(include_str!("../fixtures/auth_authorized.json")).await;
        let began = Instant::now();
        assert!(streamer.until_closed().await, "with a good-bye");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(client.end().await.unwrap(), SessionEnd::Closed, "an ordinary end: the next session begins at once");
        assert_eq!(broker.count("/api-quote-tokens"), tokens.len() + 1, "with its token in hand");
    }
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn f07_a_session_goes_on_while_no_other_token_can_be_had() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.quote_token_use = Duration::from_millis(700);
    let (mut client, mut streamer) = streaming(&broker, config.clone()).await;
    broker.answer("/api-quote-tokens", Reply::status(503, "<html>"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        streamer.say(&deltas(&[(SYMBOL_A, began.elapsed().as_secs_f64())])).await;
        assert!(delta(&client.quote().await).is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(broker.count("/api-quote-tokens"), 2, "asked again, though not at once");
    stop(client).await;

    // The customer's one token, handed out again: nothing is won by another session.
    let broker = Broker::start().await;
    let body = format!(r#"{{"data":{{"token":"{QUOTE}","dxlink-url":"{}","level":"api"}}}}"#, broker.streamer);
    broker.answer("/api-quote-tokens", Reply::ok(body));
    config.api_url = broker.config().api_url;
    let (mut client, mut streamer) = streaming(&broker, config).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.count("/api-quote-tokens"), 2);
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5));
    stop(client).await;
}

#[tokio::test]
async fn f08_every_call_names_its_client_and_a_stale_token_is_renewed() {
    let broker = Broker::start().await;
    let mut config = broker.config_with_accounts();
    config.user_agent = "tool".into();
    let error = tasty_dxlink::TastySource::new(config.clone(), no_trust()).unwrap_err().to_string();
    assert!(error.contains("product/version"), "{error}");
    config.user_agent = "tool/2.5".into();
    // The proxy in front of the API refuses a stale token with a page for people.
    let stale = AtomicBool::new(true);
    broker.on(move |request| {
        let refused = request.line.contains("/customers/") && stale.swap(false, Ordering::SeqCst);
        refused.then(|| Reply::status(401, "<html>"))
    });
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.accept().await;
    assert!(streamer.expect("SETUP").await.contains(r#""version":"0.1-tool/2.5""#));
    assert_eq!(broker.count("/oauth/token"), 2);
    let requests = broker.requests.lock().unwrap().clone();
    assert!(requests.iter().all(|request| request.headers.contains("user-agent: tool/2.5")), "{requests:?}");
    stop(client).await;
}

#[tokio::test]
async fn a_page_in_front_of_the_api_says_nothing_of_credentials() {
    for (path, status) in [("/customers/", 401), ("/customers/", 403), ("/api-quote-tokens", 401), ("/positions", 403)]
    {
        let broker = Broker::start().await;
        broker.answer(path, Reply::status(status, "<html>blocked</html>"));
        let mut client = Client::new(broker.config(), 64);
        client.start();
        let error = client.failure().await;
        assert_eq!(error.retry, Retry::Backoff, "{path} {status}: {}", error.cause);
        assert!(error.cause.to_string().contains(&format!("status {status}")), "{}", error.cause);
    }
}

#[tokio::test]
async fn f09_a_refused_login_is_not_tried_again() {
    let broker = Broker::start().await;
    broker.answer("/oauth/token", Reply::status(401, r#"{"error":{"code":"invalid_credentials","message":"x"}}"#));
    let mut client = Client::new(broker.config_with_accounts(), 64);
    client.start();
    assert_eq!(client.failure().await.retry, Retry::Operator(OperatorReason::CredentialsRejected));
    assert_eq!(broker.lines().len(), 1, "{:?}", broker.lines());
    // Even someone who begins again at once does not log in again at once.
    client.start();
    assert_eq!(client.failure().await.retry, Retry::Operator(OperatorReason::CredentialsRejected));
    assert_eq!(broker.lines().len(), 1);
}

#[tokio::test]
async fn f10_a_revoked_grant_says_what_to_do() {
    let broker = Broker::start().await;
    let body = r#"{"error_code":"invalid_grant","error_description":"Grant revoked"}"#;
    broker.answer("/oauth/token", Reply::status(400, body));
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let error = client.failure().await;
    assert_eq!(error.retry, Retry::Operator(OperatorReason::CredentialsRejected));
    let text = error.cause.to_string();
    assert!(text.contains("Grant revoked") && text.contains("create a new grant"), "{text}");
}

#[tokio::test]
async fn f11_an_outage_of_the_token_service_leaves_live_sockets_alone() {
    let broker = Broker::start().await;
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    broker.on(move |request| {
        let reply = match is_down.load(Ordering::SeqCst) {
            true => Reply::status(503, "<html>"),
            false => Reply::ok(r#"{"access_token":"canary-access-1","token_type":"Bearer","expires_in":1}"#),
        };
        request.line.contains("/oauth/token").then_some(reply)
    });
    let mut config = broker.config();
    config.position_poll = Duration::from_millis(200);
    let (mut client, mut streamer) = streaming(&broker, config).await;
    down.store(true, Ordering::SeqCst);
    // Past the end of the token in force: positions cannot be read any more, and that is all.
    let unread = |state: &SessionState| matches!(state, SessionState::Degraded { reason } if reason.contains("could not be read"));
    client.state(unread).await;
    for i in 0..10 {
        streamer.say(&deltas(&[(SYMBOL_A, f64::from(i))])).await;
        assert_eq!(delta(&client.quote().await), Some(f64::from(i)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    down.store(false, Ordering::SeqCst);
    client.state(connected).await;
    assert_eq!(broker.count("/api-quote-tokens"), 1, "the same session all the time");
    stop(client).await;
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
    let (mut client, mut streamer) = streaming(&broker, broker.config()).await;
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
    let (mut client, mut streamer) = streaming(&broker, broker.config()).await;
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
    assert_eq!(*held, Instrument::Option("/MNQZ25 250922C24575".parse().unwrap()));
    client.ends.cancel.cancel();
    client.end().await.unwrap();
}

#[tokio::test]
async fn f21_a_login_without_an_opened_account_is_told() {
    for status in [403, 404, 422] {
        let broker = Broker::start().await;
        let body = r#"{"error":{"code":"quote_streamer.customer_not_found_error","message":"You must be a customer"}}"#;
        broker.answer("/api-quote-tokens", Reply::status(status, body));
        let mut client = Client::new(broker.config(), 64);
        client.start();
        let error = client.failure().await;
        assert_eq!(error.retry, Retry::Operator(OperatorReason::CredentialsRejected));
        assert!(error.cause.to_string().contains("an open account"), "{}", error.cause);
    }
}

#[tokio::test]
async fn garbage_costs_one_message() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = streaming(&broker, broker.config()).await;
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
