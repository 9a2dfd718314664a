//! What the double sent while connected is stored exactly once, bit for bit, at any rate, over a reconnect.

use broker_sim::{Disconnect, MarketConfig, SimConfig, SimulatedMarket, TastySim};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::tail;
use greekd_tests::expected;
use greekd_tests::tasty::{PATIENCE, daemon, rows, settle, stop_and_compare};
use greekd_tests::wait::until;

async fn double(rate: f64, positions: usize) -> TastySim {
    let market = SimulatedMarket { rate, positions, ..SimulatedMarket::default() };
    let config = SimConfig { market: MarketConfig::Simulated(market), ..SimConfig::simulated(1) };
    TastySim::start(config).await.unwrap()
}

/// Streams `first` events, drops the connection, streams until `last`, then compares ledger and database.
async fn streams_exactly_once(cluster: &Cluster, rate: f64, positions: usize, first: u64, last: u64) {
    let database = cluster.database(&format!("ledger_{rate}")).await;
    let sim = double(rate, positions).await;
    let daemon = daemon(&sim, &database);
    let sent = |count: u64| sim.wait_until(PATIENCE, move |stats| stats.greeks_sent >= count);
    sent(first).await.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    assert_eq!(sim.control().disconnect_all(Disconnect::Orderly).await.unwrap(), 1);
    let streaming = sim.wait_until(PATIENCE, |stats| stats.connections == 2 && stats.streaming == 1).await;
    streaming.unwrap_or_else(|error| panic!("not connected again: {error}\n{}", tail(&daemon.stderr())));
    sent(last).await.unwrap();
    let wanted = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    let default: i64 = database.client.query_one("SELECT count(*) FROM greek_ticks_default", &[]).await.unwrap().get(0);
    assert_eq!(default, 0, "every row belongs to a month");
    let gaps: i64 = database.client.query_one("SELECT count(*) FROM ingest_gaps", &[]).await.unwrap().get(0);
    assert!(gaps >= 1, "the lost connection is a gap");
    println!("{rate} events/s: {} sent, {wanted} rows, all stored once", sim.stats().greeks_sent);
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_5_500_and_20000_events_a_second() {
    let cluster = Cluster::start().await;
    streams_exactly_once(&cluster, 5.0, 25, 40, 60).await;
    streams_exactly_once(&cluster, 500.0, 60, 700, 1_500).await;
    streams_exactly_once(&cluster, 20_000.0, 400, 40_000, 80_000).await;
}

/// A reset in the middle of a message: what arrived whole is stored once, and nothing is invented.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_connection_cut_in_the_middle() {
    let cluster = Cluster::start().await;
    let database = cluster.database("cut").await;
    let sim = double(2_000.0, 60).await;
    let daemon = daemon(&sim, &database);
    for round in 1..=3 {
        sim.wait_until(PATIENCE, |stats| stats.streaming == 1 && stats.greeks_sent > round * 1_000).await.unwrap();
        sim.control().disconnect_all(Disconnect::Abrupt).await.unwrap();
        sim.wait_until(PATIENCE, |stats| stats.connections == round + 1 && stats.streaming == 1).await.unwrap();
    }
    settle(&sim).await;
    // All of the last connection has been received: its last rows end the lines.
    let entries = sim.ledger().snapshot().entries;
    let newest = entries.iter().map(|entry| entry.connection).max().unwrap();
    let of_newest: Vec<_> = entries.iter().filter(|entry| entry.connection == newest).cloned().collect();
    let ends = expected::from_ledger(&of_newest, &sim.positions());
    until("the last rows are stored", PATIENCE, async || {
        let stored = expected::from_database(&database.client).await;
        ends.iter().all(|(line, rows)| stored.get(line).and_then(|rows| rows.last()) == rows.last()).then_some(())
    })
    .await;
    assert!(daemon.stop().await.status.success());

    let sent = expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions());
    let stored = expected::from_database(&database.client).await;
    for (line, rows) in &stored {
        let mut rest = sent.get(line).map_or(&[][..], Vec::as_slice);
        for row in rows {
            // In the order of sending, each at most once.
            let at = rest.iter().position(|sent| sent == row);
            let at = at.unwrap_or_else(|| panic!("{line:?}: {row:?} was stored twice or never sent"));
            rest = &rest[at + 1..];
        }
    }
    let (sent, stored) = (sent.values().map(Vec::len).sum::<usize>(), stored.values().map(Vec::len).sum::<usize>());
    assert!(stored * 10 >= sent * 9, "{stored} of {sent}: three resets cost only what was on its way");
    sim.shutdown().await;
}

/// The database is away while the market goes on: what was accepted waits, and is stored once when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn over_an_outage_of_the_database() {
    let mut cluster = Cluster::start().await;
    let database = cluster.database("outage").await;
    let sim = double(1_000.0, 60).await;
    let daemon = daemon(&sim, &database);
    sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= 1_000).await.unwrap();
    until("rows are stored", PATIENCE, async || (rows(&database).await > 0).then_some(())).await;
    let sent = sim.stats().greeks_sent;
    cluster
        .restart_after(async {
            sim.wait_until(PATIENCE, move |stats| stats.greeks_sent >= sent + 3_000).await.unwrap();
        })
        .await;
    assert_eq!(sim.stats().connections, 1, "the broker's side has not noticed");
    let database = cluster.connect("outage").await;
    stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    sim.shutdown().await;
}

/// The comparison sees a missing, a doubled and a changed row.
#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_can_fail() {
    let sim = double(1_000.0, 10).await;
    let entry = |time: i64, delta: f64| broker_sim::LedgerEntry {
        connection: 1,
        symbol: sim.positions()[0].listing().unwrap().streamer_symbol.as_str().into(),
        stamp: broker_sim::Stamp { time, sequence: 0 },
        values: broker_sim::GreekValues {
            price: 1.0,
            volatility: 0.2,
            delta,
            gamma: 0.0,
            theta: 0.0,
            rho: 0.0,
            vega: 0.0,
        },
        written: true,
    };
    let good = expected::from_ledger(&[entry(1, 0.5), entry(2, 0.5)], &sim.positions());
    for other in [
        vec![entry(1, 0.5)],
        vec![entry(1, 0.5), entry(2, 0.5), entry(3, 0.5)],
        vec![entry(1, 0.5), entry(2, 0.500_000_000_000_000_1)],
    ] {
        assert!(expected::difference(&good, &expected::from_ledger(&other, &sim.positions())).is_some());
    }
    assert_eq!(expected::difference(&good, &good), None);
}
