//! Points at which a process ends on purpose are in no program that anybody runs.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::process::Command;

use serde_json::Value;

const FEATURE: &str = "failpoints";
const GATE: &str = "#[cfg(all(feature = \"failpoints\", not(debug_assertions)))]\ncompile_error!(";

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn nothing_has_them_unless_asked() {
    let mut with_points = 0;
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        with_points += usize::from(!package["features"][FEATURE].is_null());
        for (feature, implies) in package["features"].as_object().unwrap() {
            let asks = |what: &str| what.contains(FEATURE) || what.contains("dep:fail");
            let asking: Vec<&str> = texts(implies).filter(|what| asks(what)).collect();
            assert!(feature == FEATURE || asking.is_empty(), "{name}: {feature} implies {asking:?}");
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let asked = texts(&dependency["features"]).any(|feature| feature == FEATURE);
            assert!(!asked, "{name} asks for the points of {}", dependency["name"]);
            let fail = dependency["name"] == "fail" && dependency["kind"].is_null();
            assert!(!fail || dependency["optional"] == true, "{name} needs fail");
        }
    }
    assert!(with_points >= 2, "greekd and greeks-journal at least have the feature");
}

#[test]
fn a_release_build_with_them_is_refused() {
    let main = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../bins/greekd/src/main.rs")).unwrap();
    assert!(main.contains(GATE), "main.rs has no gate");
}
