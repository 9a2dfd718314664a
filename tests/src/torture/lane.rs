//! A PostgreSQL of its own, in which one episode after the other is played.

use std::path::Path;
use std::time::Duration;

use greeks_store::private::{PrivateConfig, PrivateError, PrivateServer};
use greeks_store::tokio_postgres::{Client, Error, NoTls};
use tempfile::TempDir;

use crate::daemon::signal;
use crate::scratch::scratch;

/// A server, up or down.
#[derive(Debug)]
pub struct Lane {
    server: PrivateServer,
    // Dropped after the server.
    _directory: TempDir,
}

impl Lane {
    /// Starts a server.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self, PrivateError> {
        let directory = scratch();
        let server = PrivateServer::start(PrivateConfig::throwaway(directory.path().join("data"))).await?;
        Ok(Self { server, _directory: directory })
    }

    /// The directory with its socket.
    pub fn socket_dir(&self) -> &Path {
        self.server.socket_dir()
    }

    /// How to reach a database of it without a detour.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=greekd", self.socket_dir().display())
    }

    /// An empty database.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn create(&self, database: &str) -> Result<(), PrivateError> {
        self.server.create_database(database).await.map(drop)
    }

    /// Removes a database again; what is left of it costs nothing but room.
    pub async fn forget(&self, database: &str) {
        if let Ok(client) = self.connect("postgres").await {
            drop(client.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await);
        }
    }

    /// A connection to a database.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect(&self, database: &str) -> Result<Client, Error> {
        let mut config = self.server.config();
        let (client, connection) = config.dbname(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Ends the server at once, without a checkpoint: by its own means, or by `kill -9`.
    pub async fn crash(&mut self, how: &str) {
        let mut exited = self.server.exited();
        signal(self.server.pid(), how);
        // An error means that it is gone.
        drop(exited.wait_for(Option::is_some).await);
    }

    /// Ends the server in order.
    pub async fn stop(&mut self) {
        self.crash("INT").await;
    }

    /// Starts the server again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), PrivateError> {
        self.server.restart().await
    }

    /// Crash, pause, start.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn crash_for(&mut self, how: &str, pause: Duration) -> Result<(), PrivateError> {
        self.crash(how).await;
        tokio::time::sleep(pause).await;
        self.restart().await
    }

    /// Ends the connections of greekd; tells how many there were.
    pub async fn terminate(&self, database: &str) -> u64 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = 'greekd' AND datname = $1";
        let Ok(client) = self.connect("postgres").await else { return 0 };
        let count = client.query_one(sql, &[&database]).await;
        count.map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    /// From now on each COMMIT of new connections takes `seconds`; `false` when there is nothing to slow down yet.
    pub async fn slow_commits(&self, database: &str, seconds: f64) -> bool {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION torture_delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep(coalesce(nullif(current_setting('torture.delay', true), ''), '0')::float8);
                 RETURN NULL;
             END $$;
             DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'torture_delay') THEN
                     CREATE CONSTRAINT TRIGGER torture_delay AFTER INSERT OR UPDATE ON ingest_progress
                         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION torture_delay();
                 END IF;
             END $$;
             ALTER DATABASE {database} SET torture.delay = '{seconds}'"
        );
        let Ok(client) = self.connect(database).await else { return false };
        client.batch_execute(&sql).await.is_ok()
    }

    /// Undoes that, for new connections.
    pub async fn normal_commits(&self, database: &str) {
        if let Ok(client) = self.connect("postgres").await {
            drop(client.batch_execute(&format!("ALTER DATABASE {database} RESET torture.delay")).await);
        }
    }

    /// From now on every seventh row is refused for what it is, or none any more; `false` when there is no table yet.
    pub async fn poison(&self, database: &str, poisoned: bool) -> bool {
        let sql = if poisoned {
            "CREATE OR REPLACE FUNCTION torture_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation';
             END $$;
             CREATE TRIGGER torture_poison BEFORE INSERT ON greek_ticks
                 FOR EACH ROW WHEN (NEW.seq % 7 = 0) EXECUTE FUNCTION torture_poison()"
        } else {
            "DROP TRIGGER IF EXISTS torture_poison ON greek_ticks"
        };
        let Ok(client) = self.connect(database).await else { return false };
        client.batch_execute(sql).await.is_ok()
    }

    /// How many records of this run of numbers are stored.
    pub async fn mark(&self, client: &Client, incarnation: &str) -> i64 {
        let sql = "SELECT last_seq FROM ingest_progress WHERE incarnation::text = $1";
        client.query_opt(sql, &[&incarnation]).await.ok().flatten().map_or(0, |row| row.get(0))
    }
}
