//! The handle of a private server.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::account::{self, Account};
use super::binaries::{self, Binaries};
use super::cluster::{self, NAME};
use super::layout::{Layout, PORT};
use super::process::ServerProcess;
use super::{PrivateConfig, PrivateError, leftovers};
use crate::connection::{ConnectError, Connection};
use crate::database::DatabaseConfig;

/// Recovery after a power cut replays up to a gigabyte of WAL; an early end is noticed at once all the same.
const READY_DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(10);
const FAST_STOP: Duration = Duration::from_secs(30);
const IMMEDIATE_STOP: Duration = Duration::from_secs(10);
const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// What must be on, and why the server is refused otherwise.
const ASSERTED: [&str; 4] = ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"];

/// A running PostgreSQL of our own. Dropping it stops the server and waits for that (at most 40 s, usually 0.1 s);
/// [`PrivateServer::stop`] does the same without blocking the thread.
#[derive(Debug)]
pub struct PrivateServer {
    process: ServerProcess,
    config: PrivateConfig,
    layout: Layout,
    binaries: Binaries,
    account: Option<Account>,
    /// Length of the log when the server was started.
    log_start: u64,
    /// Free again when the handle is gone.
    _lock: File,
}

impl PrivateServer {
    /// Starts the server on `config.data_dir`, making the cluster if there is none, and waits until it answers.
    ///
    /// # Errors
    /// [`PrivateError`], each with its remedy. Nothing keeps running after an error.
    ///
    /// # Cancel safety
    /// If the future is dropped, a server that was started already is stopped.
    pub async fn start(config: PrivateConfig) -> Result<Self, PrivateError> {
        let mut layout = Layout::new(&config.data_dir)?;
        let lock = layout.lock()?;
        let account = account::choose(config.run_as.as_deref(), &layout.cluster)?;
        layout.prepare(account.as_ref())?;
        let existing = layout.cluster_major()?;
        let binaries = binaries::find(&config, existing).await?;
        if let Some(cluster) = existing
            && cluster != binaries.major
        {
            return Err(PrivateError::VersionMismatch { dir: layout.cluster, cluster, server: binaries.major });
        }
        if existing.is_none() {
            cluster::create(&layout, &binaries, account.as_ref(), config.sync_new_cluster).await?;
        }
        let (process, log_start) = launch(&config, &layout, &binaries, account.as_ref()).await?;
        let server = Self { process, config, layout, binaries, account, log_start, _lock: lock };
        server.make_ready().await?;
        Ok(server)
    }

