//! Measures the whole product; started by `cargo xtask bench`, which builds it in the profile to be measured.
//!
//! `bench latency` lets the unmodified `greekd run` stream from the double of the broker into a private PostgreSQL and
//! compares received -> durable with what one committed row costs on the same server and, with `--baseline`, with the
//! Python design at the same rate. Everything is measured in turns, so that a busy minute of the machine meets all.
// A benchmark talks to the person who started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod baseline;
mod floor;
mod latency;
mod machine;
mod options;
mod process;
mod product;
mod report;
mod stats;

use std::process::ExitCode;

use options::{Options, USAGE};

/// What can go wrong in a benchmark is for a person to read.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = match Options::parse(&args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = tokio::select! {
        outcome = latency::run(&options) => outcome,
        // Dropping the run stops what it has started.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
