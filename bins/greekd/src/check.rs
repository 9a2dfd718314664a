//! `greekd check`: the configuration, each credential and the database, with what to do about what is wrong.

use std::process::ExitCode;

use greeks_model::{Clock, OperatorReason, Retry, SourceError};
use greeks_processor::SystemClock;
use greeks_store::{Queries, QueryError};

use crate::database::Database;
use crate::exit::{Code, Failure, chain};
use crate::out::say;
use crate::settings::{Settings, Tastytrade};
use crate::signals::Signals;
use crate::{sources, stream};

/// Checks everything, also after a failure, and ends with the code of the first one.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut failures = Vec::new();
    let mut report = |what: &str, outcome: Result<String, Failure>| match outcome {
        Ok(text) => say(format_args!("ok    {what}: {}", text.replace('\n', "\n        "))),
        Err(failure) => {
            let said = say(format_args!("FAIL  {what}: {failure}"));
            failures.push(failure);
            said
        }
    };
    let brokers = if settings.tastytrade.is_some() { "tastytrade" } else { "none" };
    report("configuration", settings.require_broker().map(|()| format!("brokers: {brokers}")))?;
    if let Some(tastytrade) = &settings.tastytrade {
        report("tastytrade", check_tastytrade(tastytrade).await)?;
    }
    report("database", check_database(settings).await)?;
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Ok(first.exit_code()),
    }
}

async fn check_tastytrade(settings: &Tastytrade) -> Result<String, Failure> {
    let (config, tls) = sources::tastytrade_config(settings)?;
    match tasty_dxlink::check(&config, &tls, SystemClock::new().now()).await {
        Ok(report) => Ok(report.to_string()),
        Err(error) => {
            let text = chain(&error);
            let code = match SourceError::from(error).retry {
                Retry::Operator(OperatorReason::CredentialsRejected) => Code::Credentials,
                Retry::Operator(_) => Code::Config,
                _ => Code::Unavailable,
            };
            Err(Failure::new(code, text))
        }
    }
}

async fn check_database(settings: &Settings) -> Result<String, Failure> {
    let database = Database::open_shared(settings).await?;
    let checked = async {
        // Looks before it touches: what cannot be written to must not be migrated.
        let refuse = |error: QueryError| Failure::new(Code::Unavailable, chain(&error));
        let queries = Queries::new(database.config(), 1).map_err(refuse)?;
        let found = queries.check().await.map_err(|error| database.unreachable(&error))?;
        if !found.writable {
            return Err(Failure::new(Code::Config, "the database does not accept writes").remedy("use the primary"));
        }
        let schema = match found.schema_version {
            Some(version) if version == found.needed_version => format!("schema version {version}"),
            Some(version) if version > found.needed_version => {
                let what = format!("schema version {version}, this program knows {}", found.needed_version);
                return Err(Failure::new(Code::Config, what).remedy("use a newer greekd"));
            }
            Some(version) => format!("schema version {version}, brought to {} at the start", found.needed_version),
            None if found.may_create => "empty; the schema is made at the start".into(),
            None => {
                return Err(Failure::new(Code::Config, "the database is empty and this user may not create tables")
                    .remedy(
                        "type in psql: GRANT CREATE ON DATABASE .. TO .., or have the owner run `greekd db migrate`",
                    ));
            }
        };
        let durable = if found.fsync { "" } else { "\nfsync is off: a crash of the server loses stored rows" };
        Ok(format!("{}, PostgreSQL {}\n{schema}{durable}", database.place(), found.server_version))
    }
    .await;
    stream::close(database, &mut Signals::install()?).await;
    checked
}
