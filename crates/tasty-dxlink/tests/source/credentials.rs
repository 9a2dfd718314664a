//! The failures of tokens and logins that users of other clients report, numbered as in `failures.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fake::*;
use greeks_model::{OperatorReason, Retry, SessionEnd, SessionState};

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
    let (mut client, mut streamer) = broker.streaming(config.clone()).await;
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
    let (mut client, mut streamer) = broker.streaming(config).await;
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
    let (mut client, mut streamer) = broker.streaming(config).await;
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
