//! Project tasks: install what the machine lacks, then build and run.
//!
//! `cargo xtask demo [ARGS]` runs `greekd demo ARGS`; `cargo xtask test [ARGS]` runs every test of the workspace.
//! Depends on the standard library only, so that it is built in a second on a fresh machine.
// A task runner talks to the person who typed the command.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod postgres;

use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask TASK [ARGS]

  demo [ARGS]   install what is missing, build, and run `greekd demo ARGS`
  test [ARGS]   install what is missing, and run every test: `cargo test --workspace ARGS`";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    let rest: Vec<String> = args.collect();
    let cargo = match task.as_deref() {
        Some("demo") => {
            println!("building greekd: a few minutes the first time, seconds later on");
            ["run", "--package", "greekd", "--", "demo"].as_slice()
        }
        Some("test") => ["test", "--workspace", "--all-features"].as_slice(),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(message) = postgres::ensure() {
        eprintln!("{message}");
        return ExitCode::from(69);
    }
    // The tests of the whole product run the program that cargo builds along with them.
    become_command(Command::new(env!("CARGO")).args(cargo).args(rest).env("GREEKD_IS_BUILT", "1"))
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
