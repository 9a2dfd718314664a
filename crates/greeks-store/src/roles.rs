//! Group roles with the least that each kind of user needs: one that stores, one that looks after partitions, one that
//! reads. They own nothing and cannot log in; an administrator grants them to roles that can.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;

use crate::connection::{ConnectError, Connection};
use crate::database::DatabaseConfig;
use crate::migrate::{self, MIGRATION_LOCK};

/// Stores: adds rows and moves the mark, deletes nothing, owns nothing.
pub const INGEST_ROLE: &str = "greekd_ingest";
/// Makes partitions, through functions of the schema.
pub const MAINTENANCE_ROLE: &str = "greekd_maintenance";
/// Reads what people query.
pub const READ_ROLE: &str = "greekd_read";

/// Everything that is granted, in one place. It has no parameters.
const SQL: &str = include_str!("roles.sql");

const ROLES: [&str; 3] = [INGEST_ROLE, MAINTENANCE_ROLE, READ_ROLE];
const DEADLINE: Duration = Duration::from_secs(60);

const RIGHTS: &str = "SELECT pg_has_role(c.relowner, 'USAGE'), (SELECT rolsuper OR rolcreaterole FROM pg_roles \
    WHERE rolname = current_user), EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a \
    WHERE a.grantee = 0 AND a.privilege_type = 'CREATE') \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'greek_ticks'::regclass";

/// What [`make_roles`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolesMade {
    /// Those that did not exist before.
    pub made: Vec<&'static str>,
    /// Whether every user may make tables beside ours, as before PostgreSQL 15: no grant of ours takes that away.
    pub public_may_create: bool,
}

/// The roles could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolesError {
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is nothing to grant, or something else.
    #[error("the database has schema version {found}, this program needs {known}: {}", migrate::advice(*found, *known))]
    Schema {
        /// Version found, 0 in an empty database.
        found: i32,
        /// The version this program needs.
        known: i32,
    },
    /// Only the owner of the tables may grant rights on them.
    #[error("this user does not own the tables")]
    NotOwner,
    /// Roles are missing and this user may make none.
    #[error("this user may not make the roles {}", .missing.join(", "))]
    MayNotCreate {
        /// Those that do not exist.
        missing: Vec<&'static str>,
    },
    /// A statement failed; nothing has changed.
    #[error("the database refused a statement")]
    Sql(#[from] tokio_postgres::Error),
    /// A deadline passed; nothing has changed.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
}

/// Makes the three group roles unless they are there, and grants them their rights on this database: all or nothing.
/// Takes the owner of the tables, with CREATEROLE unless the roles exist. May be run again.
///
/// # Errors
/// [`RolesError`]; nothing has changed then.
///
/// # Cancel safety
/// Dropping the future closes the connection: what is under way is rolled back.
pub async fn make_roles(database: &DatabaseConfig) -> Result<RolesMade, RolesError> {
    let connection = Connection::open(database, true).await?;
    timeout(DEADLINE, make(&connection)).await.map_err(|_| RolesError::Deadline(DEADLINE))?
}

async fn make(client: &Client) -> Result<RolesMade, RolesError> {
    let (found, known) = (migrate::version(client).await?.unwrap_or(0), migrate::known_version());
    if found != known {
        return Err(RolesError::Schema { found, known });
    }
    let rights = client.query_one(RIGHTS, &[]).await?;
    let (owner, may_create, public_may_create): (bool, bool, bool) = (rights.get(0), rights.get(1), rights.get(2));
    if !owner {
        return Err(RolesError::NotOwner);
    }
    let sql = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)";
    let there = client.query(sql, &[&ROLES.as_slice()]).await?;
    let missing = |role: &&str| there.iter().all(|row| row.get::<_, &str>(0) != *role);
    let missing: Vec<&'static str> = ROLES.into_iter().filter(missing).collect();
    if !missing.is_empty() && !may_create {
        return Err(RolesError::MayNotCreate { missing });
    }
    // No migration changes the tables meanwhile.
    client.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    client.batch_execute(SQL).await?;
    client.batch_execute("COMMIT").await?;
    Ok(RolesMade { made: missing, public_may_create })
}
