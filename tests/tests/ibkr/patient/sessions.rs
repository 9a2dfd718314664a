//! What happens to a gateway's sessions in the course of a year: greekd says what a person has to know, asks calmly, and
//! is back by itself.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use broker_sim::{Disconnect, IbkrSim, IbkrSimConfig, SimConfig, SimMarket, TastySim};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::ibkr::{
    asked, contracts, difference, environment, from_database, from_ledger, gaps, options, rows, said, says, settle,
    streams,
};
use greekd_tests::scene::{Scene, config, fault};
use greekd_tests::scratch::scratch;
use greekd_tests::tasty::{self, PATIENCE};
use greekd_tests::wait::until;

/// The longest that greekd waits by itself for a person or for IBKR, and the start of a session after it.
const NEXT_LOOK: Duration = Duration::from_secs(60 + 15);

/// What takes a minute or more, all at one time: the looks for a login and for a session, and the pauses of maintenance.
#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_patience() {
    let cluster = Cluster::start().await;
    tokio::join!(
        nobody_is_logged_in(&cluster),
        another_login_keeps_its_session(&cluster),
        the_night(&cluster),
        the_weekend(&cluster),
        no_data_for_a_while(&cluster),
    );
}

/// Before the start, and in the midst of the stream.
async fn nobody_is_logged_in(cluster: &Cluster) {
    let scene = Scene::start(cluster, "login", IbkrSimConfig { logged_in: false, ..config(4) }).await;
    let Scene { sim, daemon, database, .. } = &scene;
    let sentence = format!(
        "nobody is logged in at the gateway: log in at {} with a browser on the gateway's machine",
        scene.origin()
    );
    let looks = || sim.requests().iter().filter(|line| line.status == 401).count();
    until("there was a second look", PATIENCE, async || (looks() == 2).then_some(())).await;
    assert!(scene.began.elapsed() > Duration::from_secs(10), "two looks in {:?}", scene.began.elapsed());
    assert_eq!((said(daemon, &sentence), sim.requests().len()), (1, 2), "{:?}", sim.requests());
    assert!(sim.requests().iter().all(|line| line.path.ends_with("/tickle")), "{:?}", sim.requests());
    sim.control().login();
    let took = scene.is_back(0, PATIENCE).await;
    println!("login before the start: all stream {took:?} after it");

    scene.has_more_rows(0).await;
    let (before, connections) = (sim.requests().len(), sim.stats().connections);
    sim.control().expire_login();
    let told = sim.wait_until(PATIENCE, |stats| stats.unauthorized >= 3).await;
    told.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    until("it is told once more", PATIENCE, async || (said(daemon, &sentence) == 2).then_some(())).await;
    // What is told comes before what is stored.
    until("the gap is stored", PATIENCE, async || (gaps(database, "disconnected").await.len() == 1).then_some(()))
        .await;
    sim.control().login();
    let took = scene.is_back(connections, PATIENCE).await;
    let quiet = sim.requests()[before..].iter().filter(|line| line.status == 401).count();
    println!("login in the midst: all stream {took:?} after it; {quiet} requests without one");
    assert!(quiet <= 2, "{:?}", &sim.requests()[before..]);
    assert_eq!((sim.stats().connections, said(daemon, &sentence)), (connections + 1, 2));
    let gaps = scene.ends_exactly().await;
    assert!(matches!(gaps[0], (Some(millis), 0) if millis > 5_000), "{gaps:?}");
}

/// Without leave to compete nothing is taken from anybody.
async fn another_login_keeps_its_session(cluster: &Cluster) {
    let scene = Scene::start(cluster, "competing", config(4)).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    let before = sim.requests().len();
    sim.control().compete();
    let sentence = "the brokerage session is in use by another login of this user";
    says(daemon, sentence).await;
    assert_eq!(said(daemon, "or allow it to take the session over (IBKR_COMPETE=on)"), 1);
    // One look finds it taken, and the next finds it free.
    let away = sim.requests().len() - before;
    assert!(away <= 4, "{:?}", &sim.requests()[before..]);
    sim.control().stop_competing();
    let took = scene.is_back(1, NEXT_LOOK).await;
    println!("the other login has gone: all stream {took:?} later");
    assert!(asked(sim, "/tickle") < 10 && asked(sim, "/ssodh/init") <= 3, "{:?}", sim.requests());
    assert_eq!((sim.stats().competed, sim.stats().connections, said(daemon, sentence)), (0, 2, 1));
    assert_eq!(scene.ends_exactly().await.len(), 2);
}

