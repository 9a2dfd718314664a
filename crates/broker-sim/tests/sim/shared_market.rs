//! One market, two brokers: one contract has one truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::HashMap;

use crate::common::rows::subscribe_all;
use crate::gateway::{Gateway, LIMIT, OPTION_FIELDS, contracts};
use broker_sim::{IbkrSim, SimMarket, TastySim};

#[tokio::test]
async fn a_contract_at_both_brokers_has_one_truth() {
    let config = crate::common::config();
    let market = SimMarket::start(config.market.clone()).await.unwrap();
    let tasty = TastySim::start_on(&market, config).await.unwrap();
    let ibkr = IbkrSim::start_on(&market, crate::gateway::config()).await.unwrap();
    let mut shared = contracts(&ibkr);
    shared.retain(|row| tasty.positions().iter().any(|other| other.contract() == row.contract()));
    assert_eq!(shared.len(), 6);
    market.pause().await.unwrap();

    let mut dxlink = crate::common::Raw::ready(&tasty, "AUTO", 0.0, "COMPACT").await;
    let options = subscribe_all(&mut dxlink, &tasty).await as u64;
    tasty.wait_until(LIMIT, |stats| stats.greeks_sent >= options).await.unwrap();
    let mut raw = Gateway::ready(&ibkr).await.live().await;
    for row in &shared {
        raw.subscribe(row.conid, &OPTION_FIELDS).await;
    }
    ibkr.wait_until(LIMIT, |stats| stats.greek_frames == 18).await.unwrap();
    let symbols: HashMap<String, String> = tasty
        .positions()
        .iter()
        .filter_map(|row| row.listing())
        .map(|listing| (listing.contract.to_string(), listing.streamer_symbol.clone()))
        .collect();
    let told: HashMap<String, _> =
        tasty.ledger().snapshot().entries.iter().map(|entry| (entry.symbol.to_string(), entry.values)).collect();
    for entry in ibkr.ledger().snapshot().entries {
        let there = told[&symbols[&*entry.contract]];
        let here = entry.market.unwrap();
        assert_eq!((there.delta.to_bits(), there.price.to_bits()), (here.delta.to_bits(), here.price.to_bits()));
        if let Some(delta) = entry.state.delta {
            assert!((delta - there.delta).abs() <= 0.0005, "printed with three decimals");
        }
    }

    // Each broker goes without harm to the other, and the market outlives both.
    tasty.shutdown().await;
    market.resume().await.unwrap();
    let before = ibkr.stats().frames;
    ibkr.wait_until(LIMIT, |stats| stats.frames > before + 10).await.unwrap();
    assert_eq!(ibkr.violations(), []);
    ibkr.shutdown().await;
    assert!(market.set_rate(5.0).await.is_ok());
    market.shutdown().await;
}

#[tokio::test]
async fn a_chain_is_told_by_both() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let row = |kind: &str, strike: u32, date: &str| format!("SPX,2795.0,SPXW,{kind},12/21/2018,{date},{strike},0.12\n");
    let mut text = String::from("underlying,underlying_last,optionroot,type,expiration,quotedate,strike,impliedvol\n");
    for date in ["02/05/2018", "02/06/2018"] {
        for strike in [2700, 2800, 2900] {
            text += &row("call", strike, date);
            text += &row("put", strike, date);
        }
    }
    std::fs::write(file.path(), text).unwrap();
    let mut config = crate::gateway::config();
    config.market = broker_sim::SimConfig::chain(file.path()).market;
    config.customer.positions = 3;
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let held = contracts(&sim);
    assert_eq!(held.len(), 5);
    for row in &held {
        raw.subscribe(row.conid, &OPTION_FIELDS).await;
    }
    sim.wait_until(LIMIT, |stats| stats.market_finished).await.unwrap();
    let entries = sim.ledger().snapshot().entries;
    assert!(entries.iter().any(|entry| entry.known));
    // Times are those of the chain.
    assert!(entries.iter().all(|entry| (1_517_840_000_000..1_518_000_000_000).contains(&entry.updated)));
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}
