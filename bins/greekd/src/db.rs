//! `greekd db`: looks after the database.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::process::Command;

use crate::database::Database;
use crate::exit::{Code, Failure};
use crate::settings::Settings;

pub(crate) async fn migrate(settings: &Settings) -> Result<ExitCode, Failure> {
    let database = Database::open_shared(settings).await?;
    let version = database.migrate().await?;
    println!("{}: schema version {version}", database.place());
    database.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs psql in the foreground; a private server that nobody runs is started for as long as it takes.
pub(crate) async fn psql(settings: &Settings, args: Vec<OsString>) -> Result<ExitCode, Failure> {
    let database = Database::open_shared(settings).await?;
    let mut command = Command::new("psql");
    for (name, value) in database.config().libpq_environment() {
        // In the environment and not among the arguments, which other accounts can see.
        command.env(name, value);
    }
    let status = command.args(args).status().await.map_err(|error| {
        Failure::new(Code::Unavailable, format!("psql cannot be started: {error}"))
            .remedy("install PostgreSQL's client, or use another one")
    });
    database.close().await?;
    let code = status?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
