//! The connections that questions are asked through.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use crate::database::DatabaseConfig;
use crate::tls::TlsSetupError;

const WAIT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(60);

/// Questions to the database, over a small pool of connections of their own. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    pool: Pool,
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").field("connections", &self.pool.status().size).finish_non_exhaustive()
    }
}

/// A question was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No connection could be had.
    #[error("cannot connect to the database")]
    Connect(#[source] Box<PoolError>),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The database refused.
    #[error("the database refused a query")]
    Sql(#[from] tokio_postgres::Error),
    /// A stored value cannot be read.
    #[error("{column} = {value:?} is not what this program writes")]
    Value {
        /// The column.
        column: &'static str,
        /// Its value.
        value: String,
    },
    /// No answer in time.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
}

impl Queries {
    /// At most `connections` at a time; connects when first asked.
    ///
    /// # Errors
    /// [`QueryError::Tls`] when the protection asked for cannot be had.
    pub fn new(database: &DatabaseConfig, connections: usize) -> Result<Self, QueryError> {
        let config = database.driver_config(false);
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable {
            Manager::from_config(config, NoTls, recycle)
        } else {
            let tls = database.tls().ok_or(TlsSetupError::NotConfigured)?.connector(database.ssl_mode())?;
            Manager::from_config(config, tls, recycle)
        };
        let pool = Pool::builder(manager)
            .max_size(connections.max(1))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(WAIT))
            .wait_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .build();
        match pool {
            Ok(pool) => Ok(Self { pool }),
            // Only a missing runtime is refused, and one is given.
            Err(error) => Err(TlsSetupError::Verifier(error.to_string()).into()),
        }
    }

    /// The rows of one of our fixed statements. A pooled connection may have been closed by the server meanwhile: that
    /// is tried once more, on another one.
    pub(super) async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, QueryError> {
        let mut retried = false;
        loop {
            let client = self.pool.get().await.map_err(|error| QueryError::Connect(Box::new(error)))?;
            let asked = async {
                let statement = client.prepare_cached(sql).await?;
                client.query(&statement, params).await
            };
            match timeout(DEADLINE, asked).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if !retried && (client.is_closed() || error.code().is_none() || ended(&error)) => {
                    retried = true;
                    drop(deadpool_postgres::Object::take(client));
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    // Its answer would be taken for that to another question.
                    drop(deadpool_postgres::Object::take(client));
                    return Err(QueryError::Deadline(DEADLINE));
                }
            }
        }
    }
}

/// The server has just ended this connection (57P01 to 57P03).
fn ended(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P"))
}
