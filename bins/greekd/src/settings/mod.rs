//! All settings, checked: flag, then environment, then `.env`, then `greekd.toml`, then default.

mod database;
mod ibkr;
mod layers;
mod tastytrade;
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

/// A list of accounts; `all` is none.
fn accounts(layers: &Layers, name: &str) -> Result<Option<Vec<String>>, Failure> {
    let accounts = layers.parse(name, "write account numbers separated by commas, or all", |text| {
        let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty()).map(str::to_owned);
        let numbers: Vec<String> = numbers.collect();
        (!numbers.is_empty()).then_some(numbers)
    })?;
    Ok(accounts.filter(|numbers| *numbers != ["all"]))
}

/// Names of hosts, each with a port or without.
fn hosts(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let is_host = |name: &String| !name.is_empty() && name.chars().all(plain);
    names.iter().all(is_host).then_some(names)
}

/// The table `[beta]`, and nothing that is no number.
fn betas(layers: &Layers) -> Result<HashMap<Arc<str>, f64>, Failure> {
    let beta = |(symbol, text): (&str, &str)| match text.parse::<f64>() {
        Ok(beta) if beta.is_finite() && beta.abs() <= 100.0 => Ok((symbol.into(), beta)),
        _ => Err(Failure::new(Code::Config, format!("the beta of {symbol} is not a number a beta can be: {text}"))
            .remedy("write it like SPX = 1.0 in the table [beta]")),
    };
    layers.betas().map(beta).collect()
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A number that can be a yearly rate; `4` is meant to be 4 %, and is not.
fn yearly_rate(text: &str) -> Option<f64> {
    text.parse().ok().filter(|rate| (-0.1..=0.5).contains(rate))
}

fn duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.trim().parse().ok()?;
    let duration = Duration::try_from(parsed).ok()?;
    (!duration.is_zero() && duration <= Duration::from_secs(3600)).then_some(duration)
}

fn sync_window(text: &str) -> Option<Duration> {
    duration(text).filter(|window| *window <= Duration::from_secs(1))
}

/// `8GiB`, `512 MiB`, `200MB` or a number of bytes.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes >= 1 << 20)
}

