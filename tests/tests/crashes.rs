//! Processes that are killed: the daemon, and the database it runs.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::time::Duration;

use broker_sim::{SimConfig, TastySim};
use greekd_tests::daemon::{Daemon, signal, tail};
use greekd_tests::expected;
use greekd_tests::http::{address, get};
use greekd_tests::scratch::scratch;
use greekd_tests::tasty::settle;
use greekd_tests::wait::until;
use greeks_store::private::{PrivateConfig, PrivateServer, running_elsewhere};
use greeks_store::tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(sim: &TastySim, directory: &Path) -> Daemon {
    let credentials = sim.credentials();
    Daemon::start_in(
        directory,
        &["run"],
        &[
            ("TASTYTRADE_API_URL", &sim.api_url()),
            ("TASTYTRADE_REFRESH_TOKEN", &credentials.refresh_token),
            ("TASTYTRADE_CLIENT_SECRET", &credentials.client_secret),
        ],
    )
}

/// A connection to the private server of the daemon, once its schema is there.
async fn connect(data: &Path) -> Client {
    until("the private server answers", PATIENCE, async || {
        let (client, connection) = running_elsewhere(data).ok()?.connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        client.query_one("SELECT count(*) FROM greek_snapshots", &[]).await.ok()?;
        Some(client)
    })
    .await
}

async fn rows(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM greek_snapshots", &[]).await.map_or(0, |row| row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_starts_again_without_a_double_row_and_tells_what_it_missed() {
    let sim = TastySim::start(SimConfig::simulated(3)).await.unwrap();
    let directory = scratch();
    let data = directory.path().join("greekd-data");
    for _ in 0..3 {
        let daemon = start(&sim, directory.path());
        let client = connect(&data).await;
        let before = rows(&client).await;
        until("rows are stored", PATIENCE, async || (rows(&client).await > before + 50).then_some(())).await;
        daemon.signal("KILL");
        daemon.wait(PATIENCE).await;
    }
    let daemon = start(&sim, directory.path());
    let client = connect(&data).await;
    let before = rows(&client).await;
    until("rows are stored", PATIENCE, async || (rows(&client).await > before + 50).then_some(())).await;

    let gaps = client.query("SELECT reason, gap_to > gap_from FROM ingest_gaps ORDER BY gap_from", &[]).await.unwrap();
    let gaps: Vec<(String, Option<bool>)> = gaps.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(gaps, vec![("crashed".to_owned(), Some(true)); 3]);
    let metrics = get(&address(&daemon).await, "/metrics").await.text;
    let crashed = r#"greekd_gaps_total{source="tastytrade",reason="crashed"}"#;
    let counted = metrics.lines().find_map(|line| line.strip_prefix(crashed)).map(str::trim);
    assert_eq!(counted, Some("1"), "the one that this run has stated");
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{}", tail(&ended.stderr));

    let server = PrivateServer::start(PrivateConfig::new(&data)).await.unwrap();
    let (client, connection) = server.config().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    for (line, rows) in expected::from_database(&client).await {
        let repeated = rows.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(repeated, None, "{line:?} holds a row twice");
    }
    server.stop().await.unwrap();
    sim.shutdown().await;
}

/// The server dies and, a moment later, the daemon is told to stop: it starts the server once more to store what waits.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_killed_private_server_is_stored_at_the_stop() {
    let sim = TastySim::start(SimConfig::simulated(4)).await.unwrap();
    let directory = scratch();
    let data = directory.path().join("greekd-data");
    let daemon = start(&sim, directory.path());
    let client = connect(&data).await;
    until("rows are stored", PATIENCE, async || (rows(&client).await > 50).then_some(())).await;
    let note = std::fs::read_to_string(data.join("pg/data/postmaster.pid")).unwrap();
    signal(note.lines().next().unwrap().parse().unwrap(), "KILL");
    let sent = sim.stats().greeks_sent;
    sim.wait_until(PATIENCE, move |stats| stats.greeks_sent > sent + 5).await.unwrap();
    settle(&sim).await;
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));

    let server = PrivateServer::start(PrivateConfig::new(&data)).await.unwrap();
    let (client, connection) = server.config().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let wanted = expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions());
    assert_eq!(expected::difference(&wanted, &expected::from_database(&client).await), None);
    server.stop().await.unwrap();
    sim.shutdown().await;
}

/// Whoever reads our output may stop reading: no complaint, no stack trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let directory = scratch();
    let data = directory.path().join("demo");
    let script = format!(
        "{} demo --duration 20 --data-dir {} | head -n 2",
        greekd_tests::daemon::program().display(),
        data.display()
    );
    let begin = std::time::Instant::now();
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &script]).env_clear().env("HOME", directory.path());
    let output = shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    assert!(begin.elapsed() < Duration::from_secs(15), "it went on for nobody");
}
