//! The live book over HTTP: what it says is what is stored, and what a recount says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use greekd_tests::both::Both;
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::http::{address, get, json, post};
use greekd_tests::tasty::{self, PATIENCE};
use greekd_tests::wait::until;
use greeks_model::Contract;
use serde_json::{Value, json};

/// Nobody holds them at the start.
const CONTRACTS: [&str; 2] = ["SPXW  300118P06500000", "/ESZ29 291207C6700"];
const ACCOUNTS: [&str; 2] = ["U1234567", "5WT00001"];

/// Broker, account, contract.
type Line = (String, String, String);

/// Quantity, multiplier, delta, gamma, theta, vega, the underlying's price.
type Values = [Option<f64>; 7];

/// The lines of the live book.
fn lines(latest: &Value) -> BTreeMap<Line, Values> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let line = |line: &Value| {
        let values = ["quantity", "multiplier", "delta", "gamma", "theta", "vega", "underlying_price"];
        (
            (text(line, "broker"), text(line, "account_id"), text(line, "contract_key")),
            values.map(|name| line[name].as_f64()),
        )
    };
    latest["lines"].as_array().unwrap().iter().map(line).collect()
}

/// The same from the database.
async fn stored(database: &Database) -> BTreeMap<Line, Values> {
    let sql = "SELECT broker, account_id, contract_key, quantity, multiplier::double precision, delta, gamma, theta, vega, \
               underlying_price FROM v_positions";
    let rows = database.client.query(sql, &[]).await.expect("the positions");
    rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), std::array::from_fn(|at| row.get(at + 3)))).collect()
}

/// A figure of a line from its values; `None` when something it needs is unknown.
fn figure(name: &str, [quantity, multiplier, delta, gamma, theta, vega, price]: Values) -> Option<f64> {
    let size = quantity? * multiplier?;
    Some(match name {
        "delta" => delta? * size,
        "delta_dollars" => delta? * size * price?,
        "gamma_1pct" => gamma? * size * price? * price? * 0.01,
        "theta" => theta? * size,
        "vega" => vega? * size,
        other => unreachable!("{other}"),
    })
}

/// Compares sums of the book with those over `lines`; returns how many figures were compared.
fn same_sums(portfolio: &Value, lines: &BTreeMap<Line, Values>, key: impl Fn(&Line) -> String) -> usize {
    let mut compared = 0;
    let groups = portfolio["groups"].as_array().unwrap();
    for group in groups.iter().chain([&portfolio["total"]]) {
        let name = group["key"].as_str().unwrap();
        let of_group = || lines.iter().filter(|(line, _)| name == "total" || key(line) == name);
        assert_eq!(group["lines"].as_u64(), Some(of_group().count() as u64), "{name}");
        let covered = of_group().filter(|(_, values)| values[2].is_some()).count();
        assert_eq!(group["covered"].as_u64(), Some(covered as u64), "{name}");
        for metric in ["delta", "delta_dollars", "gamma_1pct", "theta", "vega"] {
            let known: Vec<f64> = of_group().filter_map(|(_, values)| figure(metric, *values)).collect();
            let told = &group[metric];
            assert_eq!(told["lines"].as_u64(), Some(known.len() as u64), "{metric} of {name}");
            if known.is_empty() {
                assert_eq!(told["value"], Value::Null, "{metric} of {name}");
                continue;
            }
            let (sum, size) = known.iter().fold((0.0, 0.0), |(sum, size), value| (sum + value, size + value.abs()));
            let told = told["value"].as_f64().unwrap();
            assert!((told - sum).abs() <= 1e-9 * size, "{metric} of {name}: {told} is not {sum}");
            compared += 1;
        }
    }
    compared
}

