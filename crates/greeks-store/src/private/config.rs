//! What a private server needs to know.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where a private server lives and what runs it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrivateConfig {
    /// Directory that holds the cluster, the lock and the log; made if missing.
    pub data_dir: PathBuf,
    /// The directory with `postgres` and `initdb`; `None` searches.
    pub binaries: Option<PathBuf>,
    /// A list of directories in the form of `PATH`, searched before the usual places.
    pub search_path: Option<OsString>,
    /// Directories searched after the usual places.
    pub extra_dirs: Vec<PathBuf>,
    /// The account that runs the server when we are root; default `postgres`, else `nobody`.
    /// A cluster that exists already is run by its owner.
    pub run_as: Option<String>,
    /// Further server settings. They can neither weaken durability nor move the socket: those are set after them.
    pub settings: Vec<(String, String)>,
    /// Whether a new cluster is synced to disk before it is used.
    pub sync_new_cluster: bool,
}

impl PrivateConfig {
    /// A server under `data_dir`, its binaries searched for.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            binaries: None,
            search_path: None,
            extra_dirs: Vec::new(),
            run_as: None,
            settings: Vec::new(),
            sync_new_cluster: true,
        }
    }

    /// For tests in a temporary directory: a new cluster is not synced, everything else is as in [`PrivateConfig::new`].
    pub fn throwaway(data_dir: impl Into<PathBuf>) -> Self {
        Self { sync_new_cluster: false, ..Self::new(data_dir) }
    }
}
