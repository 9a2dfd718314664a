//! The login, the brokerage session and the socket are three things, and each is lost in its own way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::gateway::{Gateway, LIMIT, OPTION_FIELDS, Raw, config, contracts};
use broker_sim::{IbkrProtocol, IbkrSim};
use serde_json::{Value, json};
use tokio::time::timeout;

async fn streaming(sim: &IbkrSim, gateway: &Gateway) -> (Raw, i64) {
    let mut raw = gateway.live().await;
    let conid = contracts(sim)[0].conid;
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.market_data(conid).await;
    (raw, conid)
}

fn is_loss(frame: &Value) -> bool {
    frame["args"]["authenticated"] == false
}

/// On this socket heartbeats go on, and nothing else.
async fn assert_mute(sim: &IbkrSim, raw: &mut Raw, conid: i64) {
    raw.subscribe(conid, &OPTION_FIELDS).await;
    let before = sim.stats().frames;
    for _ in 0..3 {
        let frame = raw.next().await;
        assert!(frame.get("hb").is_some() || frame["topic"] == "sts", "{frame}");
    }
    assert_eq!(sim.stats().frames, before);
}

#[tokio::test]
async fn another_platform_takes_the_session() {
    let mut config = config();
    config.protocol.heartbeat = Duration::from_millis(20);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let (mut raw, conid) = streaming(&sim, &gateway).await;
    sim.control().compete();
    raw.find(is_loss).await;
    raw.find(|frame| frame["args"]["competing"] == true).await;
    let status = gateway.get("/iserver/auth/status").await.1;
    assert_eq!((&status["authenticated"], &status["competing"]), (&json!(false), &json!(true)));
    let refused = gateway.init(true, false).await.1;
    assert_eq!(refused["fail"], "Force compete capability must be used together with compete flag");
    assert_eq!(refused["authenticated"], false);
    assert_eq!(sim.stats().competed, 0);
    assert_eq!(gateway.init(true, true).await.1["authenticated"], true);
    assert_eq!((sim.stats().competed, sim.stats().compete_requests), (1, 1));
    assert_mute(&sim, &mut raw, conid).await;
    assert_eq!(gateway.get("/iserver/accounts").await.0, 200, "primed again: the priming went with the session");
    streaming(&sim, &gateway).await;
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn without_a_tickle_the_brokerage_session_lapses() {
    let mut config = config();
    config.protocol.heartbeat = Duration::from_millis(20);
    config.protocol.brokerage_life = Duration::from_millis(400);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let (mut raw, conid) = streaming(&sim, &gateway).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.session().await;
    }
    assert_eq!(sim.stats().authenticated, 1, "kept alive");
    raw.find(is_loss).await;
    assert_eq!(gateway.get("/iserver/accounts").await.0, 400);
    assert_eq!(gateway.get("/portfolio/accounts").await.0, 200, "the login stands");
    gateway.init(true, false).await;
    assert_mute(&sim, &mut raw, conid).await;
    let mut unprimed = gateway.socket().await;
    assert_eq!(unprimed.expect_close().await, 1000);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_login_ends_and_the_old_cookie_with_it() {
    let mut config = config();
    config.protocol.sso_life = Duration::from_millis(700);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let (mut raw, _) = streaming(&sim, &gateway).await;
    let old = format!("api={{\"session\":\"{}\"}}", gateway.session().await);
    raw.find(is_loss).await;
    assert_eq!(gateway.get("/tickle").await.0, 401);
    assert_eq!(gateway.get("/portfolio/accounts").await.0, 401);
    sim.control().login();
    gateway.init(true, false).await;
    gateway.get("/iserver/accounts").await;
    let mut stale = Raw::dial(&gateway, Some(&old)).await.unwrap();
    assert_eq!(stale.next().await, json!({"message": "waiting for session"}));
    stale.find(is_loss).await;
    streaming(&sim, &gateway).await;
    assert_eq!(sim.violations(), [], "whose login ended meanwhile made no mistake");
    sim.shutdown().await;
}

#[tokio::test]
async fn the_nightly_reset() {
    let sim = IbkrSim::start(config()).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let (mut raw, _) = streaming(&sim, &gateway).await;
    sim.control().nightly_reset(Duration::from_millis(300), 503, false);
    raw.find(is_loss).await;
    assert_eq!(gateway.get("/iserver/auth/status").await.0, 503);
    assert_eq!(gateway.get("/portfolio/accounts").await.0, 200);
    let over = async { while gateway.init(true, false).await.0 != 200 {} };
    timeout(LIMIT, over).await.unwrap();
    let snapshot = gateway.get("/iserver/marketdata/snapshot?conids=265598&fields=31").await;
    assert_eq!(snapshot.0, 500, "to be primed again");
    sim.control().nightly_reset(Duration::ZERO, 401, true);
    assert_eq!(gateway.get("/iserver/auth/status").await.0, 401);
    sim.control().login();
    assert_eq!(gateway.get("/iserver/auth/status").await.1["authenticated"], false);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_subscription_dies_in_silence_unless_renewed() {
    let mut config = config();
    config.protocol.subscription_life = Duration::from_millis(400);
    config.protocol.heartbeat = Duration::from_millis(50);
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let (mut raw, conid) = streaming(&sim, &gateway).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        raw.subscribe(conid, &["31"]).await;
    }
    let stats = sim.wait_until(LIMIT, |stats| stats.renewed == 10).await.unwrap();
    assert_eq!((stats.expired, stats.lines), (0, 1));
    raw.subscribe(conid, &["7638"]).await;
    let added = raw.find(|frame| frame.get("7638").is_some()).await;
    assert!(added["7308"].is_string(), "fields are added, and the first frame after is full: {added}");
    sim.wait_until(LIMIT, |stats| stats.expired == 1).await.unwrap();
    let frames = sim.stats().frames;
    for _ in 0..3 {
        raw.find(|frame| frame.get("hb").is_some()).await;
    }
    assert_eq!(sim.stats().frames, frames, "only heartbeats");
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.market_data(conid).await;
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn past_the_lines_is_silence() {
    let mut config = config();
    config.protocol.lines = 3;
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let conids: Vec<i64> = contracts(&sim).iter().take(5).map(|row| row.conid).collect();
    for conid in &conids {
        raw.subscribe(*conid, &OPTION_FIELDS).await;
    }
    let stats = sim.wait_until(LIMIT, |stats| stats.lines + stats.over_budget == 5).await.unwrap();
    assert_eq!((stats.lines, stats.over_budget), (3, 2));
    sim.wait_until(LIMIT, |stats| stats.streaming == 3).await.unwrap();
    raw.send(format!("umd+{}", conids[0])).await;
    raw.subscribe(conids[3], &OPTION_FIELDS).await;
    raw.market_data(conids[3]).await;
    let entries = sim.ledger().snapshot().entries;
    assert!(entries.iter().all(|entry| entry.conid != conids[4]));
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[test]
fn a_day_fits_into_minutes() {
    let day = IbkrProtocol::default().divided_by(600);
    assert_eq!(day.sso_life, Duration::from_secs(144));
    assert_eq!(day.subscription_life, Duration::from_secs(1));
    assert_eq!(day.status_delay, IbkrProtocol::default().status_delay);
}
