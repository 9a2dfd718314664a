//! All settings, checked: flag, then environment, then `.env`, then `greekd.toml`, then default.

mod database;
mod ibkr;
mod layers;
mod tastytrade;
mod values;
mod variables;

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use database::DatabaseChoice;
pub(crate) use ibkr::{Ibkr, Trust};
pub(crate) use layers::Layers;
use secrecy::SecretString;
pub(crate) use tastytrade::Tastytrade;
use values::{betas, commit_rate, duration, hosts, log_format, size, switch, sync_window, yearly_rate};

use crate::exit::{Code, Failure};

/// Settings given as flags, which beat every other place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) config: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) listen: Option<Listen>,
}

/// Where HTTP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    At(SocketAddr),
    Off,
}

impl Default for Listen {
    fn default() -> Self {
        Self::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 9_850)))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| format!("expected {LISTEN_RULE}")),
        }
    }
}

const LISTEN_RULE: &str = "an address and a port, like 127.0.0.1:9850 or [::1]:9850, or off";

/// Everything the program can be told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) database: DatabaseChoice,
    pub(crate) private_postgres: PrivatePostgres,
    pub(crate) ibkr: Option<Ibkr>,
    pub(crate) tastytrade: Option<Tastytrade>,
    pub(crate) commit: Commit,
    pub(crate) journal: Journal,
    pub(crate) keep_payload: bool,
    pub(crate) slo_p95: Duration,
    pub(crate) listen: Listen,
    pub(crate) http_token: Option<SecretString>,
    /// Names by which browsers may call the server beside `localhost` and its address.
    pub(crate) http_hosts: Vec<String>,
    /// By underlying; they go before those that brokers say.
    pub(crate) betas: HashMap<Arc<str>, f64>,
    /// Riskless rate for Greeks that a broker does not send; `None` leaves it to the library.
    pub(crate) rate: Option<f64>,
    pub(crate) log: Log,
    /// What a person should be told although it is no error.
    pub(crate) notes: Vec<String>,
}

/// How the private server is found and run.
#[derive(Debug, Default)]
pub(crate) struct PrivatePostgres {
    pub(crate) bin: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) search_path: Option<OsString>,
}

/// When rows are committed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Commit {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    pub(crate) flush_max_records: usize,
    pub(crate) flush_max_delay: Duration,
}

impl Default for Commit {
    fn default() -> Self {
        Self { rate: 100, burst: 25, flush_max_records: 50, flush_max_delay: Duration::from_secs(1) }
    }
}

/// How much may wait for the database on disk, and how soon it survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Journal {
    pub(crate) max_bytes: u64,
    pub(crate) sync: Duration,
}

impl Default for Journal {
    fn default() -> Self {
        Self { max_bytes: 8 << 30, sync: Duration::from_millis(20) }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) filter: Option<String>,
    pub(crate) format: LogFormat,
    /// No colours, whatever the terminal can show.
    pub(crate) plain: bool,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line of text each.
    Text,
    /// One object a line.
    Json,
}

impl Settings {
    /// Whether this account is one of those that are streamed.
    pub(crate) fn streams(&self, broker: &str, account: &str) -> bool {
        let chosen = match broker {
            "ibkr" => self.ibkr.as_ref().map(|ibkr| &ibkr.accounts),
            "tastytrade" => self.tastytrade.as_ref().map(|tastytrade| &tastytrade.accounts),
            _ => None,
        };
        let listed = |accounts: &Vec<String>| accounts.iter().any(|listed| listed == account);
        chosen.is_some_and(|accounts| accounts.as_ref().is_none_or(listed))
    }

    /// Reads the environment and the files of the working directory. The one place where greekd does so.
    pub(crate) fn load(overrides: &Overrides) -> Result<Self, Failure> {
        let directory = std::env::current_dir().map_err(|error| {
            Failure::new(Code::Config, format!("the working directory cannot be read: {error}"))
                .remedy("change to one that exists")
        })?;
        let layers = Layers::load(std::env::vars_os(), &directory, overrides.config.as_deref())?;
        Self::from_layers(layers, overrides)
    }

    /// For what is simulated: the program's own settings from the environment; no broker, no database, no file.
    pub(crate) fn for_demo(overrides: &Overrides) -> Result<Self, Failure> {
        Self::from_layers(Layers::for_demo(std::env::vars_os())?, overrides)
    }