/// `/iserver` answers with 503 for a while; the brokerage session is gone, the login is not.
async fn the_night(cluster: &Cluster) {
    let scene = Scene::start(cluster, "night", config(4)).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    let (before, sessions) = (sim.requests().len(), sim.stats().brokerage_sessions);
    sim.control().nightly_reset(Duration::from_secs(20), 503, false);
    says(daemon, "as in its nightly reset and weekend maintenance").await;
    let took = scene.is_back(1, NEXT_LOOK).await;
    let refused = sim.requests()[before..].iter().filter(|line| line.status == 503).count();
    println!("reset of 20 s: all stream {took:?} after it was told; {refused} requests refused");
    assert!((1..=2).contains(&refused), "{:?}", &sim.requests()[before..]);
    assert_eq!(sim.stats().brokerage_sessions, sessions + 1);
    assert_eq!(scene.ends_exactly().await.len(), 2);
}

/// Everything answers with 503.
async fn the_weekend(cluster: &Cluster) {
    let scene = Scene::start(cluster, "weekend", config(4)).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    let before = sim.requests().len();
    sim.control().maintenance(true);
    says(daemon, "as in its nightly reset and weekend maintenance").await;
    sim.control().maintenance(false);
    let took = scene.is_back(1, NEXT_LOOK).await;
    let refused = sim.requests()[before..].iter().filter(|line| line.status == 503).count();
    println!("maintenance: all stream {took:?} after it was told; {refused} requests refused");
    assert!((1..=2).contains(&refused), "{:?}", &sim.requests()[before..]);
    assert_eq!(scene.ends_exactly().await.len(), 2);
}

/// Heartbeats come, data does not: it is asked for again, once in a while, in the same socket.
async fn no_data_for_a_while(cluster: &Cluster) {
    let mut config = config(4);
    config.faults.data.stopped = true;
    let scene = Scene::start(cluster, "stopped", config).await;
    let Scene { sim, daemon, .. } = &scene;
    let wanted = contracts(&sim.positions());
    let subscribed = sim.wait_until(PATIENCE, move |stats| stats.lines == wanted).await;
    subscribed.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", sim.stats(), tail(&daemon.stderr())));
    let again = sim.wait_until(PATIENCE, move |stats| stats.renewed >= wanted).await;
    let heartbeats = again.unwrap().heartbeats;
    assert!(heartbeats >= 1, "asked again before a heartbeat came");
    sim.wait_until(PATIENCE, move |stats| stats.heartbeats > heartbeats).await.unwrap();
    assert_eq!(sim.stats().renewed, wanted, "asked again without patience");
    let told = format!("{} option(s) and {} underlying(s) give no data", options(sim), wanted - options(sim));
    until("all are counted as silent", PATIENCE, async || (fault(daemon)? == told).then_some(())).await;
    assert_eq!(rows(&scene.database).await, 0);
    sim.control().change_faults(|faults| faults.data.stopped = false);
    scene.streams().await;
    until("it is told that they stream", PATIENCE, async || (said(daemon, "\"streams\"") == 1).then_some(())).await;
    assert_eq!(sim.stats().connections, 1);
    assert_eq!(scene.ends_exactly().await.len(), 1);
}

/// What passes within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_session_is_back_by_itself() {
    let cluster = Cluster::start().await;
    tokio::join!(
        the_brokerage_session_is_lost(&cluster),
        a_session_is_taken_over_where_that_is_wanted(&cluster),
        the_gateway_is_down_and_is_killed(&cluster),
    );
}

async fn the_brokerage_session_is_lost(cluster: &Cluster) {
    let scene = Scene::start(cluster, "brokerage", config(4)).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    assert_eq!((asked(sim, "/ssodh/init"), sim.stats().brokerage_sessions), (1, 1));
    sim.control().lose_brokerage();
    let took = scene.is_back(1, PATIENCE).await;
    println!("brokerage session lost: all stream {took:?} later");
    assert_eq!((asked(sim, "/ssodh/init"), sim.stats().brokerage_sessions), (2, 2));
    assert_eq!((sim.stats().connections, sim.stats().competed), (2, 0));
    // Nothing else is wrong, and nothing else is told.
    assert_eq!(said(daemon, "degraded"), 0, "{}", daemon.stderr().join("\n"));
    assert_eq!(scene.ends_exactly().await.len(), 2);
}

