//! The socket's own order, partial frames, and a ledger that is what a client which merges knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::gateway::{Gateway, LIMIT, OPTION_FIELDS, Raw, config, contracts};
use broker_sim::{Disconnect, IbkrEntry, IbkrFigures, IbkrSim, Pace};
use serde_json::{Value, json};

#[tokio::test]
async fn the_first_frames_come_in_order() {
    let mut config = config();
    config.protocol.heartbeat = Duration::from_millis(150);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let mut raw = gateway.socket().await;
    let system = raw.next().await;
    assert_eq!((&system["topic"], &system["success"]), (&json!("system"), &json!("user123")), "{system}");
    let act = raw.next().await;
    assert_eq!(act["topic"], "act");
    assert_eq!(act["args"]["accounts"], json!(["U1234567", "U7654321"]));
    assert_eq!(raw.next().await, json!({"topic": "sts", "args": {"authenticated": true}}));
    let mut keys = BTreeSet::new();
    for _ in 0..6 {
        let sts = raw.next().await;
        assert_eq!(sts["topic"], "sts");
        let args = sts["args"].as_object().unwrap();
        assert_eq!(args.len(), 1, "one key each: {sts}");
        keys.extend(args.keys().cloned());
    }
    assert!(keys.contains("competing") && keys.contains("fail"), "{keys:?}");
    let heartbeat = raw.next().await;
    assert_eq!(heartbeat["topic"], "system");
    assert!(heartbeat["hb"].as_i64().unwrap() > 1_700_000_000_000);
    raw.send("tic").await;
    let tic = raw.find(|frame| frame["topic"] == "tic").await;
    assert!(tic["lastAccessed"].is_i64() && tic["alive"] == true);
    raw.send("ech+hb").await;
    let echo = loop {
        let bytes = raw.next_bytes().await.unwrap().unwrap();
        if !bytes.starts_with(b"{") {
            break bytes;
        }
    };
    assert_eq!(echo, b"ech+hb");
    assert!(raw.texts > 0 && raw.binaries > 0, "frames are text and binary");
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_first_frame_is_what_is_there_and_the_greeks_come_later() {
    let sim = IbkrSim::start(config()).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let conid = contracts(&sim)[0].conid;
    sim.control().pause().await.unwrap();
    raw.subscribe(conid, &OPTION_FIELDS).await;
    let first = raw.market_data(conid).await;
    for tag in ["31", "84", "86", "7635", "6509"] {
        assert!(first[tag].is_string(), "{tag}: {first}");
    }
    assert!(first.get("7308").is_none(), "{first}");
    assert_eq!(first["conid"], conid);
    assert_eq!(first["server_id"], first["6119"]);
    let second = raw.market_data(conid).await;
    assert!(second["7308"].is_string() && second["7309"].is_string(), "{second}");
    assert!(second.get("84").is_none() && second.get("7311").is_none(), "only what changed: {second}");
    assert!(second["_updated"].as_i64() > first["_updated"].as_i64());
    let third = raw.market_data(conid).await;
    assert!(third["7633"].as_str().unwrap().ends_with('%'), "{third}");
    assert!(third["7311"].is_string() && third.get("7308").is_none());
    let view = sim.ledger().snapshot();
    assert_eq!(view.entries.len(), 3);
    assert_eq!(view.entries.iter().map(|entry| entry.known).collect::<Vec<_>>(), [false, true, true]);
    sim.shutdown().await;
}

/// A client that merges, written from the protocol's description.
#[derive(Default)]
struct Merger {
    figures: HashMap<i64, IbkrFigures>,
    prices: HashMap<i64, [Option<f64>; 3]>,
    seen: Vec<(i64, i64, IbkrFigures, [Option<f64>; 3])>,
}

fn read(text: &str) -> f64 {
    if ["", "-", "N/A"].contains(&text) {
        return f64::NAN;
    }
    let text: String = text.chars().filter(|c| !"CH,%".contains(*c)).collect();
    text.parse().unwrap()
}

impl Merger {
    fn take(&mut self, frame: &Value, underlying: impl Fn(i64) -> Option<i64>) {
        let conid = frame["conid"].as_i64().unwrap();
        let value = |tag: &str| frame.get(tag).map(|text| read(text.as_str().unwrap()));
        let Some(under) = underlying(conid) else {
            let prices = self.prices.entry(conid).or_default();
            for (place, tag) in prices.iter_mut().zip(["31", "84", "86"]) {
                *place = value(tag).or(*place);
            }
            return;
        };
        let figures = self.figures.entry(conid).or_default();
        let mut any = false;
        for (place, tag) in [
            (&mut figures.mark, "7635"),
            (&mut figures.volatility, "7633"),
            (&mut figures.delta, "7308"),
            (&mut figures.gamma, "7309"),
            (&mut figures.theta, "7310"),
            (&mut figures.vega, "7311"),
        ] {
            if let Some(value) = value(tag) {
                *place = Some(if tag == "7633" { value / 100.0 } else { value });
                any = true;
            }
        }
        if any {
            let prices = self.prices.get(&under).copied().unwrap_or_default();
            self.seen.push((conid, frame["_updated"].as_i64().unwrap(), *figures, prices));
        }
    }
}

fn alike(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan(),
        (None, None) => true,
        _ => false,
    }
}

