//! The plain course, and everything a test may do to a running double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::common::rows::{Decoder, greeks, number, read_until, same, subscribe_all, text};
use crate::common::{LIMIT, Raw, config};
use broker_sim::{
    ColumnOrder, Control, Disconnect, GreekValues, ScriptedGreeks, ScriptedQuote, SimError, Stamp, TastySim,
};
use serde_json::json;

fn values(n: f64) -> GreekValues {
    GreekValues {
        price: n,
        volatility: n / 3.0,
        delta: 0.1 + n,
        gamma: 1e-300,
        theta: -n / 7.0,
        rho: -0.0,
        vega: f64::MAX,
    }
}

fn scripted(symbol: &str, time: i64, n: f64) -> ScriptedGreeks {
    ScriptedGreeks { symbol: symbol.to_owned(), stamp: Stamp { time, sequence: 3 }, values: values(n) }
}

#[tokio::test]
async fn what_arrives_is_the_ledger_bit_for_bit() {
    for format in ["COMPACT", "FULL"] {
        for order in [ColumnOrder::Scrambled, ColumnOrder::Schema, ColumnOrder::Asked] {
            let mut config = config();
            config.dxlink.columns = order;
            let sim = TastySim::start(config).await.unwrap();
            let mut raw = Raw::ready(&sim, "AUTO", 0.0, format).await;
            let contracts = subscribe_all(&mut raw, &sim).await;
            raw.subscribe("Quote", &["AAPL", "SPX"]).await;
            let mut decoder = Decoder::default();
            let mut rows = read_until(&mut raw, &mut decoder, |rows| greeks(rows).len() >= 150).await;
            // The last known value of each contract comes first.
            let first: HashSet<&str> = greeks(&rows)[..contracts].iter().map(|row| text(row, "eventSymbol")).collect();
            assert_eq!(first.len(), contracts);
            // The client reads on while the double closes.
            let control = sim.control();
            let (ended, ()) = tokio::join!(control.disconnect_all(Disconnect::Orderly), async {
                while let Some(Ok(message)) = raw.next().await {
                    rows.extend(decoder.take(&message));
                }
            });
            assert_eq!(ended.unwrap(), 1);
            let ledger = sim.ledger().snapshot();
            let received = greeks(&rows);
            assert_eq!(received.len(), ledger.entries.len());
            assert!(received.iter().zip(&ledger.entries).all(|(row, entry)| same(row, entry)));
            assert!(ledger.entries.iter().all(|entry| entry.written && entry.connection == 1));
            assert_eq!(ledger.overflowed, 0);
            if format == "COMPACT" {
                assert_eq!(decoder.fields["Quote"].len(), 4);
                assert_eq!(decoder.fields["Greeks"] == crate::common::GREEKS_FIELDS, order == ColumnOrder::Asked);
            }
            assert!(rows.iter().any(|row| text(row, "eventType") == "Quote"), "several types on one channel");
            assert_eq!(sim.violations(), []);
            assert_eq!(sim.unknown_symbols(), [] as [String; 0]);
            sim.shutdown().await;
        }
    }
}

/// A market that says nothing of its own accord after its opening.
async fn silent() -> (TastySim, Control) {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    control.pause().await.unwrap();
    (sim, control)
}

#[tokio::test]
async fn scripted_events_arrive_exactly_and_in_order() {
    let (sim, control) = silent().await;
    let mut raw = Raw::ready(&sim, "TICKER", 0.0, "COMPACT").await;
    raw.subscribe("Greeks", &[".MINE261218C1"]).await;
    raw.subscribe("Quote", &["MINE"]).await;
    sim.wait_until(LIMIT, |stats| stats.greeks_subscribed == 1).await.unwrap();
    let far = 1_900_000_000_000;
    let script: Vec<_> =
        (0..40).map(|n| scripted(".MINE261218C1", far + n, 1.0 + f64::from(u32::try_from(n).unwrap()))).collect();
    control.emit(&script).await.unwrap();
    let stale = scripted(".MINE261218C1", far - 1, 9.0);
    control.emit(&[stale]).await.unwrap();
    let stamp = Stamp { time: far, sequence: 0 };
    control.emit_quote(&ScriptedQuote { symbol: "MINE".into(), stamp, bid: 1.25, ask: f64::INFINITY }).await.unwrap();
    let mut decoder = Decoder::default();
    let rows = read_until(&mut raw, &mut decoder, |rows| rows.len() > 40).await;
    for (n, row) in greeks(&rows).iter().enumerate() {
        let entry = &sim.ledger().snapshot().entries[n];
        assert!(same(row, entry));
        assert_eq!((entry.stamp, entry.values), (script[n].stamp, script[n].values));
    }
    assert_eq!(greeks(&rows).len(), 40, "the stale one is not sent");
    let quote = rows.last().unwrap();
    assert_eq!((number(quote, "bidPrice"), number(quote, "askPrice")), (1.25, f64::INFINITY));
    assert_eq!(sim.unknown_symbols(), [".MINE261218C1"], "no position has it: a test of a client would see that");
}

