//! Each fault does what it says, and the ledger stays true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::gateway::{Gateway, LIMIT, OPTION_FIELDS, Raw, config, contracts};
use broker_sim::{Disconnect, FrameKind, IbkrMischief, IbkrSim, IbkrSimConfig, UnknownFigure};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

async fn streaming(config: IbkrSimConfig) -> (IbkrSim, Gateway, Raw, i64) {
    let sim = IbkrSim::start(config).await.unwrap();
    let gateway = Gateway::ready(&sim).await;
    let mut raw = gateway.live().await;
    let conid = contracts(&sim)[0].conid;
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.find(|frame| frame.get("7311").is_some()).await;
    (sim, gateway, raw, conid)
}

fn every(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// Quick beats, and text only.
fn lively() -> IbkrSimConfig {
    let mut config = config();
    config.protocol.heartbeat = Duration::from_millis(30);
    config.frames = FrameKind::Text;
    config
}

#[tokio::test]
async fn a_killed_gateway_comes_back_on_its_port() {
    let (sim, gateway, mut raw, _) = streaming(lively()).await;
    sim.control().take_down().await.unwrap();
    while let Some(frame) = raw.next_bytes().await {
        assert!(frame.is_ok(), "a reset, not a close");
    }
    let refused = gateway.client.get(format!("{}/tickle", gateway.url)).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    assert_eq!(sim.stats().open, 0);
    sim.control().bring_up().await.unwrap();
    let mut raw = gateway.live().await;
    raw.subscribe(contracts(&sim)[0].conid, &OPTION_FIELDS).await;
    raw.find(|frame| frame.get("7308").is_some()).await;
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_certificate_changes() {
    let (sim, gateway, _raw, _) = streaming(lively()).await;
    let before = sim.fingerprint().unwrap();
    assert_eq!(before.len(), 64);
    let after = sim.control().change_certificate().unwrap();
    assert_ne!(before, after);
    assert_eq!(sim.fingerprint().unwrap(), after);
    sim.control().disconnect_all(Disconnect::Abrupt).await.unwrap();
    let refused = gateway.client.get(format!("{}/tickle", gateway.url)).send().await.unwrap_err();
    assert!(format!("{refused:?}").contains("another certificate"), "{refused:?}");
    assert!(Raw::dial(&gateway, None).await.is_err());
    assert_eq!(Gateway::new(&sim).get("/tickle").await.0, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn who_looks_at_name_and_date_refuses_even_what_is_trusted() {
    let sim = IbkrSim::start(config()).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(sim.certificate_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
    assert!(client.get(format!("{}/tickle", sim.gateway_url())).send().await.unwrap_err().is_connect());
    assert_eq!(sim.requests(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn plain_http_is_to_be_had() {
    let mut config = lively();
    config.tls = false;
    let (sim, gateway, _raw, _) = streaming(config).await;
    assert!(gateway.url.starts_with("http://127.0.0.1:"));
    assert!(sim.fingerprint().is_none() && sim.control().change_certificate().is_err());
    sim.shutdown().await;
}

#[tokio::test]
async fn data_stop_or_heartbeats_or_everything() {
    let (sim, _gateway, mut raw, conid) = streaming(lively()).await;
    let control = sim.control();
    control.change_faults(|faults| faults.data.stopped = true);
    let mut beats = 0;
    while beats < 5 {
        beats = if raw.next().await.get("hb").is_some() { beats + 1 } else { 0 };
    }
    control.change_faults(|faults| {
        faults.data.stopped = false;
        faults.socket.no_heartbeats = true;
    });
    let mut frames = 0;
    while frames < 8 {
        frames = if raw.next().await["conid"] == conid { frames + 1 } else { 0 };
    }
    control.change_faults(|faults| faults.socket.silent = true);
    while tokio::time::timeout(Duration::from_millis(300), raw.next_bytes()).await.is_ok() {}
    let before = sim.ledger().snapshot().entries;
    control.change_faults(|faults| faults.socket.silent = false);
    raw.market_data(conid).await;
    let after = sim.wait_until(LIMIT, |stats| stats.greek_frames > before.len() as u64).await.unwrap();
    assert!(after.greek_frames >= 1);
    assert!(sim.ledger().snapshot().entries.iter().all(|entry| entry.written), "what was not sent is not in it");
    assert_eq!(control.inflict(IbkrMischief::Silence).await.unwrap(), 1);
    while tokio::time::timeout(Duration::from_millis(300), raw.next_bytes()).await.is_ok() {}
    sim.shutdown().await;
}

#[tokio::test]
async fn a_flood_of_garbage() {
    let (sim, _gateway, mut raw, conid) = streaming(lively()).await;
    sim.control().change_faults(|faults| faults.socket.garbage = 10_000.0);
    let (began, mut seen, mut data) = (Instant::now(), 0, 0);
    while seen < 20_000 {
        let bytes = raw.next_bytes().await.unwrap().unwrap();
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(frame) if frame["conid"] == conid && frame["_updated"].is_i64() => data += 1,
            Ok(frame) if frame.get("hb").is_some() => {}
            _ => seen += 1,
        }
    }
    let rate = f64::from(seen) / began.elapsed().as_secs_f64();
    assert!((3_000.0..=12_000.0).contains(&rate), "{rate} a second");
    assert!(data > 0, "the market goes on: {data}");
    assert!(sim.stats().garbage >= 20_000);
    sim.shutdown().await;
}

#[tokio::test]
async fn frames_that_break_a_library() {
    let (sim, _gateway, mut raw, _) = streaming(lively()).await;
    assert_eq!(sim.control().inflict(IbkrMischief::NotUtf8).await.unwrap(), 1);
    while let Some(frame) = raw.next_bytes().await {
        assert!(frame.is_ok(), "the library ends the connection by itself");
    }
    let (sim, _gateway, mut raw, _) = streaming(lively()).await;
    sim.control().inflict(IbkrMischief::Oversized { bytes: 3 << 20 }).await.unwrap();
    let large = raw.find(|frame| frame["topic"] == "blt").await;
    assert_eq!(large["args"]["message"].as_str().unwrap().len(), 3 << 20);
    sim.control().inflict(IbkrMischief::CutMidMessage).await.unwrap();
    while raw.next_bytes().await.is_some() {}
    sim.shutdown().await;
}

#[tokio::test]
async fn words_and_closes() {
    let (sim, gateway, mut raw, _) = streaming(lively()).await;
    let control = sim.control();
    for (mischief, expected) in [
        (IbkrMischief::Notice("n".to_owned()), json!("ntf")),
        (IbkrMischief::Bulletin("b".to_owned()), json!("blt")),
        (IbkrMischief::Accounts, json!("act")),
        (IbkrMischief::Text("{\"topic\":\"xyz\"}".to_owned()), json!("xyz")),
        (IbkrMischief::Binary(b"{\"topic\":\"bin\"}".to_vec()), json!("bin")),
    ] {
        control.inflict(mischief).await.unwrap();
        raw.find(|frame| frame["topic"] == expected).await;
    }
    control.add_account("U5555555");
    control.inflict(IbkrMischief::Accounts).await.unwrap();
    raw.find(|frame| frame["args"]["accounts"] == json!(["U1234567", "U7654321", "U5555555"])).await;
    assert_eq!(gateway.get("/portfolio/U5555555/positions/0").await, (200, json!([])));
    control.inflict(IbkrMischief::Error("no".to_owned())).await.unwrap();
    raw.find(|frame| frame == &json!({"error": "no"})).await;
    control.inflict(IbkrMischief::Close(1011)).await.unwrap();
    assert_eq!(raw.expect_close().await, 1011);
    control.change_faults(|faults| {
        faults.socket.close_at_once = 2;
        faults.socket.refuse_upgrades = 1;
    });
    let cookie = format!("api={{\"session\":\"{}\"}}", gateway.session().await);
    assert!(Raw::dial(&gateway, Some(&cookie)).await.is_err());
    for _ in 0..2 {
        let mut raw = Raw::dial(&gateway, Some(&cookie)).await.unwrap();
        assert!(matches!(raw.next_bytes().await, Some(Err(1000))), "at once");
    }
    let mut raw = Raw::dial(&gateway, Some(&cookie)).await.unwrap();
    raw.until_authenticated().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn oddities_between_frames_and_in_them() {
    let mut config = lively();
    config.faults.socket.empty_every = every(3);
    config.faults.socket.unknown_every = every(2);
    config.faults.data.conid_as_text = true;
    config.faults.data.bare_volatility = true;
    config.faults.data.commas = true;
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    for row in contracts(&sim) {
        raw.subscribe(row.conid, &OPTION_FIELDS).await;
        raw.subscribe(row.underlying_conid.unwrap(), &["31", "84", "86", "87", "83", "7283"]).await;
    }
    let (mut empty, mut unknown, mut volume, mut comma) = (0, 0, 0, 0);
    while empty < 20 || unknown < 20 || volume == 0 || comma == 0 {
        let frame = raw.next().await;
        empty += usize::from(frame == json!({}));
        unknown += usize::from(frame.get("9999").is_some());
        volume += usize::from(frame["87_raw"] == json!(1.22E7) && frame["87"] == "12.2M" && frame["7283"] == "28.0%");
        comma += usize::from(frame["31"].as_str().is_some_and(|text| text.contains(',')));
        if let Some(volatility) = frame.get("7633").and_then(Value::as_str) {
            assert!(!volatility.contains('%'));
        }
        assert!(frame.get("_updated").is_none() || frame["conid"].is_string());
    }
    let entries = sim.ledger().snapshot().entries;
    assert!(entries.iter().any(|entry| entry.state.mark.is_some_and(|mark| mark > 100.0)));
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_closed_market_and_missing_permissions() {
    let mut config = lively();
    config.faults.data.closed = true;
    config.faults.data.unknown = UnknownFigure::Absent;
    let sim = IbkrSim::start(config).await.unwrap();
    let mut raw = Gateway::ready(&sim).await.live().await;
    let held = contracts(&sim);
    let (first, second, third) = (held[0].conid, held[1].conid, held[2].conid);
    let under = held[0].underlying_conid.unwrap();
    raw.subscribe(under, &["31", "84", "86", "6509"]).await;
    let frame = raw.market_data(under).await;
    assert!(frame["31"].as_str().unwrap().starts_with('C') && frame.get("84").is_none());
    assert_eq!(frame["6509"], "ZB");
    raw.subscribe(first, &OPTION_FIELDS).await;
    raw.find(|frame| frame.get("7308").is_some()).await;
    let entries = sim.ledger().snapshot().entries;
    assert!(entries.iter().all(|entry| entry.underlying.last.is_none()), "a close is no price");
    assert_eq!(entries[0].availability.as_deref(), Some("ZB"));
    sim.control().change_faults(|faults| {
        faults.data.closed = false;
        faults.data.halted.insert(under);
        faults.data.not_permitted.insert(second);
        faults.data.without_greeks.insert(third);
    });
    raw.find(|frame| frame["31"].as_str().is_some_and(|text| text.starts_with('H'))).await;
    raw.subscribe(second, &OPTION_FIELDS).await;
    let bare = raw.market_data(second).await;
    assert_eq!((&bare["6509"], bare.get("31"), bare.get("7635")), (&json!("N"), None, None));
    raw.subscribe(third, &OPTION_FIELDS).await;
    for _ in 0..10 {
        let frame = raw.market_data(third).await;
        assert!(frame.get("7308").is_none() && frame.get("7633").is_none(), "{frame}");
    }
    let entries = sim.ledger().snapshot().entries;
    assert!(entries.iter().all(|entry| entry.conid != second));
    assert!(entries.iter().filter(|entry| entry.conid == third).all(|entry| !entry.known));
    sim.shutdown().await;
}

#[tokio::test]
async fn executions_tell_of_changed_positions() {
    let (sim, gateway, mut raw, conid) = streaming(lively()).await;
    let held = contracts(&sim).remove(0);
    let (account, contract) = (held.account.as_str(), held.contract().unwrap().clone());
    let control = sim.control();
    control.close_position(account, &contract).unwrap();
    raw.send("str+{\"realtimeUpdatesOnly\":true,\"days\":1}").await;
    raw.send("tic").await;
    raw.find(|frame| {
        assert_ne!(frame["topic"], "str", "nobody asked yet");
        frame["topic"] == "tic"
    })
    .await;
    control.open_position(account, &contract, -3).await.unwrap();
    let execution = raw.find(|frame| frame["topic"] == "str").await;
    let told = &execution["args"][0];
    assert_eq!((&told["conid"], &told["side"], &told["size"]), (&json!(conid), &json!("S"), &json!(3)));
    assert_eq!(told["account"], account);
    let new = "AAPL  300118C00240000".parse().unwrap();
    control.open_position(account, &new, 2).await.unwrap();
    let execution = raw.find(|frame| frame["topic"] == "str").await;
    let conid = execution["args"][0]["conid"].as_i64().unwrap();
    raw.subscribe(conid, &OPTION_FIELDS).await;
    raw.find(|frame| frame["conid"] == conid && frame.get("7308").is_some()).await;
    control.quiet_positions(true);
    control.open_position(account, &new, 4).await.unwrap();
    raw.send("tic").await;
    raw.find(|frame| {
        assert_ne!(frame["topic"], "str", "quietly");
        frame["topic"] == "tic"
    })
    .await;
    gateway.call(Method::POST, &format!("/portfolio/{account}/positions/invalidate"), None).await;
    let rows = gateway.rows(account).await;
    assert!(rows.iter().any(|row| row["conid"] == conid && row["position"].as_f64() == Some(4.0)));
    assert!(control.open_position("U9", &new, 1).await.is_err());
    assert!(control.open_position(account, &"MSFT  300118C00240000".parse().unwrap(), 1).await.is_err());
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn slow_to_accept_and_to_upgrade() {
    let mut config = lively();
    config.faults.socket.slow_accept = Duration::from_millis(200);
    config.faults.socket.slow_upgrade = Duration::from_millis(200);
    let sim = IbkrSim::start(config).await.unwrap();
    let began = Instant::now();
    let gateway = Gateway::ready(&sim).await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    let began = Instant::now();
    let _raw = gateway.socket().await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    sim.shutdown().await;
}