fn same(seen: &(i64, i64, IbkrFigures, [Option<f64>; 3]), entry: &IbkrEntry) -> bool {
    let (a, b) = (seen.2, entry.state);
    let under = entry.underlying;
    (seen.0, seen.1) == (entry.conid, entry.updated)
        && alike(a.mark, b.mark)
        && alike(a.volatility, b.volatility)
        && alike(a.delta, b.delta)
        && alike(a.gamma, b.gamma)
        && alike(a.theta, b.theta)
        && alike(a.vega, b.vega)
        && alike(seen.3[0], under.last)
        && alike(seen.3[1], under.bid)
        && alike(seen.3[2], under.ask)
        && entry.written
}

/// Streams until `frames` with Greeks have come, and compares what was merged with the ledger, row by row.
async fn streamed(rate: f64, pace: Pace, frames: usize) -> Vec<IbkrEntry> {
    let mut config = config();
    config.pace = pace;
    let sim = IbkrSim::start(config).await.unwrap();
    sim.control().set_rate(rate).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let held = contracts(&sim);
    let underlying: HashMap<i64, i64> = held.iter().map(|row| (row.conid, row.underlying_conid.unwrap())).collect();
    for conid in underlying.values().copied().collect::<BTreeSet<_>>() {
        raw.subscribe(conid, &["31", "84", "86", "6509"]).await;
    }
    for row in &held {
        raw.subscribe(row.conid, &OPTION_FIELDS).await;
    }
    let mut merger = Merger::default();
    let take = |merger: &mut Merger, frame: &Value| {
        if frame["topic"].as_str().is_some_and(|topic| topic.starts_with("smd+")) {
            merger.take(frame, |conid| underlying.get(&conid).copied());
        }
    };
    while merger.seen.len() < frames {
        let frame = raw.next().await;
        take(&mut merger, &frame);
    }
    sim.control().pause().await.unwrap();
    let end = tokio::spawn({
        let control = sim.control();
        async move { control.disconnect_all(Disconnect::Orderly).await.unwrap() }
    });
    while let Some(Ok(bytes)) = raw.next_bytes().await {
        take(&mut merger, &serde_json::from_slice(&bytes).unwrap());
    }
    end.await.unwrap();
    let view = sim.ledger().snapshot();
    assert_eq!(view.overflowed, 0);
    assert_eq!(merger.seen.len(), view.entries.len());
    for (seen, entry) in merger.seen.iter().zip(&view.entries) {
        assert!(same(seen, entry), "{seen:?}\n{entry:?}");
    }
    assert_eq!(sim.stats().greek_frames, view.entries.len() as u64);
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
    view.entries
}

#[tokio::test]
async fn the_ledger_is_what_a_client_merges_at_the_natural_pace() {
    let entries = streamed(400.0, Pace::Natural(Duration::from_millis(50)), 600).await;
    assert!(entries.iter().any(|entry| entry.underlying.bid.is_some() && entry.underlying.last.is_some()));
    assert!(entries.iter().any(|entry| entry.state.volatility.is_some_and(f64::is_nan)), "an unknown one occurs");
    let mut updated = HashMap::new();
    for entry in &entries {
        assert!(updated.insert(entry.conid, entry.updated).is_none_or(|before| before < entry.updated));
        if let (Some(market), Some(delta), true) = (entry.market, entry.state.delta, entry.known)
            && !delta.is_nan()
        {
            assert!((market.delta - delta).abs() < 0.02, "near the truth: {entry:?}");
        }
    }
}

#[tokio::test]
async fn the_ledger_is_what_a_client_merges_at_five_a_second() {
    streamed(5.0, Pace::EveryEvent, 80).await;
}

#[tokio::test]
async fn the_ledger_is_what_a_client_merges_at_thousands_a_second() {
    streamed(5_000.0, Pace::EveryEvent, 15_000).await;
}

#[tokio::test]
async fn every_event_is_a_frame_when_so_wanted() {
    let mut config = config();
    config.pace = Pace::EveryEvent;
    let sim = IbkrSim::start(config).await.unwrap();
    sim.control().pause().await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let held = contracts(&sim);
    for row in &held {
        raw.subscribe(row.conid, &OPTION_FIELDS).await;
    }
    let full = held.len() as u64;
    sim.wait_until(LIMIT, |stats| stats.greek_frames == 3 * full).await.unwrap();
    let before = sim.stats();
    sim.control().set_rate(500.0).await.unwrap();
    sim.control().resume().await.unwrap();
    sim.wait_until(LIMIT, |stats| stats.greeks_emitted >= before.greeks_emitted + 1_000).await.unwrap();
    sim.control().pause().await.unwrap();
    let emitted = sim.stats().greeks_emitted - before.greeks_emitted;
    let after = sim.wait_until(LIMIT, |stats| stats.greek_frames >= before.greek_frames + emitted).await.unwrap();
    assert_eq!(after.greek_frames - before.greek_frames, emitted, "every contract quoted is held, each event is sent");
    drop::<Raw>(raw);
    sim.shutdown().await;
}
