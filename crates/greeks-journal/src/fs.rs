//! The few system calls a journal makes.

use std::io;

/// A directory of plain files, as far as a journal needs one. [`OsFs`](crate::OsFs) is the real one; another one lets tests
/// fail the n-th call or reconstruct what a power cut would have left.
///
/// Calls may fail or be short like the system calls they stand for; [`io::ErrorKind::Interrupted`] is tried again.
pub trait JournalFs: Send + Sync + 'static {
    /// An open file. It stays usable when its name is removed.
    type File: Send + Sync + 'static;

    /// The names of all files.
    ///
    /// # Errors
    /// As `readdir`.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that must not exist yet.
    ///
    /// # Errors
    /// As `open`.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file and tells its length. Refuses what is not a plain file of one's own.
    ///
    /// # Errors
    /// As `open`.
    fn open(&self, name: &str) -> io::Result<(Self::File, u64)>;

    /// Makes the file `length` bytes of zeros and reserves their place on the disk.
    ///
    /// # Errors
    /// As `fallocate`.
    fn allocate(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Shortens the file.
    ///
    /// # Errors
    /// As `ftruncate`.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Writes some bytes of `bytes` at `offset` and tells how many.
    ///
    /// # Errors
    /// As `pwrite`.
    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads some bytes at `offset` and tells how many; 0 at the end.
    ///
    /// # Errors
    /// As `pread`.
    fn read_at(&self, file: &Self::File, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns when content and length of the file survive a power cut.
    ///
    /// # Errors
    /// As `fdatasync`.
    fn sync_data(&self, file: &Self::File) -> io::Result<()>;

    /// Renames a file; replaces what has the new name.
    ///
    /// # Errors
    /// As `rename`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// As `unlink`.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when every name made, changed or removed so far survives a power cut.
    ///
    /// # Errors
    /// As `fsync` of a directory.
    fn sync_dir(&self) -> io::Result<()>;
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Writes all of `bytes`, however short the writes are.
pub(crate) fn write_all<F: JournalFs>(fs: &F, file: &F::File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = retry(|| fs.write_at(file, bytes, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads into `bytes` until it is full or the file ends; tells how much was read.
pub(crate) fn read_full<F: JournalFs>(fs: &F, file: &F::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match retry(|| fs.read_at(file, rest, offset + filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Whether there was no room for what was to be written, rather than the disk having failed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let full = [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| full.contains(&code))
}

/// Whether the medium has lost what was asked for, rather than the call having failed.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
