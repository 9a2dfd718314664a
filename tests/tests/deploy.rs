//! What `deploy/` holds fits the program: every metric, label and query is tried on a greekd that runs.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use greekd_tests::both::Both;
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::dashboard::{as_grafana_asks, asked_of_postgres, dashboard, file, list, text};
use greekd_tests::http::{address, get, json, post};
use greekd_tests::promql::{Exposed, exposed, unknown};
use greekd_tests::tasty::{self, PATIENCE};
use greekd_tests::wait::until;
use greeks_model::Contract;
use serde_json::{Value, json};

/// Opened at both brokers.
const CONTRACT: &str = "SPXW  300118P06500000";
/// Far below what a person notices, far above what a small table needs on a busy machine.
const QUICK: Duration = Duration::from_millis(500);
/// What Grafana's PostgreSQL data source turns into numbers.
const NUMBERS: [&str; 5] = ["int2", "int4", "int8", "float8", "numeric"];

/// What Grafana would refuse or show badly.
fn faults(dashboard: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let inputs: BTreeSet<String> =
        list(&dashboard["__inputs"]).iter().map(|input| format!("${{{}}}", text(input, "/name"))).collect();
    let source_is_known = |source: &Value| {
        let uid = text(source, "/uid");
        inputs.contains(uid) || uid == "-- Dashboard --" || uid == "-- Grafana --"
    };
    let panels = list(&dashboard["panels"]);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let name = format!("panel {} ({})", panel["id"], text(panel, "/title"));
        if !panel["id"].as_u64().is_some_and(|id| ids.insert(id)) {
            faults.push(format!("{name}: the id is missing or not its own"));
        }
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                if x >= 24 || !cells.insert((x, y)) {
                    faults.push(format!("{name}: overlaps at {x}, {y}"));
                }
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        for needed in ["/title", "/description", "/fieldConfig/defaults/unit"] {
            if text(panel, needed).is_empty() {
                faults.push(format!("{name}: no {needed}"));
            }
        }
        if panel["type"] == "timeseries"
            && panel.pointer("/fieldConfig/defaults/custom/spanNulls") != Some(&json!(false))
        {
            faults.push(format!("{name}: draws lines across what is unknown"));
        }
        let targets = list(&panel["targets"]);
        if targets.is_empty() || !source_is_known(&panel["datasource"]) {
            faults.push(format!("{name}: no data source, or nothing asked of it"));
        }
        for target in targets.iter().filter(|target| target.get("panelId").is_some()) {
            if !panels.iter().any(|other| other["id"] == target["panelId"] && other["type"] != "row") {
                faults.push(format!("{name}: shows the data of a panel that is not there"));
            }
        }
    }
    faults
}

#[test]
fn the_dashboards_can_be_imported() {
    let (mut uids, mut panels) = (BTreeSet::new(), 0);
    for name in ["operations", "portfolio"] {
        let dashboard = dashboard(name);
        assert_eq!(faults(&dashboard), [""; 0], "{name}");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39) && dashboard["id"].is_null(), "{name}");
        assert!(uids.insert(text(&dashboard, "/uid").to_owned()) && !text(&dashboard, "/uid").is_empty());
        assert!(!list(&dashboard["tags"]).is_empty() && !text(&dashboard, "/refresh").is_empty(), "{name}");
        panels += list(&dashboard["panels"]).len();

        // The check can fail.
        let mut broken = dashboard;
        let first = broken["panels"][1]["id"].clone();
        broken["panels"][2]["id"] = first;
        broken["panels"][3]["fieldConfig"]["defaults"]["unit"] = Value::Null;
        broken["panels"][4]["datasource"]["uid"] = json!("${DS_OTHER}");
        assert_eq!(faults(&broken).len(), 3, "{:?}", faults(&broken));
    }
    println!("{panels} panels");
}

/// Every rule: its name, and its expression with what its texts use of labels.
fn rules(document: &str) -> Vec<BTreeMap<String, String>> {
    // The file keeps to one key and one plain or double-quoted value a line.
    let mut rules: Vec<BTreeMap<String, String>> = Vec::new();
    for line in document.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let (key, value) = line.trim().split_once(':').unwrap_or_else(|| panic!("not a key and a value: {line}"));
        let quoted = value.trim().strip_prefix('"').map(|rest| rest.strip_suffix('"').expect("a closing quote"));
        if let Some(quoted) = quoted {
            assert!(!quoted.contains('"'), "{line}");
        }
        let value = quoted.unwrap_or(value.trim()).to_owned();
        match key {
            "groups" | "- name" | "rules" => {}
            "- alert" => rules.push([("alert".to_owned(), value)].into()),
            "labels" | "annotations" => assert!(value.is_empty(), "{line}"),
            "expr" | "for" | "severity" | "summary" | "description" => {
                let before = rules.last_mut().expect("a rule").insert(key.to_owned(), value);
                assert_eq!(before, None, "twice: {line}");
            }
            _ => panic!("not of a rule: {line}"),
        }
    }
    rules
}

