//! What a person is told about a Client Portal gateway that is not as it should be.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

use broker_sim::{IbkrCustomer, IbkrSim, IbkrSimConfig, SimConfig, TastySim};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, Ended, tail};
use greekd_tests::ibkr;
use greekd_tests::scratch::scratch;
use greekd_tests::tasty::{self, PATIENCE};
use greekd_tests::wait::until;

/// A gateway with little to ask about.
async fn gateway(logged_in: bool) -> IbkrSim {
    let customer = IbkrCustomer { accounts: vec!["U1234567".to_owned()], positions: 2, ..IbkrCustomer::default() };
    let config = IbkrSimConfig { customer, logged_in, ..IbkrSimConfig::simulated(1) };
    IbkrSim::start(config).await.expect("a double")
}

/// `greekd check` in this directory; without `tls` as if nothing was set.
async fn check(directory: &Path, database: &Database, gateway: &str, tls: &str) -> Ended {
    let environment = [("DATABASE_URL", database.url.as_str()), ("IBKR_GATEWAY_URL", gateway), ("IBKR_TLS", tls)];
    Daemon::start_in(directory, &["check"], &environment).wait(PATIENCE).await
}

/// The line about the gateway.
fn said(ended: &Ended) -> &str {
    let line = ended.stdout.iter().find(|line| line.contains("  ibkr: "));
    line.unwrap_or_else(|| panic!("nothing about IBKR: {ended:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_and_what_to_do() {
    let cluster = Cluster::start().await;
    let (database, directory) = (cluster.database("check").await, scratch());
    let sim = gateway(true).await;
    let (url, fingerprint) = (sim.gateway_url(), format!("sha256:{}", sim.fingerprint().unwrap()));
    let origin = url.trim_end_matches("/v1/api");
    let control = sim.control();
    let look = async |tls: &str| check(directory.path(), &database, &url, tls).await;

    let ended = look(&fingerprint).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(said(&ended).starts_with("ok "), "{ended:?}");

    control.expire_login();
    let ended = look(&fingerprint).await;
    assert_eq!(ended.status.code(), Some(77), "{ended:?}");
    assert!(said(&ended).contains(&format!("log in at {origin} with a browser")), "{ended:?}");

    control.login();
    control.compete();
    let ended = look(&fingerprint).await;
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert!(said(&ended).contains("in use by another login") && said(&ended).contains("IBKR_COMPETE=on"), "{ended:?}");
    control.stop_competing();

    let other = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let ended = look(&format!("sha256:{other}")).await;
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    assert!(said(&ended).contains(&fingerprint) && said(&ended).contains(other), "{ended:?}");

    let ended = look("system").await;
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    assert!(said(&ended).contains("is not trusted"), "{ended:?}");

    control.take_down().await.unwrap();
    let ended = look(&fingerprint).await;
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert!(said(&ended).contains(origin) && said(&ended).contains("start it"), "{ended:?}");
    sim.shutdown().await;
}

/// Without a setting, on this machine: trusted is what was there first.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_pinned_at_its_first_use() {
    let cluster = Cluster::start().await;
    let (database, directory) = (cluster.database("pin").await, scratch());
    let sim = gateway(true).await;
    let url = sim.gateway_url();
    let port = url.trim_end_matches("/v1/api").rsplit(':').next().unwrap().to_owned();
    let pin = directory.path().join(format!("greekd-data/pins/127.0.0.1_{port}.sha256"));

    let first = sim.fingerprint().unwrap();
    let ended = check(directory.path(), &database, &url, "").await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.iter().any(|line| line.contains(&first)), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&pin).unwrap().trim(), first);

    let second = sim.control().change_certificate().unwrap();
    let requests = sim.requests().len();
    let ended = check(directory.path(), &database, &url, "").await;
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    let told = said(&ended);
    let remedy = format!("delete {}", pin.display());
    assert!([&remedy, &first, &second].into_iter().all(|part| told.contains(part.as_str())), "{told}");
    assert!(!told.contains("OtherError"), "not in words for people: {told}");
    assert_eq!(sim.requests().len(), requests, "the stranger was told something");

    std::fs::remove_file(&pin).unwrap();
    let ended = check(directory.path(), &database, &url, "").await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&pin).unwrap().trim(), second);
    sim.shutdown().await;
}

/// The first minutes of many users. The other broker's refusal is no reason to end either: somebody may log in yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_a_login_and_says_so_once() {
    let cluster = Cluster::start().await;
    let database = cluster.database("login").await;
    let gateway = gateway(false).await;
    let tastytrade = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let mut brokers = ibkr::environment(&gateway);
    brokers.extend(tasty::environment(&tastytrade).into_iter().map(|(name, value)| match name {
        "TASTYTRADE_CLIENT_SECRET" => (name, "canary-4711".to_owned()),
        _ => (name, value),
    }));
    let daemon = Daemon::run_with(&database, &brokers);
    let told = |daemon: &Daemon| daemon.stderr().iter().filter(|line| line.contains("log in at https://")).count();

    until("a second look for a login", PATIENCE, async || {
        let looks = gateway.requests().iter().filter(|line| line.status == 401).count();
        (told(&daemon) > 0 && looks >= 2).then_some(())
    })
    .await;
    gateway.control().login();
    until("rows are stored", PATIENCE, async || (ibkr::rows(&database).await > 0).then_some(())).await;
    assert_eq!(told(&daemon), 1, "{}", daemon.stderr().join("\n"));
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{}", tail(&ended.stderr));
    let refused = ended.stderr.iter().filter(|line| line.contains("credentials_rejected:")).count();
    assert_eq!(refused, 1, "{}", ended.stderr.join("\n"));
    assert_eq!(gateway.violations(), []);
    gateway.shutdown().await;
    tastytrade.shutdown().await;
}

/// What `greekd sim ibkr` prints is what a client has to be told.
#[tokio::test(flavor = "multi_thread")]
async fn the_double_alone_says_how_to_reach_it() {
    let cluster = Cluster::start().await;
    let (database, directory) = (cluster.database("sim").await, scratch());
    let sim = Daemon::start(&["sim", "ibkr", "--positions", "4"], &[]);
    let printed = |name: &str| {
        let line =
            sim.stdout().into_iter().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
        async { line }
    };
    let tls = until("both lines are printed", PATIENCE, async || printed("IBKR_TLS").await).await;
    let url = printed("IBKR_GATEWAY_URL").await.unwrap();
    let ended = check(directory.path(), &database, &url, &tls).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.iter().any(|line| line.contains("option positions: 4,")), "{ended:?}");
    assert!(sim.stop().await.status.success());
}
