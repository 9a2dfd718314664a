//! The fault harness, started by `cargo xtask torture`, which builds it; see `greekd_tests::torture`.
// It talks to the person who started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use greekd_tests::torture::options::{Options, USAGE};
use greekd_tests::torture::{Error, judging, session};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.as_slice() {
        [oracle, directory, url] if oracle == "oracle" => judge(Path::new(directory), url).await,
        _ => torture(&args).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

async fn judge(directory: &Path, url: &str) -> Result<ExitCode, Error> {
    print!("{}", judging::answer(directory, url).await?);
    Ok(ExitCode::SUCCESS)
}

async fn torture(args: &[String]) -> Result<ExitCode, Error> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let Some(options) = Options::parse(args, seed).map_err(|error| format!("{error}\n\n{USAGE}"))? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    judging::use_program(&std::env::current_exe()?);
    let report = tokio::select! {
        report = session::run(options) => report?,
        // Dropping the session stops what it has started.
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
    };
    println!("\n{}", report.totals);
    let missed = report.totals.never_hit(&report.points);
    if !missed.is_empty() {
        println!("points at which no run has ended: {}", missed.join(", "));
    }
    if !report.failed.is_empty() {
        println!("seeds for tests/torture-seeds.txt: {:?}", report.failed);
    }
    Ok(if report.totals.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