/// `100`, `100/s`, `100/s,25` or `100/s, burst 25`.
fn commit_rate(text: &str) -> Option<(u32, u32)> {
    let (rate, burst) = text.split_once(',').unwrap_or((text, ""));
    let rate: u32 = rate.trim().trim_end_matches("/s").trim_end().parse().ok()?;
    let burst = burst.trim().trim_start_matches("burst").trim_start();
    let burst: u32 = if burst.is_empty() { rate.div_ceil(4) } else { burst.parse().ok()? };
    ((1..=10_000).contains(&rate) && (1..=10_000).contains(&burst)).then_some((rate, burst))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    pub(crate) fn layers(pairs: &[(&str, &str)]) -> Layers {
        let environment = pairs.iter().map(|(name, value)| (name.into(), value.into()));
        Layers::load(environment, Path::new("/nonexistent"), None).unwrap()
    }

    pub(crate) fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Failure> {
        let mut all = vec![("HOME", "/home/trader")];
        all.extend_from_slice(pairs);
        Settings::from_layers(layers(&all), &Overrides::default())
    }

    #[test]
    fn defaults_are_the_published_ones() {
        let settings = settings(&[]).unwrap();
        assert_eq!(
            settings.commit,
            Commit { rate: 100, burst: 25, flush_max_records: 50, flush_max_delay: Duration::from_secs(1) }
        );
        assert_eq!((settings.slo_p95, settings.rate), (Duration::from_millis(500), None));
        assert_eq!(settings.journal, Journal { max_bytes: 8 << 30, sync: Duration::from_millis(20) });
        assert!(!settings.keep_payload && settings.tastytrade.is_none() && settings.ibkr.is_none());
        assert!(matches!(settings.database, DatabaseChoice::Private));
        assert_eq!(settings.listen, Listen::At("127.0.0.1:9850".parse().unwrap()));
        assert!(settings.http_token.is_none() && settings.betas.is_empty());
        let failure = settings.require_broker().unwrap_err();
        assert_eq!(failure.code(), Code::Config);
        assert!(failure.to_string().contains("greekd demo"));
    }

    #[test]
    fn values_are_read_in_their_units() {
        let settings = settings(&[
            ("GREEKD_COMMIT_RATE", "200/s, burst 5"),
            ("GREEKD_FLUSH_MAX_RECORDS", "7"),
            ("GREEKD_FLUSH_MAX_DELAY", "250ms"),
            ("GREEKD_SLO_P95", "2s"),
            ("GREEKD_JOURNAL_MAX_BYTES", "512 MiB"),
            ("GREEKD_JOURNAL_SYNC", "5ms"),
            ("GREEKD_RATE", "-0.005"),
            ("GREEKD_SOURCE_PAYLOAD", "on"),
            ("GREEKD_LISTEN", "off"),
            ("GREEKD_HTTP_TOKEN", "0123456789abcdef"),
            ("GREEKD_HTTP_HOSTS", "greeks.lan, [fd00::1]:8443"),
            ("TASTYTRADE_REFRESH_TOKEN", "r"),
            ("TASTYTRADE_CLIENT_SECRET", "s"),
            ("TASTYTRADE_ACCOUNTS", "5WT00001, 5WT00002"),
        ])
        .unwrap();
        assert_eq!((settings.commit.rate, settings.commit.burst, settings.commit.flush_max_records), (200, 5, 7));
        assert_eq!(settings.commit.flush_max_delay, Duration::from_millis(250));
        assert_eq!((settings.slo_p95, settings.rate), (Duration::from_secs(2), Some(-0.005)));
        assert_eq!(settings.journal, Journal { max_bytes: 512 << 20, sync: Duration::from_millis(5) });
        assert!(settings.keep_payload && settings.listen == Listen::Off);
        assert_eq!(settings.http_token.unwrap().expose_secret(), "0123456789abcdef");
        assert_eq!(settings.http_hosts, ["greeks.lan", "[fd00::1]:8443"]);
        let tastytrade = settings.tastytrade.unwrap();
        assert_eq!(tastytrade.accounts.unwrap(), ["5WT00001", "5WT00002"]);
        assert_eq!(tastytrade.refresh_token.expose_secret(), "r");
    }

    #[test]
    fn a_beta_is_a_number() {
        let directory = tempfile::tempdir().unwrap();
        let betas = |text: &str| {
            std::fs::write(directory.path().join("greekd.toml"), text).unwrap();
            betas(&Layers::load([], directory.path(), None).unwrap())
        };
        let known = betas("[beta]\nSPX = 1\nF = 1.25\nGLD = -0.1").unwrap();
        assert_eq!((known.get("F"), known.get("GLD"), known.len()), (Some(&1.25), Some(&-0.1), 3));
        for wrong in ["F = \"high\"", "F = nan", "F = inf", "F = 1e9", "F = true"] {
            let failure = betas(&format!("[beta]\n{wrong}")).unwrap_err();
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains("the beta of F"), "{failure}");
        }
    }

    #[test]
    fn values_out_of_their_rule_are_refused_with_the_rule() {
        for (name, value) in [
            ("GREEKD_COMMIT_RATE", "fast"),
            ("GREEKD_COMMIT_RATE", "0"),
            ("GREEKD_COMMIT_RATE", "10,x"),
            ("GREEKD_FLUSH_MAX_RECORDS", "0"),
            ("GREEKD_FLUSH_MAX_RECORDS", "2001"),
            ("GREEKD_FLUSH_MAX_DELAY", "1"),
            ("GREEKD_FLUSH_MAX_DELAY", "0s"),
            ("GREEKD_FLUSH_MAX_DELAY", "-1s"),
            ("GREEKD_JOURNAL_MAX_BYTES", "8"),
            ("GREEKD_JOURNAL_MAX_BYTES", "8 elephants"),
            ("GREEKD_JOURNAL_MAX_BYTES", "99999999999TiB"),
            ("GREEKD_JOURNAL_MAX_BYTES", "-1GiB"),
            ("GREEKD_JOURNAL_SYNC", "2s"),
            ("GREEKD_SLO_P95", "2h"),
            ("GREEKD_RATE", "4"),
            ("GREEKD_RATE", "NaN"),
            ("GREEKD_SOURCE_PAYLOAD", "maybe"),
            ("GREEKD_LISTEN", "9850"),
            ("GREEKD_LOG_FORMAT", "xml"),
            ("TASTYTRADE_ACCOUNTS", ","),
            ("TASTYTRADE_REFRESH_TOKEN", "alone"),
            ("TASTYTRADE_CLIENT_SECRET", "alone"),
            ("TASTYTRADE_REFRESH_TOKEN_FILE", "/nonexistent/token"),
        ] {
            let mut pairs = vec![(name, value)];
            if name == "TASTYTRADE_ACCOUNTS" {
                pairs.extend([("TASTYTRADE_REFRESH_TOKEN", "r"), ("TASTYTRADE_CLIENT_SECRET", "s")]);
            }
            let failure = settings(&pairs).expect_err(name);
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains(name), "{failure}");
        }
    }

    #[test]
    fn the_example_file_names_every_setting() {
        let example = include_str!("../../../../.env.example");
        for variable in variables::VARIABLES.iter().filter(|variable| !variables::AMBIENT.contains(&variable.name)) {
            assert!(example.contains(&format!("#{}=", variable.name)), "{} is missing", variable.name);
        }
    }

    #[test]
    fn a_demo_takes_no_part_of_a_configuration() {
        let all = [
            ("TASTYTRADE_REFRESH_TOKEN", "alone"),
            ("IBKR_GATEWAY_URL", "nonsense"),
            ("DATABASE_URL", "nonsense"),
            ("GREEKD_DATA_DIR", "/d"),
        ];
        let layers = Layers::for_demo(all.map(|(name, value)| (name.into(), value.into()))).unwrap();
        let settings = Settings::from_layers(layers, &Overrides::default()).unwrap();
        assert!(matches!(settings.database, DatabaseChoice::Private));
        assert!(settings.tastytrade.is_none() && settings.ibkr.is_none());
        assert_eq!(settings.data_dir, Path::new("/d"));
    }

    #[test]
    fn the_data_directory_has_a_place_for_everyone() {
        let overrides = Overrides { data_dir: Some("/flag".into()), ..Overrides::default() };
        let all = layers(&[("GREEKD_DATA_DIR", "/env"), ("HOME", "/home/trader")]);
        assert_eq!(data_dir(&all, &overrides).unwrap(), Path::new("/flag"));
        assert_eq!(data_dir(&all, &Overrides::default()).unwrap(), Path::new("/env"));
        if !is_root() {
            let home = layers(&[("HOME", "/home/trader"), ("XDG_DATA_HOME", "/xdg")]);
            assert_eq!(data_dir(&home, &Overrides::default()).unwrap(), Path::new("/xdg/greekd"));
            assert!(data_dir(&layers(&[]), &Overrides::default()).is_err());
        }
    }
}
