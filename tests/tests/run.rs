//! A person's path: start on an empty database, look at the rows, stop.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use broker_sim::{SimConfig, TastySim};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::{Daemon, program, tail};
use greekd_tests::scratch::scratch;
use greekd_tests::wait::until;
use greeks_store::Queries;
use greeks_store::private::running_elsewhere;
use greeks_store::{DatabaseConfig, SnapshotFilter};

const PATIENCE: Duration = Duration::from_secs(60);

fn broker(sim: &TastySim) -> [(&'static str, String); 3] {
    let credentials = sim.credentials();
    [
        ("TASTYTRADE_API_URL", sim.api_url()),
        ("TASTYTRADE_REFRESH_TOKEN", credentials.refresh_token),
        ("TASTYTRADE_CLIENT_SECRET", credentials.client_secret),
    ]
}

fn environment<'a>(broker: &'a [(&'static str, String)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    broker.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_durable_row_within_5_seconds_of_the_start_on_an_empty_database() {
    let cluster = Cluster::start().await;
    let database = cluster.database("first").await;
    let sim = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let broker = broker(&sim);
    program();
    let begin = Instant::now();
    let daemon = Daemon::start(&["run"], &environment(&broker, &[("DATABASE_URL", &database.url)]));
    until("a row is durable", PATIENCE, async || {
        let count = database.client.query_one("SELECT count(*) FROM greek_snapshots", &[]).await.ok()?;
        (count.get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    let took = begin.elapsed();
    println!("first durable row after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", tail(&daemon.stderr()));
    assert!(daemon.stop().await.status.success());
    sim.shutdown().await;
}

/// No database configured: greekd runs its own, whose rows can be looked at while it runs and afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_needs_no_configuration() {
    let sim = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let broker = broker(&sim);
    let directory = scratch();
    let daemon = Daemon::start_in(directory.path(), &["run"], &environment(&broker, &[]));
    let data = directory.path().join("greekd-data");
    until("rows are stored", PATIENCE, async || {
        let database = DatabaseConfig::new(running_elsewhere(&data).ok()?);
        let rows = Queries::new(&database, 1).ok()?.snapshots(&SnapshotFilter::default()).await.ok()?.rows;
        (rows.len() >= 50).then_some(())
    })
    .await;

    let look = |args: &[&str]| Daemon::start_in(directory.path(), args, &[]).wait(PATIENCE);
    let beside = look(&["snapshots", "-o", "csv", "--limit", "5"]).await;
    assert!(beside.status.success(), "{beside:?}");
    assert_eq!(beside.stdout.len(), 6, "a header and five rows: {beside:?}");

    // A second daemon on the same data is told who has it.
    let second = Daemon::start_in(directory.path(), &["run"], &environment(&broker, &[])).wait(PATIENCE).await;
    assert_eq!(second.status.code(), Some(69));
    assert!(tail(&second.stderr).contains(&format!("process {}", daemon.pid())), "{second:?}");

    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{ended:?}");
    let afterwards = look(&["snapshots", "-o", "json", "--underlying", "SPX", "--limit", "3"]).await;
    let rows: serde_json::Value = serde_json::from_str(&afterwards.stdout.join("\n")).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!((row["broker"].as_str(), row["underlying"].as_str()), (Some("tastytrade"), Some("SPX")));
        assert_eq!(row["contract_key"].as_str().map(str::len), Some(21));
        assert!(row["underlying_price"].as_f64().is_none_or(|price| price > 1_000.0), "not the option's price: {row}");
    }
    let nothing = look(&["snapshots", "--from", "2001-01-01", "--to", "2001-02-01"]).await;
    assert!(nothing.stdout.iter().any(|line| line == "(no rows)"), "{nothing:?}");
    sim.shutdown().await;
}

/// The first signal asks for a graceful stop; who sends another does not want to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let cluster = Cluster::start().await;
    let database = cluster.database("twice").await;
    let sim = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let broker = broker(&sim);
    let daemon = Daemon::start(&["run"], &environment(&broker, &[("DATABASE_URL", &database.url)]));
    sim.wait_until(PATIENCE, |stats| stats.greeks_sent > 100).await.unwrap();
    // Without a database the first stop would take its nine seconds.
    drop(cluster);
    let sent = sim.stats().greeks_sent;
    sim.wait_until(PATIENCE, move |stats| stats.greeks_sent > sent + 50).await.unwrap();
    daemon.signal("TERM");
    until("it says that it stops", PATIENCE, async || {
        daemon.stderr().iter().any(|line| line.contains("stopping")).then_some(())
    })
    .await;
    let begin = Instant::now();
    daemon.signal("INT");
    let ended = daemon.wait(PATIENCE).await;
    assert_eq!(ended.status.code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    sim.shutdown().await;
}

#[tokio::test]
async fn the_demo_says_where_the_data_goes_and_ends_with_rows() {
    let directory = scratch();
    let data = directory.path().join("demo-data");
    program();
    let begin = Instant::now();
    let daemon =
        Daemon::start_in(directory.path(), &["demo", "--duration", "60", "--data-dir", data.to_str().unwrap()], &[]);
    until("the place is named", PATIENCE, async || {
        daemon.stdout().iter().any(|line| line.contains(data.to_str().unwrap())).then_some(())
    })
    .await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    until("both brokers stream for some seconds", PATIENCE, async || {
        let both = |line: &&String| line.contains("ibkr connected  tastytrade connected");
        (daemon.stdout().iter().filter(both).count() >= 4).then_some(())
    })
    .await;
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout[0].starts_with("SIMULATED"), "{ended:?}");
    // Of each broker: its name, and an account in the form it gives them.
    for rows_of in ["ibkr        U", "tastytrade  5WT0000"] {
        assert!(ended.stdout.iter().filter(|line| line.contains(rows_of)).count() >= 4, "{rows_of}: {ended:?}");
    }
    assert!(!tail(&ended.stderr).contains("ERROR"), "nothing went wrong: {ended:?}");
}
