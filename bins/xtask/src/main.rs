//! Project tasks: install what the machine lacks, then build and run.
//!
//! `cargo xtask demo [ARGS]` runs `greekd demo ARGS`; `cargo xtask test [ARGS]` runs every test of the workspace;
//! `cargo xtask bench PART [ARGS]` measures the whole product; `cargo xtask torture [ARGS]` kills it again and again.
//! Depends on the standard library only, so that it is built in a second on a fresh machine.
// A task runner talks to the person who typed the command.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod browser;
mod packages;
mod postgres;
mod valgrind;

use std::process::{Command, ExitCode};

use browser::BROWSER;
use packages::Need;
use postgres::POSTGRES;
use valgrind::VALGRIND;

/// Every test of the workspace.
const TEST: [&str; 3] = ["test", "--workspace", "--all-features"];
/// What may be said to cargo without choosing tests.
const WHOLE: [&str; 6] = ["--locked", "--offline", "--frozen", "--no-fail-fast", "--quiet", "--verbose"];
/// How the names of tests begin that wait for nearly all of their time.
const WAITING: &str = "patient::";

const USAGE: &str = "\
usage: cargo xtask TASK [ARGS]

  demo [ARGS]            install what is missing, build, and run `greekd demo ARGS`
  test [ARGS]            install what is missing, and run every test: `cargo test --workspace ARGS`
  bench latency [ARGS]   p95 of received -> durable next to the price of one committed row, in the release profile
                         (--dev: in the dev profile, for a quick look); --help for what else can be said
  bench journal [ARGS]   what the journal costs beside the way to the database, and how soon a row is accepted
  bench outage [ARGS]    an hour without a database: memory, disk, and how soon everything is stored after it
  bench reads [ARGS]     how soon the questions of the API are answered over ten million rows
  bench live [ARGS]      how soon the API answers while rows stream in, and what a crowd of clients does to the rows
  bench throughput [ARGS]  rows made durable per second, next to a plain COPY of the same rows
  bench memory [ARGS]    what a large and busy book needs in memory, for an hour
  bench growth [ARGS]    what an event costs in small and large books, in an empty and in a full database
  bench decode [ARGS]    what an event costs from the broker's frame on, next to other clients (--peers)
  torture [ARGS]         kill greekd, crash PostgreSQL and cut connections for ten minutes (--minutes N), then say what
                         was lost and what was stored twice; --help for what else can be said";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    let mut rest: Vec<String> = args.collect();
    let mut cargo = cargo();
    match task.as_deref() {
        Some("demo") => {
            println!("building greekd: a few minutes the first time, seconds later on");
            cargo.args(["run", "--package", "greekd", "--", "demo"]);
        }
        // The tests of the whole product run the program that cargo builds along with them.
        Some("test") => {
            cargo.args(TEST).env("GREEKD_IS_BUILT", "1");
        }
        // The benchmark builds greekd by itself, in the profile it is built in.
        Some("bench") => {
            let dev = rest.iter().position(|arg| arg == "--dev").map(|at| rest.remove(at)).is_some();
            println!("building greekd and the benchmark: some minutes the first time, seconds later on");
            cargo.args(["run", "--quiet", "--package", "greekd-tests", "--bin", "bench"]);
            cargo.args(if dev { ["--"].as_slice() } else { &["--release", "--"] });
        }
        // So does the fault harness, with the points at which a run can end; only in the dev profile there are any.
        Some("torture") => {
            println!("building greekd and the fault harness: some minutes the first time, seconds later on");
            cargo.args(["run", "--quiet", "--package", "greekd-tests", "--bin", "torture", "--"]);
        }
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let needs: &[&Need] = match task.as_deref() {
        Some("test") => &[&POSTGRES, &BROWSER, &VALGRIND],
        Some("bench") if rest.iter().any(|arg| arg == "decode") => &[],
        _ => &[&POSTGRES],
    };
    if let Err(message) = needs.iter().try_for_each(|need| need.ensure()) {
        eprintln!("{message}");
        return ExitCode::from(69);
    }
    // Whoever chooses tests gets what cargo makes of it.
    if task.as_deref() == Some("test") && rest.iter().all(|arg| WHOLE.contains(&arg.as_str())) {
        return test_in_two_turns(&rest);
    }
    become_command(cargo.args(rest))
}

/// Most tests wait for about half of their time, for a server or a deadline: four at a time keep two cores busy. Those that
/// wait for nearly all of it run many at a time, and last: they would disturb those that measure.
fn test_in_two_turns(args: &[String]) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4)).to_string();
    let turns: [&[&str]; 2] = [
        &["--", "--test-threads", &threads, "--skip", WAITING],
        &["--test", "ibkr", "--", "--test-threads", "8", WAITING],
    ];
    let mut failed = None;
    for turn in turns {
        let mut cargo = cargo();
        cargo.args(TEST).args(args).args(turn).env("GREEKD_IS_BUILT", "1");
        match cargo.status() {
            Ok(status) if status.success() => {}
            Ok(status) => failed = Some(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
            Err(error) => {
                eprintln!("cannot start {}: {error}", cargo.get_program().to_string_lossy());
                return ExitCode::from(1);
            }
        }
    }
    failed.map_or(ExitCode::SUCCESS, ExitCode::from)
}

/// Cargo as a person would start it. What `cargo run` tells this program about itself would make build scripts that look
/// at such variables run anew, and all that depends on them with it.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Replaces this process where the system can, so that signals reach the program that runs and not its parents.
fn become_command(command: &mut Command) -> ExitCode {
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => return ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(error) => error,
    };
    eprintln!("cannot start {}: {error}", command.get_program().to_string_lossy());
    ExitCode::from(1)
}
