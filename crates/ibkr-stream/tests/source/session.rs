//! How a session runs and ends.

use std::time::Duration;

use crate::fake::*;
use greeks_model::{AccountId, Clock, GapReason, Retry, SessionEnd, SourceEvent};

#[tokio::test]
async fn values_arrive_as_they_were_sent() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    let fields = r#""31":"C1,234.50","84":"5.15","7308":"-0.257","7309":"0.001","7310":"-0.518","7311":"0.026","7633":"85.6%","7635":"331.33""#;
    wire.say(&frame(SPY_CALL, fields)).await;
    let update = client.delta(-0.257).await;
    assert_eq!((update.gamma, update.theta, update.vega), (Some(0.001), Some(-0.518), Some(0.026)));
    assert_eq!((update.implied_volatility, update.option_price), (Some(85.6 / 100.0), Some(331.33)));
    assert_eq!((update.bid_price, update.ask_price, update.last_price), (Some(5.15), None, None));
    assert_eq!(update.received_at, greeks_model::Clock::now(&*client.ends.clock));
    assert_eq!(client.ends.activity.subscriptions(), 3);
    client.stop().await;
}

#[tokio::test]
async fn a_stop_ends_every_subscription_and_closes() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.ends.cancel.cancel();
    let heard = wire.until_closed().await.expect("no close frame");
    assert!(heard.iter().any(|text| text == "utr"), "{heard:?}");
    assert_eq!(heard.iter().filter(|text| text.starts_with("umd+")).count(), 3, "{heard:?}");
    assert_eq!(client.end().await.unwrap(), SessionEnd::Cancelled);
}

#[tokio::test]
async fn a_stop_is_heard_at_any_time_before_the_stream() {
    for call in ["/tickle", "/iserver/accounts", "/portfolio/accounts", "/positions/0"] {
        let gateway = Gateway::start().await;
        gateway.answer(call, Reply { delay: Duration::from_secs(60), ..Reply::ok("{}") });
        let client = Client::started(gateway.config());
        gateway.until_called(call, 1).await;
        client.stop().await;
    }
}

#[tokio::test]
async fn a_full_queue_stops_reading_but_not_the_heart_and_loses_nothing() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.heartbeat_timeout = Duration::from_millis(500);
    config.quiet_after = Duration::from_millis(500);
    config.tic_every = Duration::from_millis(200);
    config.tickle_every = Duration::from_millis(200);
    config.renew_after = Duration::from_secs(2);
    let mut client = Client::with(config, 8, no_trust());
    client.start();
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    let count = 1_000;
    for i in 0..count {
        wire.say(&delta_frame(SPY_CALL, f64::from(i))).await;
    }
    // Blocked for longer than the gateway may be silent: the silence is ours.
    gateway.take_calls();
    for _ in 0..5 {
        wire.hear_until("tic").await;
    }
    // Subscriptions are renewed all the same, and REST goes on.
    wire.hear_until("smd+").await;
    assert!(gateway.count("/tickle") >= 3, "{:?}", gateway.take_calls());
    client.degraded("events are not taken as fast as they come").await;
    for i in 0..count {
        let update = client.delta(f64::from(i)).await;
        assert_eq!(update.delta, Some(f64::from(i)));
    }
    wire.say(HEARTBEAT).await;
    assert_eq!(client.gaps(), []);
    client.stop().await;
}

#[tokio::test]
async fn silence_is_left_and_told() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.heartbeat_timeout = Duration::from_millis(200);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    wire.expect_farewell(&ALL).await;
    let (retry, text) = client.failure().await;
    assert_eq!(retry, Retry::Backoff, "{text}");
    assert!(text.contains("silent"), "{text}");
    assert_eq!(client.gaps(), [GapReason::Silence]);
}

