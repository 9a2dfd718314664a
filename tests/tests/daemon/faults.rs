//! A broker that does everything the protocol allows, and some things that it does not: what was validly sent is stored
//! exactly once, bit for bit; what was not costs no more than itself.

use std::num::NonZeroU32;

use broker_sim::{
    Escapes, FeedFaults, Figure, MarketConfig, Mischief, SimConfig, SimulatedMarket, StreamerSymbols, Substitute,
    TastySim, WrongAnswer, Wrongness,
};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::tail;
use greekd_tests::tasty::{PATIENCE, daemon, gaps, rows, stop_and_compare};
use greekd_tests::wait::until;

fn config(rate: f64, positions: usize) -> SimConfig {
    let market = SimulatedMarket { rate, positions, ..SimulatedMarket::default() };
    SimConfig { market: MarketConfig::Simulated(market), ..SimConfig::simulated(1) }
}

fn every(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// All that is legal and that a careless client gets wrong.
fn surprises() -> FeedFaults {
    let substitute = |figure, value, n| Substitute { figure, value, every: NonZeroU32::new(n).unwrap() };
    FeedFaults {
        late_config: true,
        reorder_every: every(3),
        switch_format_every: every(5),
        announce_switch: true,
        mix_types: true,
        shuffle_keys: true,
        escapes: Escapes::Slash,
        whole_numbers: true,
        noise_every: every(4),
        substitutes: vec![
            substitute(Figure::Gamma, f64::NAN, 3),
            substitute(Figure::Delta, 1.0, 4),
            substitute(Figure::Rho, -0.0, 5),
        ],
        ..FeedFaults::default()
    }
}

/// Streams so many events under these faults; returns how many rows came of them.
async fn streams_exactly_once(cluster: &Cluster, rate: f64, positions: usize, events: u64, faults: FeedFaults) {
    let database = cluster.database(&format!("faults_{rate}")).await;
    let mut config = config(rate, positions);
    config.faults.feed = faults;
    config.dxlink.max_rows = 200;
    let sim = TastySim::start(config).await.unwrap();
    let daemon = daemon(&sim, &database);
    let sent = sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= events).await;
    sent.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    sim.control().pause().await.unwrap();
    let accounts: std::collections::BTreeSet<String> =
        sim.positions().iter().filter(|held| held.is_open_option()).map(|held| held.account.clone()).collect();
    assert_eq!(accounts.len(), 2);
    let rows = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    assert_eq!(sim.stats().connections, 1, "nothing of this ends a session");
    println!("{rate} events/s: {} sent, {rows} rows, all stored once", sim.stats().greeks_sent);
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_legal_surprise_at_5_500_5000_and_20000_events_a_second() {
    let cluster = Cluster::start().await;
    streams_exactly_once(&cluster, 5.0, 25, 45, surprises()).await;
    let silent_switch = FeedFaults { announce_switch: false, escapes: Escapes::Unicode, ..surprises() };
    streams_exactly_once(&cluster, 500.0, 60, 1_500, silent_switch).await;
    streams_exactly_once(&cluster, 5_000.0, 200, 15_000, surprises()).await;
    streams_exactly_once(&cluster, 20_000.0, 400, 60_000, surprises()).await;
}

/// What cannot be read costs one message, and nothing else: no row too few, none too many, no connection.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_ragged_rows_cost_themselves() {
    let cluster = Cluster::start().await;
    let nonsense = FeedFaults { garbage_every: every(2), ragged_every: every(3), ..FeedFaults::default() };
    streams_exactly_once(&cluster, 1_000.0, 60, 4_000, nonsense).await;
}

/// 10 MiB in one message are many rows; 17 MiB are more than is taken, which ends the session, is a gap, and passes.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_stored_and_larger_ones_are_a_gap() {
    let cluster = Cluster::start().await;
    let database = cluster.database("large").await;
    let sim = TastySim::start(config(500.0, 60)).await.unwrap();
    let control = sim.control();
    let daemon = daemon(&sim, &database);
    let sent = sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= 500).await;
    sent.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    control.pause().await.unwrap();
    let before = sim.stats().greeks_sent;
    assert_eq!(control.inflict(Mischief::Burst { bytes: 10 << 20 }).await.unwrap(), 1);
    let in_one_message = sim.stats().greeks_sent - before;
    assert!(in_one_message > 30_000, "{in_one_message} events\n{}", tail(&daemon.stderr()));
    until("the large message is stored", PATIENCE, async || {
        (rows(&database).await >= i64::try_from(before + in_one_message).unwrap()).then_some(())
    })
    .await;
    assert_eq!((sim.stats().connections, gaps(&database, "oversized_message").await), (1, 0));

    // Nothing is sent after it that a client could not have: the market stands still.
    control.inflict(Mischief::Oversized { bytes: 17 << 20 }).await.unwrap();
    let again = sim.wait_until(PATIENCE, |stats| stats.connections == 2 && stats.streaming == 1).await;
    again.unwrap_or_else(|error| panic!("not connected again: {error}\n{}", tail(&daemon.stderr())));
    until("the gap is noted", PATIENCE, async || (gaps(&database, "oversized_message").await == 1).then_some(())).await;
    control.resume().await.unwrap();
    let sent = sim.stats().greeks_sent;
    sim.wait_until(PATIENCE, move |stats| stats.greeks_sent >= sent + 500).await.unwrap();
    control.pause().await.unwrap();
    let rows = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    println!("{in_one_message} events in one message; {rows} rows, all stored once");
    sim.shutdown().await;
}

/// Everything fails once or twice on the way in, as it does some mornings; then it streams.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_morning_ends_with_rows() {
    let cluster = Cluster::start().await;
    let database = cluster.database("morning").await;
    let mut config = config(500.0, 30);
    let wrong = |path: &str, times, how| WrongAnswer { path: path.to_owned(), times, how };
    config.faults.rest.answers = vec![
        wrong("/oauth/token", 1, Wrongness::Html(502)),
        wrong("/customers/me/accounts", 1, Wrongness::Status(503)),
        wrong("/instruments/", u32::MAX, Wrongness::Status(404)),
    ];
    config.faults.rest.streamer_symbols = StreamerSymbols::All;
    config.faults.connection.refuse_upgrades = 1;
    config.faults.connection.session_not_found = 1;
    let sim = TastySim::start(config).await.unwrap();
    let daemon = daemon(&sim, &database);
    let sent = sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= 500).await;
    sent.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    sim.control().pause().await.unwrap();
    stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    sim.shutdown().await;
}
