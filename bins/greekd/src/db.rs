//! `greekd db`: looks after the database.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::process::Command;

use crate::database::Database;
use crate::exit::{Code, Failure};
use crate::out::say;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::stream;

pub(crate) async fn migrate(settings: &Settings) -> Result<ExitCode, Failure> {
    let database = Database::open_shared(settings).await?;
    let version = database.migrate().await?;
    let said = say(format_args!("{}: schema version {version}", database.place()));
    stream::close(database, &mut Signals::install()?).await;
    said.map(|()| ExitCode::SUCCESS)
}

/// Runs psql in the foreground; a private server that nobody runs is started for as long as it takes.
pub(crate) async fn psql(settings: &Settings, args: Vec<OsString>) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install()?;
    let database = Database::open_existing(settings).await?;
    let mut command = Command::new("psql");
    for (name, value) in database.config().libpq_environment() {
        // In the environment and not among the arguments, which other accounts can see.
        command.env(name, value);
    }
    let ended = match command.args(args).spawn() {
        Ok(mut child) => loop {
            tokio::select! {
                status = child.wait() => break status,
                // Ctrl-C cancels a query in psql; it is not meant for us.
                () = signals.next() => {}
            }
        },
        Err(error) => Err(error),
    };
    stream::close(database, &mut signals).await;
    let status = ended.map_err(|error| {
        Failure::new(Code::Unavailable, format!("psql cannot be run: {error}"))
            .remedy("install PostgreSQL's client, or use another one")
    })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
