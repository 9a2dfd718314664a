//! The database of this run: one that somebody else runs, or a private server for as long as greekd lives.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use greeks_store::private::{PrivateConfig, PrivateError, PrivateServer, running_elsewhere};
use greeks_store::{
    CommitterState, CommitterStatus, DatabaseConfig, MigrateError, Queries, QueryError, TlsSettings, migrate,
    tokio_postgres,
};

use crate::exit::{Code, Failure, with_causes};
use crate::live::Held;
use crate::memory::Memory;
use crate::settings::{DatabaseChoice, Settings};
use crate::{simulated, tls};

const PRIVATE: &str = "";
/// For a private server to end before it is ended at once; the rest of ten seconds belongs to the data path.
const SERVER_STOP: Duration = Duration::from_millis(1_500);
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_LAST: Duration = Duration::from_secs(30);

/// Where rows go.
#[derive(Debug)]
pub(crate) struct Database {
    config: DatabaseConfig,
    server: Option<PrivateServer>,
    /// The setting that names it, for remedies.
    chosen_by: &'static str,
}

impl Database {
    /// Starts the private server where no database is configured; does not connect to one that is.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        match &settings.database {
            DatabaseChoice::External(config, chosen_by) => {
                Ok(Self { config: with_tls(config.as_ref().clone())?, server: None, chosen_by })
            }
            DatabaseChoice::Private => {
                let server = PrivateServer::start(private_config(settings)).await.map_err(|error| refused(&error))?;
                Ok(Self::private(server))
            }
        }
    }

    /// Like [`Database::open`], but where another greekd runs the private server, that one is used.
    pub(crate) async fn open_shared(settings: &Settings) -> Result<Self, Failure> {
        // The rows of a demo are in the directory it used, whatever database is configured.
        let demo = simulated::is_simulated(&settings.data_dir);
        if !demo && matches!(settings.database, DatabaseChoice::External(..)) {
            return Self::open(settings).await;
        }
        match PrivateServer::start(private_config(settings)).await {
            Ok(server) => Ok(Self::private(server)),
            Err(PrivateError::InUse { .. }) => {
                let config = running_elsewhere(&settings.data_dir).map_err(|error| refused(&error))?;
                Ok(Self { config: DatabaseConfig::new(config), server: None, chosen_by: PRIVATE })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Like [`Database::open_shared`], for those who only look: a private database that was never made is not made now.
    pub(crate) async fn open_existing(settings: &Settings) -> Result<Self, Failure> {
        let private = matches!(settings.database, DatabaseChoice::Private);
        if private && !simulated::has_database(&settings.data_dir) {
            let what = format!("there is no database under {} yet", settings.data_dir.display());
            return Err(Failure::new(Code::Unavailable, what)
                .remedy("start `greekd` once, give another --data-dir, or set DATABASE_URL"));
        }
        Self::open_shared(settings).await
    }

    fn private(server: PrivateServer) -> Self {
        Self { config: server.database(), server: Some(server), chosen_by: PRIVATE }
    }

    /// Brings the schema up to date; the first statement that the database sees.
    pub(crate) async fn migrate(&self) -> Result<i32, Failure> {
        match migrate(&self.config).await {
            Ok(migrated) => Ok(migrated.version),
            Err(error @ MigrateError::Newer { .. }) => Err(Failure::new(Code::Config, error)),
            Err(error @ MigrateError::NotAllowed { found: 0, .. }) => Err(Failure::new(Code::Config, error).remedy(
                "type in psql: GRANT CREATE ON SCHEMA public TO .., or have another user run `greekd db migrate`",
            )),
            Err(error @ MigrateError::NotAllowed { .. }) => {
                Err(Failure::new(Code::Config, error).remedy("have the owner of the tables run `greekd db migrate`"))
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Makes sure that what is to be read is there. Our own database is brought up to date for it; in one that somebody else
    /// runs nothing is made or changed: its name may be misspelt, and another greekd may be at work in it.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        if self.server.is_some() {
            return self.migrate().await.map(drop);
        }
        let refuse = |error: QueryError| self.unreachable(&error);
        let found = Queries::new(&self.config, 1).map_err(refuse)?.check().await.map_err(refuse)?;
        let needed = found.needed_version;
        let place = self.place();
        match found.schema_version {
            Some(version) if version == needed => Ok(()),
            Some(version) if version > needed => {
                Err(Failure::new(Code::Config, MigrateError::Newer { found: version, known: needed }))
            }
            Some(version) => {
                Err(Failure::new(Code::Config, format!("{place} has schema version {version}, {needed} is needed"))
                    .remedy("run `greekd db migrate`"))
            }
            None => Err(Failure::new(Code::Unavailable, format!("{place} holds nothing of greekd"))
                .remedy("correct the name of the database, start `greekd` once, or run `greekd db migrate`")),
        }
    }

    /// What it means that the database cannot be used, and what to do. One that has answered need not be started.
    pub(crate) fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        match Answer::of(error) {
            Some(Answer::WrongLogin) if self.chosen_by != PRIVATE => return self.login_refused(error),
            Some(Answer::NoDatabase) if self.chosen_by != PRIVATE => {
                let (name, address) = (self.config.database(), self.config.address());
                return Failure::new(Code::Unavailable, format!("there is no database {name} at {address}"))
                    .remedy(format!("create it, or correct {}", self.chosen_by));
            }
            _ => {}
        }
        let what = format!("the database at {} cannot be used: {}", self.config.address(), with_causes(error));
        let failure = Failure::new(Code::Unavailable, what);
        match self.chosen_by {
            PRIVATE => failure,
            name => failure.remedy(format!(
                "start it, or correct {name}; without such a setting greekd runs a PostgreSQL of its own"
            )),
        }
    }

    fn login_refused(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let (user, address) = (self.config.user(), self.config.address());
        let what = format!("the database at {address} does not let the user {user} in: {}", with_causes(error));
        let login = match self.chosen_by {
            "DATABASE_URL" => "user and password in DATABASE_URL",
            name if name.starts_with("PG") => "PGUSER and PGPASSWORD, or the password file",
            _ => "DB_USER and DB_PASS",
        };
        Failure::new(Code::Credentials, what).remedy(format!("correct {login}, or let that user in at the server"))
    }

    /// Adds what earlier processes stored last, so that it is not stored again, and the gaps they left open; returns what
    /// is held as far as they knew.
    pub(crate) async fn add_stored(&self, memory: &mut Memory) -> Result<Held, Failure> {
        let refuse = |error: QueryError| self.unreachable(&error);
        let queries = Queries::new(&self.config, 1).map_err(refuse)?;
        memory.add_rows(queries.last_rows().await.map_err(refuse)?);
        let mut gaps = queries.open_gaps().await.map_err(refuse)?;
        if let Some(from) = memory.oldest_of_interest() {
            gaps.extend(queries.gaps_since(from).await.map_err(refuse)?);
        }
        memory.add_gaps(gaps);
        // For the live book alone: an account that may write and not read does not need it.
        let held = queries.positions().await.unwrap_or_else(|error| {
            tracing::warn!(error = with_causes(&error), "what is held is not known: the live book begins empty");
            Vec::new()
        });
        Ok(held.into_iter().map(|row| ((row.broker, row.account_id, row.contract_key), row.quantity)).collect())
    }

    /// Says that rows wait in the journal because the database cannot be used, and what to do about it.
    pub(crate) fn complain(&self, status: &CommitterStatus) {
        let remedy = match (self.chosen_by, status.state) {
            (PRIVATE, _) => "see its log, pg.log in the data directory".to_owned(),
            // It answers, and refuses: what to do depends on why.
            (_, CommitterState::NeedsOperator) => "`greekd check` says what to do".to_owned(),
            (name, _) => format!("start it, or correct {name}"),
        };
        let reason = status.last_error.as_deref().unwrap_or("no answer yet");
        tracing::error!(
            database = %self.config.address(),
            reason,
            remedy,
            "the database cannot be used: rows are kept in the journal until it can"
        );
    }

    pub(crate) const fn config(&self) -> &DatabaseConfig {
        &self.config
    }

    pub(crate) const fn server(&self) -> Option<&PrivateServer> {
        self.server.as_ref()
    }

    /// Where the rows are, for people.
    pub(crate) fn place(&self) -> String {
        match &self.server {
            Some(server) => format!("private PostgreSQL {} at {}", server.major_version(), self.config.address()),
            None => format!("database {} at {}", self.config.database(), self.config.address()),
        }
    }

    /// Starts the private server again whenever it ends by itself; never resolves.
    pub(crate) async fn keep_running(&mut self) -> Infallible {
        let Some(server) = &mut self.server else { return std::future::pending().await };
        let mut delay = RESTART_FIRST;
        loop {
            let mut exited = server.exited();
            // An error means that the watcher is gone, and with it the server.
            let status = exited.wait_for(Option::is_some).await.ok().and_then(|status| *status);
            tracing::error!(status = status.map(|s| s.to_string()), restart_in = ?delay, "the private PostgreSQL ended");
            tokio::time::sleep(delay).await;
            match server.restart().await {
                Ok(()) => delay = RESTART_FIRST,
                Err(error) => {
                    tracing::error!(error = with_causes(&error), "the private PostgreSQL does not start");
                    delay = (delay * 2).min(RESTART_LAST);
                }
            }
        }
    }

    /// Stops the private server.
    pub(crate) async fn close(self) -> Result<(), PrivateError> {
        match self.server {
            Some(server) => server.stop_within(SERVER_STOP).await,
            None => Ok(()),
        }
    }
}

/// What a database that runs has answered to somebody who wanted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The user or the password is wrong, or a password is wanted and none is given.
    WrongLogin,
    NoDatabase,
}

impl Answer {
    fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes.filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).find_map(|refused| {
            match refused.code().map(|code| code.code()) {
                // Class 28 is "Invalid Authorization Specification".
                Some(code) if code.starts_with("28") => Some(Self::WrongLogin),
                Some("3D000") => Some(Self::NoDatabase),
                Some(_) => None,
                // The driver does not send what it does not have, and has no code for that.
                None => std::error::Error::source(refused)
                    .is_some_and(|cause| cause.to_string() == "password missing")
                    .then_some(Self::WrongLogin),
            }
        })
    }
}