#[tokio::test]
async fn aggregation_keeps_the_newest_and_stream_keeps_all() {
    let (sim, control) = silent().await;
    let mut ticker = Raw::ready(&sim, "AUTO", 0.3, "COMPACT").await;
    let mut stream = Raw::ready(&sim, "STREAM", 0.3, "COMPACT").await;
    for raw in [&mut ticker, &mut stream] {
        raw.subscribe("Greeks", &[".X261218C1", ".Y261218C1"]).await;
    }
    sim.wait_until(LIMIT, |stats| stats.greeks_subscribed == 4).await.unwrap();
    let far = 1_900_000_000_000;
    // The first value opens the period; what follows within it is conflated.
    control.emit(&[scripted(".X261218C1", far, 1.0)]).await.unwrap();
    let mut decoder = Decoder::default();
    let first = read_until(&mut ticker, &mut decoder, |rows| !rows.is_empty()).await;
    assert_eq!(number(&first[0], "price"), 1.0);
    for n in 2..=5_u32 {
        control.emit(&[scripted(".X261218C1", far + i64::from(n), f64::from(n))]).await.unwrap();
    }
    control.emit(&[scripted(".Y261218C1", far, 7.0)]).await.unwrap();
    let rows = read_until(&mut ticker, &mut decoder, |rows| rows.len() >= 2).await;
    let prices: Vec<f64> = rows.iter().map(|row| number(row, "price")).collect();
    assert_eq!(prices, [5.0, 7.0]);
    assert_eq!(sim.wait_until(LIMIT, |stats| stats.conflated >= 3).await.unwrap().conflated, 3);
    let all = read_until(&mut stream, &mut Decoder::default(), |rows| rows.len() >= 6).await;
    assert_eq!(all.iter().map(|row| number(row, "price")).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]);
}

#[tokio::test]
async fn what_is_removed_falls_silent_and_reset_clears() {
    let (sim, control) = silent().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    raw.subscribe("Greeks", &[".X261218C1", ".Y261218C1", ".Z261218C1"]).await;
    raw.send(
        json!({"type": "FEED_SUBSCRIPTION", "channel": 1, "remove": [{"type": "Greeks", "symbol": ".X261218C1"}]}),
    )
    .await;
    sim.wait_until(LIMIT, |stats| stats.greeks_subscribed == 2).await.unwrap();
    let all = |time: i64| [".X261218C1", ".Y261218C1", ".Z261218C1"].map(|symbol| scripted(symbol, time, 1.0));
    control.emit(&all(1_900_000_000_000)).await.unwrap();
    let mut decoder = Decoder::default();
    let rows = read_until(&mut raw, &mut decoder, |rows| rows.len() >= 2).await;
    let symbols: HashSet<&str> = rows.iter().map(|row| text(row, "eventSymbol")).collect();
    assert_eq!(symbols, [".Y261218C1", ".Z261218C1"].into());
    raw.send(json!({
        "type": "FEED_SUBSCRIPTION", "channel": 1, "reset": true, "add": [{"type": "Greeks", "symbol": ".X261218C1"}],
    }))
    .await;
    let rows = read_until(&mut raw, &mut decoder, |rows| !rows.is_empty()).await;
    assert_eq!(text(&rows[0], "eventSymbol"), ".X261218C1", "the last known value, though emitted before");
    control.emit(&all(1_900_000_000_001)).await.unwrap();
    let rows = read_until(&mut raw, &mut decoder, |rows| !rows.is_empty()).await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn disconnections_of_both_kinds_and_refusals() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    subscribe_all(&mut raw, &sim).await;
    sim.wait_until(LIMIT, |stats| stats.streaming == 1).await.unwrap();
    assert_eq!(control.disconnect_all(Disconnect::Abrupt).await.unwrap(), 1);
    while let Some(message) = raw.next().await {
        assert!(message.is_ok(), "a reset says no farewell");
    }
    let stats = sim.stats();
    assert_eq!((stats.open, stats.streaming, stats.greeks_subscribed), (0, 0, 0));

    control.refuse_connections(true);
    let refused = tokio_tungstenite::connect_async(sim.dxlink_url()).await.unwrap_err();
    assert!(refused.to_string().contains("502"), "{refused}");
    control.refuse_connections(false);

    let mut raw = Raw::ready(&sim, "AUTO", 0.1, "COMPACT").await;
    let (ended, ()) = tokio::join!(control.expire_quote_tokens(), async {
        assert_eq!(raw.find("AUTH_STATE").await["state"], "UNAUTHORIZED");
        assert_eq!(raw.expect_close().await, 1008);
    });
    assert_eq!(ended.unwrap(), 1);
    assert_eq!(control.disconnect_all(Disconnect::Orderly).await.unwrap(), 0);
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn positions_open_and_close_while_it_runs() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    let contract = "SPXW  300118P06500000".parse().unwrap();
    assert!(
        matches!(control.open_position("5WT00003", &contract, 1).await, Err(SimError::Unknown(_))),
        "closed account"
    );
    let foreign = "MSFT  261218C00500000".parse().unwrap();
    assert!(matches!(control.open_position("5WT00001", &foreign, 1).await, Err(SimError::Unknown(_))));
    assert!(matches!(control.close_position("5WT00001", &contract), Err(SimError::Unknown(_))));
    control.open_position("5WT00002", &contract, -4).await.unwrap();
    let row = |sim: &TastySim| {
        sim.positions().into_iter().find(|position| position.listing().is_some_and(|l| l.contract == contract)).unwrap()
    };
    assert_eq!((row(&sim).quantity, row(&sim).account.as_str()), (-4, "5WT00002"));
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    raw.subscribe("Greeks", &[".SPXW300118P6500"]).await;
    let rows = read_until(&mut raw, &mut Decoder::default(), |rows| rows.len() > 3).await;
    assert!(rows.iter().all(|row| (-1.0..0.0).contains(&number(row, "delta"))));
    control.close_position("5WT00002", &contract).unwrap();
    assert_eq!(row(&sim).quantity, 0);
}

