//! What the double of a Client Portal gateway sent is stored exactly once: after every frame that gives a row, its merged
//! state is the stored row, bit for bit.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use broker_sim::{Disconnect, IbkrCustomer, IbkrDataFaults, IbkrSim, IbkrSimConfig, IbkrSocketFaults, Pace};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::tail;
use greekd_tests::ibkr::{daemon, difference, from_ledger, stop_and_compare};
use greekd_tests::tasty::PATIENCE;

fn config(positions: usize) -> IbkrSimConfig {
    let mut config = IbkrSimConfig::simulated(1);
    config.customer = IbkrCustomer { positions, ..IbkrCustomer::default() };
    config.pace = Pace::EveryEvent;
    config.protocol.lines = 2_000;
    config
}

fn options(sim: &IbkrSim) -> u64 {
    let open = sim.positions().into_iter().filter(|position| position.is_open_option());
    open.map(|position| position.conid).collect::<BTreeSet<_>>().len() as u64
}

/// Three pages of positions in each of two accounts; as fast as the market goes.
#[tokio::test(flavor = "multi_thread")]
async fn at_5_500_and_5000_frames_a_second_over_three_pages() {
    let cluster = Cluster::start().await;
    let database = cluster.database("ledger").await;
    let sim = IbkrSim::start(config(210)).await.unwrap();
    assert!(options(&sim) > 400);
    let control = sim.control();
    let daemon = daemon(&sim, &database);
    // Ten subscriptions a second are what is advised: for the options and what they are written on.
    let wanted = options(&sim);
    let all = sim.wait_until(PATIENCE * 2, move |stats| stats.lines > wanted).await;
    all.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", sim.stats(), tail(&daemon.stderr())));
    for (rate, frames) in [(5.0, 30), (500.0, 1_500), (5_000.0, 20_000)] {
        control.set_rate(rate).await.unwrap();
        let before = sim.stats().greek_frames;
        let sent = sim.wait_until(PATIENCE, move |stats| stats.greek_frames >= before + frames).await;
        sent.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    }
    assert_eq!(sim.stats().connections, 1);
    let positions = sim.positions();
    let rows = stop_and_compare(&sim, &positions, &database, daemon).await;
    let keys: BTreeSet<String> =
        positions.iter().filter_map(|position| position.contract()).map(ToString::to_string).collect();
    for kind in ["/ES", "SPX ", "SPXW"] {
        assert!(keys.iter().any(|key| key.starts_with(kind)), "{kind} is held");
    }
    assert!(positions.iter().any(|position| position.is_open_option() && position.quantity < 0), "shorts are held");
    println!("{} frames sent, {rows} rows, all stored once", sim.stats().greek_frames);
    sim.shutdown().await;
}

/// Everything a frame may look like, two lost connections in between.
#[tokio::test(flavor = "multi_thread")]
async fn over_lost_connections_and_every_legal_surprise() {
    let cluster = Cluster::start().await;
    let database = cluster.database("surprises").await;
    let mut config = config(15);
    let every = |n| NonZeroU32::new(n);
    config.faults.socket =
        IbkrSocketFaults { empty_every: every(3), unknown_every: every(4), ..IbkrSocketFaults::default() };
    config.faults.data = IbkrDataFaults { commas: true, conid_as_text: true, ..IbkrDataFaults::default() };
    let sim = IbkrSim::start(config).await.unwrap();
    let control = sim.control();
    let daemon = daemon(&sim, &database);
    let wanted = options(&sim);
    for round in 1..=3 {
        let streaming = sim.wait_until(PATIENCE, |stats| stats.connections == round && stats.streaming == wanted).await;
        streaming.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", sim.stats(), tail(&daemon.stderr())));
        control.set_rate(500.0).await.unwrap();
        let before = sim.stats().greek_frames;
        sim.wait_until(PATIENCE, |stats| stats.greek_frames >= before + 1_000).await.unwrap();
        match round {
            1 => assert!(control.disconnect_all(Disconnect::Orderly).await.unwrap() >= 1),
            // The brokerage session goes: `sts` says so, and it comes back by REST alone.
            2 => control.lose_brokerage(),
            _ => {}
        }
        control.change_faults(|faults| {
            faults.data.availability = Some(if round == 1 { "DPB".into() } else { "ZB".into() });
            faults.data.closed = round == 2;
        });
    }
    let rows = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    let gaps: i64 = database
        .client
        .query_one("SELECT count(*) FROM ingest_gaps WHERE source = 'ibkr' AND kind = 'gap'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(gaps, 3, "two lost connections and the end");
    println!("{} frames sent, {rows} rows, all stored once", sim.stats().greek_frames);
    sim.shutdown().await;
}

/// The comparison sees a missing, a doubled and a changed row.
#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_can_fail() {
    let sim = IbkrSim::start(config(3)).await.unwrap();
    let held = sim.positions().into_iter().find(|position| position.is_open_option()).unwrap();
    let entry = |updated: i64, delta: f64| broker_sim::IbkrEntry {
        connection: 1,
        conid: held.conid,
        contract: held.contract().unwrap().to_string().into(),
        updated,
        state: broker_sim::IbkrFigures { delta: Some(delta), ..broker_sim::IbkrFigures::default() },
        underlying: broker_sim::IbkrUnderlying::default(),
        known: true,
        availability: None,
        market: None,
        written: true,
    };
    // As it would be read from the database: what was never sent is NULL.
    let stored = |entries: &[broker_sim::IbkrEntry]| {
        let mut rows = from_ledger(entries, &sim.positions());
        for row in rows.values_mut().flatten() {
            row.values = row.values.map(|value| Some(value.flatten()));
        }
        rows
    };
    let sent = from_ledger(&[entry(1, 0.5), entry(2, 0.5)], &sim.positions());
    for wrong in [
        vec![entry(1, 0.5)],
        vec![entry(1, 0.5), entry(2, 0.5), entry(3, 0.5)],
        vec![entry(1, 0.5), entry(2, 0.500_000_000_000_000_1)],
    ] {
        assert!(difference(&sent, &stored(&wrong)).is_some());
    }
    let mut rows = stored(&[entry(1, 0.5), entry(2, 0.5)]);
    assert_eq!(difference(&sent, &rows), None);
    // A rho that says it was computed is none of the gateway's business; one that does not is an invention.
    let row = &mut rows.values_mut().next().unwrap()[1];
    row.values[4] = Some(Some(0.1_f64.to_bits()));
    row.flags = 1;
    assert_eq!(difference(&sent, &rows), None);
    rows.values_mut().next().unwrap()[1].flags = 0;
    assert!(difference(&sent, &rows).is_some());
    sim.shutdown().await;
}