/// Heartbeats go on, and no contract answers any more: what is missing begins with the last data.
#[tokio::test]
async fn a_stream_that_brings_nothing_is_left_ever_more_patiently() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.quiet_after = Duration::from_millis(100);
    config.first_frame_after = Duration::from_millis(100);
    config.stalled_after = Duration::from_millis(400);
    let mut client = Client::new(config);
    for least in [400, 800] {
        let begin = tokio::time::Instant::now();
        client.start();
        let mut wire = gateway.stream(&ALL).await;
        client.ends.clock.advance(Duration::from_secs(2));
        wire.say(&frame(SPY_CALL, r#""7308":"0.5""#)).await;
        let received_at = client.delta(0.5).await.received_at;
        client.ends.clock.advance(Duration::from_secs(3));
        wire.say(HEARTBEAT).await;
        let (retry, text) = client.failure().await;
        assert_eq!(retry, Retry::Now, "{text}");
        assert!(text.contains("no contract had any data"), "{text}");
        assert!(begin.elapsed() >= Duration::from_millis(least), "{:?}", begin.elapsed());
        loop {
            if let SourceEvent::Gap { since, reason } = client.event().await {
                assert_eq!((since, reason), (received_at, GapReason::Silence));
                break;
            }
        }
    }
    gateway.assert_clean();
}

/// Nothing ever came: what is missing begins with the stream, not with the last data of a stream before.
#[tokio::test]
async fn a_stream_that_never_brought_anything_is_a_gap_from_its_beginning() {
    for data_before in [false, true] {
        let gateway = Gateway::start().await;
        let mut config = gateway.config();
        config.quiet_after = Duration::from_millis(100);
        config.first_frame_after = Duration::from_millis(100);
        config.stalled_after = Duration::from_millis(600);
        let mut client = Client::new(config);
        if data_before {
            client.ends.activity.message(Clock::now(&*client.ends.clock));
            client.ends.clock.advance(Duration::from_secs(60));
        }
        client.start();
        let mut wire = gateway.authenticate().await;
        wire.expect_subscriptions(&ALL).await;
        wire.say(HEARTBEAT).await;
        client.streams().await;
        let began_at = Clock::now(&*client.ends.clock);
        client.ends.clock.advance(Duration::from_secs(3));
        wire.say(HEARTBEAT).await;
        let (_, text) = client.failure().await;
        assert!(text.contains("no contract had any data"), "{text}");
        assert_eq!(client.gap().await, (began_at, GapReason::Silence));
        gateway.assert_clean();
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_told_as_such() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.max_message_bytes = 10_000;
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    wire.say(&format!(r#"{{"topic":"blt","args":{{"message":"{}"}}}}"#, "x".repeat(20_000))).await;
    assert_eq!(client.failure().await.0, Retry::Backoff);
    assert_eq!(client.gaps(), [GapReason::OversizedMessage]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_left_to_the_supervisor() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let wire = gateway.stream(&ALL).await;
    client.connected().await;
    drop(wire);
    assert_eq!(client.failure().await.0, Retry::Now);
    assert_eq!(client.gaps(), [], "disconnected, which the supervisor tells");
}

#[tokio::test]
async fn an_account_that_cannot_be_read_hides_no_other_and_keeps_what_it_had() {
    let gateway = Gateway::start().await;
    gateway.state().accounts = vec![ACCOUNT.into(), OTHER.into()];
    gateway.state().hold(vec![spy_call(ACCOUNT, 2.0), spy_call(OTHER, -3.0), spy_put(OTHER, 1.0)]);
    let mut config = gateway.config();
    config.position_poll = Duration::from_millis(50);
    gateway.answer("/U0000002/positions/0", Reply::status(500, r#"{"error":"internal"}"#));
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&[SPY, SPY_CALL]).await;
    client.degraded("positions of 1 account(s) could not be read").await;
    let first = client.positions().await;
    assert_eq!((first.account_id.as_str(), first.positions.len()), (ACCOUNT, 1));
    gateway.recover();
    wire.expect_subscriptions(&[SPY_PUT]).await;
    wire.say(&quote(SPY_PUT)).await;
    client.connected().await;
    let of_other = loop {
        let snapshot = client.positions().await;
        if snapshot.account_id.as_str() == OTHER {
            break snapshot;
        }
    };
    assert_eq!(of_other.positions.iter().map(|it| it.quantity).collect::<Vec<_>>(), [-3.0, 1.0]);
    // An error later on closes nothing.
    gateway.answer("/U0000002/positions/0", Reply::status(500, r#"{"error":"internal"}"#));
    client.degraded("positions of 1 account(s) could not be read").await;
    wire.say(&delta_frame(SPY_PUT, 0.25)).await;
    client.delta(0.25).await;
    client.ends.cancel.cancel();
    wire.expect_farewell(&ALL).await;
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn a_contract_that_is_not_told_at_the_start_keeps_no_other_from_streaming() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.position_poll = Duration::from_millis(50);
    let short = spy_put(ACCOUNT, -1.0).row().replace("\"multiplier\":100", "\"multiplier\":null").replace(" 100]", "]");
    let rows = format!("[{},{short}]", spy_call(ACCOUNT, 2.0).row());
    gateway.answer("/positions/0", Reply::ok(rows));
    gateway.answer("/trsrv/secdef", Reply::status(503, "<html>"));
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.degraded("1 option position(s)").await;
    gateway.answer("/trsrv/secdef", Reply::ok(format!(r#"{{"secdef":[{{"conid":{SPY_PUT},"multiplier":100}}]}}"#)));
    client.connected().await;
    wire.say(&delta_frame(SPY_PUT, 0.25)).await;
    client.delta(0.25).await;
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn accounts_that_cannot_be_read_at_all_are_nothing_to_stream_for() {
    let gateway = Gateway::start().await;
    gateway.answer("/positions/0", Reply::status(500, r#"{"error":"internal"}"#));
    let (retry, text) = Client::new(gateway.config()).fail().await;
    assert_eq!(retry, Retry::Backoff);
    assert!(text.contains("internal"), "{text}");
}

#[tokio::test]
async fn a_new_account_begins_the_session_anew() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.change(|state| {
        state.accounts.push(OTHER.into());
        state.held.push(spy_option(OTHER, 77, 5.0, 410, 'C'));
        state.cached.push(spy_option(OTHER, 77, 5.0, 410, 'C'));
    });
    wire.say(r#"{"topic":"act","args":{"accounts":["U0000001","U0000002"],"selectedAccount":"U0000001"}}"#).await;
    wire.expect_farewell(&ALL).await;
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    client.start();
    let mut wire = gateway.stream(&[SPY, 77, SPY_CALL, SPY_PUT]).await;
    client.connected().await;
    // And one that is gone takes its contracts with it.
    gateway.change(|state| drop(state.accounts.pop()));
    wire.say(r#"{"topic":"act","args":{"accounts":["U0000001"],"selectedAccount":"U0000001"}}"#).await;
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    while client.ends.events.try_recv().is_ok() {}
    client.start();
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(client.event().await, SourceEvent::Unfollowed(vec![AccountId::new(OTHER).unwrap()]));
    client.ends.cancel.cancel();
    wire.expect_farewell(&ALL).await;
    client.stop().await;
}

#[tokio::test]
async fn chosen_accounts_alone_are_read() {
    let gateway = Gateway::start().await;
    gateway.state().accounts = vec![ACCOUNT.into(), OTHER.into()];
    let mut config = gateway.config();
    config.accounts = Some(vec![AccountId::new(ACCOUNT).unwrap()]);
    let client = Client::started(config.clone());
    let _wire = gateway.stream(&ALL).await;
    assert_eq!(gateway.count(OTHER), 0);
    client.stop().await;
    config.accounts = Some(vec![AccountId::new("U9999999").unwrap()]);
    let (retry, text) = Client::new(config).fail().await;
    // Just after a login it may not be told yet.
    assert_eq!(retry, Retry::After(Duration::from_secs(60)));
    assert!(text.contains("··9999"), "{text}");
}

#[tokio::test]
async fn a_chosen_account_that_is_not_there_stops_no_other() {
    let gateway = Gateway::start().await;
    gateway.state().accounts = vec![ACCOUNT.into()];
    let mut config = gateway.config();
    config.accounts = Some(vec![AccountId::new(ACCOUNT).unwrap(), AccountId::new(OTHER).unwrap()]);
    config.position_poll = Duration::from_millis(200);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.degraded("1 configured account(s) are not among those of this login").await;
    assert_eq!(gateway.count(OTHER), 0);
    // It is looked for again, as just after a login it may not be told yet.
    gateway.change(|state| state.accounts.push(OTHER.into()));
    wire.expect_farewell(&ALL).await;
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    client.start();
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_ne!(gateway.count(OTHER), 0);
    client.stop().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_run_is_told_with_what_to_do() {
    let gateway = Gateway::start().await;
    let config = gateway.config();
    drop(gateway);
    // The task that listened has to be gone.
    tokio::task::yield_now().await;
    let (retry, text) = Client::new(config).fail().await;
    assert_eq!(retry, Retry::Backoff);
    assert!(text.contains("start it"), "{text}");
}

#[tokio::test]
async fn a_new_session_of_the_gateway_gets_a_websocket_of_its_own() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.tickle_every = Duration::from_millis(20);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.state().session = "canary0002".into();
    wire.expect_farewell(&ALL).await;
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    client.start();
    // The cookie is compared with the new one.
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.stop().await;
    gateway.assert_clean();
}

/// The old websocket goes on with heartbeats and nothing else: what is missing begins with the last data.
#[tokio::test]
async fn a_new_session_of_the_gateway_is_a_gap_from_when_the_old_one_was_sound() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.position_poll = Duration::from_millis(50);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.ends.clock.advance(Duration::from_secs(2));
    wire.say(&frame(SPY_CALL, r#""7308":"0.25""#)).await;
    let received_at = client.delta(0.25).await.received_at;
    gateway.state().session = "canary0002".into();
    client.ends.clock.advance(Duration::from_secs(50));
    wire.say(HEARTBEAT).await;
    // The next tickle would come in a minute; what the read says makes it come now.
    gateway.answer("/positions/0", Reply::status(400, r#"{"error":"Bad Request: no bridge"}"#));
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    assert_eq!(client.gap().await, (received_at, GapReason::Disconnected));
    gateway.assert_clean();
}

#[tokio::test]
async fn ids_that_change_with_every_answer_end_nothing() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.tickle_every = Duration::from_millis(20);
    let number = std::sync::atomic::AtomicU32::new(0);
    gateway.on(move |request| {
        let number = number.fetch_add(u32::from(request.line.contains("/tickle")), std::sync::atomic::Ordering::SeqCst);
        let answer = format!(r#"{{"session":"canary{number}"}}"#);
        request.line.contains("/tickle").then(|| Reply::ok(answer))
    });
    gateway.state().session = "canary1".into();
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.until_called("/tickle", 6).await;
    wire.say(&delta_frame(SPY_CALL, 0.25)).await;
    client.delta(0.25).await;
    client.stop().await;
}

#[tokio::test]
async fn the_opening_keeps_its_order() {
    let gateway = Gateway::start().await;
    let client = Client::started(gateway.config());
    let _wire = gateway.stream(&ALL).await;
    let calls = gateway.take_calls();
    assert_eq!(calls[..3], ["POST /tickle", "POST /iserver/auth/status", "GET /iserver/accounts"]);
    assert_eq!(calls[3], "GET /portfolio/accounts");
    assert_eq!(calls[4], "GET /portfolio/U0000001/positions/0");
    assert_eq!(calls.last().unwrap(), "POST /tickle", "for the cookie of now");
    assert!(!calls.iter().any(|call| call.contains("ssodh/init")));
    client.stop().await;
    gateway.assert_clean();
}
