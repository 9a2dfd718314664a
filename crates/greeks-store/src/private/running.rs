//! Finds a private server that another process runs.

use std::path::Path;

use tokio_postgres::Config;

use super::PrivateError;
use super::cluster::NAME;
use super::layout::PORT;

/// How to connect to the private server that another process runs on `data_dir`, by what the server itself wrote down.
///
/// # Errors
/// [`PrivateError::Io`] when there is no such note: no server runs there, or this account may not look.
pub fn running_elsewhere(data_dir: &Path) -> Result<Config, PrivateError> {
    let path = data_dir.join("pg").join("data").join("postmaster.pid");
    let text = std::fs::read_to_string(&path).map_err(PrivateError::io("read", &path))?;
    // Lines: process id, cluster, start time, port, socket directory, ..; see PostgreSQL's miscadmin.h.
    let sockets = text.lines().nth(4).filter(|line| line.starts_with('/')).ok_or_else(|| {
        PrivateError::io("find the socket directory in", &path)(std::io::Error::from(std::io::ErrorKind::InvalidData))
    })?;
    let mut config = Config::new();
    config.host_path(sockets).port(PORT).user(NAME).dbname(NAME);
    Ok(config)
}