    /// How to connect: over the unix socket, as the superuser `greekd`, to the database `greekd`.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(&self.layout.sockets).port(PORT).user(NAME).dbname(NAME);
        config.connect_timeout(Duration::from_secs(5));
        config
    }

    /// The same as [`DatabaseConfig`], which everything else in this crate takes.
    pub fn database(&self) -> DatabaseConfig {
        DatabaseConfig::new(self.config())
    }

    /// What a person types to look inside.
    pub fn dsn_for_psql(&self) -> String {
        format!("psql -h {} -U {NAME} {NAME}", shell_word(&self.layout.sockets.display().to_string()))
    }

    /// The directory with the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.layout.sockets
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Major version of the server.
    pub fn major_version(&self) -> u32 {
        self.binaries.major
    }

    /// Turns to `Some` when the server has ended, asked for or not.
    pub fn exited(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.process.watch()
    }

    /// Makes an empty database, for tests that share a server, and says how to connect to it.
    ///
    /// # Errors
    /// [`PrivateError::Sql`], for one when it exists already.
    pub async fn create_database(&self, name: &str) -> Result<Config, PrivateError> {
        let client = self.connect(NAME).await.map_err(connecting)?;
        create_database(&client, name).await?;
        let mut config = self.config();
        config.dbname(name);
        Ok(config)
    }

    /// Starts the server again after it has ended; stops it first if it has not.
    ///
    /// # Errors
    /// As [`PrivateServer::start`].
    pub async fn restart(&mut self) -> Result<(), PrivateError> {
        self.shut_down(FAST_STOP).await?;
        (self.process, self.log_start) =
            launch(&self.config, &self.layout, &self.binaries, self.account.as_ref()).await?;
        self.make_ready().await
    }

    /// Stops the server: its clients are disconnected, everything is written out.
    ///
    /// # Errors
    /// [`PrivateError::Deadline`] when it does not end even after an immediate shutdown.
    pub async fn stop(self) -> Result<(), PrivateError> {
        self.shut_down(FAST_STOP).await
    }

    /// Like [`PrivateServer::stop`], for those in a hurry: a server that has not ended after `patience` is ended at
    /// once, and recovers from its log at the next start. Nothing committed is lost either way.
    ///
    /// # Errors
    /// As [`PrivateServer::stop`].
    pub async fn stop_within(self, patience: Duration) -> Result<(), PrivateError> {
        self.shut_down(patience).await
    }

    async fn shut_down(&self, patience: Duration) -> Result<(), PrivateError> {
        self.process.signal(Signal::INT);
        if self.process.wait(patience).await {
            return Ok(());
        }
        tracing::warn!(
            "the private server does not stop: shutting it down at once, recovery follows at the next start"
        );
        self.process.signal(Signal::QUIT);
        if self.process.wait(IMMEDIATE_STOP).await {
            return Ok(());
        }
        Err(PrivateError::Deadline { action: "stop", after: patience + IMMEDIATE_STOP })
    }

    /// Waits until a query is answered, then checks the settings and makes the database.
    async fn make_ready(&self) -> Result<(), PrivateError> {
        let deadline = Instant::now() + READY_DEADLINE;
        let client = loop {
            if let Some(status) = self.process.status() {
                return Err(PrivateError::Ended {
                    status: status.to_string(),
                    log: self.layout.log_since(self.log_start),
                });
            }
            match self.connect("postgres").await {
                Ok(client) => break client,
                Err(error) if refused_for_good(&error) => return Err(connecting(error)),
                Err(_) if Instant::now() < deadline => sleep(POLL).await,
                Err(_) => return Err(PrivateError::Deadline { action: "answer", after: READY_DEADLINE }),
            }
        };
        for setting in ASSERTED {
            let row = deadlined(client.query_one(&format!("SHOW {setting}"), &[])).await?;
            let value: String = row.get(0);
            if value != "on" {
                return Err(PrivateError::Unsafe { setting, value });
            }
        }
        let known = deadlined(client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&NAME])).await?;
        if known.is_none() {
            create_database(&client, NAME).await?;
        }
        Ok(())
    }

    async fn connect(&self, database: &str) -> Result<Connection, ConnectError> {
        let mut config = self.config();
        config.dbname(database);
        Connection::plain(config).await
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if self.process.status().is_none() {
            self.process.signal(Signal::INT);
            if !self.process.wait_blocking(FAST_STOP) {
                self.process.signal(Signal::QUIT);
                self.process.wait_blocking(IMMEDIATE_STOP);
            }
        }
        if !self.layout.sockets.starts_with(&self.layout.pg)
            && let Err(error) = std::fs::remove_dir(&self.layout.sockets)
        {
            tracing::debug!(dir = %self.layout.sockets.display(), %error, "socket directory left behind");
        }
    }
}

async fn launch(
    config: &PrivateConfig,
    layout: &Layout,
    binaries: &Binaries,
    account: Option<&Account>,
) -> Result<(ServerProcess, u64), PrivateError> {
    leftovers::clear(layout).await?;
    let setpriv = cluster::find_setpriv().await;
    if setpriv.is_none() {
        tracing::debug!("no setpriv of util-linux: a killed parent leaves the server running until the next start");
    }
    let command = cluster::server_command(layout, binaries, account, config, setpriv.as_deref())?;
    let log_start = std::fs::metadata(&layout.log).map_or(0, |found| found.len());
    let program = binaries.dir.join("postgres");
    let process = ServerProcess::spawn(command).await.map_err(PrivateError::io("run", &program))?;
    Ok((process, log_start))
}

/// Whether waiting longer is of no use: the server answers, and it is not that it is still starting.
fn refused_for_good(error: &ConnectError) -> bool {
    error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW)
}

async fn create_database(client: &Client, name: &str) -> Result<(), PrivateError> {
    let quoted = name.replace('"', "\"\"");
    deadlined(client.batch_execute(&format!("CREATE DATABASE \"{quoted}\""))).await
}

async fn deadlined<T>(query: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, PrivateError> {
    timeout(STATEMENT_DEADLINE, query)
        .await
        .map_err(|_| PrivateError::Deadline { action: "answer", after: STATEMENT_DEADLINE })?
        .map_err(sql("set up the private server"))
}

/// As a shell takes it for one word.
fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}

fn connecting(source: ConnectError) -> PrivateError {
    PrivateError::Connect(Box::new(source))
}

fn sql(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> PrivateError {
    move |source| PrivateError::Sql { action, source }
}
