//! The fault harness, started by `cargo xtask torture`, which builds it; see `greekd_tests::torture`.
// It talks to the person who started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use greekd_tests::torture::options::Options;
use greekd_tests::torture::{Error, judging, session};

/// Runs greekd again and again and ends each run by a fault; then every accepted row has to be stored once, bit for bit.
#[derive(Debug, Parser)]
#[command(name = "torture", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    said: Said,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Judges one episode.
    Oracle {
        /// What its runs have left.
        directory: PathBuf,
        /// The database they wrote to.
        url: String,
    },
}

/// How a session goes.
#[derive(Debug, Args)]
struct Said {
    /// Begin no episode after so many minutes.
    #[arg(long, default_value = "10", value_parser = minutes)]
    minutes: Duration,
    /// End after so many episodes.
    #[arg(long)]
    episodes: Option<u64>,
    /// So many runs an episode, where 10 to 25 or, one time in ten, 90 are drawn: minutes of the book are stored in long
    /// ones only.
    #[arg(long)]
    runs: Option<usize>,
    /// The first episode's seed, the next has one more; by the clock when it is not said.
    #[arg(long)]
    seed: Option<u64>,
    /// Episodes at a time, each with a PostgreSQL of its own.
    #[arg(long, default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    lanes: usize,
    /// Events per second.
    #[arg(long, default_value_t = 300.0, value_parser = rate)]
    rate: f64,
    /// Tell every run.
    #[arg(long)]
    verbose: bool,
    /// Without the episode that ends at every point in turn.
    #[arg(long)]
    no_sweep: bool,
    /// A setting more for greekd.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
}

impl Said {
    fn options(self) -> Result<Options, Error> {
        let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs());
        Ok(Options {
            time: self.minutes,
            episodes: self.episodes,
            runs: self.runs,
            lanes: self.lanes,
            rate: self.rate,
            sweep: !self.no_sweep,
            verbose: self.verbose,
            environment: self.env,
            ..Options::new(self.seed.map_or_else(by_clock, Ok)?)
        })
    }
}

fn minutes(said: &str) -> Result<Duration, String> {
    let minutes: f64 = said.parse().map_err(|_| "not a number")?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}

fn rate(said: &str) -> Result<f64, &'static str> {
    said.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or("not a number above 0")
}

fn setting(said: &str) -> Result<(String, String), &'static str> {
    let (name, value) = said.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { task, said } = Cli::parse();
    let outcome = match task {
        Some(Task::Oracle { directory, url }) => judge(&directory, &url).await,
        None => torture(said).await,
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

async fn torture(said: Said) -> Result<ExitCode, Error> {
    let options = said.options()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"torture").chain(args))
    }

    #[test]
    fn what_is_said_counts_and_what_is_not_understood_is_refused() {
        let cli =
            parse(&["--minutes", "0.5", "--seed", "7", "--lanes", "2", "--runs", "90", "--env", "A=b=c", "--no-sweep"])
                .unwrap();
        let options = cli.said.options().unwrap();
        let expected = Options {
            time: Duration::from_secs(30),
            lanes: 2,
            runs: Some(90),
            sweep: false,
            environment: vec![("A".to_owned(), "b=c".to_owned())],
            ..Options::new(7)
        };
        assert_eq!((cli.task.is_none(), options), (true, expected));
        let plain = parse(&["--seed", "7"]).unwrap().said.options().unwrap();
        assert_eq!(plain, Options::new(7), "the defaults are those of the library");
        for wrong in [
            &["--minutes"][..],
            &["--minutes", "-1"],
            &["--lanes", "0"],
            &["--rate", "0"],
            &["--env", "A"],
            &["--what"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_episode_is_judged_by_itself() {
        let cli = parse(&["oracle", "episode", "postgres://y"]).unwrap();
        let Some(Task::Oracle { directory, url }) = cli.task else { panic!("no task") };
        assert_eq!((directory.as_path(), url.as_str()), (Path::new("episode"), "postgres://y"));
    }
}
