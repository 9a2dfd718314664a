//! Replays a real chain over the wire and compares what was sent at each close with the vendor's own Greeks.
//!
//! ```text
//! cargo run -p broker-sim --example chain_agreement -- chain.csv
//! ```
//!
//! The file has to have the columns `delta`, `gamma`, `theta` (per year) and `vega` (per 1.00). Compared are contracts
//! with an absolute delta from 0.05 to 0.95, as both sides print more digits than they mean elsewhere.
#![allow(clippy::print_stdout, reason = "a program whose output is its purpose")]

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use broker_sim::{GreekValues, MarketConfig, SimConfig, TastySim};
use futures_util::{SinkExt, StreamExt};
use greeks_model::jiff::civil::Date;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

type Figures = [f64; 4];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("which file?")?.into();
    let vendor = vendor(&path)?;
    let mut config = SimConfig::chain(&path);
    if let MarketConfig::Chain(chain) = &mut config.market {
        chain.day = Duration::from_millis(200);
        chain.night = Duration::from_millis(50);
        chain.settle = Some(Duration::from_millis(200));
    }
    let sim = TastySim::start(config).await?;
    stream_everything(&sim).await?;

    let mut gaps: [Vec<f64>; 4] = Default::default();
    let mut worst: Vec<(f64, String)> = Vec::new();
    let mut days: HashMap<i64, usize> = HashMap::new();
    for entry in sim.ledger().snapshot().entries {
        let Some(expected) = vendor.get(&(entry.symbol.to_string(), entry.stamp.time)) else { continue };
        let found = figures(&entry.values);
        *days.entry(entry.stamp.time).or_default() += 1;
        for ((gap, found), expected) in gaps.iter_mut().zip(found).zip(expected) {
            gap.push((found - expected).abs());
        }
        worst.push(((found[2] - expected[2]).abs() / expected[2].abs(), format!("{} {found:?}", entry.symbol)));
    }
    println!("{} of {} liquid closes compared, on {} days", worst.len(), vendor.len(), days.len());
    for (name, gap) in ["delta", "gamma", "theta per day", "vega per point"].into_iter().zip(&mut gaps) {
        gap.sort_by(f64::total_cmp);
        let at = |part: usize| gap.get((gap.len().max(1) - 1) * part / 100).copied().unwrap_or(f64::NAN);
        println!("{name:>14}: difference median {:.2e}, 99 % {:.2e}, largest {:.2e}", at(50), at(99), at(100));
    }
    worst.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((gap, which)) = worst.last() {
        println!("largest relative difference of theta: {gap:.2e} at {which}");
    }
    println!("violations: {:?}", sim.violations());
    sim.shutdown().await;
    Ok(())
}

/// The plain course of a client, until the replay is over.
async fn stream_everything(sim: &TastySim) -> Result<(), Box<dyn Error>> {
    let token = sim.control().issue_quote_token();
    let (mut socket, _) = connect_async(sim.dxlink_url()).await?;
    let symbols: Vec<Value> = sim
        .positions()
        .iter()
        .filter_map(|position| position.listing())
        .map(|listing| json!({"type": "Greeks", "symbol": listing.streamer_symbol}))
        .collect();
    let mut script = vec![
        ("AUTH_STATE", json!({"type": "AUTH", "channel": 0, "token": token})),
        (
            "AUTH_STATE",
            json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}),
        ),
        (
            "CHANNEL_OPENED",
            json!({"type": "FEED_SETUP", "channel": 1, "acceptAggregationPeriod": 0, "acceptDataFormat": "COMPACT"}),
        ),
    ];
    script
        .extend(symbols.chunks(100).map(|part| ("", json!({"type": "FEED_SUBSCRIPTION", "channel": 1, "add": part}))));
    let setup = json!({"type": "SETUP", "channel": 0, "version": "0.1-example/1.0", "keepaliveTimeout": 60});
    socket.send(Message::text(setup.to_string())).await?;
    for (after, message) in script {
        while !after.is_empty() {
            let Some(Message::Text(text)) = socket.next().await.transpose()? else { return Err("closed".into()) };
            if text.contains(after) {
                break;
            }
        }
        socket.send(Message::text(message.to_string())).await?;
    }
    let finished = sim.wait_until(Duration::from_secs(600), |stats| stats.market_finished);
    let read = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::select! {
        finished = finished => { finished?; }
        () = read => return Err("closed".into()),
    }
    // What was emitted last is still on its way.
    sim.wait_until(Duration::from_secs(10), |stats| stats.greeks_sent >= stats.greeks_emitted).await.ok();
    Ok(())
}

fn figures(values: &GreekValues) -> Figures {
    [values.delta, values.gamma, values.theta, values.vega]
}

/// The vendor's figures of liquid contracts in our units, by streamer symbol and time of the close.
fn vendor(path: &PathBuf) -> Result<HashMap<(String, i64), Figures>, Box<dyn Error>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path)?;
    let headers = reader.headers()?.clone();
    let mut rows = HashMap::new();
    for record in reader.records() {
        let record = record?;
        let text = |name: &str| {
            let place = headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
            place.and_then(|place| record.get(place)).unwrap_or_default().to_owned()
        };
        let number = |name: &str| text(name).parse::<f64>().unwrap_or(f64::NAN);
        let found = [number("delta"), number("gamma"), number("theta") / 365.0, number("vega") / 100.0];
        if !(0.05..=0.95).contains(&found[0].abs()) {
            continue;
        }
        let date = |name: &str| Date::strptime("%m/%d/%Y", text(name));
        let letter = if text("type") == "call" { 'C' } else { 'P' };
        let root = text("optionroot");
        let root = root.get(..root.len().saturating_sub(15)).unwrap_or_default();
        let symbol = format!(".{root}{}{letter}{}", date("expiration")?.strftime("%y%m%d"), number("strike"));
        let close = date("quotedate")?.at(21, 0, 0, 0).to_zoned(greeks_model::jiff::tz::TimeZone::UTC)?;
        rows.insert((symbol, close.timestamp().as_millisecond()), found);
    }
    Ok(rows)
}
