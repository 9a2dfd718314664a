//! What the REST API says and refuses: credentials, accounts, betas.

use std::time::Duration;

use crate::fake::*;
use greeks_model::{AccountId, OperatorReason, Retry, SessionState, SourceEvent, UnixNanos};

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
        // The token service has just accepted the credentials.
        ("/accounts", Reply::status(401, ""), Retry::Backoff),
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
async fn a_refused_call_never_ends_a_session_whose_credentials_are_accepted() {
    let broker = Broker::start().await;
    let unauthorized = || Reply::status(401, r#"{"error":{"code":"unauthorized","message":"x"}}"#);
    // The symbol of one position is asked for, and known without an answer.
    broker.answer("/instruments/", unauthorized());
    broker.answer("/option-chains/", unauthorized());
    let mut config = broker.config();
    config.position_poll = Duration::from_millis(50);
    let mut client = Client::new(config, 1024);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    assert!(broker.count("/instruments/") > 0);
    assert_eq!(broker.count("/oauth/token"), 2, "not a token for each call");
    broker.answer("/5WT00002/positions", unauthorized());
    let told = client.state(|state| *state != SessionState::Connected).await;
    assert_eq!(told, SessionState::Degraded { reason: "positions of 1 account(s) could not be read".into() });
    let polls = broker.count("/5WT00001/positions");
    while broker.count("/5WT00001/positions") < polls + 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5), "the stream goes on");
    assert_eq!(broker.count("/oauth/token"), 2);
    stop(client).await;
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
async fn a_missing_account_is_named_and_stops_no_other() {
    let broker = Broker::start().await;
    let accounts = |numbers: &[&str]| Some(numbers.iter().map(|it| AccountId::new(it).unwrap()).collect::<Vec<_>>());
    let mut config = broker.config();
    config.accounts = accounts(&["5WT00088", "5WT00001", "5WT00077"]);
    let tls = no_trust();
    let (report, streamer) = tokio::join!(tasty_dxlink::check(&config, &tls, UnixNanos::EPOCH), broker.authorize());
    drop(streamer);
    let report = report.unwrap();
    assert!(report.has_warnings() && report.failure().is_none());
    assert_eq!(Some(report.missing_accounts.clone()), accounts(&["5WT00088", "5WT00077"]));
    assert_eq!(Some(report.accounts.clone()), accounts(&["5WT00001"]));
    let lines = report.to_string();
    assert!(lines.contains("\naccounts: ··0001\nconfigured and not open: ··0088, ··0077\n"), "{lines}");
    let mut client = Client::new(config.clone(), 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    let told = client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    assert_eq!(told, SessionState::Degraded { reason: "configured account(s) ··0088, ··0077 are not open".into() });
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5));
    assert_eq!(broker.count("/5WT00077/") + broker.count("/5WT00088/"), 0);
    stop(client).await;

    config.accounts = accounts(&["5WT00088", "5WT00077"]);
    let mut client = Client::new(config, 64);
    client.start();
    let error = client.failure().await;
    assert_eq!(error.retry, Retry::Operator(OperatorReason::Configuration));
    let text = error.cause.to_string();
    assert!(text.contains("··0088, ··0077") && text.contains("··0001, ··0002"), "{text}");
}

/// Beta, in bits, and moment of every reference until one is about `last`.
async fn references(client: &mut Client, last: &str) -> Vec<(String, Option<u64>, UnixNanos)> {
    let mut found = Vec::new();
    loop {
        if let SourceEvent::Reference(it) = client.event().await {
            found.push((it.underlying.to_string(), it.beta.map(f64::to_bits), it.as_of));
            if &*it.underlying == last {
                return found;
            }
        }
    }
}

#[tokio::test]
async fn betas_of_what_is_held_are_asked_once_and_told() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_A, POSITION_B, POSITION_F]);
    let metrics = [
        r#"{"symbol":"AAPL","beta":"1.245","beta-updated-at":"2026-11-23T17:00:38.789Z"}"#,
        r#"{"symbol":"TSLA","beta":"2.0"}"#,
        r#"{"symbol":"SPX","beta":null,"beta-updated-at":"2026-11-23T17:00:38.789Z"}"#,
        r#"{"symbol":"/MNQ","beta":1.1,"beta-updated-at":"2026-11-23T17:00:38.789Z"}"#,
    ];
    broker.answer("/market-metrics", Reply::ok(items(&metrics)));
    let mut config = broker.config();
    config.position_poll = Duration::from_millis(50);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    let at = UnixNanos::from_millis(1_795_453_238_789);
    let told = |symbol: &str, beta: f64| (symbol.to_owned(), Some(beta.to_bits()), at);
    assert_eq!(references(&mut client, "/MNQ").await, [told("AAPL", 1.245), told("SPX", f64::NAN), told("/MNQ", 1.1)]);
    let asked = |symbols: &str| broker.lines().iter().filter(|line| line.ends_with(symbols)).count();
    assert_eq!(asked("/market-metrics?symbols=%2FMNQ%2CAAPL%2CSPX"), 1, "{:?}", broker.lines());

    // Positions are read again and again, the betas are not, until there is something new.
    let reads = broker.count("/positions");
    while broker.count("/positions") < reads + 3 {
        client.event().await;
    }
    assert_eq!(broker.count("/market-metrics"), 1);
    let new = POSITION_A.replace("AAPL", "MSFT");
    broker.positions(&[POSITION_A, &new]);
    broker.answer("/market-metrics", Reply::ok(items(&[r#"{"symbol":"MSFT","beta":"0.9"}"#])));
    let found = references(&mut client, "MSFT").await;
    assert_eq!((found.len(), found[0].1), (1, Some(0.9f64.to_bits())));
    assert_eq!(asked("/market-metrics?symbols=MSFT"), 1);
    crate::fake::stop(client).await;
}

#[tokio::test]
async fn an_api_without_betas_ends_no_session() {
    for reply in [
        Reply::status(500, ""),
        Reply::status(401, r#"{"error":{"code":"token_invalid"}}"#),
        Reply::status(403, r#"{"error":{"code":"insufficient_scope"}}"#),
        Reply::ok("<html>"),
    ] {
        let broker = Broker::start().await;
        broker.positions(&[POSITION_A]);
        broker.answer("/market-metrics", reply);
        let mut config = broker.config();
        config.position_poll = Duration::from_millis(50);
        let mut client = Client::new(config, 64);
        client.start();
        let mut streamer = broker.subscribe().await;
        streamer.say(CONFIG).await;
        streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
        while broker.count("/market-metrics") == 0 {
            client.event().await;
        }
        let asked = broker.count("/market-metrics");
        let reads = broker.count("/positions");
        while broker.count("/positions") < reads + 3 {
            client.event().await;
        }
        streamer.say(&deltas(&[(SYMBOL_A, 0.25)])).await;
        while delta_of(&client.event().await) != Some(0.25) {}
        // A token that is refused is renewed and tried once more; otherwise once is enough for ten minutes.
        assert!(broker.count("/market-metrics") <= asked.max(2));
        crate::fake::stop(client).await;
    }
}

fn delta_of(event: &SourceEvent) -> Option<f64> {
    if let SourceEvent::Quote { update, .. } = event { update.delta } else { None }
}
