//! The crates form the graph that the README draws, and nothing that must not be there is in the tree.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// What each library may use of this workspace; programs, examples and tests may use everything.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("greeks-journal", &[]),
    ("greeks-model", &[]),
    ("greeks-pricing", &[]),
    ("broker-net", &["greeks-model"]),
    ("ibkr-stream", &["greeks-model", "broker-net"]),
    ("tasty-dxlink", &["greeks-model", "broker-net"]),
    ("greeks-store", &["greeks-model", "greeks-journal"]),
    ("greeks-processor", &["greeks-model", "greeks-pricing"]),
    ("greeks-server", &["greeks-model", "greeks-processor", "greeks-store"]),
    ("broker-sim", &["greeks-model", "greeks-pricing"]),
];
const PROGRAMS: [&str; 4] = ["greekd", "xtask", "greekd-examples", "greekd-tests"];

/// A second TLS stack, or one that needs a C library of the system.
const BANNED: [&str; 4] = ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The workspace's packages with what they use of the workspace outside of tests.
fn edges(metadata: &Value) -> Vec<(String, BTreeSet<String>)> {
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages.iter().filter(|package| members.contains(package["id"].as_str().unwrap()));
    own.map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let used = dependencies.filter(|d| d["kind"].is_null() && !d["path"].is_null());
        (package["name"].as_str().unwrap().into(), used.map(|d| d["name"].as_str().unwrap().into()).collect())
    })
    .collect()
}

/// What is wrong with the graph.
fn violations(edges: &[(String, BTreeSet<String>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, used) in edges {
        if PROGRAMS.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(library, _)| library == name) else {
            wrong.push(format!("{name} has no place in the graph: add it here and to the README's map"));
            continue;
        };
        wrong
            .extend(used.iter().filter(|u| !allowed.contains(&u.as_str())).map(|u| format!("{name} must not use {u}")));
    }
    wrong
}

#[test]
fn crates_depend_in_one_direction_only() {
    let edges = edges(&metadata());
    assert!(edges.len() >= ALLOWED.len() + PROGRAMS.len(), "{edges:?}");
    assert_eq!(violations(&edges), Vec::<String>::new());
}

#[test]
fn a_sideways_edge_would_be_seen() {
    let edges =
        [("greeks-store".to_owned(), BTreeSet::from(["tasty-dxlink".to_owned()])), ("new".to_owned(), BTreeSet::new())];
    assert_eq!(violations(&edges).len(), 2);
}

#[test]
fn one_tls_stack_and_no_system_libraries() {
    let lock = include_str!("../../Cargo.lock");
    let names: BTreeSet<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains("rustls"), "Cargo.lock has another form than this test reads");
    for banned in BANNED {
        assert!(!names.contains(banned), "{banned} is in the tree: see who brings it with `cargo tree -i {banned}`");
    }
}
