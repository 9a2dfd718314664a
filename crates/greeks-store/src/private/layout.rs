//! The directories of a private server and the lock on them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::PrivateError;
use super::account::{self, Account};

/// The port is part of the socket's name only.
pub(super) const PORT: u16 = 5432;

/// `sun_path` holds 108 bytes with the final zero on Linux, 104 on macOS.
const SOCKET_PATH_MAX: usize = 103;

/// A log above this size is set aside at the next start.
const LOG_MAX_BYTES: u64 = 4 << 20;

/// Where the files of one private server are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) pg: PathBuf,
    pub(super) cluster: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) log: PathBuf,
}

impl Layout {
    /// Makes the data directory if needed and names what is in it.
    pub(super) fn new(data_dir: &Path) -> Result<Self, PrivateError> {
        make_data_dir(data_dir).map_err(PrivateError::io("make the data directory", data_dir))?;
        let root = data_dir.canonicalize().map_err(PrivateError::io("find", data_dir))?;
        let pg = root.join("pg");
        let sockets = pg.join("run");
        Ok(Self { cluster: pg.join("data"), sockets, log: root.join("pg.log"), pg, root })
    }

    /// Takes the lock; it is free again when the file is closed, however the process ends.
    pub(super) fn lock(&self) -> Result<File, PrivateError> {
        let path = self.root.join("pg.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(PrivateError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(PrivateError::InUse { dir: self.root.clone(), holder });
            }
            Err(errno) => return Err(PrivateError::io("lock", &path)(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(PrivateError::io("write", &path))?;
        Ok(file)
    }

    /// Makes the directories of the server, owned by the account that runs it.
    pub(super) fn prepare(&mut self, account: Option<&Account>) -> Result<(), PrivateError> {
        if let Some(account) = account {
            open_the_way(&self.root, account)?;
        }
        make_private(&self.pg, account)?;
        if self.sockets.as_os_str().as_bytes().len() + "/.s.PGSQL.65535".len() > SOCKET_PATH_MAX {
            self.sockets = short_socket_dir(&self.root, account);
        }
        make_private(&self.sockets, account)
    }

    /// Opens the log for appending; a large one is set aside first.
    pub(super) fn open_log(&self) -> Result<File, PrivateError> {
        if fs::metadata(&self.log).is_ok_and(|found| found.len() > LOG_MAX_BYTES) {
            let old = self.root.join("pg.log.1");
            fs::rename(&self.log, &old).map_err(PrivateError::io("set aside", &self.log))?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(PrivateError::io("open", &self.log))
    }

    /// What was written to the log from `offset` on: its last 2,000 bytes, on one line.
    pub(super) fn log_since(&self, offset: u64) -> String {
        let Ok(bytes) = fs::read(&self.log) else { return String::new() };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).max(bytes.len().saturating_sub(2000));
        one_line(bytes.get(start..).unwrap_or_default())
    }

    /// The major version in `PG_VERSION`, `None` without a cluster.
    pub(super) fn cluster_major(&self) -> Result<Option<u32>, PrivateError> {
        let path = self.cluster.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|error| PrivateError::io("read", &path)(std::io::Error::other(error))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PrivateError::io("read", &path)(error)),
        }
    }
}

/// Makes a data directory and what is missing above it, whatever the umask says: nobody else looks into them, and where
/// another account has to run the server, which it does for root, that account passes through.
///
/// # Errors
/// As the file system says.
pub fn make_data_dir(dir: &Path) -> std::io::Result<()> {
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_data_dir(parent)?;
    }
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(mode)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a program printed, as one line for an error text.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Lets `account` pass through our own data directory; the directories above it are the operator's.
fn open_the_way(root: &Path, account: &Account) -> Result<(), PrivateError> {
    match account::barrier(account, root) {
        None => Ok(()),
        Some(dir) if dir == root => {
            let found = fs::metadata(root).map_err(PrivateError::io("look at", root))?;
            let mode = Permissions::from_mode(found.permissions().mode() | 0o011);
            fs::set_permissions(root, mode).map_err(PrivateError::io("open for the server", root))?;
            match account::barrier(account, root) {
                None => Ok(()),
                Some(dir) => Err(PrivateError::OutOfReach { account: account.name.clone(), dir }),
            }
        }
        Some(dir) => Err(PrivateError::OutOfReach { account: account.name.clone(), dir }),
    }
}

/// A directory of mode 0700 that belongs to whoever runs the server; an existing one must be such already, or ours.
fn make_private(dir: &Path, account: Option<&Account>) -> Result<(), PrivateError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(PrivateError::io("make", dir)(error)),
    }
    let found = fs::symlink_metadata(dir).map_err(PrivateError::io("look at", dir))?;
    if !found.is_dir() {
        let not_a_dir = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(PrivateError::io("use", dir)(not_a_dir));
    }
    let euid = rustix::process::geteuid().as_raw();
    let wanted = account.map_or(euid, |account| account.uid);
    if found.uid() != wanted {
        // Only what we own may change hands: in /tmp somebody else could have been here first.
        match account {
            Some(account) if found.uid() == euid => {
                lchown(dir, Some(account.uid), Some(account.gid)).map_err(PrivateError::io("give away", dir))?;
            }
            _ => return Err(PrivateError::WrongOwner { dir: dir.to_owned(), owner: found.uid(), euid }),
        }
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(PrivateError::io("close", dir))?;
    }
    Ok(())
}

/// A short place for the sockets of a data directory with a long name: always the same one for the same directory.
fn short_socket_dir(root: &Path, account: Option<&Account>) -> PathBuf {
    // FNV-1a: the name only has to be stable and rarely shared; `make_private` refuses a stranger's directory.
    let hash = root
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let uid = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid);
    let run = Path::new("/run");
    let parent = if account.is_some() && run.is_dir() { run } else { Path::new("/tmp") };
    parent.join(format!("greekd-{uid}-{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let held = layout.lock().unwrap();
        match layout.lock() {
            Err(PrivateError::InUse { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        layout.lock().unwrap();
    }

    #[test]
    fn a_long_path_gets_a_short_socket_directory() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120));
        let mut layout = Layout::new(&deep).unwrap();
        layout.prepare(None).unwrap();
        assert!(layout.sockets.as_os_str().len() < 60, "{:?}", layout.sockets);
        assert_eq!(fs::metadata(&layout.sockets).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir(&layout.sockets).unwrap();
        let mut near = Layout::new(dir.path()).unwrap();
        near.prepare(None).unwrap();
        assert!(near.sockets.ends_with("pg/run"));
    }

    #[test]
    fn a_symlink_in_place_of_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("pg")).unwrap();
        assert!(matches!(Layout::new(dir.path()).unwrap().prepare(None), Err(PrivateError::Io { .. })));
    }

    #[test]
    fn log_tail_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        layout.open_log().unwrap().write_all(b"old\nFATAL:  no\n  HINT: yes\n").unwrap();
        assert_eq!(layout.log_since(4), "FATAL:  no; HINT: yes");
    }
}
