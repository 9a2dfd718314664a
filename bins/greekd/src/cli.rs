//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::{Listen, LogFormat, Overrides};

/// Streams the Greeks of every open option position into PostgreSQL.
///
/// Settings come from flags, the environment, .env and greekd.toml of the working directory, in this order.
#[derive(Debug, Parser)]
#[command(name = "greekd", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Read this file instead of greekd.toml.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep data here (GREEKD_DATA_DIR).
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Shape of log lines on stderr (GREEKD_LOG_FORMAT).
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Log more; twice for everything (RUST_LOG beats this).
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(flatten)]
    http: HttpArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where HTTP is served, or asked.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct HttpArgs {
    /// Where the live book is served over HTTP, or `off`; 127.0.0.1:9850 unless set (GREEKD_LISTEN).
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
}

impl Cli {
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            log_format: self.log_format,
            listen: self.command.as_ref().and_then(Command::listen).or(self.http.listen),
        }
    }

    /// The command, `run` when none was given.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.http))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Stream and store, from configuration (the default).
    Run(HttpArgs),
    /// Stream a simulated or replayed market through the whole path, with a private PostgreSQL.
    Demo(DemoArgs),
    /// Check the configuration, each credential and the database, and say how to mend what is wrong.
    Check,
    /// Show what is held now at all brokers, with the newest Greeks; the same contract at two brokers is compared.
    Positions(PositionsArgs),
    /// Show the Greeks of the whole book, summed up, as the greekd that runs has them now.
    Portfolio(PortfolioArgs),
    /// Show stored rows, newest first.
    Snapshots(SnapshotsArgs),
    /// Run a protocol-true double of a broker, for testing clients.
    #[command(subcommand)]
    Sim(SimCommand),
    /// Look after the database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Look after the journal, where accepted rows wait for the database.
    #[command(subcommand)]
    Journal(JournalCommand),
}

impl Command {
    fn listen(&self) -> Option<Listen> {
        match self {
            Self::Run(http) => http.listen,
            Self::Demo(args) => args.http.listen,
            Self::Portfolio(args) => args.http.listen,
            _ => None,
        }
    }
}

