//! One private PostgreSQL per test program; each test has a database of its own.

use std::path::PathBuf;

use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::tokio_postgres::{Client, NoTls};
use tempfile::TempDir;

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
        let config = self.server.create_database(name).await.expect("a new database");
        let (client, connection) = config.connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let url = format!("postgresql:///{name}?host={}&user=greekd", self.server.socket_dir().display());
        Database { url, client }
    }

    /// Where its socket is.
    pub fn socket_dir(&self) -> PathBuf {
        self.server.socket_dir().to_path_buf()
    }
}
