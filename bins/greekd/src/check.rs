//! `greekd check`: the configuration, each credential and the database, with what to do about what is wrong.

mod ibkr;
mod tastytrade;

use std::process::ExitCode;
use std::time::Duration;

use greeks_model::{Clock, OperatorReason, Retry, UnixNanos};
use greeks_processor::SystemClock;
use greeks_store::{Queries, QueryError};

use crate::database::Database;
use crate::exit::{Code, Failure, with_causes};
use crate::out::say;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::stream;

/// `server_version_num` of the oldest server that the schema is made for.
const OLDEST_SERVER: i32 = 140_000;
/// The clocks of two machines that are kept right differ by less.
const MOST_APART: Duration = Duration::from_secs(2);

/// What is in order, with or without something that a person should look at.
enum Finding {
    Well(String),
    Doubtful(String),
}

/// Checks everything, also after a failure, and ends with the code of the first one.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut failures = Vec::new();
    let mut report = |what: &str, outcome: Result<Finding, Failure>| match outcome {
        Ok(Finding::Well(text)) => say(format_args!("ok    {what}: {}", text.replace('\n', "\n        "))),
        Ok(Finding::Doubtful(text)) => say(format_args!("warn  {what}: {}", text.replace('\n', "\n        "))),
        Err(failure) => {
            let said = say(format_args!("FAIL  {what}: {}", failure.to_string().replace('\n', "\n        ")));
            failures.push(failure);
            said
        }
    };
    let brokers = [("ibkr", settings.ibkr.is_some()), ("tastytrade", settings.tastytrade.is_some())];
    let brokers: Vec<&str> = brokers.into_iter().filter(|(_, configured)| *configured).map(|(name, _)| name).collect();
    let configured = settings.require_broker().map(|()| Finding::Well(format!("brokers: {}", brokers.join(", "))));
    report("configuration", configured)?;
    if let Some(ibkr) = &settings.ibkr {
        report("ibkr", ibkr::check(ibkr, &settings.data_dir).await.map(Finding::Well))?;
    }
    if let Some(tastytrade) = &settings.tastytrade {
        report("tastytrade", tastytrade::check(tastytrade).await)?;
    }
    report("database", check_database(settings).await.map(Finding::Well))?;
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Ok(first.exit_code()),
    }
}

/// What a broker's failure is to whoever looks at the exit code.
const fn code_of(retry: &Retry) -> Code {
    match retry {
        Retry::Operator(OperatorReason::CredentialsRejected | OperatorReason::LoginRequired) => Code::Credentials,
        Retry::Operator(OperatorReason::SessionTaken) => Code::Unavailable,
        Retry::Operator(_) => Code::Config,
        _ => Code::Unavailable,
    }
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
        let refuse = |error: QueryError| Failure::new(Code::Unavailable, with_causes(&error));
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
    fn clocks_that_differ_are_told() {
        let at = |seconds: i64| UnixNanos::from_millis(1_795_170_400_000 + seconds * 1_000);
        assert_eq!((off(at(0), at(1)), off(at(1), at(0))), (String::new(), String::new()));
        assert!(off(at(90), at(0)).contains("clock is 90 s ahead of this machine's"), "{}", off(at(90), at(0)));
        assert!(off(at(0), at(90)).contains("clock is 90 s behind this machine's"));
    }
}