fn private_config(settings: &Settings) -> PrivateConfig {
    let wanted = &settings.private_postgres;
    let mut config = PrivateConfig::new(&settings.data_dir);
    config.binaries.clone_from(&wanted.bin);
    config.run_as.clone_from(&wanted.user);
    config.search_path.clone_from(&wanted.search_path);
    config
}

fn refused(error: &PrivateError) -> Failure {
    let code = match error {
        PrivateError::Io { .. } | PrivateError::OutOfReach { .. } | PrivateError::WrongOwner { .. } => Code::Disk,
        PrivateError::VersionMismatch { .. } | PrivateError::NoAccount { .. } | PrivateError::Binaries { .. } => {
            Code::Config
        }
        _ => Code::Unavailable,
    };
    // Where the library names a field of its own, the variable stands here.
    match error {
        PrivateError::NoBinaries => Failure::new(code, "no PostgreSQL server is installed").remedy(
            "install one (Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; macOS: brew \
             install postgresql), name its bin directory in GREEKD_PG_BIN, or set DATABASE_URL",
        ),
        PrivateError::NoAccount { name } => {
            Failure::new(code, format!("PostgreSQL must not run as root, and there is no account {name} to run it"))
                .remedy("set GREEKD_PG_USER")
        }
        PrivateError::OutOfReach { account, dir } => {
            Failure::new(code, format!("account {account}, which runs PostgreSQL, may not enter {}", dir.display()))
                .remedy("chmod o+x it, or put GREEKD_DATA_DIR elsewhere")
        }
        PrivateError::Binaries { .. } => Failure::new(code, with_causes(error)).remedy("correct GREEKD_PG_BIN"),
        PrivateError::Io { .. } => {
            Failure::new(code, with_causes(error)).remedy("correct its rights, or set GREEKD_DATA_DIR to another place")
        }
        _ => Failure::new(code, with_causes(error)),
    }
}

