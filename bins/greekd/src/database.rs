//! The database of this run: one that somebody else runs, or a private server for as long as greekd lives.

use std::sync::Arc;

use greeks_store::private::{PrivateConfig, PrivateError, PrivateServer, running_elsewhere};
use greeks_store::{DatabaseConfig, MigrateError, TlsSettings, migrate};

use crate::exit::{Code, Failure, chain};
use crate::settings::{DatabaseChoice, Settings};
use crate::tls;

/// Where rows go.
#[derive(Debug)]
pub(crate) struct Database {
    config: DatabaseConfig,
    server: Option<PrivateServer>,
}

impl Database {
    /// Starts the private server where no database is configured; does not connect to one that is.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        match &settings.database {
            DatabaseChoice::External(config) => {
                Ok(Self { config: with_tls(config.as_ref().clone())?, server: None })
            }
            DatabaseChoice::Private => {
                let server = PrivateServer::start(private_config(settings)).await.map_err(|error| refused(&error))?;
                Ok(Self { config: server.database(), server: Some(server) })
            }
        }
    }

    /// Like [`Database::open`], but where another greekd runs the private server, that one is used.
    pub(crate) async fn open_shared(settings: &Settings) -> Result<Self, Failure> {
        if let DatabaseChoice::External(_) = settings.database {
            return Self::open(settings).await;
        }
        match PrivateServer::start(private_config(settings)).await {
            Ok(server) => Ok(Self { config: server.database(), server: Some(server) }),
            Err(PrivateError::InUse { .. }) => {
                let config = running_elsewhere(&settings.data_dir).map_err(|error| refused(&error))?;
                Ok(Self { config: DatabaseConfig::new(config), server: None })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Brings the schema up to date; the first statement that the database sees.
    pub(crate) async fn migrate(&self) -> Result<i32, Failure> {
        match migrate(&self.config).await {
            Ok(migrated) => Ok(migrated.version),
            Err(error @ MigrateError::Newer { .. }) => Err(Failure::new(Code::Config, error)),
            Err(error) => {
                let what = format!("the database at {} cannot be used: {}", self.config.address(), chain(&error));
                Err(Failure::new(Code::Unavailable, what).remedy(
                    "start it, or correct DATABASE_URL; without that setting greekd runs a PostgreSQL of its own",
                ))
            }
        }
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

    /// Stops the private server.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self.server {
            Some(server) => server.stop().await.map_err(|error| Failure::new(Code::Runtime, chain(&error))),
            None => Ok(()),
        }
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
    let failure = Failure::new(code, chain(error));
    match error {
        PrivateError::Io { .. } => failure.remedy("correct its rights, or set GREEKD_DATA_DIR to another place"),
        _ => failure,
    }
}

fn with_tls(config: DatabaseConfig) -> Result<DatabaseConfig, Failure> {
    let settings = match config.root_cert() {
        Some(file) => TlsSettings::with_root_file(tls::provider(), file)
            .map_err(|error| Failure::new(Code::Config, chain(&error)).remedy("correct sslrootcert or PGSSLROOTCERT"))?,
        None => TlsSettings::new(tls::provider(), tls::system_roots()),
    };
    Ok(config.with_tls(Arc::new(settings)))
}
