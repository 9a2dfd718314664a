//! Positions that are opened and closed while greekd streams.

use std::time::{Duration, Instant};

use broker_sim::{MarketConfig, Mischief, SimConfig, SimulatedMarket, TastySim, WrongAnswer, Wrongness};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::tasty::{PATIENCE, all_stored, daemon, stop_and_compare};
use greekd_tests::wait::until;
use greeks_model::Contract;

const ACCOUNTS: [&str; 2] = ["5WT00001", "5WT00002"];

/// Two that nobody holds at the start: an index option, and an option on a future.
const CONTRACTS: [&str; 2] = ["SPXW  300118P06500000", "/ESZ29 291207C6700"];

async fn start(cluster: &Cluster, name: &str) -> (Database, TastySim, Daemon) {
    let database = cluster.database(name).await;
    // A contract's turn comes five times a second.
    let market = SimulatedMarket { rate: 150.0, positions: 30, ..SimulatedMarket::default() };
    let config = SimConfig { market: MarketConfig::Simulated(market), ..SimConfig::simulated(1) };
    let sim = TastySim::start(config).await.unwrap();
    let daemon = daemon(&sim, &database);
    let ready = sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= 200 && stats.streamer_connected == 1).await;
    ready.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    (database, sim, daemon)
}

/// Rows of a contract in an account, and the time at which the newest was received.
async fn stored(database: &Database, account: &str, contract: &str) -> (i64, Option<jiff::Timestamp>) {
    let sql = "SELECT count(*), max(received_at) FROM greek_snapshots WHERE account_id = $1 AND contract_key = $2";
    let row = database.client.query_one(sql, &[&account, &contract]).await.expect("the rows");
    (row.get(0), row.get(1))
}

async fn quantity(database: &Database, account: &str, contract: &str) -> Option<f64> {
    let sql = "SELECT quantity FROM greek_snapshots WHERE account_id = $1 AND contract_key = $2
               ORDER BY received_at DESC LIMIT 1";
    database.client.query_opt(sql, &[&account, &contract]).await.expect("the rows").and_then(|row| row.get(0))
}

