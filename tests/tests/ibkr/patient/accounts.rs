//! Which accounts of a login greekd streams: those of an advisor's clients, or the ones that were chosen.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;

use broker_sim::{IbkrCustomer, IbkrPosition, IbkrSim, IbkrSimConfig, MarketConfig, Pace, SimulatedMarket};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::Daemon;
use greekd_tests::ibkr::{
    asked, contracts, environment, from_database, options, rows, says, stop_and_compare, streams,
};
use greekd_tests::tasty::PATIENCE;

/// An advisor with three clients.
fn advisor() -> IbkrSimConfig {
    let market = SimulatedMarket { rate: 300.0, ..SimulatedMarket::default() };
    let mut config = IbkrSimConfig::with_market(MarketConfig::Simulated(market), 1);
    config.customer = IbkrCustomer::advisor(3);
    config.pace = Pace::EveryEvent;
    config
}

/// An advisor's clients, a contract that two of them hold, and a choice of accounts.
#[tokio::test(flavor = "multi_thread")]
async fn an_advisor_with_clients_and_a_choice_among_them() {
    let cluster = Cluster::start().await;
    tokio::join!(all_clients(&cluster), one_client(&cluster), no_client(&cluster));
}

async fn all_clients(cluster: &Cluster) {
    let database = cluster.database("clients").await;
    let sim = IbkrSim::start(advisor()).await.unwrap();
    let positions = sim.positions();
    let first = positions.iter().find(|row| row.is_open_option()).unwrap().conid;
    let holders: Vec<&IbkrPosition> = positions.iter().filter(|row| row.conid == first).collect();
    assert_eq!(holders.len(), 2, "a contract is held twice");
    let daemon = Daemon::run_with(&database, &environment(&sim));
    streams(&sim, &daemon, options(&sim)).await;
    assert_eq!(sim.stats().lines, contracts(&positions), "one subscription for each contract");
    let sent = sim.stats().greek_frames;
    sim.wait_until(PATIENCE, move |stats| stats.greek_frames > sent + 200).await.unwrap();
    let stored = stop_and_compare(&sim, &positions, &database, daemon).await;

    let all = from_database(&database.client).await;
    let accounts: BTreeSet<&str> = all.keys().map(|(account, _)| account.as_str()).collect();
    let clients = sim.accounts();
    assert_eq!(accounts, clients.iter().map(String::as_str).collect(), "the advisor's own holds nothing");
    let key = holders[0].contract().unwrap().to_string();
    let [a, b] = [0, 1].map(|at| &all[&(holders[at].account.clone(), key.clone())]);
    println!("{stored} rows of {} clients; {key} has {} in each of two accounts", clients.len(), a.len());
    assert!(!a.is_empty() && a.len() == b.len(), "{} and {}", a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a.millis, a.values) == (b.millis, b.values) && a.quantity != b.quantity));
    sim.shutdown().await;
}

async fn one_client(cluster: &Cluster) {
    let database = cluster.database("client").await;
    let sim = IbkrSim::start(advisor()).await.unwrap();
    let chosen = sim.accounts()[1].clone();
    let positions: Vec<_> = sim.positions().into_iter().filter(|row| row.account == chosen).collect();
    let held = positions.iter().filter(|row| row.is_open_option()).count() as u64;
    assert!((1..options(&sim)).contains(&held));
    let mut settings = environment(&sim);
    settings.push(("IBKR_ACCOUNTS", chosen.clone()));
    let daemon = Daemon::run_with(&database, &settings);
    streams(&sim, &daemon, held).await;
    assert_eq!(sim.stats().lines, contracts(&positions), "nothing of the others");
    let sent = sim.stats().greek_frames;
    sim.wait_until(PATIENCE, move |stats| stats.greek_frames > sent + 100).await.unwrap();
    let rows = stop_and_compare(&sim, &positions, &database, daemon).await;
    println!("{rows} rows of the chosen client");
    let others = sim.accounts().into_iter().filter(|account| *account != chosen);
    let asked: usize = others.map(|account| asked(&sim, &format!("{account}/positions"))).sum();
    assert_eq!(asked, 0, "the others' positions are nobody's business");
    sim.shutdown().await;
}

async fn no_client(cluster: &Cluster) {
    let database = cluster.database("nobody").await;
    let sim = IbkrSim::start(advisor()).await.unwrap();
    let mut settings = environment(&sim);
    settings.push(("IBKR_ACCOUNTS", "U9999999".to_owned()));
    let daemon = Daemon::run_with(&database, &settings);
    says(&daemon, "··9999 are not among the accounts of this login").await;
    assert!(
        !daemon.stderr().iter().any(|line| line.contains("U9999999")),
        "not masked:\n{}",
        daemon.stderr().join("\n")
    );
    assert_eq!((sim.stats().connections, asked(&sim, "/positions"), rows(&database).await), (0, 0, 0));
    assert!(daemon.stop().await.status.success());
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}
