//! `greekd check`: the configuration, each credential and the database, with what to do about what is wrong.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use greeks_model::{Clock, OperatorReason, Retry, SourceError, UnixNanos};
use greeks_processor::SystemClock;
use greeks_store::{Queries, QueryError};
use ibkr_stream::MarketData;
use ibkr_stream::tls::PinStore;

use crate::database::Database;
use crate::exit::{Code, Failure, chain};
use crate::out::say;
use crate::pins::PinFile;
use crate::settings::{Ibkr, Settings, Tastytrade, Trust};
use crate::signals::Signals;
use crate::{sources, stream};

/// `server_version_num` of the oldest server that the schema is made for.
const OLDEST_SERVER: i32 = 140_000;
/// The clocks of two machines that are kept right differ by less.
const MOST_APART: Duration = Duration::from_secs(2);

/// Checks everything, also after a failure, and ends with the code of the first one.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut failures = Vec::new();
    let mut report = |what: &str, outcome: Result<String, Failure>| match outcome {
        Ok(text) => say(format_args!("ok    {what}: {}", text.replace('\n', "\n        "))),
        Err(failure) => {
            let said = say(format_args!("FAIL  {what}: {}", failure.to_string().replace('\n', "\n        ")));
            failures.push(failure);
            said
        }
    };
    let brokers = [("ibkr", settings.ibkr.is_some()), ("tastytrade", settings.tastytrade.is_some())];
    let brokers: Vec<&str> = brokers.into_iter().filter(|(_, configured)| *configured).map(|(name, _)| name).collect();
    report("configuration", settings.require_broker().map(|()| format!("brokers: {}", brokers.join(", "))))?;
    if let Some(ibkr) = &settings.ibkr {
        report("ibkr", check_ibkr(ibkr, &settings.data_dir).await)?;
    }
    if let Some(tastytrade) = &settings.tastytrade {
        report("tastytrade", check_tastytrade(tastytrade).await)?;
    }
    report("database", check_database(settings).await)?;
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Ok(first.exit_code()),
    }
}

async fn check_ibkr(settings: &Ibkr, data_dir: &Path) -> Result<String, Failure> {
    let (config, tls) = sources::ibkr_config(settings, data_dir)?;
    match ibkr_stream::check(&config, &tls, SystemClock::new().now()).await {
        // Everything is in order, and nothing will come.
        Ok(report) if matches!(report.market_data, MarketData::NotPermitted | MarketData::NotAcknowledged) => {
            Err(Failure::new(Code::Config, report.to_string()))
        }
        Ok(report) => Ok(format!("{report}{}", pinned(settings, data_dir))),
        Err(error @ ibkr_stream::Error::Configuration { .. }) => Err(sources::ibkr_refused(&error)),
        Err(error) => {
            let remedy = ibkr_remedy(&error, settings);
            let failure = failed(chain(&error), error);
            Err(match remedy {
                Some(remedy) => failure.remedy(remedy),
                None => failure,
            })
        }
    }
}

/// What to do about what the broker crate cannot know the setting of; most of its errors say it themselves.
fn ibkr_remedy(error: &ibkr_stream::Error, settings: &Ibkr) -> Option<&'static str> {
    use ibkr_stream::Error;
    match error {
        // The first call: whoever answered that one speaks as is asked.
        Error::Transport { call: "POST /tickle", .. } if settings.gateway_url.starts_with("http://") => Some(
            "a gateway speaks TLS unless listenSsl is false in its conf.yaml: write IBKR_GATEWAY_URL with https://",
        ),
        Error::Transport { call: "POST /tickle", .. } => Some(
            "is it a gateway that listens there? One with listenSsl: false in its conf.yaml has an IBKR_GATEWAY_URL with \
             http://",
        ),
        Error::Status { call: "POST /tickle", status: 404, .. } => {
            Some("is the path of IBKR_GATEWAY_URL right? Most gateways have /v1/api")
        }
        Error::UntrustedPeer { .. } => match settings.trust {
            Trust::System | Trust::CaFile(_) => Some(
                "the certificate that comes with a gateway is its own: leave IBKR_TLS out, or set it to \
                 sha256:FINGERPRINT",
            ),
            // Their refusals say what to do.
            Trust::Pin(_) | Trust::Fingerprint(_) => None,
        },
        Error::NoBrokerageSession { .. } => {
            Some("it passes with IBKR's nightly reset; if not, log out at the gateway and in again with a browser")
        }
        _ => None,
    }
}

/// Which certificate is trusted, where that was not configured.
fn pinned(settings: &Ibkr, data_dir: &Path) -> String {
    let Trust::Pin(peer) = &settings.trust else { return String::new() };
    let file = PinFile::new(data_dir, peer);
    match file.load() {
        Ok(Some(pin)) => {
            format!("\ncertificate: trusted since its first use, sha256:{pin}\npin: {}", file.path().display())
        }
        // Plain HTTP on this machine.
        _ => String::new(),
    }
}

async fn check_tastytrade(settings: &Tastytrade) -> Result<String, Failure> {
    let (config, tls) = sources::tastytrade_config(settings)?;
    match tasty_dxlink::check(&config, &tls, SystemClock::new().now()).await {
        Ok(report) => Ok(report.to_string()),
        Err(error @ tasty_dxlink::Error::Configuration { .. }) => Err(sources::tastytrade_refused(&error)),
        Err(error) => Err(failed(chain(&error), error)),
    }
}

