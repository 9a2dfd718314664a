//! The session of a writer: the only one of its database, and nothing in it waits for ever.

use greeks_model::Uuid;
use tokio_postgres::Client;

use super::committer::CommitterConfig;
use super::rows;
use super::writer::WriteError;
use crate::connection::Connection;

/// `greekd` in ASCII, then 4: one program writes at a time. The mark needs no such lock; it is there for two programs that
/// both live and would store what both receive.
const WRITER_LOCK: i64 = 0x6772_6565_6b64_0004;

/// What holds for every session of a writer: nothing waits for ever, a client that vanished holds no lock for long, and
/// nothing is compiled: that takes longer than any of these statements, and rows wait meanwhile.
const SETTINGS: &str = "SET lock_timeout = '30s'; SET statement_timeout = '60s'; \
                        SET idle_in_transaction_session_timeout = '15s'; SET jit = off";

/// A statement under way ends with its client, and so does a session whose client's host has vanished: it would hold the
/// lock for hours. Not every platform can do it; over a socket of the same host the last four mean nothing.
const WATCH_CLIENT: [&str; 5] = [
    "SET client_connection_check_interval = '1s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 25000",
];

/// An advisory lock of one bigint shows its upper half as `classid`, the lower as `objid`, and 1 as `objsubid`.
const HOLDER: &str = "SELECT concat_ws(' ', nullif(a.application_name, ''), 'pid', l.pid), \
        CASE WHEN a.application_name = $2 THEN l.pid END \
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
      AND l.classid = ($1::bigint >> 32)::oid AND l.objid = ($1::bigint & 4294967295)::oid";

/// Connects and becomes the writer of the database, unless it may be shared, for as long as the connection lasts.
pub(super) async fn open(config: &CommitterConfig, incarnation: Uuid) -> Result<Connection, WriteError> {
    let connection = Connection::open(&config.database, true).await?;
    // A UUID is digits and dashes.
    let name = format!("greekd writer {incarnation}");
    connection.batch_execute(&format!("SET application_name = '{name}'; {SETTINGS}")).await?;
    for setting in WATCH_CLIENT {
        match connection.batch_execute(setting).await {
            Err(error) if error.code().is_none() => return Err(error.into()),
            Err(error) => tracing::debug!(%error, setting, "the server cannot watch for clients that vanish"),
            Ok(()) => {}
        }
    }
    let durable: String = connection.query_one("SHOW synchronous_commit", &[]).await?.get(0);
    if durable == "off" {
        connection.batch_execute("SET synchronous_commit = on").await?;
    }
    if config.exclusive
        && !connection.query_one("SELECT pg_try_advisory_lock($1)", &[&WRITER_LOCK]).await?.get::<_, bool>(0)
    {
        let found = connection.query_opt(HOLDER, &[&WRITER_LOCK, &name]).await?;
        let holder = found.as_ref().map_or_else(|| "a session that has just ended".to_owned(), |row| row.get(0));
        // A connection that we have given up, and of which the server does not know that yet.
        if let Some(ours) = found.and_then(|row| row.get::<_, Option<i32>>(1)) {
            connection.execute("SELECT pg_terminate_backend($1)", &[&ours]).await?;
        }
        return Err(WriteError::Held { holder });
    }
    Ok(connection)
}

/// The binary form of COPY names no types: bytes meant for another type may be taken for a value that nobody sent.
pub(super) async fn check_columns(client: &Client) -> Result<(), WriteError> {
    let found = client.prepare(&format!("SELECT {} FROM greek_ticks LIMIT 0", rows::names())).await?;
    for ((column, expected), found) in rows::COLUMNS.iter().zip(found.columns()) {
        if found.name() != *column || found.type_() != expected {
            let (found, expected) = (found.type_().to_string(), expected.to_string());
            return Err(WriteError::Column { column, found, expected });
        }
    }
    Ok(())
}

/// Lets the next writer in without waiting for the server to notice the end of the connection.
pub(super) async fn release(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.execute("SELECT pg_advisory_unlock($1)", &[&WRITER_LOCK]).await?;
    Ok(())
}
