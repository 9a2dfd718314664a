//! Brings the schema of a database up to this program's.

use std::time::Duration;

use refinery::Target;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::connection::{ConnectError, Connection};
use crate::database::DatabaseConfig;

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// `greekd` in ASCII, then 1: one program migrates at a time.
pub(crate) const MIGRATION_LOCK: i64 = 0x6772_6565_6b64_0001;
const LOCK_DEADLINE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(600);

/// What a migration run did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// Versions applied by this run, in order.
    pub applied: Vec<i32>,
    /// The schema's version now.
    pub version: i32,
}

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A newer program has been here.
    #[error("the database has schema version {found}, this program knows {known}: use a newer greekd")]
    Newer {
        /// Version found.
        found: i32,
        /// The newest version this program knows.
        known: i32,
    },
    /// Only the owner of the tables may change them.
    #[error("the database has schema version {found}, this program needs {known}, and this user may not change it")]
    NotAllowed {
        /// Version found, 0 in an empty database.
        found: i32,
        /// The version this program needs.
        known: i32,
    },
    /// A statement failed.
    #[error("cannot read the schema version")]
    Sql(#[from] tokio_postgres::Error),
    /// A migration failed; the database is as the one before left it.
    #[error("migration failed")]
    Apply(#[source] Box<refinery::Error>),
    /// A deadline passed.
    #[error("the migration did not end within {} s", .0.as_secs())]
    Deadline(Duration),
}

/// What to do about a schema of another version.
pub(crate) fn advice(found: i32, known: i32) -> &'static str {
    match found < known {
        true => "run its migrations, with `greekd db migrate` or `greeks_store::migrate`",
        false => "use a newer version of this program",
    }
}

/// The newest schema version this program knows.
pub fn known_version() -> i32 {
    embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// Applies what is missing, under an advisory lock, on a connection of its own. An empty database is enough; where nothing
/// is missing, so is a user who may make no tables.
///
/// # Errors
/// [`MigrateError`]; each migration is applied as a whole or not at all.
///
/// # Cancel safety
/// Dropping the future closes the connection: the migration under way is rolled back.
pub async fn migrate(database: &DatabaseConfig) -> Result<Migrated, MigrateError> {
    let mut connection = Connection::open(database, true).await?;
    timeout(DEADLINE, run(&mut connection, i32::MAX)).await.map_err(|_| MigrateError::Deadline(DEADLINE))?
}

/// The schema version of the database, `None` before the first migration.
pub(crate) async fn version(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    let known = client.query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[]).await?;
    if !known.get::<_, bool>(0) {
        return Ok(None);
    }
    Ok(client.query_one("SELECT max(version) FROM refinery_schema_history", &[]).await?.get(0))
}

async fn run(client: &mut Client, target: i32) -> Result<Migrated, MigrateError> {
    client.batch_execute(&format!("SET lock_timeout = {}", LOCK_DEADLINE.as_millis())).await?;
    // Held until the connection closes.
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let found = version(client).await?.unwrap_or(0);
    let known = known_version();
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    // The runner would want to make tables even where there is nothing to do.
    let sql = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        return if found == known {
            Ok(Migrated { applied: Vec::new(), version: found })
        } else {
            Err(MigrateError::NotAllowed { found, known })
        };
    }
    let runner = embedded::migrations::runner().set_target(Target::Version(target.min(known)));
    let report = runner.run_async(client).await.map_err(|error| MigrateError::Apply(Box::new(error)))?;
    let applied: Vec<i32> = report.applied_migrations().iter().map(refinery::Migration::version).collect();
    let version = applied.last().copied().unwrap_or(found);
    if !applied.is_empty() {
        tracing::info!(?applied, version, "database schema brought up to date");
    }
    Ok(Migrated { applied, version })
}
