//! What an event costs from the broker's frame on, in instructions: the same on a busy machine as on an idle one.
//!
//! The figures are those of the dev profile, in which tests are built, on x86-64 with AVX2. A compiler, a profile or a dependency that
//! changes them for good reasons makes them due for renewal: the failure says what was measured.
#![cfg(all(target_os = "linux", target_arch = "x86_64", debug_assertions))]
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::{Command, Stdio};

use greekd_tests::frames::EVENTS;
use greekd_tests::scratch::scratch;

/// Of a Greeks event alone in its COMPACT frame.
const DXLINK: f64 = 5_870.0;
/// Of a market data frame of 3 to 12 fields.
const IBKR: f64 = 9_890.0;
/// How far off a figure may be, up or down: what became much cheaper is to be held as well.
const MARGIN: f64 = 0.05;

#[test]
fn an_event_of_dxlink_costs_what_it_did() {
    check("dxlink", "DXLINK", DXLINK);
}

#[test]
fn an_event_of_ibkr_costs_what_it_did() {
    check("ibkr", "IBKR", IBKR);
}

fn check(broker: &str, constant: &str, committed: f64) {
    // The first pass makes room; two more of the same, and all the rest falls out of the difference.
    let pass = instructions(broker, 3) - instructions(broker, 2);
    let measured = pass as f64 / f64::from(EVENTS);
    println!("{broker}: {measured:.0} instructions an event, {committed:.0} committed");
    assert!(
        (measured / committed - 1.0).abs() <= MARGIN,
        "{broker}: {measured:.0} instructions an event, {committed:.0} are committed. Dearer: find out why (callgrind_annotate \
         shows where). Meant, or cheaper: set {constant} in {} to {measured:.0}.0",
        file!(),
    );
}

/// All that a run of so many passes executes.
fn instructions(broker: &str, passes: u32) -> i64 {
    let directory = scratch();
    let output = directory.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", output.display()));
    command.args([env!("CARGO_BIN_EXE_decode"), broker, &passes.to_string()]).stdin(Stdio::null());
    let run = command.output().expect("valgrind, which `cargo xtask test` installs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{command:?}: {}\n{said}", run.status);
    let counted = std::fs::read_to_string(&output).expect("the figures of callgrind");
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).unwrap_or_else(|| panic!("no total from {command:?}\n{said}"))
}
