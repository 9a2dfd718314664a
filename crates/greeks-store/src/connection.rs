//! Connections to the database: the way to one of its servers, and one connection, closed when it is dropped.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode as Driver, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::DatabaseConfig;
use crate::tls::TlsSetupError;

/// Dial, TLS and authentication together, with one server.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// What TLS and authentication have of it.
const GREETING: Duration = Duration::from_secs(5);

/// A connection and the task that carries its bytes.
pub(crate) type Connected = (Client, JoinHandle<()>);

/// Connects to the first of the servers that will do. The last good one is tried first, and one that keeps silent last: whoever
/// is cut off while it waits comes further the next time.
pub(crate) struct Dialer {
    servers: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    last_good: Arc<AtomicUsize>,
    /// For each of the servers.
    deadline: Duration,
    /// Of several servers one that takes writes is wanted, but another one will do.
    prefers_writer: bool,
}

impl Dialer {
    /// For this database; with `writer` only a server that accepts writes will do.
    pub(crate) fn new(database: &DatabaseConfig, writer: bool) -> Result<Self, TlsSetupError> {
        let mut servers = database.servers();
        if writer {
            for server in &mut servers {
                server.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
        }
        let tls = match servers.iter().all(is_plain) {
            true => None,
            false => Some(database.tls().ok_or(TlsSetupError::NotConfigured)?.connector(database.ssl_mode())?),
        };
        let any = |server: &Config| server.get_target_session_attrs() == TargetSessionAttrs::Any;
        let prefers_writer = servers.len() > 1 && servers.iter().all(any);
        let dial = database.config.get_connect_timeout().copied().unwrap_or_default();
        let deadline = CONNECT_DEADLINE.max(dial.saturating_add(GREETING));
        Ok(Self { servers, tls, last_good: Arc::clone(&database.last_good), deadline, prefers_writer })
    }

    /// How long [`dial`](Self::dial) takes at most.
    pub(crate) fn longest(&self) -> Duration {
        self.deadline.saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX))
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> Result<Connected, ConnectError> {
        let (count, begin) = (self.servers.len(), self.last_good.load(Ordering::Relaxed));
        let (mut reads_only, mut failure) = (None, ConnectError::Deadline(self.deadline));
        for (place, server) in self.servers.iter().enumerate().cycle().skip(begin % count.max(1)).take(count) {
            match timeout(self.deadline, self.try_one(server)).await {
                Ok(Ok((connected, true))) => {
                    self.last_good.store(place, Ordering::Relaxed);
                    return Ok(connected);
                }
                Ok(Ok((connected, false))) => reads_only = reads_only.or(Some(connected)),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => {
                    tracing::debug!(server = ?server.get_hosts(), "no answer within {} s", self.deadline.as_secs());
                    self.last_good.store(place + 1, Ordering::Relaxed);
                }
            }
        }
        reads_only.ok_or(failure)
    }

    /// Connects to this one; `false` with it when it does not take writes and others may.
    async fn try_one(&self, server: &Config) -> Result<(Connected, bool), tokio_postgres::Error> {
        let connected = match &self.tls {
            Some(tls) if !is_plain(server) => connect(server, tls.clone()).await?,
            _ => connect(server, NoTls).await?,
        };
        let writes = !self.prefers_writer || takes_writes(&connected.0).await?;
        Ok((connected, writes))
    }
}

fn is_plain(server: &Config) -> bool {
    server.get_ssl_mode() == Driver::Disable
}

async fn takes_writes(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let answer = client.simple_query("SHOW transaction_read_only").await?;
    Ok(answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("off"))))
}

async fn connect<T>(config: &Config, tls: T) -> Result<Connected, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Whoever uses the client sees the failure too.
            tracing::debug!(%error, "database connection ended");
        }
    });
    Ok((client, driver))
}

/// A client and the task that carries its bytes; dropping it closes the socket, and the server rolls back what was open.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects; with `writer` only to a server that accepts writes.
    pub(crate) async fn open(database: &DatabaseConfig, writer: bool) -> Result<Self, ConnectError> {
        let (client, driver) = Dialer::new(database, writer)?.dial().await?;
        Ok(Self { client, driver })
    }

    /// Resolves when the connection has ended, whoever ended it.
    pub(crate) async fn closed(&mut self) {
        if !self.driver.is_finished() {
            // An error means that the driver panicked: it has ended all the same.
            drop((&mut self.driver).await);
        }
    }

    /// Connects without TLS, for the private server.
    pub(crate) async fn plain(config: Config) -> Result<Self, ConnectError> {
        let connected = timeout(CONNECT_DEADLINE, connect(&config, NoTls)).await;
        let (client, driver) = connected.map_err(|_| ConnectError::Deadline(CONNECT_DEADLINE))??;
        Ok(Self { client, driver })
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The database could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server or the way to it refused.
    #[error("cannot connect to the database")]
    Refused(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// Every connection of a pool was in use for so long.
    #[error("no connection to the database was free for {} s", .0.as_secs())]
    Busy(Duration),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

impl ConnectError {
    /// The server's error code, if it answered with one.
    pub fn code(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Refused(error) => error.code(),
            Self::Deadline(_) | Self::Busy(_) | Self::Tls(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_long_for_a_server_is_not_cut_short() {
        for (given, longest) in [("", 10), ("&connect_timeout=1", 10), ("&connect_timeout=30", 35)] {
            let database = DatabaseConfig::parse(&format!("postgres://me@h/x?sslmode=disable{given}")).unwrap();
            assert_eq!(Dialer::new(&database, true).unwrap().longest(), Duration::from_secs(longest), "{given}");
        }
    }
}
