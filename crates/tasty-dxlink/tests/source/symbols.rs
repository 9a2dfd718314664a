//! Under which symbols options and what they are written on are subscribed.

use std::time::{Duration, Instant};

use crate::fake::*;
use futures_util::StreamExt;
use greeks_model::{Instrument, SessionEnd, SessionState, SourceEvent};

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
async fn an_option_whose_day_is_over_is_held_and_not_waited_for() {
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
    assert_eq!(broker.count("/instruments/future"), 0, "it is worth no question");
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

/// Whose clock is a month ahead misses nothing by that.
#[tokio::test]
async fn what_has_expired_by_this_sides_clock_alone_is_streamed() {
    let broker = Broker::start().await;
    let future = POSITION_F.replace("MNQZ6", "MESZ5").replace("D4AU6 260922", "EX3Z5 251219").replace("24575", "6650");
    broker.hold(&[POSITION_A.replace("261218C00232500", "251231C00240000"), future]);
    let mut config = one_account(broker.config());
    config.silent_after = Duration::from_millis(100);
    let mut client = Client::new(config, 64);
    client.ends.clock.advance(Duration::from_secs(31 * 24 * 3600));
    client.start();
    let SourceEvent::Positions(snapshot) = client.event().await else { panic!() };
    let mut streamer = broker.request_channels().await;
    streamer.open(1).await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    for symbol in [".AAPL251231C240", "./EX3Z25C6650:XCME"] {
        assert!(subscription.contains(symbol), "{symbol}: {subscription}");
    }
    streamer.open(3).await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    for symbol in ["AAPL", "/MESZ25:XCME"] {
        assert!(subscription.contains(&format!("\"{symbol}\"")), "{symbol}: {subscription}");
    }
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(".AAPL251231C240", 0.5)])).await;
    client.state(connected).await;
    let SourceEvent::Quote { update, .. } = client.quote().await else { panic!() };
    assert_eq!((update.instrument, update.delta), (snapshot.positions[0].instrument, Some(0.5)));
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
