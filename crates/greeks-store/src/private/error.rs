//! Why a private server did not start.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a private server could not be started or stopped; every text names the remedy where there is one, in terms of
/// [`PrivateConfig`](super::PrivateConfig): a program whose users set something else says so itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// No server programs in any of the places searched.
    #[error(
        "no PostgreSQL server is installed: install one (Debian, Ubuntu: apt install postgresql; Fedora: dnf install \
         postgresql-server; macOS: brew install postgresql), or name its bin directory in PrivateConfig::binaries"
    )]
    NoBinaries,
    /// The directory named by the caller holds no usable server.
    #[error("no PostgreSQL server in {}: {reason}", dir.display())]
    Binaries {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster was made by another major version than the programs found.
    #[error(
        "the database in {} belongs to PostgreSQL {cluster}, the server found is PostgreSQL {server}: install \
         PostgreSQL {cluster} beside it, or upgrade the data with pg_upgrade", dir.display()
    )]
    VersionMismatch {
        /// The cluster's directory.
        dir: PathBuf,
        /// Major version that made the cluster.
        cluster: u32,
        /// Major version of the server found.
        server: u32,
    },
    /// Another process holds the data directory.
    #[error(
        "the data directory {} is in use by {}: stop it, or choose another data directory",
        dir.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The holder's process id, as it wrote it into the lock file.
        holder: Option<u32>,
    },
    /// The account to run the server under does not exist.
    #[error(
        "PostgreSQL must not run as root, and there is no account {name} to run it: name one in PrivateConfig::run_as"
    )]
    NoAccount {
        /// The account's name, or `uid N`.
        name: String,
    },
    /// The server's account cannot get to the data directory.
    #[error(
        "account {account}, which runs PostgreSQL, may not enter {}: chmod o+x it, or choose another PrivateConfig::data_dir",
        dir.display()
    )]
    OutOfReach {
        /// The account.
        account: String,
        /// The first directory it may not enter.
        dir: PathBuf,
    },
    /// The cluster belongs to another user.
    #[error("{} belongs to uid {owner}, we are uid {euid}: run as its owner or root, or choose another data directory", dir.display())]
    WrongOwner {
        /// The directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user id.
        euid: u32,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program's path.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL ended at start ({status}): {log}")]
    Ended {
        /// Exit status in words.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A deadline passed.
    #[error("PostgreSQL did not {action} within {} s", after.as_secs())]
    Deadline {
        /// What was waited for, as a verb.
        action: &'static str,
        /// For how long.
        after: Duration,
    },
    /// A setting that durability rests on is not what it must be.
    #[error("PostgreSQL runs with {setting} = {value}: committed rows would not be safe")]
    Unsafe {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// Processes of an earlier run on the same data do not go away.
    #[error("an earlier PostgreSQL (process {pid}) still uses {} and does not stop", dir.display())]
    StillRunning {
        /// One of the processes.
        pid: u32,
        /// The cluster's directory.
        dir: PathBuf,
    },
    /// The server runs and lets nobody in.
    #[error("cannot connect to the private server")]
    Connect(#[source] Box<crate::ConnectError>),
    /// The running server refused a statement of the set-up.
    #[error("cannot {action}")]
    Sql {
        /// What was tried, as a verb.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl PrivateError {
    /// Turns an I/O error into one that says what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