#[test]
fn every_rule_says_how_urgent_it_is_and_what_to_do() {
    let rules = rules(&file("prometheus/greekd.rules.yml"));
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str()).collect();
    assert_eq!(names.len(), rules.len());
    for rule in &rules {
        assert!(["critical", "warning"].contains(&rule["severity"].as_str()), "{rule:?}");
        assert!(!rule["summary"].is_empty() && rule["description"].len() > 60 && !rule["expr"].is_empty(), "{rule:?}");
    }
    let mirrored = rules.iter().filter(|rule| rule["expr"].contains("greekd_alerts_active{kind=")).count();
    assert_eq!(mirrored, 6, "one for each alert of the daemon");
}

/// Everything asked of Prometheus: what asks, and the expression.
fn asked_of_prometheus() -> Vec<(String, String)> {
    let dashboard = dashboard("operations");
    let mut asked = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            asked.push((text(panel, "/title").to_owned(), text(target, "/expr").to_owned()));
            // What a legend names has to be a label too.
            for label in text(target, "/legendFormat").split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                let grouped = format!("sum by ({}) ({})", label.trim(), text(target, "/expr"));
                asked.push((text(panel, "/title").to_owned(), grouped));
            }
        }
    }
    for variable in list(&dashboard["templating"]["list"]) {
        let inner = text(variable, "/definition").strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        asked.push((text(variable, "/name").to_owned(), format!("sum by ({label}) ({selector})")));
    }
    for rule in rules(&file("prometheus/greekd.rules.yml")) {
        for text in [&rule["summary"], &rule["description"]] {
            for rest in text.split("$labels.").skip(1) {
                let label: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                asked.push((rule["alert"].clone(), format!("sum by ({label}) ({})", rule["expr"])));
            }
        }
        asked.push((rule["alert"].clone(), rule["expr"].clone()));
    }
    asked
}

