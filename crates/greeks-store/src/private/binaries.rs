//! Where the server programs are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::{PrivateConfig, PrivateError};

/// Directories with one subdirectory per version, each with `bin`.
const VERSIONED: [&str; 4] = ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"];

/// Directories that may hold the programs themselves.
const PLAIN: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"];

/// A set of server programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// Finds the programs: those named, else the first of the major version `wanted` (that of an existing cluster), else the
/// first of all.
pub(super) async fn find(config: &PrivateConfig, wanted: Option<u32>) -> Result<Binaries, PrivateError> {
    if let Some(dir) = &config.binaries {
        if !holds_server(dir) {
            return Err(PrivateError::Binaries {
                dir: dir.clone(),
                reason: "postgres and initdb are not in it".into(),
            });
        }
        return inspect(dir).await;
    }
    let mut first = None;
    for dir in candidates(config) {
        let Ok(found) = inspect(&dir).await else { continue };
        if wanted.is_none_or(|wanted| wanted == found.major) {
            return Ok(found);
        }
        first.get_or_insert(found);
    }
    // Not the wanted version: the caller names both.
    first.ok_or(PrivateError::NoBinaries)
}

fn candidates(config: &PrivateConfig) -> Vec<PathBuf> {
    let path = config.search_path.as_deref().unwrap_or(OsStr::new(""));
    let mut dirs: Vec<PathBuf> = std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect();
    for parent in VERSIONED {
        dirs.extend(versions_in(Path::new(parent)));
    }
    dirs.extend(PLAIN.map(PathBuf::from));
    dirs.extend(config.extra_dirs.iter().cloned());
    dirs.retain(|dir| holds_server(dir));
    dirs
}

/// `parent/15/bin` (Debian), `parent/pgsql-17/bin` (PostgreSQL's own RPMs), `parent/postgresql@17/bin` (Homebrew), newest
/// first.
fn versions_in(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let number = name.strip_prefix("postgresql@").or_else(|| name.strip_prefix("pgsql-")).unwrap_or(name);
            Some((number.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn holds_server(dir: &Path) -> bool {
    dir.join("postgres").is_file() && dir.join("initdb").is_file()
}

async fn inspect(dir: &Path) -> Result<Binaries, PrivateError> {
    let refused = |reason: String| PrivateError::Binaries { dir: dir.to_owned(), reason };
    let mut command = Command::new(dir.join("postgres"));
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(10), command.output())
        .await
        .map_err(|_| refused("postgres --version does not answer".into()))?
        .map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = major(&text).ok_or_else(|| refused("postgres --version names no version".into()))?;
    Ok(Binaries { dir: dir.to_owned(), major })
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian ..)` or `.. 19devel`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(major("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(major("some other program 1.2"), None);
    }

    /// A directory whose `postgres` only tells a version.
    fn pretend(parent: &Path, version: &str) -> PathBuf {
        let dir = parent.join(version);
        std::fs::create_dir(&dir).unwrap();
        for name in ["postgres", "initdb"] {
            let file = dir.join(name);
            // Written by another process: a descriptor of ours that is open for writing could be inherited by a child
            // that another test starts at this moment, and the file could not be run ("text file busy").
            let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}.1'\n");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &script]).arg(&file);
            assert!(shell.status().unwrap().success());
        }
        dir
    }

    #[tokio::test]
    async fn prefers_the_version_of_the_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let (newer, older) = (pretend(dir.path(), "97"), pretend(dir.path(), "96"));
        let mut config = PrivateConfig::new("unused");
        config.search_path = Some(std::env::join_paths([&newer, &older]).unwrap());
        assert_eq!(find(&config, None).await.unwrap(), Binaries { dir: newer.clone(), major: 97 });
        assert_eq!(find(&config, Some(96)).await.unwrap(), Binaries { dir: older, major: 96 });
        assert_eq!(find(&config, Some(95)).await.unwrap().major, 97, "the first, for the caller to name");
    }

    #[tokio::test]
    async fn a_named_directory_without_a_server_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = PrivateConfig::new("unused");
        config.binaries = Some(dir.path().to_owned());
        assert!(matches!(find(&config, None).await, Err(PrivateError::Binaries { .. })));
    }
}
