//! One private PostgreSQL per test program; each test has a database of its own.

use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::tokio_postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::daemon::signal;
use crate::scratch::scratch;

/// A server in a temporary directory; it stops when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    server: PrivateServer,
    // Dropped after the server.
    _directory: TempDir,
}

/// A database of a [`Cluster`].
#[derive(Debug)]
pub struct Database {
    /// For `DATABASE_URL`.
    pub url: String,
    /// For looking into it.
    pub client: Client,
}

impl Cluster {
    /// Starts a server.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        let directory = scratch();
        let config = PrivateConfig::throwaway(directory.path().join("data"));
        let server = PrivateServer::start(config).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        Self { server, _directory: directory }
    }

    /// An empty database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn database(&self, name: &str) -> Database {
        self.server.create_database(name).await.expect("a new database");
        self.connect(name).await
    }

    /// A connection to a database made before.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect(&self, name: &str) -> Database {
        let mut config = self.server.config();
        let (client, connection) = config.dbname(name).connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let url = format!("postgresql:///{name}?host={}&user=greekd", self.server.socket_dir().display());
        Database { url, client }
    }

    /// The process id of the server.
    pub fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// Whether nobody accepts connections there.
    pub async fn is_gone(url: &str) -> bool {
        greeks_store::tokio_postgres::connect(url, NoTls).await.is_err()
    }

    /// Stops the server, which ends all connections, and starts it again after `pause`.
    ///
    /// # Panics
    /// When it does not start again.
    pub async fn restart_after(&mut self, pause: impl Future<Output = ()>) {
        signal(self.server.pid(), "INT");
        pause.await;
        self.server.restart().await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    }
}