#[tokio::test]
async fn the_rate_can_be_changed_and_the_market_stopped() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    control.pause().await.unwrap();
    let before = sim.stats().greeks_emitted;
    control.set_rate(5000.0).await.unwrap();
    assert!(matches!(control.set_rate(0.0).await, Err(SimError::Config(_))));
    assert!(matches!(
        sim.wait_until(Duration::from_millis(50), |s| s.greeks_emitted > before).await,
        Err(SimError::Timeout(_))
    ));
    control.resume().await.unwrap();
    let began = std::time::Instant::now();
    sim.wait_until(LIMIT, |stats| stats.greeks_emitted >= before + 2500).await.unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!((0.4..2.0).contains(&took), "2500 events at 5000/s took {took} s");
    sim.shutdown().await;
    assert!(matches!(control.pause().await, Err(SimError::Stopped)));
}

/// Nothing grows while a client does not read; it gets the newest values once it does.
#[tokio::test]
async fn a_slow_reader_is_conflated() {
    let (sim, control) = silent().await;
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let symbols: Vec<String> = (0..1000).map(|n| format!(".SLOW261218C{n}")).collect();
    raw.subscribe("Greeks", &symbols.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sim.wait_until(LIMIT, |stats| stats.greeks_subscribed == 1000).await.unwrap();
    let far = 1_900_000_000_000_i64;
    // Far more than the socket and the bus hold together.
    let mut rounds = 0_i64;
    while rounds < 800 {
        rounds += 1;
        let batch: Vec<_> = symbols.iter().map(|symbol| scripted(symbol, far + rounds, 2.0)).collect();
        control.emit(&batch).await.unwrap();
    }
    let mut decoder = Decoder::default();
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut received = 0_usize;
    while last.len() < 1000 || last.values().any(|time| *time != far + rounds) {
        let message = raw.next().await.expect("open").expect("no close");
        for row in decoder.take(&message) {
            received += 1;
            let time = row["time"].as_i64().unwrap();
            let before = last.insert(text(&row, "eventSymbol").to_owned(), time);
            assert!(before.is_none_or(|before| before < time), "never backwards");
        }
    }
    assert!(received < 750_000, "{received}: some were conflated");
    assert_eq!(sim.violations(), []);
}

/// A client that never reads again does not hold anything for long.
#[tokio::test]
async fn a_dead_reader_is_dropped() {
    let mut config = config();
    config.dxlink.slow_reader_timeout = Duration::from_millis(300);
    let sim = TastySim::start(config).await.unwrap();
    let control = sim.control();
    control.pause().await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "FULL").await;
    let symbols: Vec<String> = (0..1000).map(|n| format!(".DEAD261218C{n}")).collect();
    raw.subscribe("Greeks", &symbols.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sim.wait_until(LIMIT, |stats| stats.greeks_subscribed == 1000).await.unwrap();
    let mut round = 0;
    while sim.wait_until(Duration::ZERO, |stats| stats.open == 0).await.is_err() {
        round += 1;
        assert!(round < 20_000, "it is still connected");
        let batch: Vec<_> = symbols.iter().map(|symbol| scripted(symbol, 1_900_000_000_000 + round, 2.0)).collect();
        control.emit(&batch).await.unwrap();
    }
    let view = sim.ledger().snapshot();
    assert!(view.entries.iter().any(|entry| !entry.written), "what was cut off is marked");
    assert!(view.entries.iter().any(|entry| entry.written));
}