/// The metrics are those of a daemon to which nothing bad has happened: what counts faults is there before the first.
fn metrics_fit(metrics: &str) {
    let exposed: Exposed = exposed(metrics);
    let asked = asked_of_prometheus();
    let wrong: Vec<_> =
        asked.iter().map(|(who, asks)| (who, unknown(asks, &exposed))).filter(|(_, u)| !u.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{metrics}");
    println!("{} expressions name what is there", asked.len());
    let all: String = asked.iter().map(|(_, asks)| asks.as_str()).collect();
    for name in exposed.keys().filter(|name| name.starts_with("greekd_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(all.contains(base), "nobody looks at {name}");
        assert!(metrics.contains(&format!("# HELP {base} ")), "{base} does not say what it means");
    }
}

/// The columns that a panel names: in its overrides, in what it shows of them, and in what it leaves of them.
fn named(panel: &Value) -> impl Iterator<Item = &str> {
    let overrides = list(&panel["fieldConfig"]["overrides"]).iter();
    let overrides = overrides.filter(|one| one["matcher"]["id"] == "byName").map(|one| text(one, "/matcher/options"));
    let shown = text(panel, "/options/reduceOptions/fields").trim_start_matches("/^").trim_end_matches("$/");
    let kept = list(&panel["transformations"]).iter().flat_map(|one| list(&one["options"]["include"]["names"]));
    // Grafana calls the column of times so.
    let kept = kept.filter_map(Value::as_str).filter(|name| *name != "Time");
    overrides.chain([shown]).chain(kept).filter(|name| !name.is_empty())
}

async fn queries_fit(database: &Database) {
    let dashboard = dashboard("portfolio");
    let all = |name: &str| {
        let variable = list(&dashboard["templating"]["list"]).iter().find(|variable| variable["name"] == name);
        text(variable.unwrap(), "/allValue").to_owned()
    };
    database.client.batch_execute("SET ROLE greekd_read; SET default_transaction_read_only = on").await.unwrap();
    let none = database.client.query("INSERT INTO trades DEFAULT VALUES", &[]).await;
    assert!(none.is_err(), "this role reads only");
    let asked = asked_of_postgres(&dashboard);
    assert!(asked.len() >= 10, "{}", asked.len());
    let mut known = BTreeSet::new();
    for (who, format, query) in asked {
        for (broker, account) in
            [(all("broker"), all("account")), ("'ibkr','tastytrade'".to_owned(), "'U1234567','5WT00001'".to_owned())]
        {
            let sql = as_grafana_asks(&query, &broker, &account);
            let statement =
                database.client.prepare(&sql).await.unwrap_or_else(|error| panic!("{who}: {error:?}\n{sql}"));
            let columns: Vec<(&str, &str)> = statement.columns().iter().map(|c| (c.name(), c.type_().name())).collect();
            known.extend(columns.iter().map(|(name, _)| (*name).to_owned()));
            for (at, (name, kind)) in columns.iter().enumerate() {
                let fits = NUMBERS.contains(kind)
                    || match (format.as_str(), *name) {
                        ("time_series", "time") => at == 0 && *kind == "timestamptz",
                        ("time_series", "metric") => *kind == "text",
                        ("time_series", _) => false,
                        _ => ["text", "timestamptz", "bool"].contains(kind),
                    };
                assert!(fits, "{who}: {name} is {kind}");
            }
            let mut took = Duration::MAX;
            let mut rows = Vec::new();
            // The first time pays for what the server reads, and a machine may be busy: the best of three counts.
            for _ in 0..3 {
                let began = Instant::now();
                rows = database.client.query(&statement, &[]).await.unwrap_or_else(|error| panic!("{who}: {error:?}"));
                took = took.min(began.elapsed());
            }
            println!("{who}: {} rows in {took:?}", rows.len());
            assert!(!rows.is_empty(), "{who} shows nothing:\n{sql}");
            assert!(took < QUICK, "{who} takes {took:?}");
        }
    }
    let names: Vec<&str> = list(&dashboard["panels"]).iter().flat_map(named).collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "no query gives {missing:?}");
}

/// The panels' totals are those of the book.
async fn totals_agree(daemon: &Daemon, at: &str, database: &Database) {
    let dashboard = dashboard("portfolio");
    let (_, _, query) = asked_of_postgres(&dashboard).into_iter().find(|(who, _, _)| who == "Delta dollars").unwrap();
    let sql = as_grafana_asks(&query, "'ibkr','tastytrade'", "SELECT account_id FROM series");
    let differs = async || {
        let book = json(daemon, at, "/v1/portfolio?group_by=underlying").await;
        let row = database.client.query_one(&sql, &[]).await.unwrap();
        for name in ["delta", "delta_dollars", "gamma_1pct", "theta", "vega"] {
            let (here, there) = (book["total"][name]["value"].as_f64()?, row.get::<_, Option<f64>>(name)?);
            if (here - there).abs() > 1e-6 * here.abs().max(1.0) {
                return None;
            }
        }
        Some(())
    };
    until("the totals of the panels are those of the book", PATIENCE, differs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards_and_rules_ask_for_what_is_there() {
    let cluster = Cluster::start().await;
    let scene = Both::start(&cluster, "deploy", 200.0, 12, 8).await;
    let daemon = scene.daemon().await;
    let Both { ibkr, tasty, database, .. } = &scene;
    let at = address(&daemon).await;
    let stored = async |wanted: &str| {
        let row = database.client.query_one(wanted, &[]).await.ok()?;
        row.get::<_, bool>(0).then_some(())
    };
    until("both brokers' rows are stored", PATIENCE, async || {
        stored("SELECT count(DISTINCT broker) = 2 FROM v_latest_greeks").await
    })
    .await;
    metrics_fit(&get(&at, "/metrics").await.text);

    // One contract at both, and a gap: else two panels have nothing to show.
    let contract: Contract = CONTRACT.parse().unwrap();
    ibkr.control().open_position("U1234567", &contract, -3).await.unwrap();
    tasty.control().open_position("5WT00001", &contract, 2).await.unwrap();
    for what in ["stop", "start"] {
        let answer = post(&at, &format!("/v1/streaming/{what}"), &json!({"broker": "tastytrade"})).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }
    until("the gap is stored", PATIENCE, async || (tasty::gaps(database, "stopped").await > 0).then_some(())).await;
    until("one contract is at two brokers", PATIENCE, async || {
        stored("SELECT count(*) > 0 FROM v_cross_broker WHERE delta_difference IS NOT NULL").await
    })
    .await;
    let roles = Daemon::start(&["db", "roles"], &scene.environment()).wait(PATIENCE).await;
    assert!(roles.status.success(), "{}", tail(&roles.stderr));
    let reader = cluster.connect("deploy").await;
    queries_fit(&reader).await;
    tasty.control().pause().await.unwrap();
    totals_agree(&daemon, &at, &reader).await;

    assert!(daemon.stop().await.status.success());
    scene.shutdown().await;
}