/// API, SQL and a recount agree after positions were opened and closed, a broker went down, and the daemon was restarted.
#[tokio::test(flavor = "multi_thread")]
async fn the_book_is_what_is_stored_and_what_a_recount_says() {
    let cluster = Cluster::start().await;
    let scene = Both::start(&cluster, "live", 300.0, 12, 8).await;
    let daemon = scene.daemon().await;
    let at = address(&daemon).await;
    let (here, there) = (scene.ibkr.control(), scene.tasty.control());
    for name in CONTRACTS {
        let contract: Contract = name.parse().unwrap();
        here.open_position(ACCOUNTS[0], &contract, -3).await.unwrap();
        there.open_position(ACCOUNTS[1], &contract, 2).await.unwrap();
    }
    let has = async |name: &str, count: usize| {
        let latest = json(&daemon, &at, "/v1/greeks/latest").await;
        let known = lines(&latest).into_iter().filter(|((_, _, key), values)| key == name && values[2].is_some());
        (known.count() == count).then_some(())
    };
    for name in CONTRACTS {
        until("the new positions have Greeks", PATIENCE, async || has(name, 2).await).await;
    }
    there.close_position(ACCOUNTS[1], &CONTRACTS[0].parse().unwrap()).unwrap();
    until("the closed one is gone", PATIENCE, async || has(CONTRACTS[0], 1).await).await;

    // One broker goes: its lines are stale at once, the other's are not, and totals keep the last values.
    let rows_before = tasty::rows(&scene.database).await;
    here.take_down().await.unwrap();
    let began = Instant::now();
    let stale = async |broker: &str| {
        let by_broker = json(&daemon, &at, "/v1/portfolio?group_by=broker").await;
        let group = by_broker["groups"].as_array().unwrap().iter().find(|group| group["key"] == broker).cloned();
        let group = group.unwrap();
        (group["stale"].as_u64().unwrap(), group["lines"].as_u64().unwrap())
    };
    until("its lines are stale", PATIENCE, async || {
        let (stale, lines) = stale("ibkr").await;
        (stale == lines && lines > 0).then_some(())
    })
    .await;
    println!("stale {:?} after the end of the gateway", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(stale("tastytrade").await.0, 0);
    let alert = async || {
        let status = json(&daemon, &at, "/v1/streaming/status").await;
        let alerts = status["alerts"].as_array().unwrap().clone();
        alerts.into_iter().find(|alert| alert["kind"] == "source_down")
    };
    let alert = until("there is an alert", PATIENCE, alert).await;
    assert_eq!((alert["source"].as_str(), alert["active"].as_bool()), (Some("ibkr"), Some(true)));
    // Both follow, a moment later.
    until("it is in the log, and a metric", PATIENCE, async || {
        let is_told = daemon.stderr().iter().any(|line| line.contains("source_down"));
        let metrics = get(&at, "/metrics").await.text;
        (is_told && metrics.contains(r#"greekd_alerts_active{kind="source_down"} 1"#)).then_some(())
    })
    .await;
    let ready = get(&at, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("ibkr") && !ready.text.contains("tastytrade"), "{}", ready.text);
    assert!(tasty::rows(&scene.database).await > rows_before, "the other broker goes on");

    // Nothing moves any more: all three must agree.
    there.pause().await.unwrap();
    let rows = agreed(&daemon, &at, &scene.database).await;
    let latest = lines(&json(&daemon, &at, "/v1/greeks/latest").await);
    assert!(latest.len() > 20, "{}", latest.len());
    assert_eq!(latest, rows, "the book and the database differ");
    let underlying: BTreeMap<String, String> = json(&daemon, &at, "/v1/greeks/latest").await["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["contract_key"].to_string(), line["underlying"].as_str().unwrap().to_owned()))
        .collect();
    let mut compared = 0;
    for (by, key) in [
        ("broker", Box::new(|(broker, _, _): &Line| broker.clone()) as Box<dyn Fn(&Line) -> String>),
        ("account", Box::new(|(_, account, _): &Line| account.clone())),
        ("underlying", Box::new(|(_, _, contract): &Line| underlying[&json!(contract).to_string()].clone())),
    ] {
        compared += same_sums(&json(&daemon, &at, &format!("/v1/portfolio?group_by={by}")).await, &rows, key);
    }
    println!("{compared} figures agree over {} lines", rows.len());
    assert!(compared >= 60, "{compared}");
    // Nobody holds anything on the benchmark, and its price is streamed all the same.
    let portfolio = json(&daemon, &at, "/v1/portfolio").await;
    let (price, total) = (&portfolio["benchmark_price"], &portfolio["total"]);
    assert!((600.0..730.0).contains(&price["price"].as_f64().unwrap()), "{price}");
    assert_eq!(price["source"], "tastytrade");
    let number = |figure: &str| total[figure]["value"].as_f64().unwrap();
    let shares = number("beta_weighted_delta_dollars") / price["price"].as_f64().unwrap();
    assert!((number("beta_weighted_delta") / shares - 1.0).abs() < 1e-9, "{portfolio}");
    let mut off = rows.clone();
    *off.values_mut().find_map(|values| values[4].as_mut()).unwrap() += 0.01;
    let portfolio = json(&daemon, &at, "/v1/portfolio?group_by=broker").await;
    let can_fail = std::panic::catch_unwind(|| same_sums(&portfolio, &off, |(broker, _, _)| broker.clone()));
    assert!(can_fail.is_err(), "a theta that is off by a cent must not pass");

    // A new daemon to which the brokers send nothing new has the same book: values sent again are not stored again.
    assert!(daemon.stop().await.status.success());
    here.bring_up().await.unwrap();
    let daemon = scene.daemon().await;
    let at = address(&daemon).await;
    until("the book is whole again", PATIENCE, async || {
        let again = lines(&json(&daemon, &at, "/v1/greeks/latest").await);
        (again.len() == latest.len()
            && again.values().filter(|values| values[2].is_some()).count()
                >= latest.values().filter(|values| values[2].is_some()).count())
        .then_some(())
    })
    .await;
    agreed(&daemon, &at, &scene.database).await;
    assert!(daemon.stop().await.status.success());
    scene.shutdown().await;
}

/// Waits until the book and the database say the same, as they must once the last frames have come; returns what.
async fn agreed(daemon: &Daemon, at: &str, database: &Database) -> BTreeMap<Line, Values> {
    until("the book is what is stored", PATIENCE, async || {
        let latest = lines(&json(daemon, at, "/v1/greeks/latest").await);
        let rows = stored(database).await;
        (latest == rows).then_some(rows)
    })
    .await
}

/// A source stops and starts on request, the other one goes on, and the stop is a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_stopped_and_started_over_http() {
    let cluster = Cluster::start().await;
    let scene = Both::start(&cluster, "control", 300.0, 12, 8).await;
    let daemon = scene.daemon().await;
    let at = address(&daemon).await;
    let state = async |wanted: &str| {
        let status = json(&daemon, &at, "/v1/streaming/status").await;
        let source =
            status["sources"].as_array().unwrap().iter().find(|source| source["source"] == "tastytrade").cloned();
        (source.unwrap()["state"] == wanted).then_some(())
    };
    assert_eq!(post(&at, "/v1/streaming/stop", &json!({"broker": "nobody"})).await.status, 404);
    let stopped = post(&at, "/v1/streaming/stop", &json!({"broker": "tastytrade"})).await;
    assert!((200..300).contains(&stopped.status), "{stopped:?}");
    until("it is stopped", PATIENCE, async || state("disconnected").await).await;
    let asked = scene.tasty.stats().connections;
    let ready = get(&at, "/readyz").await;
    assert_eq!(ready.status, 200, "who was stopped on request is not missed: {}", ready.text);
    let sent = scene.ibkr.stats().greek_frames;
    scene.ibkr.wait_until(PATIENCE, move |stats| stats.greek_frames > sent + 200).await.unwrap();
    assert_eq!(scene.tasty.stats().connections, asked, "it came back by itself");
    let started = post(&at, "/v1/streaming/start", &json!({"broker": "tastytrade"})).await;
    assert!((200..300).contains(&started.status), "{started:?}");
    until("it streams again", PATIENCE, async || state("connected").await).await;
    until("the stop is a gap", PATIENCE, async || (tasty::gaps(&scene.database, "stopped").await > 0).then_some(()))
        .await;
    assert!(daemon.stop().await.status.success());
    scene.shutdown().await;
}

/// `greekd portfolio` asks the daemon, and says what to do where none is.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_line_says_of_the_book_and_of_an_occupied_port() {
    let cluster = Cluster::start().await;
    let scene = Both::start(&cluster, "cli", 300.0, 12, 8).await;
    let daemon = scene.daemon().await;
    let at = address(&daemon).await;
    until("there are Greeks", PATIENCE, async || {
        let portfolio = json(&daemon, &at, "/v1/portfolio?group_by=underlying").await;
        (portfolio["total"]["covered"].as_u64() > Some(10)).then_some(())
    })
    .await;
    let run = async |args: &[&str], more: &[(&str, &str)]| {
        let mut settings: Vec<(&str, &str)> =
            scene.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend(more);
        Daemon::start(args, &settings).wait(PATIENCE).await
    };
    let table = run(&["portfolio", "--by", "broker", "--listen", &at], &[]).await;
    assert!(table.status.success(), "{table:?}");
    for broker in ["ibkr", "tastytrade", "total"] {
        assert!(table.stdout.iter().any(|line| line.starts_with(broker)), "{table:?}");
    }
    let document = run(&["portfolio", "-o", "json", "--listen", &at], &[]).await;
    let document: Value = serde_json::from_str(&document.stdout.join("\n")).unwrap();
    assert_eq!(document["group_by"], "underlying");

    let occupied = run(&["run"], &[("GREEKD_LISTEN", &at)]).await;
    assert_eq!(occupied.status.code(), Some(69), "{occupied:?}");
    assert!(tail(&occupied.stderr).contains("--listen"), "{occupied:?}");
    let open = run(&["run"], &[("GREEKD_LISTEN", "0.0.0.0:0")]).await;
    assert_eq!(open.status.code(), Some(78), "{open:?}");
    assert!(tail(&open.stderr).contains("GREEKD_HTTP_TOKEN"), "{open:?}");

    assert!(daemon.stop().await.status.success());
    let nobody = run(&["portfolio", "--listen", &at], &[]).await;
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");
    assert!(tail(&nobody.stderr).contains("no greekd answers"), "{nobody:?}");
    scene.shutdown().await;
}