async fn a_session_is_taken_over_where_that_is_wanted(cluster: &Cluster) {
    let scene = Scene::start_with(cluster, "compete", config(4), &[("IBKR_COMPETE", "on")]).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    sim.control().compete();
    let took = scene.is_back(1, PATIENCE).await;
    println!("session taken, and taken back: all stream {took:?} later");
    assert_eq!((sim.stats().competed, said(daemon, "in use by another login")), (1, 0));
    assert_eq!(scene.ends_exactly().await.len(), 2);
}

async fn the_gateway_is_down_and_is_killed(cluster: &Cluster) {
    let sim = IbkrSim::start(config(4)).await.unwrap();
    sim.control().take_down().await.unwrap();
    let scene = Scene::connect(cluster, "killed", sim, &[]).await;
    let (sim, daemon, database) = (&scene.sim, &scene.daemon, &scene.database);
    let sentence = format!("no Client Portal gateway answers at {}: start it", scene.origin());
    says(daemon, &sentence).await;
    sim.control().bring_up().await.unwrap();
    let took = scene.is_back(0, PATIENCE).await;
    println!("gateway started after greekd: all stream {took:?} later");
    assert_eq!(gaps(database, "disconnected").await, []);
    scene.has_more_rows(0).await;

    sim.control().take_down().await.unwrap();
    until("it is told once more", PATIENCE, async || (said(daemon, &sentence) == 2).then_some(())).await;
    sim.control().bring_up().await.unwrap();
    let took = scene.is_back(1, PATIENCE).await;
    println!("gateway killed in the midst: all stream {took:?} after its start");
    settle(sim).await;
    let ledger = sim.ledger().snapshot();
    let last = ledger.entries.iter().map(|entry| entry.connection).max();
    until("the last socket's rows are stored", PATIENCE, async || {
        let newest = ledger.entries.iter().filter(|entry| entry.known).map(|entry| entry.updated).max()?;
        let stored = from_database(&database.client).await;
        let stored = stored.values().flatten().map(|row| row.millis).max();
        (stored == Some(newest)).then_some(())
    })
    .await;
    // The end stores what waits: rows of one moment need not be in one transaction.
    let ended = scene.daemon.stop().await;
    assert!(ended.status.success(), "{}", tail(&ended.stderr));
    // A socket that was killed may take with it what was on its way, and nothing else.
    let stored = from_database(&database.client).await;
    let mut entries = ledger.entries;
    let mut lost = 0;
    let first = difference(&from_ledger(&entries, &sim.positions()), &stored);
    while let Some(difference) = difference(&from_ledger(&entries, &sim.positions()), &stored) {
        let killed = entries.iter().rposition(|entry| Some(entry.connection) != last);
        let on_its_way = killed.unwrap_or_else(|| panic!("{first:?}\n{difference}\n{}", tail(&ended.stderr)));
        entries.remove(on_its_way);
        lost += 1;
        // A machine that is busy leaves a second or two of the market in the socket.
        assert!(lost < 500, "{difference}\n{}", tail(&ended.stderr));
    }
    println!("{lost} frames were on their way when it was killed");
    assert_eq!(gaps(database, "disconnected").await[0].1, 0);
    assert_eq!(sim.violations(), []);
    scene.sim.shutdown().await;
}

/// Another certificate in the midst of the stream, with the other broker beside it; and trust on first use.
#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_refused_with_the_remedy() {
    let cluster = Cluster::start().await;
    tokio::join!(the_certificate_changes(&cluster), the_first_certificate_is_kept(&cluster));
}

