//! Bad input ends with one clear line, a remedy and the published exit code.

use std::time::{Duration, Instant};

use broker_sim::{SimConfig, TastySim};
use greekd_tests::daemon::{Daemon, Ended};

const SOON: Duration = Duration::from_secs(30);

async fn run(args: &[&str], environment: &[(&str, &str)]) -> Ended {
    Daemon::start(args, environment).wait(SOON).await
}

/// The one line that does not belong to the log.
fn complaint(ended: &Ended) -> &str {
    let lines: Vec<&String> = ended.stderr.iter().filter(|line| line.starts_with("greekd: ")).collect();
    assert_eq!(lines.len(), 1, "not one line: {:?}", ended.stderr);
    lines[0]
}

#[tokio::test]
async fn no_broker_is_78() {
    for args in [&[][..], &["run"]] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.status.code(), Some(78));
        assert!(
            complaint(&ended).contains("no broker is configured; set IBKR_GATEWAY_URL, or TASTYTRADE_REFRESH_TOKEN"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn half_a_credential_is_78_and_is_not_shown() {
    let ended = run(&["run"], &[("TASTYTRADE_REFRESH_TOKEN", "canary-4711")]).await;
    assert_eq!(ended.status.code(), Some(78));
    assert!(complaint(&ended).contains("TASTYTRADE_CLIENT_SECRET is not"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary-4711"));
}

#[tokio::test]
async fn an_unknown_option_is_2() {
    assert_eq!(run(&["run", "--frobnicate"], &[]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_77_and_is_not_tried_again() {
    let sim = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let (api, credentials) = (sim.api_url(), sim.credentials());
    for command in ["run", "check"] {
        let environment = [
            ("TASTYTRADE_API_URL", api.as_str()),
            ("TASTYTRADE_REFRESH_TOKEN", credentials.refresh_token.as_str()),
            ("TASTYTRADE_CLIENT_SECRET", "canary-4711"),
        ];
        let before = sim.requests().len();
        let ended = run(&[command], &environment).await;
        assert_eq!(ended.status.code(), Some(77), "{ended:?}");
        assert_eq!(sim.requests().len() - before, 1, "one refusal is enough: {:?}", sim.requests());
        let said = ended.stdout.iter().chain(&ended.stderr).find(|line| line.contains("tastytrade: "));
        assert!(
            said.is_some_and(|line| line.contains("TASTYTRADE_CLIENT_SECRET") || line.contains("grant")),
            "{ended:?}"
        );
        assert!(!format!("{ended:?}").contains("canary-4711"));
        assert!(!format!("{ended:?}").contains(&credentials.refresh_token));
    }
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_69_for_who_asks_and_no_end_for_who_streams() {
    let sim = TastySim::start(SimConfig::simulated(1)).await.unwrap();
    let (api, credentials) = (sim.api_url(), sim.credentials());
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgresql://greekd:canary-4711@127.0.0.1:{port}/greekd");
    let environment = [
        ("TASTYTRADE_API_URL", api.as_str()),
        ("TASTYTRADE_STREAMER_URL", &sim.streamer_url()),
        ("TASTYTRADE_REFRESH_TOKEN", &credentials.refresh_token),
        ("TASTYTRADE_CLIENT_SECRET", &credentials.client_secret),
        ("DATABASE_URL", &url),
    ];
    let ended = run(&["snapshots"], &environment).await;
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert!(complaint(&ended).contains(&format!("127.0.0.1:{port}")) && complaint(&ended).contains("DATABASE_URL"));
    assert!(!format!("{ended:?}").contains("canary-4711"));
    // Rows are worth more than an early complaint: they wait in the journal.
    let daemon = Daemon::start(&["run"], &environment);
    sim.wait_until(SOON, |stats| stats.greeks_sent >= 20).await.unwrap();
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{ended:?}");
    let said = ended.stderr.iter().find(|line| line.contains("the database cannot be used")).unwrap();
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("DATABASE_URL"), "{said}");
    assert!(!format!("{ended:?}").contains("canary-4711"));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_74() {
    // Not a directory: refuses root as well.
    let file = tempfile::NamedTempFile::new().unwrap();
    let directory = file.path().join("data");
    let ended = run(
        &["run"],
        &[
            ("TASTYTRADE_REFRESH_TOKEN", "x"),
            ("TASTYTRADE_CLIENT_SECRET", "x"),
            ("GREEKD_DATA_DIR", directory.to_str().unwrap()),
        ],
    )
    .await;
    assert_eq!(ended.status.code(), Some(74), "{ended:?}");
    assert!(complaint(&ended).contains(directory.to_str().unwrap()) && complaint(&ended).contains("GREEKD_DATA_DIR"));
}

#[tokio::test]
async fn a_broken_setting_is_78_and_names_itself() {
    for (name, value) in [
        ("GREEKD_COMMIT_RATE", "often"),
        ("DATABASE_URL", "canary-4711"),
        ("RUST_LOG", "a=b=c"),
        ("IBKR_GATEWAY_URL", "localhost:5000"),
        ("IBKR_GATEWAY_URL", "http://gateway.example.org/v1/api"),
    ] {
        let environment = [("TASTYTRADE_REFRESH_TOKEN", "x"), ("TASTYTRADE_CLIENT_SECRET", "x"), (name, value)];
        let ended = run(&["run"], &environment).await;
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        assert!(complaint(&ended).contains(name), "{ended:?}");
        assert!(!complaint(&ended).contains("canary-4711"));
    }
}

/// Nothing above may take its time: a person waits for it.
#[tokio::test]
async fn refusals_come_at_once() {
    let begin = Instant::now();
    greekd_tests::daemon::program();
    let built = begin.elapsed();
    run(&["run"], &[]).await;
    assert!(begin.elapsed() - built < Duration::from_secs(10));
}