fn with_tls(config: DatabaseConfig) -> Result<DatabaseConfig, Failure> {
    let settings = match config.root_cert() {
        Some(file) => TlsSettings::with_root_file(tls::provider(), file).map_err(|error| {
            Failure::new(Code::Config, with_causes(&error)).remedy("correct sslrootcert or PGSSLROOTCERT")
        })?,
        None => TlsSettings::new(tls::provider(), tls::system_roots()),
    };
    Ok(config.with_tls(Arc::new(settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library names its own fields; here people set variables.
    #[test]
    fn a_private_server_that_does_not_start_names_the_variables() {
        let out_of_reach = PrivateError::OutOfReach { account: "postgres".into(), dir: "/root".into() };
        let cases = [
            (PrivateError::NoBinaries, &["apt install postgresql", "GREEKD_PG_BIN", "DATABASE_URL"][..]),
            (
                PrivateError::Binaries { dir: "/opt/pg".into(), reason: "it is empty".into() },
                &["/opt/pg", "GREEKD_PG_BIN"],
            ),
            (PrivateError::NoAccount { name: "pg".into() }, &["no account pg", "GREEKD_PG_USER"]),
            (out_of_reach, &["account postgres", "/root", "chmod o+x", "GREEKD_DATA_DIR"]),
        ];
        for (error, words) in cases {
            let said = refused(&error).to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            assert!(!said.contains("PrivateConfig") && !error.to_string().contains("GREEKD_"), "{said}; {error}");
        }
    }
}
