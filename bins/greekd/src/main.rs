//! greekd: streams the Greeks of every open option position into PostgreSQL.
//!
//! This program wires the libraries of the workspace together. It is the only place that reads the environment,
//! installs the log and decides exit codes.
mod backlog;
mod check;
mod cli;
mod daemon;
mod database;
mod db;
mod demo;
mod durable;
mod exit;
#[cfg(feature = "failpoints")]
mod failpoints;
mod journal;
mod late;
mod live;
mod logging;
mod memory;
mod out;
mod pins;
mod portfolio;
mod positions;
mod run;
mod settings;
mod signals;
mod sim;
mod simulated;
mod snapshots;
mod sources;
mod stream;
mod table;
mod tls;
mod watch;
mod web;

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("failpoints are for the fault harness: no program that anybody runs has them");

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, DbCommand, JournalCommand, SimCommand};
use crate::exit::{Code, Failure};
use crate::settings::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.is_quiet() {
                // The one line for whoever started us; what the log says goes through the log.
                #[allow(clippy::print_stderr)]
                {
                    eprintln!("greekd: {failure}");
                }
            }
            failure.exit_code()
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    #[cfg(feature = "failpoints")]
    if failpoints::set_up()? {
        return Ok(ExitCode::SUCCESS);
    }
    let (verbose, own_dir) = (cli.verbose, cli.overrides().data_dir.is_some());
    let overrides = cli.overrides();
    let command = cli.into_command();
    let settings = match command {
        // Nobody's configuration has a part in what is simulated, nor may it stand in the way.
        Command::Demo(_) | Command::Sim(_) => Settings::for_demo(&overrides)?,
        _ => Settings::load(&overrides)?,
    };
    logging::init(&settings.log, verbose, matches!(command, Command::Run(_) | Command::Sim(_)))?;
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    // Libraries take the provider they are given; what takes none finds the same one here.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err(Failure::new(Code::Runtime, "another TLS provider is installed"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Runtime, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Run(_) => run::run(&settings, &web::Metrics::install()?).await,
            Command::Demo(args) => demo::run(settings, args, own_dir, &web::Metrics::install()?).await,
            Command::Check => check::run(&settings).await,
            Command::Portfolio(args) => portfolio::run(&settings, &args).await,
            Command::Positions(args) => positions::run(&settings, &args).await,
            Command::Snapshots(args) => snapshots::run(&settings, &args).await,
            Command::Sim(SimCommand::Ibkr(args)) => sim::ibkr(&args).await,
            Command::Sim(SimCommand::Tastytrade(args)) => sim::tastytrade(&args).await,
            Command::Db(DbCommand::Migrate) => db::migrate(&settings).await,
            Command::Journal(JournalCommand::Inspect(args)) => journal::inspect::run(&settings, &args),
            Command::Journal(JournalCommand::Replay { directory }) => journal::replay::run(&settings, &directory).await,
            Command::Db(DbCommand::Partitions) => db::partitions(&settings).await,
            Command::Db(DbCommand::Roles) => db::roles(&settings).await,
            Command::Db(DbCommand::Psql { args }) => db::psql(&settings, args).await,
        }
    });
    // Work that blocks, such as a name lookup, must not hold up the end.
    runtime.shutdown_background();
    outcome
}
