//! Measures the whole product; started by `cargo xtask bench`, which builds it in the profile to be measured.
//!
//! `bench latency` lets the unmodified `greekd run` stream from the double of the broker into a private PostgreSQL and
//! compares received -> durable with what one committed row costs on the same server and, with `--baseline`, with the
//! Python design at the same rate. Everything is measured in turns, so that a busy minute of the machine meets all. The
//! others are described where their options are; `bench help` lists them.
// A benchmark talks to the person who started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod baseline;
mod decode;
mod floor;
mod growth;
mod journal;
mod latency;
mod live;
mod machine;
mod memory;
mod options;
mod outage;
mod product;
mod reads;
mod report;
mod stats;
mod throughput;

use std::process::ExitCode;

use clap::Parser;
use options::Bench;

/// What can go wrong in a benchmark is for a person to read.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let bench = Bench::parse();
    let running = async {
        match bench {
            Bench::Latency(options) => latency::run(&options).await,
            Bench::Journal(options) => journal::run(&options).await,
            Bench::Outage(options) => outage::run(&options).await,
            Bench::Reads(options) => reads::run(&options).await,
            Bench::Live(options) => live::run(&options).await,
            Bench::Throughput(options) => throughput::run(&options).await,
            Bench::Memory(options) => memory::run(&options).await,
            Bench::Growth(options) => growth::run(&options).await,
            Bench::Decode(options) => decode::run(&options).await,
        }
    };
    let outcome = tokio::select! {
        outcome = running => outcome,
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
