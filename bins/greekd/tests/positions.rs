//! `greekd positions`, against the private database of a data directory: while another process runs it, and afterwards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{
    AccountId, Clock, Decimal, Flags, GreekSnapshot, PositionsRecord, Record, Series, SnapshotSink, SourceId, UnixNanos,
};
use greeks_processor::SystemClock;
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{Committer, CommitterConfig, DatabaseConfig, memory_log, migrate};
use serde_json::{Value, json};
use tempfile::TempDir;

const CALL: &str = "AAPL  261218C00232500";
const PUT: &str = "SPXW  261127P05000000";
const FUTURE: &str = "/ESZ26 261127P5000";

/// A directory that the account which runs PostgreSQL can pass through, should the tests run as root.
fn scratch() -> TempDir {
    let permissions = std::fs::Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("greekd-").permissions(permissions).tempdir().unwrap()
}

/// Runs `greekd positions ARGS` with this directory as its home, holding its data.
fn positions(home: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greekd"));
    command.arg("positions").args(args).current_dir(home).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("GREEKD_DATA_DIR", home.join("data")).envs(environment.iter().copied());
    command.output().unwrap()
}

fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn series(broker: &str, account: &str, contract: &str) -> Arc<Series> {
    Arc::new(Series {
        broker: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        underlying: contract.split(' ').next().unwrap().into(),
        contract: contract.parse().unwrap(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}

fn at(second: u64) -> UnixNanos {
    UnixNanos::from_millis(1_795_186_800_000).saturating_add(Duration::from_secs(second))
}

fn held(broker: &str, account: &str, positions: &[(&str, f64)]) -> Record {
    Record::Positions(PositionsRecord {
        source: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        observed_at: at(0),
        positions: positions.iter().map(|(contract, n)| (series(broker, account, contract), *n)).collect(),
    })
}

fn tick(broker: &str, account: &str, contract: &str, second: u64) -> GreekSnapshot {
    GreekSnapshot::new(series(broker, account, contract), at(second), at(second), 1.0)
}

/// A contract at both brokers, in two accounts of one; two that one broker holds; one that was closed.
fn book() -> Vec<Record> {
    let mut ibkr = tick("ibkr", "U1", CALL, 5);
    (ibkr.delta, ibkr.gamma, ibkr.theta, ibkr.vega) = (Some(0.5), Some(0.0625), Some(-0.25), Some(0.75));
    (ibkr.rho, ibkr.implied_volatility) = (Some(0.1), Some(0.25));
    (ibkr.option_price, ibkr.underlying_price) = (Some(7.25), Some(232.5));
    ibkr.flags = Flags::COMPUTED | Flags::DELAYED;
    let mut older = tick("ibkr", "U2", CALL, 4);
    older.delta = Some(0.125);
    let mut tasty = tick("tastytrade", "5WT1", CALL, 3);
    (tasty.delta, tasty.implied_volatility) = (Some(0.625), Some(0.3125));
    let mut put = tick("tastytrade", "5WT1", PUT, 9);
    put.delta = Some(-0.0);
    vec![
        held("ibkr", "U1", &[(CALL, -2.0), (FUTURE, 4.0)]),
        held("ibkr", "U2", &[(CALL, 1.0)]),
        held("tastytrade", "5WT1", &[(CALL, 3.0), (PUT, -1.0)]),
        Record::Snapshot(older),
        Record::Snapshot(ibkr),
        Record::Snapshot(tasty),
        Record::Snapshot(put),
        held("ibkr", "U1", &[(CALL, -2.0)]),
        held("ibkr", "U3", &[(FUTURE, 1.0)]),
    ]
}

/// A running server whose data `greekd positions` finds under `home`, with the book in it.
async fn filled(home: &Path) -> PrivateServer {
    let server = PrivateServer::start(PrivateConfig::throwaway(home.join("data"))).await.unwrap();
    let database = server.database();
    migrate(&database).await.unwrap();
    store(&database, &book()).await;
    server
}

async fn store(database: &DatabaseConfig, records: &[Record]) {
    let (mut sink, log) = memory_log(1_000);
    sink.append(records).unwrap();
    Box::new(sink).close().unwrap();
    let config = CommitterConfig::new(database.clone(), "test");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    Committer::new(config, Box::new(log), Box::new(()), clock).0.run().await.unwrap();
}

/// The fields that are compared, of each position.
fn fields(rows: &Value, names: &[&str]) -> Vec<Value> {
    let row = |row: &Value| Value::Array(names.iter().map(|name| row[name].clone()).collect());
    rows.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_of_both_brokers_is_shown_while_the_server_runs_and_after_it_stopped() {
    let home = scratch();
    let server = filled(home.path()).await;
    let running = printed(positions(home.path(), &["-o", "json"], &[]));
    let rows: Value = serde_json::from_str(&running).unwrap();
    assert_eq!(
        fields(&rows, &["contract_key", "broker", "account_id", "quantity", "underlying", "strike", "multiplier"]),
        [
            json!([FUTURE, "ibkr", "U3", 1.0, "/ESZ26", "5000", "100"]),
            json!([CALL, "ibkr", "U1", -2.0, "AAPL", "232.5", "100"]),
            json!([CALL, "ibkr", "U2", 1.0, "AAPL", "232.5", "100"]),
            json!([CALL, "tastytrade", "5WT1", 3.0, "AAPL", "232.5", "100"]),
            json!([PUT, "tastytrade", "5WT1", -1.0, "SPXW", "5000", "100"]),
        ]
    );
    assert_eq!(
        fields(&rows, &["event_time", "delta", "gamma", "theta", "vega", "rho", "implied_volatility", "flags"]),
        [
            json!([null, null, null, null, null, null, null, null]),
            json!(["2026-11-20T15:00:05Z", 0.5, 0.0625, -0.25, 0.75, 0.1, 0.25, 9]),
            json!(["2026-11-20T15:00:04Z", 0.125, null, null, null, null, null, 0]),
            json!(["2026-11-20T15:00:03Z", 0.625, null, null, null, null, 0.3125, 0]),
            json!(["2026-11-20T15:00:09Z", -0.0, null, null, null, null, null, 0]),
        ]
    );
    assert_eq!(fields(&rows, &["option_price", "underlying_price"])[1], json!([7.25, 232.5]));
    // Against the newest of the other broker; unknown on either side is unknown.
    assert_eq!(
        fields(&rows, &["other_broker", "delta_difference", "implied_volatility_difference"]),
        [
            json!([null, null, null]),
            json!(["tastytrade", -0.125, -0.0625]),
            json!(["tastytrade", -0.5, null]),
            json!(["ibkr", 0.125, 0.0625]),
            json!([null, null, null]),
        ]
    );
    let age = |row: &Value| row["age_seconds"].as_f64();
    let (put, call) = (age(&rows[4]), age(&rows[1]));
    let now = SystemClock::default().now().saturating_since(at(5)).as_secs_f64();
    assert!(age(&rows[0]).is_none() && call.is_some_and(|age| (age - now).abs() < 60.0), "{call:?} and {now}");
    assert!(put <= call, "the same clock for all: {put:?}, {call:?}");

    // As CSV the same, read back.
    let text = printed(positions(home.path(), &["--output", "csv"], &[]));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 5);
    for (line, row) in lines.iter().zip(rows.as_array().unwrap()) {
        assert_eq!(header.len(), row.as_object().unwrap().len());
        for (name, cell) in header.iter().zip(line).filter(|(name, _)| *name != "age_seconds") {
            match &row[name] {
                Value::Null => assert_eq!(cell, "", "{name}"),
                Value::String(text) => assert_eq!(cell, text, "{name}"),
                number => {
                    let bits = cell.parse().map(f64::to_bits);
                    assert_eq!(bits, Ok(number.as_f64().unwrap().to_bits()), "{name}: {cell}");
                }
            }
        }
    }

    server.stop().await.unwrap();
    let stopped: Value = serde_json::from_str(&printed(positions(home.path(), &["-o", "json"], &[]))).unwrap();
    let all = ["broker", "account_id", "contract_key", "quantity", "event_time", "delta", "rho", "delta_difference"];
    assert_eq!(fields(&stopped, &all), fields(&rows, &all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_two_brokers_say_of_one_contract_together() {
    let home = scratch();
    let server = filled(home.path()).await;
    let text = printed(positions(home.path(), &[], &[]));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let has = |place: usize, words: &[&str]| {
        let found = &lines[place];
        assert!(words.iter().all(|word| found.contains(word)), "line {place} without {words:?}:\n{text}");
    };
    assert_eq!(lines.len(), 7, "{text}");
    has(0, &["contract", "broker", "account", "qty", "delta", "IV", "age", "flags"]);
    has(1, &["/ESZ26", "ibkr", "U3", "1", "-"]);
    has(2, &["AAPL", "ibkr", "U1", "-2", "0.50000", "-0.25000", "232.50", "computed,delayed"]);
    has(3, &["AAPL", "ibkr", "U2", "1", "0.12500", "-"]);
    has(4, &["AAPL", "tastytrade", "5WT1", "3", "0.62500"]);
    assert_eq!(lines[5], ["ibkr", "-", "tastytrade", "-0.12500", "-0.062500"], "{text}");
    has(6, &["SPXW", "tastytrade", "5WT1", "-1"]);

    // Everything closed: nothing is held, and that is no failure.
    let closed = [("ibkr", "U1"), ("ibkr", "U2"), ("ibkr", "U3"), ("tastytrade", "5WT1")];
    store(&server.database(), &closed.map(|(broker, account)| held(broker, account, &[]))).await;
    assert!(printed(positions(home.path(), &[], &[])).ends_with("(no positions)\n"));
    assert_eq!(printed(positions(home.path(), &["-o", "json"], &[])), "[\n]\n");
    assert_eq!(printed(positions(home.path(), &["-o", "csv"], &[])).lines().count(), 1);
    server.stop().await.unwrap();
}

#[test]
fn what_cannot_be_asked_ends_as_everywhere() {
    let home = scratch();
    let complaint = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let never_made = positions(home.path(), &[], &[]);
    assert_eq!(never_made.status.code(), Some(69), "{}", complaint(&never_made));
    assert!(complaint(&never_made).contains("there is no database under"));
    assert!(!home.path().join("data").exists(), "looking makes nothing");

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgresql://greekd:canary-4711@127.0.0.1:{port}/greekd");
    let unreachable = positions(home.path(), &[], &[("DATABASE_URL", &url)]);
    assert_eq!(unreachable.status.code(), Some(69), "{}", complaint(&unreachable));
    assert!(complaint(&unreachable).contains("DATABASE_URL") && !complaint(&unreachable).contains("canary-4711"));

    assert_eq!(positions(home.path(), &["-o", "xml"], &[]).status.code(), Some(2));
    let broken = positions(home.path(), &[], &[("DATABASE_URL", "nonsense")]);
    assert_eq!(broken.status.code(), Some(78), "{}", complaint(&broken));
}
