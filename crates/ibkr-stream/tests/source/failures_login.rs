//! The failures that users of other clients report, one test each, numbered as in the list they are kept in: here those of
//! the login and of the brokerage session; `failures_stream.rs` has those of the stream, and number 15 is in `tls.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fake::*;
use greeks_model::{GapReason, OperatorReason, Retry, SourceEvent};

const LOGIN: Retry = Retry::Operator(OperatorReason::LoginRequired);
const TAKEN: Retry = Retry::Operator(OperatorReason::SessionTaken);
const INIT: &str = "/iserver/auth/ssodh/init";

#[tokio::test]
async fn f03_a_lost_authentication_ends_the_session_and_the_next_goes_the_whole_way() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.state().lose_session();
    wire.say(r#"{"topic":"sts","args":{"authenticated":false}}"#).await;
    // Restoration is never announced: the socket is left, in good order but without a word that would be discarded, and
    // REST is asked.
    assert_eq!(wire.until_closed().await, Some(Vec::new()));
    let (retry, text) = client.failure().await;
    assert_eq!(retry, Retry::Now, "{text}");
    gateway.take_calls();
    client.start();
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(
        gateway.take_calls()[..4],
        ["POST /tickle", "POST /iserver/auth/ssodh/init", "POST /iserver/auth/status", "GET /iserver/accounts"]
    );
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f03_a_brokerage_session_lost_without_a_word_is_found_by_the_next_call() {
    for found_by_tickle in [true, false] {
        let gateway = Gateway::start().await;
        let mut config = gateway.config();
        let often = if found_by_tickle { &mut config.tickle_every } else { &mut config.position_poll };
        *often = Duration::from_millis(20);
        let mut client = Client::started(config);
        let mut wire = gateway.stream(&ALL).await;
        client.connected().await;
        gateway.state().lose_session();
        if !found_by_tickle {
            // The next tickle would come in a minute; what the read says makes it come now.
            gateway.answer("/positions/0", Reply::status(400, r#"{"error":"Bad Request: no bridge"}"#));
        }
        // The websocket has not been told yet; nothing is said there all the same.
        assert_eq!(wire.until_closed().await, Some(Vec::new()));
        let (retry, text) = client.failure().await;
        assert_eq!(retry, Retry::Now, "{text}");
        gateway.recover();
        client.start();
        let _wire = gateway.stream(&ALL).await;
        client.connected().await;
        assert_eq!(gateway.count(INIT), 1);
        client.stop().await;
        gateway.assert_clean();
    }
}

/// Heartbeats go on after the session behind them has gone: what is missing begins with the last data.
#[tokio::test]
async fn f03_a_lost_session_is_a_gap_from_the_last_data_on() {
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    client.ends.clock.advance(Duration::from_secs(2));
    wire.say(&frame(SPY_CALL, r#""7308":"0.5""#)).await;
    let received_at = client.delta(0.5).await.received_at;
    client.ends.clock.advance(Duration::from_secs(3));
    wire.say(r#"{"topic":"system","hb":1594677336001}"#).await;
    gateway.state().lose_session();
    wire.say(r#"{"topic":"sts","args":{"authenticated":false}}"#).await;
    client.failure().await;
    assert!(client.ends.activity.last_heartbeat() > Some(received_at));
    loop {
        if let SourceEvent::Gap { since, reason } = client.event().await {
            assert_eq!((since, reason), (received_at, GapReason::Disconnected));
            break;
        }
    }
    gateway.assert_clean();
}

#[tokio::test]
async fn f04_without_a_login_each_look_is_one_tickle_and_a_login_is_enough_to_recover() {
    let gateway = Gateway::start().await;
    gateway.state().logged_in = false;
    let mut client = Client::new(gateway.config());
    for _ in 0..3 {
        let (retry, text) = client.fail().await;
        assert_eq!(retry, LOGIN);
        let address = gateway.url.strip_suffix("/v1/api").unwrap();
        assert!(text.contains(&format!("log in at {address}")), "{text}");
        assert_eq!(gateway.take_calls(), ["POST /tickle"]);
    }
    gateway.change(|state| {
        (state.logged_in, state.authenticated) = (true, false);
    });
    client.start();
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(gateway.count(INIT), 1);
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f05_a_login_that_ends_at_midnight_ends_the_stream_with_the_operators_sentence() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.tickle_every = Duration::from_millis(20);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.state().logged_in = false;
    assert_eq!(wire.until_closed().await, Some(Vec::new()));
    assert_eq!(client.failure().await.0, LOGIN);
    gateway.take_calls();
    assert_eq!(client.fail().await.0, LOGIN);
    assert_eq!(gateway.take_calls(), ["POST /tickle"]);
    gateway.assert_clean();
}

#[tokio::test]
async fn f05_a_refusal_in_any_call_before_the_stream_asks_for_a_login() {
    for call in ["/iserver/auth/status", "/iserver/accounts", "/portfolio/accounts", "/portfolio/U0000001/positions/0"]
    {
        let gateway = Gateway::start().await;
        gateway.answer(call, Reply::status(401, ""));
        assert_eq!(Client::new(gateway.config()).fail().await.0, LOGIN, "{call}");
    }
    // A login that has ended is told by the next tickle, whatever refuses a call.
    let gateway = Gateway::start().await;
    gateway.state().accounts.push(OTHER.into());
    let ended = AtomicBool::new(false);
    gateway.on(move |request| {
        ended.fetch_or(request.line.contains("/U0000001/positions/0"), Ordering::Relaxed);
        ended.load(Ordering::Relaxed).then(|| Reply::status(401, ""))
    });
    assert_eq!(Client::new(gateway.config()).fail().await.0, LOGIN);
    assert_eq!(gateway.count("/U0000002/"), 0, "no other call would have fared better");
}

/// REST has just told that somebody is logged in and that this address may ask: a person can do nothing about it.
#[tokio::test]
async fn a_refused_upgrade_is_tried_again() {
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let gateway = Gateway::start().await;
        let mut client = Client::started(gateway.config());
        let mut socket = gateway.accept_raw().await;
        let refusal = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut socket, refusal.as_bytes()).await.unwrap();
        assert_eq!(client.failure().await.0, Retry::Backoff, "{status}");
    }
}

/// The portfolio's part of the gateway fails alone: the session is asked, and is in order.
#[tokio::test]
async fn a_portfolio_that_cannot_be_read_keeps_no_stream_down() {
    for status in [401, 503] {
        let gateway = Gateway::start().await;
        gateway.state().accounts = vec![ACCOUNT.into(), OTHER.into()];
        gateway.state().hold(vec![spy_call(ACCOUNT, 2.0), spy_put(OTHER, 1.0)]);
        gateway.answer("/U0000002/positions/0", Reply::status(status, ""));
        let mut client = Client::started(gateway.config());
        let wire = gateway.stream(&[SPY, SPY_CALL]).await;
        client.degraded("positions of 1 account(s) could not be read").await;
        drop(wire);
        client.failure().await;
        // What is known from before is streamed when nothing can be read any more.
        gateway.answer("/positions/0", Reply::status(status, ""));
        client.start();
        let _wire = gateway.stream(&[SPY, SPY_CALL]).await;
        client.degraded("positions of 2 account(s) could not be read").await;
        client.stop().await;
        gateway.assert_clean();
    }
}

#[tokio::test]
async fn f06_a_login_without_a_brokerage_session_opens_one_once_and_takes_none() {
    let gateway = Gateway::start().await;
    gateway.state().authenticated = false;
    let mut client = Client::started(gateway.config());
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    let requests = gateway.state().requests.clone();
    let inits: Vec<_> =
        requests.iter().filter(|request| request.line.contains(INIT)).map(|it| it.body.as_str()).collect();
    assert_eq!(inits, [r#"{"publish":true,"compete":false}"#]);
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f06_a_tickle_that_tells_nothing_of_the_session_leaves_it_to_the_status() {
    let gateway = Gateway::start().await;
    gateway.state().authenticated = false;
    gateway.answer("/tickle", Reply::ok(r#"{"session":"canary0001"}"#));
    let mut client = Client::started(gateway.config());
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(gateway.count(INIT), 1);
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f06_a_brokerage_session_that_takes_its_time_is_waited_for_and_one_that_never_comes_is_left_in_peace() {
    let gateway = Gateway::start().await;
    gateway.change(|state| {
        (state.authenticated, state.init_fails) = (false, true);
    });
    let mut client = Client::new(gateway.config());
    let (retry, text) = client.fail().await;
    assert_eq!(retry, Retry::Backoff, "{text}");
    let calls = gateway.take_calls();
    assert_eq!(calls.iter().filter(|call| call.contains(INIT)).count(), 1, "{calls:?}");
    assert!(calls.iter().filter(|call| call.contains("/status")).count() > 3, "{calls:?}");
    assert!(!calls.iter().any(|call| call.contains("/accounts")), "{calls:?}");
    // Again and again in vain: less often.
    let pause = gateway.config().maintenance_pause;
    assert_eq!(client.fail().await.0, Retry::After(pause));
    assert_eq!(client.fail().await.0, Retry::After(pause * 2));
    // It opens between two looks.
    gateway.take_calls();
    client.start();
    gateway.until_called("/iserver/auth/status", 2).await;
    gateway.state().authenticated = true;
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(gateway.count(INIT), 1);
    client.stop().await;
}

#[tokio::test]
async fn f06_a_refusal_to_open_a_brokerage_session_is_not_asked_for_again_and_again() {
    let gateway = Gateway::start().await;
    gateway.state().authenticated = false;
    gateway.answer(INIT, Reply::status(500, r#"{"error":"failed to generate sso dh token"}"#));
    let mut client = Client::new(gateway.config());
    let (retry, text) = client.fail().await;
    assert_eq!(retry, Retry::Backoff, "{text}");
    assert!(text.contains("failed to generate sso dh token"), "{text}");
    let pause = gateway.config().maintenance_pause;
    for times in [1, 2, 4] {
        assert_eq!(client.fail().await.0, Retry::After(pause * times));
    }
    assert_eq!(gateway.count(INIT), 4);
    gateway.assert_clean();
}

#[tokio::test]
async fn f07_no_bridge_is_a_brokerage_session_that_is_missing() {
    let gateway = Gateway::start().await;
    // The status still tells of the session that is gone.
    let healthy = r#"{"authenticated":true,"competing":false,"connected":true}"#;
    gateway.state().authenticated = false;
    let tickle = format!(r#"{{"session":"canary0001","iserver":{{"authStatus":{healthy}}}}}"#);
    gateway.answer("/tickle", Reply::ok(tickle));
    gateway.answer("/iserver/auth/status", Reply::ok(healthy));
    let mut client = Client::started(gateway.config());
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!((gateway.count(INIT), gateway.count("/iserver/accounts")), (1, 2));
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f08_a_session_held_by_another_login_is_taken_with_leave_only() {
    let gateway = Gateway::start().await;
    gateway.change(|state| {
        (state.authenticated, state.init_fails) = (false, true);
        state.fail = "Force compete capability must be used together with compete flag".into();
    });
    let (retry, text) = Client::new(gateway.config()).fail().await;
    assert_eq!(retry, TAKEN);
    assert!(text.contains("in use by another login") && text.contains("Force compete"), "{text}");
    assert!(!gateway.state().requests.iter().any(|it| it.body.contains(r#""compete":true"#)));
    gateway.state().init_fails = false;
    gateway.take_calls();
    let mut config = gateway.config();
    config.compete = true;
    let mut client = Client::started(config);
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    let bodies: Vec<String> = gateway.state().requests.iter().map(|it| it.body.clone()).collect();
    assert_eq!(bodies.iter().filter(|body| body.contains(r#""compete":true"#)).count(), 1, "{bodies:?}");
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f08_a_session_that_is_being_taken_over_competes_for_a_while() {
    let gateway = Gateway::start().await;
    gateway.change(|state| (state.authenticated, state.taken) = (false, true));
    let looks = std::sync::atomic::AtomicU32::new(0);
    gateway.on(move |request| {
        let look = looks.fetch_add(u32::from(request.line.contains("/auth/")), std::sync::atomic::Ordering::SeqCst);
        let still = r#"{"authenticated":false,"connected":false,"competing":true}"#;
        // The answer to the call and two looks.
        (request.line.contains("/auth/status") && look < 3).then(|| Reply::ok(still))
    });
    let mut config = gateway.config();
    config.compete = true;
    let mut client = Client::started(config);
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!((gateway.count(INIT), gateway.count("/auth/status")), (1, 3));
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f13_a_competing_login_ends_the_stream_and_its_end_is_enough_to_recover() {
    for told_by_websocket in [true, false] {
        let gateway = Gateway::start().await;
        let mut config = gateway.config();
        if !told_by_websocket {
            config.tickle_every = Duration::from_millis(20);
        }
        let mut client = Client::started(config);
        let mut wire = gateway.stream(&ALL).await;
        client.connected().await;
        gateway.change(|state| {
            state.lose_session();
            state.taken = true;
        });
        if told_by_websocket {
            wire.say(r#"{"topic":"sts","args":{"competing":true}}"#).await;
        }
        // Who has lost the session has nothing to say.
        wire.expect_farewell(&[]).await;
        let (retry, text) = client.failure().await;
        assert_eq!(retry, TAKEN, "{text}");
        assert!(text.contains("second username"), "{text}");
        // While it lasts nothing is taken, and one session asks once.
        gateway.take_calls();
        assert_eq!(client.fail().await.0, TAKEN);
        let requests = std::mem::take(&mut gateway.state().requests);
        assert!(
            requests.len() <= 3 && !requests.iter().any(|it| it.body.contains(r#""compete":true"#)),
            "{requests:?}"
        );
        gateway.state().taken = false;
        client.start();
        let _wire = gateway.stream(&ALL).await;
        client.connected().await;
        client.stop().await;
        gateway.assert_clean();
    }
}

#[tokio::test]
async fn f13_with_leave_to_compete_the_session_is_taken_back_by_the_next_one() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    (config.compete, config.tickle_every) = (true, Duration::from_millis(20));
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.change(|state| {
        state.lose_session();
        state.taken = true;
    });
    assert_eq!(wire.until_closed().await, Some(Vec::new()));
    assert_eq!(client.failure().await.0, Retry::Now);
    client.start();
    let _wire = gateway.stream(&ALL).await;
    client.connected().await;
    assert_eq!(gateway.count(INIT), 1);
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f14_tickles_go_on_through_every_failure_and_tell_when_it_lasts() {
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.tickle_every = Duration::from_millis(60);
    config.rest_timeout = Duration::from_millis(200);
    let mut client = Client::started(config);
    let mut wire = gateway.stream(&ALL).await;
    client.connected().await;
    gateway.on(|request| match call(request).as_str() {
        "POST /tickle" => Some(Reply::none()),
        _ => None,
    });
    client.degraded("does not answer").await;
    // The stream is not touched by it.
    wire.say(&delta_frame(SPY_CALL, 0.25)).await;
    client.delta(0.25).await;
    gateway.recover();
    gateway.answer("/tickle", Reply::status(503, "<html>"));
    let called = gateway.count("/tickle");
    gateway.until_called("/tickle", called + 3).await;
    client.degraded("does not answer").await;
    gateway.recover();
    client.connected().await;
    client.stop().await;
    gateway.assert_clean();
}

#[tokio::test]
async fn f19_maintenance_is_waited_for_and_asked_after_once() {
    for status in [502, 503, 504] {
        let gateway = Gateway::start().await;
        gateway.answer("/", Reply::status(status, "<html>Service Unavailable</html>"));
        let mut client = Client::new(gateway.config());
        let (retry, text) = client.fail().await;
        assert_eq!(retry, Retry::After(gateway.config().maintenance_pause), "{text}");
        assert!(text.contains("nightly reset"), "{text}");
        assert_eq!(gateway.take_calls(), ["POST /tickle"]);
        gateway.recover();
        client.start();
        let _wire = gateway.stream(&ALL).await;
        client.stop().await;
    }
    // The websocket has its own way to say so.
    let gateway = Gateway::start().await;
    let mut client = Client::started(gateway.config());
    let mut socket = gateway.accept_raw().await;
    let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, refusal).await.unwrap();
    assert_eq!(client.failure().await.0, Retry::After(gateway.config().maintenance_pause));
}