/// What a broker's failure is to whoever looks at the exit code.
fn failed(text: String, error: impl Into<SourceError>) -> Failure {
    let code = match error.into().retry {
        Retry::Operator(OperatorReason::CredentialsRejected | OperatorReason::LoginRequired) => Code::Credentials,
        Retry::Operator(OperatorReason::SessionTaken) => Code::Unavailable,
        Retry::Operator(_) => Code::Config,
        _ => Code::Unavailable,
    };
    Failure::new(code, text)
}

/// What to say when the clocks of the database and of this machine differ by more than an answer takes.
fn off(database: UnixNanos, here: UnixNanos) -> String {
    let (apart, side) = match database >= here {
        true => (database.saturating_since(here), "ahead of"),
        false => (here.saturating_since(database), "behind"),
    };
    if apart < MOST_APART {
        return String::new();
    }
    let seconds = apart.as_secs();
    format!(
        "\nthe database's clock is {seconds} s {side} this machine's, so latencies and ages are wrong: set both by NTP"
    )
}

async fn check_database(settings: &Settings) -> Result<String, Failure> {
    let database = Database::open_shared(settings).await?;
    let checked = async {
        // Looks before it touches: what cannot be written to must not be migrated.
        let refuse = |error: QueryError| Failure::new(Code::Unavailable, chain(&error));
        let queries = Queries::new(database.config(), 1).map_err(refuse)?;
        let found = queries.check().await.map_err(|error| database.unreachable(&error))?;
        if found.server_version_num < OLDEST_SERVER {
            let what = format!("PostgreSQL {}", found.server_version);
            return Err(Failure::new(Code::Config, what).remedy("use PostgreSQL 14 to 18"));
        }
        if !found.writable {
            return Err(Failure::new(Code::Config, "the database does not accept writes").remedy("use the primary"));
        }
        let schema = match found.schema_version {
            Some(version) if version == found.needed_version => format!("schema version {version}"),
            Some(version) if version > found.needed_version => {
                let what = format!("schema version {version}, this program knows {}", found.needed_version);
                return Err(Failure::new(Code::Config, what).remedy("use a newer greekd"));
            }
            Some(version) if !found.may_create => {
                let needed = found.needed_version;
                let what = format!("schema version {version}, {needed} is needed, and this user may not change it");
                return Err(Failure::new(Code::Config, what).remedy("have the owner run `greekd db migrate`"));
            }
            Some(version) => format!("schema version {version}, brought to {} at the start", found.needed_version),
            None if found.may_create => "empty; the schema is made at the start".into(),
            None => {
                return Err(Failure::new(Code::Config, "the database is empty and this user may not create tables")
                    .remedy(
                        "type in psql: GRANT CREATE ON SCHEMA public TO .., or have another user run `greekd db migrate`",
                    ));
            }
        };
        if found.may_store == Some(false) {
            return Err(Failure::new(Code::Config, "this user may not store rows or make partitions")
                .remedy("have the owner run `greekd db roles`, then type in psql: GRANT greekd_ingest TO .."));
        }
        let months = match found.may_store {
            Some(_) => match queries.months_ready().await.map_err(refuse)? {
                0 => "\nthe partition of this month is made at the start".into(),
                months => format!("\npartitions of {months} month(s) are ready, this one the first"),
            },
            None => String::new(),
        };
        let durable = if found.fsync { "" } else { "\nfsync is off: a crash of the server loses stored rows" };
        let clock = off(found.now, SystemClock::new().now());
        Ok(format!("{}, PostgreSQL {}\n{schema}{months}{durable}{clock}", database.place(), found.server_version))
    }
    .await;
    stream::close(database, &mut Signals::install()?).await;
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_gateway_is_told_with_what_to_do() {
        use ibkr_stream::Error;
        let settings = |url: &str| Ibkr {
            gateway_url: url.into(),
            websocket_url: None,
            accounts: None,
            trust: Trust::System,
            compete: false,
            market_data_lines: None,
        };
        let broken = || Error::Transport { call: "POST /tickle", source: "closed".into() };
        let status = |status| Error::Status { call: "POST /tickle", status, reason: String::new() };
        let untrusted = Error::UntrustedPeer { host: "localhost:5000".into(), source: "UnknownIssuer".into() };
        let refused = Error::NoBrokerageSession { reason: "failed to generate sso dh token".into() };
        for (url, error, words) in [
            ("http://localhost:5000/v1/api", broken(), "IBKR_GATEWAY_URL with https://"),
            ("https://localhost:5000/v1/api", broken(), "listenSsl: false"),
            ("https://localhost:5000/v1/portal", status(404), "/v1/api"),
            ("https://localhost:5000/v1/api", untrusted, "leave IBKR_TLS out"),
            ("https://localhost:5000/v1/api", refused, "nightly reset"),
        ] {
            let remedy = ibkr_remedy(&error, &settings(url));
            assert!(remedy.is_some_and(|remedy| remedy.contains(words)), "{error}: {remedy:?}");
        }
        let later = Error::Transport { call: "GET /portfolio/accounts", source: "timed out".into() };
        for error in [status(500), later] {
            assert_eq!(ibkr_remedy(&error, &settings("https://localhost:5000/v1/api")), None, "{error}");
        }
    }

    #[test]
    fn clocks_that_differ_are_told() {
        let at = |seconds: i64| UnixNanos::from_millis(1_795_170_400_000 + seconds * 1_000);
        assert_eq!((off(at(0), at(1)), off(at(1), at(0))), (String::new(), String::new()));
        assert!(off(at(90), at(0)).contains("clock is 90 s ahead of this machine's"), "{}", off(at(90), at(0)));
        assert!(off(at(0), at(90)).contains("clock is 90 s behind this machine's"));
    }
}