async fn has_rows(database: &Database, daemon: &Daemon, account: &str, contract: &str) -> Duration {
    let began = Instant::now();
    let what = format!("{contract} has rows in {account}; the log:\n{}", tail(&daemon.stderr()));
    until(&what, PATIENCE, async || (stored(database, account, contract).await.0 > 0).then_some(())).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_position_has_rows_within_two_seconds_and_a_closed_one_gets_no_more() {
    let cluster = Cluster::start().await;
    let (database, sim, daemon) = start(&cluster, "positions").await;
    let control = sim.control();
    for name in CONTRACTS {
        let contract: Contract = name.parse().unwrap();
        for account in ACCOUNTS {
            control.open_position(account, &contract, -3).await.unwrap();
            let took = has_rows(&database, &daemon, account, name).await;
            println!("{name} in {account}: rows after {took:?}");
            assert!(took < Duration::from_secs(2), "{took:?}\n{}", tail(&daemon.stderr()));
            assert_eq!(quantity(&database, account, name).await, Some(-3.0));
        }
    }

    // One account closes: its rows end, the other's go on with the same contract.
    let name = CONTRACTS[0];
    let contract: Contract = name.parse().unwrap();
    control.close_position(ACCOUNTS[0], &contract).unwrap();
    let closed = jiff::Timestamp::now();
    let later = closed.checked_add(jiff::SignedDuration::from_secs(4)).unwrap();
    until("the other account has rows of four seconds later", PATIENCE, async || {
        stored(&database, ACCOUNTS[1], name).await.1.filter(|newest| *newest > later).map(drop)
    })
    .await;
    let last = stored(&database, ACCOUNTS[0], name).await.1.unwrap();
    let after = last.duration_since(closed);
    println!("the last row of the closed position is from {after:?} after its close");
    assert!(after < jiff::SignedDuration::from_secs(2), "{after:?}");

    // The last holder closes: the subscription goes too.
    let subscribed = sim.stats().greeks_subscribed;
    control.close_position(ACCOUNTS[1], &contract).unwrap();
    let dropped = sim.wait_until(PATIENCE, move |stats| stats.greeks_subscribed == subscribed - 1).await;
    dropped.unwrap_or_else(|error| panic!("still subscribed: {error}\n{}", tail(&daemon.stderr())));

    assert!(daemon.stop().await.status.success());
    assert_eq!((sim.violations(), sim.unknown_symbols()), (vec![], vec![]));
    assert_eq!(sim.stats().connections, 1, "the stream went on");
    sim.shutdown().await;
}

/// Neither the opening nor the closing of a position costs a row, or makes one too many.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_exact_while_positions_come_and_go() {
    let cluster = Cluster::start().await;
    let (database, sim, daemon) = start(&cluster, "exact").await;
    let control = sim.control();
    control.set_rate(2_000.0).await.unwrap();
    for (name, account) in CONTRACTS.into_iter().zip(ACCOUNTS) {
        control.open_position(account, &name.parse().unwrap(), 5).await.unwrap();
        has_rows(&database, &daemon, account, name).await;
    }
    control.pause().await.unwrap();
    // What waits in the double goes out with it: the close finds nothing on its way.
    assert_eq!(control.inflict(Mischief::Burst { bytes: 1 }).await.unwrap(), 1);
    let held = sim.positions();
    all_stored(&sim, &held, &database).await;
    let before = sim.stats();
    control.close_position(ACCOUNTS[0], &CONTRACTS[0].parse().unwrap()).unwrap();
    let dropped = sim.wait_until(PATIENCE, |stats| stats.greeks_subscribed == before.greeks_subscribed - 1).await;
    dropped.unwrap_or_else(|error| panic!("still subscribed: {error}\n{}", tail(&daemon.stderr())));
    control.resume().await.unwrap();
    sim.wait_until(PATIENCE, |stats| stats.greeks_sent >= before.greeks_sent + 1_000).await.unwrap();
    control.pause().await.unwrap();
    let rows = stop_and_compare(&sim, &held, &database, daemon).await;
    println!("{rows} rows, all stored once");
    assert_eq!(sim.stats().connections, 1);
    sim.shutdown().await;
}

/// The account streamer is lost and the token endpoint is away: the live stream goes on. What changed meanwhile is known
/// once they are back, though no message told of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_token_endpoint_leaves_the_stream_alone() {
    let cluster = Cluster::start().await;
    let (database, sim, daemon) = start(&cluster, "outage").await;
    let control = sim.control();
    let asked = |sim: &TastySim| sim.requests().iter().filter(|line| line.path == "/oauth/token").count();
    control.change_faults(|faults| {
        let outage = WrongAnswer { path: "/oauth/token".to_owned(), times: u32::MAX, how: Wrongness::Html(502) };
        faults.rest.answers.push(outage);
    });
    control.expire_access_tokens();
    let before = asked(&sim);
    control.drop_streamer();
    until("a new token is asked for in vain", PATIENCE, async || (asked(&sim) > before).then_some(())).await;
    control.quiet_positions(true);
    let name = CONTRACTS[0];
    control.open_position(ACCOUNTS[0], &name.parse().unwrap(), 2).await.unwrap();
    let sent = sim.stats().greeks_sent;
    sim.wait_until(PATIENCE, move |stats| stats.greeks_sent >= sent + 300).await.unwrap();
    assert_eq!(sim.stats().connections, 1, "the live socket is left alone");
    assert_eq!(stored(&database, ACCOUNTS[0], name).await.0, 0, "nobody has told of it");

    control.change_faults(|faults| faults.rest.answers.clear());
    let took = has_rows(&database, &daemon, ACCOUNTS[0], name).await;
    println!("{name}: rows {took:?} after the end of the outage");
    let back = sim.wait_until(PATIENCE, |stats| stats.streamer_connected == 1).await;
    assert_eq!(back.expect("the account streamer is back").connections, 1);
    assert!(daemon.stop().await.status.success());
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}
