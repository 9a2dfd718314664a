//! The pace of the market on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod common;

use std::time::{Duration, Instant};

use broker_sim::{MarketConfig, SimConfig, SimulatedMarket, TastySim};
use common::{LIMIT, Raw};
use futures_util::StreamExt;

/// Events that were sent in `seconds` at `rate`, to a client that only reads.
async fn sent(rate: f64, seconds: u64) -> u64 {
    let mut config = SimConfig::simulated(1);
    let market = SimulatedMarket { positions: 400, rate, underlying_rate: 20.0, ..SimulatedMarket::default() };
    config.market = MarketConfig::Simulated(market);
    let sim = TastySim::start(config).await.unwrap();
    sim.control().pause().await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let symbols: std::collections::BTreeSet<String> = sim
        .positions()
        .iter()
        .filter_map(|position| position.listing())
        .map(|listing| listing.streamer_symbol.clone())
        .collect();
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    for part in names.chunks(100) {
        raw.subscribe("Greeks", part).await;
    }
    let opening = symbols.len() as u64;
    sim.wait_until(LIMIT, |stats| stats.greeks_sent == opening).await.unwrap();
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = raw.socket.next().await {} });
    let before = sim.stats();
    let began = Instant::now();
    sim.control().resume().await.unwrap();
    // The clock is what is measured here.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    sim.control().pause().await.unwrap();
    let took = began.elapsed().as_secs_f64();
    let emitted = sim.stats().greeks_emitted - before.greeks_emitted;
    let sent = sim.wait_until(LIMIT, |stats| stats.greeks_sent == opening + emitted).await.expect("none is lost");
    assert_eq!(sent.conflated, 0);
    assert_eq!(sim.ledger().snapshot().entries.len() as u64, opening + emitted);
    let expected = rate * took;
    assert!((emitted as f64 - expected).abs() <= 1.0 + 0.02 * expected, "{emitted} instead of {expected} in {took} s");
    sim.shutdown().await;
    reader.await.unwrap();
    emitted
}

#[tokio::test]
async fn five_a_second() {
    sent(5.0, 2).await;
}

#[tokio::test]
async fn twenty_thousand_a_second() {
    sent(20_000.0, 3).await;
}
