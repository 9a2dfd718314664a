//! The connections that questions are asked through.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};

use super::history::InvalidHistory;
use super::new_trade::InvalidTrade;
use crate::connection::{ConnectError, Connected, Dialer};
use crate::database::DatabaseConfig;
use crate::tls::TlsSetupError;

const WAIT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(60);
/// Of what the server can count: milliseconds below 2^31.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 3600);
/// The server gives up so much earlier than we do, so that its answer is heard and the connection kept.
const HEAD_START: Duration = Duration::from_millis(500);
/// How soon the server notices that nobody waits for an answer any more.
const LOOK_FOR_CLIENT: Duration = Duration::from_secs(2);

/// Questions to the database, over a small pool of connections of their own. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    pool: Pool,
    deadline: Duration,
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
    #[error(transparent)]
    Connect(#[from] ConnectError),
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
    /// The user of the database lacks a right.
    #[error("the user of the database may not {what}")]
    NotAllowed {
        /// What was to be done, and the right it takes.
        what: &'static str,
        /// The database's words.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No such history can be asked for.
    #[error(transparent)]
    History(#[from] InvalidHistory),
    /// Not a trade that could be added.
    #[error(transparent)]
    Trade(#[from] InvalidTrade),
    /// No answer in time.
    #[error("the database did not answer within {} s", .0.as_secs_f64())]
    Deadline(Duration),
}

impl Queries {
    /// At most `connections` at a time; connects when first asked. A question has 60 s.
    ///
    /// # Errors
    /// [`QueryError::Tls`] when the protection asked for cannot be had.
    pub fn new(database: &DatabaseConfig, connections: usize) -> Result<Self, QueryError> {
        Self::with_deadline(database, connections, DEADLINE)
    }

    /// As [`Queries::new`], with the time a question has, at least 1 s and at most 24 days; the server stops working on it then too.
    ///
    /// # Errors
    /// [`QueryError::Tls`] when the protection asked for cannot be had.
    pub fn with_deadline(
        database: &DatabaseConfig,
        connections: usize,
        deadline: Duration,
    ) -> Result<Self, QueryError> {
        let deadline = deadline.clamp(Duration::from_secs(1), LONGEST);
        // Trades are written through it, and what is asked at a start must not be older than what was stored.
        let dialer = Dialer::new(database, false)?;
        let longest = dialer.longest();
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(Config::new(), dialer, recycle);
        let pool = Pool::builder(manager)
            .max_size(connections.max(1))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(longest))
            .wait_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .post_create(limits(deadline))
            .build();
        match pool {
            Ok(pool) => Ok(Self { pool, deadline }),
            // Only a missing runtime is refused, and one is given.
            Err(error) => Err(TlsSetupError::Verifier(error.to_string()).into()),
        }
    }

    /// The rows of one of our fixed statements. A pooled connection may have been closed by the server meanwhile: that
    /// is tried once more, on another one.
    pub(super) async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, QueryError> {
        let mut retried = false;
        loop {
            let client = self.pool.get().await.map_err(not_connected)?;
            let client = Busy(Some(client));
            let Some(asked) = client.0.as_ref() else { continue };
            let answer = async {
                let statement = asked.prepare_cached(sql).await?;
                asked.query(&statement, params).await
            };
            // Where no answer comes the connection ends with `client`.
            let answer = timeout(self.deadline, answer).await.map_err(|_| QueryError::Deadline(self.deadline))?;
            match answer {
                Ok(rows) => {
                    client.done();
                    return Ok(rows);
                }
                Err(error) if !retried && (asked.is_closed() || error.code().is_none() || ended(&error)) => {
                    retried = true;
                }
                Err(error) => {
                    client.done();
                    return Err(match error.code() {
                        Some(&SqlState::QUERY_CANCELED) => QueryError::Deadline(self.deadline),
                        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                            QueryError::NotAllowed { what: "read this (GRANT greekd_read)", source: error }
                        }
                        _ => error.into(),
                    });
                }
            }
        }
    }
}

impl Connect for Dialer {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Connected, tokio_postgres::Error>> + Send + '_>> {
        Box::pin(async move {
            match self.dial().await {
                Ok(connected) => Ok(connected),
                Err(ConnectError::Refused(error)) => Err(error),
                // No error of the driver says so; the pool's own deadline, which has come too, does.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// What kept the pool from handing out a connection, without the pool's own words.
fn not_connected(error: PoolError) -> ConnectError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        PoolError::Timeout(TimeoutType::Wait) => ConnectError::Busy(WAIT),
        // Nothing else comes about: the pool is never closed, and its hook has no words of its own.
        _ => ConnectError::Deadline(WAIT),
    }
}

/// A connection that a question is asked through. Unless that is done with, the connection is closed when this is dropped:
/// the next question would wait behind this one, or take its answer.
struct Busy(Option<Object>);

impl Busy {
    /// Back into the pool.
    fn done(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// Bounds what the server does for us, on each new connection.
fn limits(deadline: Duration) -> Hook {
    let statement = deadline.saturating_sub(HEAD_START).as_millis();
    // Compiling takes longer than any of these questions.
    let limit = format!("SET statement_timeout = {statement}; SET jit = off");
    let look = format!("SET client_connection_check_interval = {}", LOOK_FOR_CLIENT.as_millis());
    Hook::async_fn(move |client, _| {
        let (limit, look) = (limit.clone(), look.clone());
        Box::pin(async move {
            client.batch_execute(&limit).await.map_err(HookError::Backend)?;
            // Not every platform can; the limit above holds in any case.
            match client.batch_execute(&look).await {
                Err(error) if client.is_closed() => Err(HookError::Backend(error)),
                _ => Ok(()),
            }
        })
    })
}

/// The server has just ended this connection (57P01 to 57P03), or takes no writes any more: another one does by now.
fn ended(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P") || *code == SqlState::READ_ONLY_SQL_TRANSACTION)
}
