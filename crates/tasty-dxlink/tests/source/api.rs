//! What the REST API says and refuses: credentials, accounts, symbols.

use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::StreamExt;
use greeks_model::{AccountId, Instrument, OperatorReason, Retry, SessionEnd, SessionState, SourceEvent, UnixNanos};

const ASK_A: &str = "/instruments/equity-options/AAPL%20%20261218C00232500";

/// The symbol under which the position A is subscribed.
async fn symbol_of_a(broker: &Broker) -> String {
    broker.positions(&[POSITION_A]);
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.request_channels().await;
    streamer.open(1).await;
    let said: serde_json::Value = serde_json::from_str(&streamer.expect("FEED_SUBSCRIPTION").await).unwrap();
    client.ends.cancel.cancel();
    client.end().await.unwrap();
    said["add"][0]["symbol"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_option_on_a_future_takes_its_symbols_from_the_api() {
    let broker = Broker::start().await;
    broker.positions(&[POSITION_F]);
    broker.answer(
        "/instruments/future-options/.%2FMNQZ6D4AU6%20260922C24575",
        Reply::ok(r#"{"data":{"streamer-symbol":"./D4AU26C24575:XTEST"}}"#),
    );
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.request_channels().await;
    for (channel, symbol) in [(1, "./D4AU26C24575:XTEST"), (3, "/MNQZ26:XTEST")] {
        streamer.open(channel).await;
        let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(subscription.contains(&format!("\"{symbol}\"")), "{subscription}");
    }
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    let held = client.ends.instruments.get(snapshot.positions[0].instrument).unwrap();
    assert_eq!(*held, Instrument::Option("/MNQZ26 260922C24575".parse().unwrap()));
    assert_eq!(broker.count("/instruments/futures/%2FMNQZ6"), 1);
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
    let position = POSITION_F.replace("MNQZ6", "ZZZZ6");
    broker.positions(&[&position]);
    broker.answer(
        "/futures-option-chains/ZZZ/nested",
        Reply::ok(r#"{"data":{"futures":[],"option-chains":[{"expirations":[{"strikes":[{"call":"./ZZZZ6D4AU6 260922C24575","call-streamer-symbol":"./D4AU26C24575:XTEST"}]}]}]}}"#),
    );
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.request_channels().await;
    for (channel, symbol) in [(1, "./D4AU26C24575:XTEST"), (3, "/ZZZZ26:XTEST")] {
        streamer.open(channel).await;
        let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
        assert!(subscription.contains(&format!("\"{symbol}\"")), "{subscription}");
    }
    stop(client).await;
}

#[tokio::test]
async fn a_product_that_the_api_does_not_know_yet_is_asked_for_again_after_a_while() {
    let broker = Broker::start().await;
    let position = |strike: u32| POSITION_F.replace("MNQZ6", "ZZZZ6").replace("24575", &strike.to_string());
    broker.hold(&(24_000..24_012).map(position).collect::<Vec<_>>());
    let mut config = one_account(broker.config());
    let hours = Duration::from_secs(7200);
    // The clock is moved below: nothing but the poll is to fall due by that.
    (config.keepalive_timeout, config.quiet_after, config.silent_after) = (hours, hours, hours);
    (config.step_timeout, config.rest_timeout) = (hours, hours);
    config.position_poll = Duration::from_secs(700);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.authorize().await;
    let told = client.state(|state| *state != SessionState::Connecting).await;
    assert_eq!(told, SessionState::Degraded { reason: "12 option position(s) cannot be streamed".into() });
    assert_eq!(broker.count("/instruments/future-options/"), 12);
    let later = || async {
        let looks = broker.count("/positions");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(701)).await;
        tokio::time::resume();
        while broker.count("/positions") == looks {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The reads of this look follow each other without a pause.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    later().await;
    let asked = broker.count("/instruments/future-options/") - 12;
    assert!((1..=4).contains(&asked), "{asked}: those that ask together, and no other of the product");
    assert_eq!(broker.count("/futures-option-chains/ZZZ/nested"), 2);
    broker.on(move |request| {
        let (_, tail) = request.line.split_once("/instruments/future-options/")?;
        let strike = tail.split_once("260922C")?.1.get(..5)?;
        Some(Reply::ok(format!(r#"{{"data":{{"streamer-symbol":"./D4AU26C{strike}:XTEST"}}}}"#)))
    });
    later().await;
    for channel in [1, 3] {
        let request = streamer.expect("CHANNEL_REQUEST").await;
        assert!(request.contains(&format!("\"channel\":{channel},")), "{request}");
    }
    streamer.open(1).await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(subscription.contains("./D4AU26C24000:XTEST"), "{subscription}");
    stop(client).await;
}

#[tokio::test]
async fn an_option_whose_day_is_over_is_held_and_not_subscribed() {
    let broker = Broker::start().await;
    // The last one is of a product that nothing is known of.
    let positions = [
        POSITION_A.to_owned(),
        POSITION_A.replace("261218C00232500", "251231C00240000"),
        POSITION_B.replace("261124", "251231").replace(r#""quantity":"1""#, r#""quantity":"2""#),
        POSITION_F.replace("MNQZ6", "ZZZZ5").replace("D4AU6 260922", "D4AU5 250922"),
    ];
    broker.hold(&positions);
    let mut config = one_account(broker.config());
    config.silent_after = Duration::from_millis(100);
    config.position_poll = Duration::from_millis(200);
    let mut client = Client::new(config, 64);
    // Five hours into the first of January in UTC it is midnight in New York.
    client.ends.clock.advance(Duration::from_secs(5 * 3600 - 1));
    client.start();
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    assert_eq!(snapshot.positions.len(), 4);
    let mut streamer = broker.request_channels().await;
    streamer.open(1).await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    for symbol in [SYMBOL_A, ".AAPL251231C240", ".SPXW251231P6650"] {
        assert!(subscription.contains(symbol), "{symbol}: {subscription}");
    }
    assert!(!subscription.contains("D4AU"), "{subscription}");
    assert_eq!(broker.count("/instruments/future"), 0, "nor is its symbol asked for");
    streamer.open(3).await;
    streamer.expect("FEED_SUBSCRIPTION").await;
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    let told = client.state(|state| matches!(state, SessionState::Degraded { .. })).await;
    assert_eq!(told, SessionState::Degraded { reason: "2 subscribed option(s) never had an event".into() });
    client.ends.clock.advance(Duration::from_secs(1));
    client.state(connected).await;
    while client.ends.events.try_recv().is_ok() {}
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    assert_eq!(snapshot.positions.len(), 4, "all of them are held as long as they are listed");
    stop(client).await;
}

#[tokio::test]
async fn a_large_book_is_not_asked_for_option_by_option() {
    let broker = Broker::start().await;
    let positions: Vec<String> =
        (0..100).map(|strike| POSITION_A.replace("00232500", &format!("{:08}", 100_000 + strike * 1000))).collect();
    broker.hold(&positions);
    let mut client = Client::new(one_account(broker.config()), 64);
    client.start();
    let _streamer = broker.subscribe().await;
    assert_eq!((broker.count("/instruments/"), broker.count("/nested")), (16, 1));
    stop(client).await;
}

#[tokio::test]
async fn one_answer_names_the_exchange_of_all_options_on_the_futures_of_a_product() {
    let broker = Broker::start().await;
    let strikes: Vec<String> = (0..300).map(|strike| (24_000 + strike).to_string()).collect();
    let positions: Vec<String> =
        strikes.iter().map(|strike| POSITION_F.replace("MNQZ6", "ZZZZ6").replace("24575", strike)).collect();
    broker.hold(&positions);
    broker.on(move |request| {
        let (_, tail) = request.line.split_once("/instruments/future-options/")?;
        let strike = tail.split_once("260922C")?.1.get(..5)?;
        Some(Reply::ok(format!(r#"{{"data":{{"streamer-symbol":"./D4AU26C{strike}:XTEST"}}}}"#)))
    });
    let mut client = Client::new(one_account(broker.config()), 64);
    client.start();
    let mut streamer = broker.request_channels().await;
    streamer.open(1).await;
    let mut missing: std::collections::BTreeSet<String> =
        strikes.iter().map(|strike| format!("./D4AU26C{strike}:XTEST")).collect();
    while !missing.is_empty() {
        let said: serde_json::Value = serde_json::from_str(&streamer.expect("FEED_SUBSCRIPTION").await).unwrap();
        for added in said["add"].as_array().unwrap() {
            assert!(missing.remove(added["symbol"].as_str().unwrap()), "{added}");
        }
    }
    // Those whose turn comes while the first answer is on its way ask too.
    assert!(broker.count("/instruments/future-options/") <= 8, "{}", broker.count("/instruments/future-options/"));
    stop(client).await;
}

#[tokio::test]
async fn an_option_on_a_future_that_breaks_the_rule_is_found_and_the_others_stay() {
    let broker = Broker::start().await;
    let strikes: Vec<u32> = (24_000..24_012).collect();
    let position = |strike: &u32| POSITION_F.replace("MNQZ6", "ZZZZ6").replace("24575", &strike.to_string());
    let positions: Vec<String> = strikes.iter().map(position).collect();
    broker.hold(&positions);
    broker.on(move |request| {
        let (_, tail) = request.line.split_once("/instruments/future-options/")?;
        let strike = tail.split_once("260922C")?.1.get(..5)?;
        let odd = if strike == "24011" { ".0" } else { "" };
        Some(Reply::ok(format!(r#"{{"data":{{"streamer-symbol":"./D4AU26C{strike}{odd}:XTEST"}}}}"#)))
    });
    let mut config = one_account(broker.config());
    config.silent_after = Duration::from_millis(100);
    config.position_poll = Duration::from_millis(300);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.subscribe().await;
    let symbols: Vec<String> = strikes.iter().map(|strike| format!("./D4AU26C{strike}:XTEST")).collect();
    streamer.say(CONFIG).await;
    let heard: Vec<_> = symbols[..11].iter().map(|symbol| (symbol.as_str(), 0.5)).collect();
    streamer.say(&deltas(&heard)).await;
    let again = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(again.contains(&symbols[11]) && !again.contains("remove"), "{again}");
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    let said: serde_json::Value = serde_json::from_str(&change).unwrap();
    let item = |symbol: &str| serde_json::json!([{"type": "Greeks", "symbol": symbol}]);
    assert_eq!(
        (&said["add"], &said["remove"]),
        (&item("./D4AU26C24011.0:XTEST"), &item("./D4AU26C24011:XTEST")),
        "nothing else changes"
    );
    // And nothing does afterwards, the API being down.
    broker.answer("/instruments/", Reply::status(500, ""));
    streamer.say(&deltas(&[("./D4AU26C24011.0:XTEST", 0.25)])).await;
    client.state(connected).await;
    let looks = broker.count("/positions");
    while broker.count("/positions") < looks + 2 {
        client.event().await;
    }
    client.ends.cancel.cancel();
    assert_eq!(client.end().await.unwrap(), SessionEnd::Cancelled);
    while let Some(Ok(more)) = streamer.socket.next().await {
        assert!(!more.to_string().contains("FEED_SUBSCRIPTION"), "{more}");
    }
}

#[tokio::test]
async fn a_large_book_of_options_on_futures_is_not_asked_for_one_by_one() {
    for (product, most) in [("MNQ", 4 + 16), ("ZZZ", 4)] {
        let broker = Broker::start().await;
        let position = |strike: u32| POSITION_F.replace("MNQ", product).replace("24575", &strike.to_string());
        let positions: Vec<String> = (24_000..24_100).map(position).collect();
        broker.hold(&positions);
        broker.answer("/instruments/", Reply::status(500, ""));
        broker.answer("/futures-option-chains/", Reply::status(500, ""));
        let mut client = Client::new(one_account(broker.config()), 64);
        client.start();
        let _streamer = broker.authorize().await;
        let asked = broker.count("/instruments/future-options/");
        assert!((1..=most).contains(&asked), "{product}: {asked}");
        stop(client).await;
    }
}

#[tokio::test]
async fn an_api_that_hangs_does_not_hold_up_what_is_known_without_it() {
    let broker = Broker::start().await;
    let futures: Vec<String> =
        (0..20).map(|strike| POSITION_F.replace("C24575", &format!("C{}", 24_000 + strike))).collect();
    broker.positions(&std::iter::once(POSITION_A).chain(futures.iter().map(String::as_str)).collect::<Vec<_>>());
    broker.answer("/instruments/", Reply { delay: Duration::from_secs(30), ..Reply::status(500, "") });
    let began = Instant::now();
    let mut client = Client::new(broker.config(), 64);
    client.start();
    let mut streamer = broker.accept().await;
    streamer.expect("SETUP").await;
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
    let again = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(again.contains(&format!(r#""add":[{{"type":"Greeks","symbol":"{SYMBOL_A}"}}]"#)), "{again}");
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