/// What the simulated market is made of.
#[derive(Debug, Clone, Args)]
pub(crate) struct MarketArgs {
    /// Greeks events per second.
    #[arg(long, value_name = "EVENTS_PER_S", default_value_t = 50.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Option positions at each broker, 60 at most at IBKR.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) positions: u32,
    /// The same seed gives the same market.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Replay an end-of-day option chain (CSV) instead of a simulated market; its contracts are the positions.
    #[arg(long, value_name = "FILE", conflicts_with = "positions")]
    pub(crate) chain: Option<PathBuf>,
    /// With --chain: seconds that one trading day takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, requires = "chain")]
    pub(crate) day: f64,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long to stream; by default 30 s, or the whole chain with --chain.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<f64>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    pub(crate) market: MarketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PortfolioArgs {
    /// What the sums are formed by.
    #[arg(long, value_enum, default_value_t = By::Underlying)]
    pub(crate) by: By,
    #[command(flatten)]
    http: HttpArgs,
    /// Shape of the output.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// What sums are formed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// What the options are written on.
    Underlying,
    /// Days to expiry, in six ranges.
    Expiry,
    /// The account.
    Account,
    /// The broker.
    Broker,
}

#[derive(Debug, Args)]
pub(crate) struct PositionsArgs {
    /// Shape of the output.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotsArgs {
    /// Show what could not be received or kept instead: who, from, to and why; an open gap has no end.
    #[arg(long, conflicts_with_all = ["account_id", "contract_key", "underlying"])]
    pub(crate) gaps: bool,
    /// Only this broker, such as tastytrade.
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// Only this account, as the broker writes it.
    #[arg(long)]
    pub(crate) account_id: Option<String>,
    /// Only this contract, such as 'AAPL  261218C00232500'.
    #[arg(long)]
    pub(crate) contract_key: Option<String>,
    /// Only this underlying, such as SPX or /ESZ26.
    #[arg(long)]
    pub(crate) underlying: Option<String>,
    /// Only event times from this one on, such as 2018-02-05 or 2018-02-05T21:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<jiff::Timestamp>,
    /// Only event times before this one.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<jiff::Timestamp>,
    /// At most so many rows.
    #[arg(long, value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Shape of the output.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// The shape of data on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns for people; unknown values are a dash.
    Table,
    /// JSON; unknown values are null.
    Json,
    /// Comma-separated values with a header; unknown values are empty.
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// IBKR's Client Portal gateway: REST and websocket, with a certificate like the gateway's own.
    Ibkr(SimArgs),
    /// tastytrade's REST interface and its DXLink feed.
    Tastytrade(SimArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// Address of the REST interface; tastytrade's feeds take free ports beside it. Loopback only.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: std::net::SocketAddr,
    #[command(flatten)]
    pub(crate) market: MarketArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Bring the schema up to date.
    Migrate,
    /// List the monthly partitions with their rows and bytes.
    Partitions,
    /// Make the group roles greekd_ingest, greekd_maintenance and greekd_read, with the least rights each needs.
    Roles,
    /// Open psql on the database, starting the private server for as long as it is needed.
    Psql {
        /// Arguments for psql, after `--`.
        #[arg(last = true)]
        args: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Show what a journal holds; also while greekd runs.
    Inspect(JournalInspectArgs),
    /// Store what a journal holds that no running greekd owns, each record once; safe to repeat.
    Replay {
        /// The directory, such as journal.parked-1 of a data directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct JournalInspectArgs {
    /// The directory; by default the journal of the data directory.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Shape of the output.
    #[arg(long, short, value_enum, default_value_t = JournalOutput::Table)]
    pub(crate) output: JournalOutput,
}

/// The shape of what is said of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JournalOutput {
    /// A line for each run that has left records.
    Table,
    /// One object.
    Json,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1_000_000.0 => Ok(rate),
        _ => Err("expected a number above 0, at most 1000000".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 31_536_000.0 => Ok(seconds),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp);
    }
    let date: jiff::civil::Date = text
        .parse()
        .map_err(|_| String::from("expected a date such as 2018-02-05 or a time such as 2018-02-05T21:00:00Z"))?;
    date.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_run() {
        assert!(matches!(Cli::try_parse_from(["greekd"]).unwrap().into_command(), Command::Run(_)));
    }

    #[test]
    fn where_http_is_served_can_be_said_before_and_after_the_command() {
        let listen = |args: &[&str]| Cli::try_parse_from(args).unwrap().overrides().listen;
        let address = "127.0.0.1:9000".parse().unwrap();
        assert_eq!(listen(&["greekd", "--listen", "127.0.0.1:9000"]), Some(Listen::At(address)));
        assert_eq!(listen(&["greekd", "demo", "--listen", "off"]), Some(Listen::Off));
        assert_eq!(listen(&["greekd", "portfolio", "--listen", "127.0.0.1:9000"]), Some(Listen::At(address)));
        assert_eq!(listen(&["greekd", "sim", "ibkr", "--listen", "127.0.0.1:9000"]), None);
        assert!(Cli::try_parse_from(["greekd", "--listen", "9850"]).is_err());
    }

    #[test]
    fn times_are_dates_or_instants_in_utc() {
        assert_eq!(time("2018-02-05").unwrap().to_string(), "2018-02-05T00:00:00Z");
        assert_eq!(time("2018-02-05T16:00:00-05:00").unwrap().to_string(), "2018-02-05T21:00:00Z");
        assert!(time("yesterday").is_err());
        assert!(seconds("0").is_err() && rate("-1").is_err() && rate("NaN").is_err());
    }
}