async fn the_certificate_changes(cluster: &Cluster) {
    let database = cluster.database("certificate").await;
    let market = SimMarket::start(config(4).market).await.unwrap();
    let tastytrade = TastySim::start_on(&market, SimConfig::simulated(1)).await.unwrap();
    let sim = IbkrSim::start_on(&market, config(4)).await.unwrap();
    let mut brokers = environment(&sim);
    brokers.extend(tasty::environment(&tastytrade));
    let daemon = Daemon::run_with(&database, &brokers);
    streams(&sim, &daemon, options(&sim)).await;
    tastytrade.wait_until(PATIENCE, |stats| stats.streaming == 1).await.unwrap();

    let requests = sim.requests().len();
    let expected = sim.fingerprint().unwrap();
    let got = sim.control().change_certificate().unwrap();
    sim.control().disconnect_all(Disconnect::Abrupt).await.unwrap();
    let remedy = format!("if it is the gateway's, set sha256:{got}; expected sha256:{expected}");
    says(&daemon, &remedy).await;
    let sent = tastytrade.stats().greeks_sent;
    let goes_on = tastytrade.wait_until(PATIENCE, move |stats| stats.greeks_sent >= sent + 200).await;
    goes_on.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
    assert_eq!((sim.requests().len(), sim.stats().connections), (requests, 1), "the stranger was told something");
    assert_eq!((said(&daemon, &remedy), tastytrade.stats().connections), (1, 1));
    let rows = tasty::stop_and_compare(&tastytrade, &tastytrade.positions(), &database, daemon).await;
    println!("certificate changed: {rows} rows of tastytrade, all stored once");
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
    tastytrade.shutdown().await;
    market.shutdown().await;
}

/// `IBKR_TLS` unset, on this machine.
async fn the_first_certificate_is_kept(cluster: &Cluster) {
    let (database, directory) = (cluster.database("pin").await, scratch());
    let sim = IbkrSim::start(config(4)).await.unwrap();
    let url = sim.gateway_url();
    let run = || {
        let settings = [("DATABASE_URL", database.url.as_str()), ("IBKR_GATEWAY_URL", url.as_str())];
        Daemon::start_in(directory.path(), &["run"], &settings)
    };
    let port = url.trim_end_matches("/v1/api").rsplit(':').next().unwrap();
    let pin = directory.path().join(format!("greekd-data/pins/127.0.0.1_{port}.sha256"));

    let daemon = run();
    streams(&sim, &daemon, options(&sim)).await;
    assert!(daemon.stop().await.status.success());
    let first = sim.fingerprint().unwrap();
    assert_eq!(std::fs::read_to_string(&pin).unwrap().trim(), first);
    assert_eq!(std::fs::metadata(&pin).unwrap().permissions().mode() & 0o777, 0o600);

    let second = sim.control().change_certificate().unwrap();
    let requests = sim.requests().len();
    let daemon = run();
    says(&daemon, &format!("on purpose, delete {}; expected sha256:{first}, got sha256:{second}", pin.display())).await;
    assert_eq!(sim.requests().len(), requests, "the stranger was told something");
    assert!(daemon.stop().await.status.success());
    assert_eq!(std::fs::read_to_string(&pin).unwrap().trim(), first);

    std::fs::remove_file(&pin).unwrap();
    let daemon = run();
    streams(&sim, &daemon, options(&sim)).await;
    assert_eq!(std::fs::read_to_string(&pin).unwrap().trim(), second);
    assert!(daemon.stop().await.status.success());
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

/// The comparisons above see what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_come_back_is_seen() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster, "control", config(4)).await;
    scene.streams().await;
    let connections = scene.sim.stats().connections;
    let back = scene.sim.wait_until(Duration::from_secs(2), move |stats| stats.connections > connections).await;
    assert!(back.is_err(), "nothing was lost, and another socket is there");
    scene.sim.control().compete();
    says(&scene.daemon, "in use by another login").await;
    settle(&scene.sim).await;
    let wanted = from_ledger(&scene.sim.ledger().snapshot().entries, &scene.sim.positions());
    let count = wanted.values().map(Vec::len).sum::<usize>();
    scene.has_more_rows(count - 1).await;
    let mut stored = from_database(&scene.database.client).await;
    assert_eq!(difference(&wanted, &stored), None);
    stored.values_mut().next().unwrap().pop();
    assert!(difference(&wanted, &stored).is_some());
    assert_eq!(scene.sim.violations(), []);
    scene.sim.shutdown().await;
}
