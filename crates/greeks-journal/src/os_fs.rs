//! The journal's directory on a real disk.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, fallocate, fchmod, flock, fstat, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;

use crate::recover::is_own_name;
use crate::{Error, JournalFs};

const LOCK: &str = "LOCK";
const PRIVATE_DIR: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// For file systems that cannot reserve room: zeros are written in pieces of this length.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A directory that is private to this user (0700, files 0600) and, for a writer, to this process.
///
/// Names are resolved from the open directory and symbolic links are not followed, so that moving the directory or
/// planting a link in it leads nowhere.
#[derive(Debug)]
pub struct OsFs {
    dir: OwnedFd,
    path: PathBuf,
    access: OFlags,
    /// Locked as long as it is open.
    _lock: Option<OwnedFd>,
}

impl OsFs {
    /// Opens the directory for one writer; makes it when it does not exist. One that others may enter is made private as long
    /// as nothing but a journal is in it.
    ///
    /// # Errors
    /// [`Error::Locked`] while another journal has it open, [`Error::Untrusted`] when it belongs to somebody else, or when
    /// others may enter it and it holds files that are none of a journal's: it is left as it is then. [`Error::Io`].
    pub fn exclusive(path: &Path) -> Result<Self, Error> {
        make_dir(path).map_err(|source| io_error("create", path, source))?;
        let dir = open_dir(path)?;
        make_private(&dir, path)?;
        let lock = lock(&dir, path)?;
        Ok(Self { dir, path: path.into(), access: OFlags::RDWR, _lock: Some(lock) })
    }

    /// Opens the directory for reading, also while a writer has it open.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when it belongs to somebody else, [`Error::Io`].
    pub fn read_only(path: &Path) -> Result<Self, Error> {
        Ok(Self { dir: open_dir(path)?, path: path.into(), access: OFlags::RDONLY, _lock: None })
    }

    /// Where the directory was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl JournalFs for OsFs {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            names.extend(entry?.file_name().to_str().ok().map(String::from));
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.dir, name, flags, PRIVATE_FILE)?.into())
    }

    fn open(&self, name: &str) -> io::Result<(File, u64)> {
        // NONBLOCK: a planted FIFO must not hold the start.
        let flags = self.access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&self.dir, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid != own_id() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a plain file of this user"));
        }
        Ok((file.into(), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(file, length),
            outcome => Ok(outcome?),
        }
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(file, bytes, offset)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.dir)?)
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::io(action, &path.to_string_lossy(), source)
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes the directory, its parents too, in a way that survives a power cut: each new name is synced where it stands.
fn make_dir(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR.as_raw_mode()).create(path)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn open_dir(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|source| io_error("open", path, source.into()))?;
    let stat = fstat(&dir).map_err(|source| io_error("examine", path, source.into()))?;
    if stat.st_uid != own_id() {
        return Err(Error::Untrusted { path: path.into(), reason: "the directory belongs to another user" });
    }
    Ok(dir)
}

/// Takes the directory away from everybody else, unless it may be somebody's for another purpose.
fn make_private(dir: &OwnedFd, path: &Path) -> Result<(), Error> {
    let stat = fstat(dir).map_err(|source| io_error("examine", path, source.into()))?;
    if !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        return Ok(());
    }
    if holds_foreign_files(dir).map_err(|source| io_error("list", path, source.into()))? {
        return Err(Error::Untrusted {
            path: path.into(),
            reason: "others may enter the directory, and not everything in it is a journal's: give the journal a \
                     directory of its own, or chmod 700 this one",
        });
    }
    fchmod(dir, PRIVATE_DIR).map_err(|source| io_error("make private", path, source.into()))
}

fn holds_foreign_files(dir: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        // A file system of one's own has the last.
        let own = |name| is_own_name(name) || [".", "..", LOCK, "lost+found"].contains(&name);
        if !entry.file_name().to_str().is_ok_and(own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the lock and leaves this process's id in it.
fn lock(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Error> {
    let at = path.join(LOCK);
    let failed = |action, source: Errno| io_error(action, &at, source.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(dir.as_fd(), LOCK, flags, PRIVATE_FILE).map_err(|source| failed("open", source))?;
    let mut file = File::from(file);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Who holds it is a courtesy: that it is held is known.
            let said = file.take(32).read_to_string(&mut holder).ok();
            return Err(Error::Locked { dir: path.into(), holder: said.and_then(|_| holder.trim().parse().ok()) });
        }
        Err(source) => return Err(failed("lock", source)),
    }
    let name = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(name.as_bytes())).map_err(|source| io_error("write", &at, source))?;
    Ok(file.into())
}

/// Reserves room where the file system has no call for it.
fn fill(file: &File, length: u64) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let piece = ZEROS.get(..usize::try_from(length - at).unwrap_or(usize::MAX)).unwrap_or(&ZEROS);
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}
