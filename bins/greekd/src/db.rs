//! `greekd db`: looks after the database.

use std::ffi::OsString;
use std::process::ExitCode;

use greeks_store::{PartitionInfo, Queries, QueryError, RolesError, RolesMade, make_roles};
use tokio::process::Command;

use crate::database::Database;
use crate::exit::{Code, Failure, with_causes};
use crate::out::{print, say};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::snapshots::refused;
use crate::stream;
use crate::table::{self, Column};

pub(crate) async fn migrate(settings: &Settings) -> Result<ExitCode, Failure> {
    let database = Database::open_shared(settings).await?;
    let version = database.migrate().await?;
    let said = say(format_args!("{}: schema version {version}", database.place()));
    stream::close(database, &mut Signals::install()?).await;
    said.map(|()| ExitCode::SUCCESS)
}

/// Lists the partitions; rows that are in none of them are a warning.
pub(crate) async fn partitions(settings: &Settings) -> Result<ExitCode, Failure> {
    const COLUMNS: [Column; 4] = [("partition", true), ("month", true), ("rows", false), ("bytes", false)];
    let database = Database::open_existing(settings).await?;
    let listed = match database.ready().await {
        Ok(()) => list(&database).await.map_err(|error| refused(&error)),
        Err(failure) => Err(failure),
    };
    stream::close(database, &mut Signals::install()?).await;
    let partitions = listed?;
    let line = |found: &PartitionInfo| {
        let month = found.month.map_or_else(|| "-".into(), |month| month.to_string());
        [found.table.clone(), month, found.rows.to_string(), found.bytes.to_string()]
    };
    let lines: Vec<[String; 4]> = partitions.iter().map(line).collect();
    print(|stdout| table::write(&COLUMNS, &lines, stdout))?;
    for stray in partitions.iter().filter(|found| found.month.is_none() && found.rows > 0) {
        let remedy = "a running greekd moves them once no long transaction holds greek_ticks";
        tracing::warn!(table = stray.table, rows = stray.rows, remedy, "rows whose month could not be made");
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(database: &Database) -> Result<Vec<PartitionInfo>, QueryError> {
    Queries::new(database.config(), 1)?.partitions().await
}

/// Makes the group roles, and says how an administrator hands them out.
pub(crate) async fn roles(settings: &Settings) -> Result<ExitCode, Failure> {
    let database = Database::open_existing(settings).await?;
    let made = match database.migrate().await {
        Ok(_) => make_roles(database.config()).await.map_err(|error| roles_refused(&database, &error)),
        Err(failure) => Err(failure),
    };
    let place = database.place();
    stream::close(database, &mut Signals::install()?).await;
    let RolesMade { made, public_may_create, .. } = made?;
    if public_may_create {
        let remedy = "type in psql: REVOKE CREATE ON SCHEMA public FROM PUBLIC";
        tracing::warn!(remedy, "every user may make tables beside those of greekd");
    }
    let made = if made.is_empty() { "none, all were there".into() } else { made.join(", ") };
    say(format_args!("{place}: roles made: {made}; their rights are up to date"))?;
    say("an administrator grants them to roles that can log in:")?;
    HANDING_OUT.into_iter().try_for_each(say)?;
    Ok(ExitCode::SUCCESS)
}

/// One line for each use; the names of those who can log in are the reader's to choose.
const HANDING_OUT: [&str; 5] = [
    "GRANT greekd_ingest TO the_daemon;         -- stores rows",
    "GRANT greekd_read TO the_daemon;           -- answers over HTTP what only the database knows",
    "GRANT INSERT ON trades TO the_daemon;      -- takes trades over HTTP",
    "GRANT greekd_maintenance TO an_operator;   -- makes partitions",
    "GRANT greekd_read TO an_analyst;           -- reads",
];

fn roles_refused(database: &Database, error: &RolesError) -> Failure {
    let config = |what: &dyn std::fmt::Display| Failure::new(Code::Config, what);
    match error {
        RolesError::MayNotCreate { missing } => {
            let create: Vec<String> = missing.iter().map(|role| format!("CREATE ROLE {role};")).collect();
            let create = create.join(" ");
            config(error).remedy(format!("have an administrator type in psql: {create} and run this again"))
        }
        RolesError::NotOwner => config(error).remedy("run this as the user that runs `greekd db migrate`"),
        RolesError::Schema { .. } => config(error),
        RolesError::Sql(_) => Failure::new(Code::Runtime, with_causes(error)),
        _ => database.unreachable(error),
    }
}

/// Runs psql in the foreground; a private server that nobody runs is started for as long as it takes.
pub(crate) async fn psql(settings: &Settings, args: Vec<OsString>) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install()?;
    let database = Database::open_existing(settings).await?;
    let mut command = Command::new("psql");
    // What the database is, is settled: nothing else in the environment may lead elsewhere.
    for name in ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGTARGETSESSIONATTRS", "PGREQUIRESSL"] {
        command.env_remove(name);
    }
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
