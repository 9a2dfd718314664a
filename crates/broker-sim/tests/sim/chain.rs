//! A chain file on its way over the wire. The file is made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use crate::common::{LIMIT, Raw};
use broker_sim::{Carry, CarrySource, LedgerEntry, MarketConfig, SimConfig, SimError, TastySim};
use greeks_pricing::{BlackScholes, OptionKind};

/// 16:00 in New York on 2, 5 and 6 February 2018.
const CLOSES: [(&str, i64, f64, f64); 3] = [
    ("02/02/2018", 1_517_605_200_000, 2760.0, 0.15),
    ("02/05/2018", 1_517_864_400_000, 2649.0, 0.30),
    ("02/06/2018", 1_517_950_800_000, 2695.0, 0.25),
];

const STRIKES: [f64; 5] = [2500.0, 2600.0, 2700.0, 2800.0, 2900.0];

fn chain() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "\u{feff}underlying,underlying_last, exchange,optionroot,type,expiration,quotedate,strike,impliedvol"
    )
    .unwrap();
    for (date, _, spot, volatility) in CLOSES {
        for strike in STRIKES {
            writeln!(
                file,
                "SPXW,{spot},W,SPXW180228C{:08},call,02/28/2018,{date},{strike},{volatility}",
                strike * 1000.0
            )
            .unwrap();
        }
    }
    file
}

fn config(file: &tempfile::NamedTempFile) -> SimConfig {
    let mut config = SimConfig::chain(file.path());
    let MarketConfig::Chain(chain) = &mut config.market else { panic!("a chain") };
    chain.day = Duration::from_millis(300);
    chain.night = Duration::from_millis(150);
    chain.settle = Some(Duration::from_millis(200));
    chain.carry = CarrySource::Fixed(Carry { rate: 0.02, dividend_yield: 0.0 });
    config
}

/// Every close of every contract reaches a client that asked for aggregation, though it subscribed in two parts.
#[tokio::test]
async fn a_client_gets_every_close() {
    let file = chain();
    let sim = TastySim::start(config(&file)).await.unwrap();
    let symbols: Vec<String> =
        sim.positions().iter().map(|position| position.listing().unwrap().streamer_symbol.clone()).collect();
    assert_eq!(symbols.len(), STRIKES.len());
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut raw = Raw::ready(&sim, "AUTO", 0.05, "COMPACT").await;
    assert_eq!(sim.stats().greeks_emitted, 0, "nothing is played to an empty house");
    raw.subscribe("Greeks", &names[..2]).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(sim.stats().greeks_emitted, 0, "nor before the audience is seated");
    raw.subscribe("Greeks", &names[2..]).await;
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = raw.next().await {} });
    sim.wait_until(LIMIT, |stats| stats.market_finished).await.unwrap();
    let last_close = CLOSES[2].1;
    // The last closes wait for the end of an aggregation period.
    let closes = |entries: Vec<LedgerEntry>, time: i64| -> BTreeMap<String, LedgerEntry> {
        entries
            .into_iter()
            .filter(|entry| entry.stamp.time == time)
            .map(|entry| (entry.symbol.to_string(), entry))
            .collect()
    };
    let mut sent = 0;
    while closes(sim.ledger().snapshot().entries, last_close).len() < STRIKES.len() {
        sent = sim.wait_until(LIMIT, |stats| stats.greeks_sent > sent).await.expect("the last closes").greeks_sent;
    }
    for (date, time, spot, volatility) in CLOSES {
        let found = closes(sim.ledger().snapshot().entries, time);
        assert_eq!(found.len(), STRIKES.len(), "{date}");
        let days_left = f64::from(28 - date.split('/').nth(1).unwrap().parse::<i32>().unwrap());
        for strike in STRIKES {
            let years = (days_left - 16.0 / 24.0) / 365.0;
            let model = BlackScholes { spot, strike, rate: 0.02, dividend_yield: 0.0, years };
            let expected = model.greeks(OptionKind::Call, volatility);
            let entry = &found[&format!(".SPXW180228C{strike}")];
            let v = entry.values;
            assert_eq!(
                (v.volatility, v.price, v.delta),
                (volatility, expected.price, expected.delta),
                "{date} {strike}"
            );
            assert_eq!(
                (v.gamma, v.theta, v.vega, v.rho),
                (expected.gamma, expected.theta, expected.vega, expected.rho)
            );
        }
    }
    assert_eq!(sim.violations(), []);
    assert_eq!(sim.unknown_symbols(), [] as [String; 0]);
    sim.shutdown().await;
    reader.await.unwrap();
}

#[tokio::test]
async fn impatient_replays_and_missing_files() {
    let file = chain();
    let mut config = config(&file);
    if let MarketConfig::Chain(chain) = &mut config.market {
        chain.settle = None;
    }
    let sim = TastySim::start(config).await.unwrap();
    let stats = sim.wait_until(LIMIT, |stats| stats.market_finished).await.unwrap();
    assert!(stats.greeks_emitted >= 15, "{stats:?}");
    let error = TastySim::start(SimConfig::chain("/nonexistent/chain.csv")).await.unwrap_err();
    assert!(matches!(error, SimError::ChainFile { .. }), "{error}");
}