    fn from_layers(layers: Layers, overrides: &Overrides) -> Result<Self, Failure> {
        let format = match overrides.log_format {
            Some(format) => Some(format),
            None => layers.parse("GREEKD_LOG_FORMAT", "use auto, text or json", log_format)?,
        };
        let (commit, journal) = (Commit::default(), Journal::default());
        let (rate, burst) = layers
            .parse("GREEKD_COMMIT_RATE", "write commits per second and the burst, like 100/s,25", commit_rate)?
            .unwrap_or((commit.rate, commit.burst));
        let (database, database_notes) = database::choose(&layers)?;
        let (ibkr, ibkr_notes) = ibkr::ibkr(&layers)?;
        let mut settings = Self {
            data_dir: data_dir(&layers, overrides)?,
            database,
            private_postgres: PrivatePostgres {
                bin: layers.get("GREEKD_PG_BIN").map(PathBuf::from),
                user: layers.get("GREEKD_PG_USER").map(str::to_owned),
                search_path: layers.get("PATH").map(OsString::from),
            },
            ibkr,
            tastytrade: tastytrade::tastytrade(&layers)?,
            commit: Commit {
                rate,
                burst,
                flush_max_records: layers
                    .parse("GREEKD_FLUSH_MAX_RECORDS", "write a whole number of rows from 1 to 2000", |text| {
                        text.parse().ok().filter(|rows| (1..=2_000).contains(rows))
                    })?
                    .unwrap_or(commit.flush_max_records),
                flush_max_delay: layers
                    .parse("GREEKD_FLUSH_MAX_DELAY", "write a time up to 1h, like 1s or 250ms", duration)?
                    .unwrap_or(commit.flush_max_delay),
            },
            journal: Journal {
                max_bytes: layers
                    .parse("GREEKD_JOURNAL_MAX_BYTES", "write a size from 1MiB on, like 8GiB or 512MiB", size)?
                    .unwrap_or(journal.max_bytes),
                sync: layers
                    .parse("GREEKD_JOURNAL_SYNC", "write a time up to 1s, like 20ms", sync_window)?
                    .unwrap_or(journal.sync),
            },
            keep_payload: layers.parse("GREEKD_SOURCE_PAYLOAD", "use on or off", switch)?.unwrap_or(false),
            slo_p95: layers
                .parse("GREEKD_SLO_P95", "write a time up to 1h, like 500ms", duration)?
                .unwrap_or(Duration::from_millis(500)),
            listen: match overrides.listen {
                Some(listen) => listen,
                None => layers
                    .parse("GREEKD_LISTEN", &format!("write {LISTEN_RULE}"), |text| text.parse().ok())?
                    .unwrap_or_default(),
            },
            http_token: layers.get("GREEKD_HTTP_TOKEN").map(|token| SecretString::from(token.to_owned())),
            http_hosts: layers
                .parse(
                    "GREEKD_HTTP_HOSTS",
                    "write names separated by commas, like greeks.lan or greeks.lan:8443",
                    hosts,
                )?
                .unwrap_or_default(),
            betas: betas(&layers)?,
            rate: layers.parse("GREEKD_RATE", "write a fraction per year, like 0.04 for 4 %", yearly_rate)?,
            log: Log {
                filter: layers.get("RUST_LOG").map(str::to_owned),
                format: format.unwrap_or_default(),
                // Any value but the empty one, says no-color.org.
                plain: layers.get("NO_COLOR").is_some(),
            },
            notes: Vec::new(),
        };
        settings.notes = layers.notes;
        settings.notes.extend(database_notes);
        settings.notes.extend(ibkr_notes);
        Ok(settings)
    }

    /// Refuses a configuration without any broker: there would be nothing to stream.
    pub(crate) fn require_broker(&self) -> Result<(), Failure> {
        if self.ibkr.is_some() || self.tastytrade.is_some() {
            return Ok(());
        }
        Err(Failure::new(Code::Config, "no broker is configured").remedy(
            "set IBKR_GATEWAY_URL, or TASTYTRADE_REFRESH_TOKEN and TASTYTRADE_CLIENT_SECRET, in the environment or in \
             .env, or see simulated data with `greekd demo`",
        ))
    }
}

fn data_dir(layers: &Layers, overrides: &Overrides) -> Result<PathBuf, Failure> {
    if let Some(directory) = &overrides.data_dir {
        return Ok(directory.clone());
    }
    if let Some(directory) = layers.get("GREEKD_DATA_DIR") {
        return Ok(directory.into());
    }
    if is_root() {
        return Ok("/var/lib/greekd".into());
    }
    let home = layers.get("HOME").map(Path::new).filter(|home| home.is_absolute());
    let base = match (layers.get("XDG_DATA_HOME").map(Path::new).filter(|dir| dir.is_absolute()), home) {
        (Some(directory), _) => directory.to_path_buf(),
        (None, Some(home)) if cfg!(target_os = "macos") => home.join("Library/Application Support"),
        (None, Some(home)) => home.join(".local/share"),
        (None, None) => {
            return Err(Failure::new(Code::Config, "there is no home directory to keep data in")
                .remedy("set GREEKD_DATA_DIR or give --data-dir"));
        }
    };
    Ok(base.join("greekd"))
}

/// Whether PostgreSQL will run as another account than this one.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(crate) fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests;
