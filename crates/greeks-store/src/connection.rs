//! One connection to the database, closed when it is dropped.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket};

use crate::database::DatabaseConfig;
use crate::tls::TlsSetupError;

/// Dial, TLS and authentication together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A client and the task that carries its bytes; dropping it closes the socket, and the server rolls back what was open.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects; with `writer` only to a server that accepts writes.
    pub(crate) async fn open(database: &DatabaseConfig, writer: bool) -> Result<Self, ConnectError> {
        let config = database.driver_config(writer);
        let plain = config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable;
        let connecting = async {
            if plain {
                return Self::with(config, NoTls).await;
            }
            let tls = database.tls().ok_or(TlsSetupError::NotConfigured)?.connector(database.ssl_mode())?;
            Self::with(config, tls).await
        };
        timeout(CONNECT_DEADLINE, connecting).await.map_err(|_| ConnectError::Deadline(CONNECT_DEADLINE))?
    }

    /// Connects with these settings.
    async fn with<T>(config: tokio_postgres::Config, tls: T) -> Result<Self, ConnectError>
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
    pub(crate) async fn plain(config: tokio_postgres::Config) -> Result<Self, ConnectError> {
        timeout(CONNECT_DEADLINE, Self::with(config, NoTls))
            .await
            .map_err(|_| ConnectError::Deadline(CONNECT_DEADLINE))?
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
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

impl ConnectError {
    /// The server's error code, if it answered with one.
    pub fn code(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Refused(error) => error.code(),
            Self::Deadline(_) | Self::Tls(_) => None,
        }
    }
}
