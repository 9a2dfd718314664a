//! Opening, and the ends by which a journal is held.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::board::{Board, Progress, State};
use crate::engine::{Engine, quarantine};
use crate::failpoints::failpoint;
use crate::format::Stamp;
use crate::fs::retry;
use crate::recover::{Recovery, Survey, segment_name, segment_number, survey};
use crate::writer::{Phase, Spare, Writer, remove_if_there};
use crate::{Cursor, Error, JournalFs, Options, OsFs, sync};

/// A log of byte records in a directory; the only writer of it. Closing or dropping it syncs what was accepted.
pub struct Journal<F: JournalFs = OsFs> {
    engine: Arc<Engine<F>>,
    thread: Option<JoinHandle<()>>,
}

/// What may be done with a journal beside appending. Stays valid when the journal is closed.
pub struct Handle<F: JournalFs = OsFs> {
    engine: Arc<Engine<F>>,
}

/// The journal of a directory, for reading only.
pub struct Archive<F: JournalFs = OsFs> {
    fs: Arc<F>,
    board: Arc<Board>,
    recovery: Recovery,
}

/// What a journal occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// All segments and the spare, those of earlier incarnations included.
    pub used_bytes: u64,
    /// [`Options::max_bytes`].
    pub max_bytes: u64,
    /// How many segments have records.
    pub segments: usize,
    /// How many segments were given up because the disk failed a write or a sync; nothing was lost by it.
    pub segments_given_up: u64,
}

impl Journal {
    /// Opens the journal in `dir`, which is made when it does not exist, under a new incarnation. What earlier
    /// incarnations have left is told, and read through [`Handle::cursor`].
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Untrusted`], [`Error::UnknownVersion`], [`Error::Options`], [`Error::Io`]. Damage is no
    /// error, and neither is a full disk: appends will tell.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), Error> {
        options.check()?;
        Self::open_in(OsFs::exclusive(dir)?, options)
    }
}

impl<F: JournalFs> Journal<F> {
    /// Like [`Journal::open`], in a directory that nobody else writes to.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_in(fs: F, options: Options) -> Result<(Self, Recovery), Error> {
        options.check()?;
        let incarnation = Uuid::new_v4();
        sync_again(&fs)?;
        let mut found = survey(&fs)?;
        failpoint!("journal.recover");
        tidy(&fs, &mut found, incarnation);
        let opened_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let opened_at = u64::try_from(opened_at.as_nanos()).unwrap_or(u64::MAX);
        let engine = Arc::new(Engine {
            fs: Arc::new(fs),
            board: Arc::new(Board::new(Some(incarnation), found.segments)),
            stamp: Stamp { incarnation, number: 0, base: 0, schema: options.schema, opened_at },
            options,
            writer: Mutex::new(Writer::new(found.last_number + 1)),
            work: Condvar::new(),
            done: Condvar::new(),
            releases: Mutex::new(()),
        });
        let shared = Arc::clone(&engine);
        let thread = thread::Builder::new().name("greeks-journal".into()).spawn(move || sync::run(&shared));
        let thread = thread.map_err(|source| Error::io("start", "the journal's thread", source))?;
        Ok((Self { engine, thread: Some(thread) }, found.recovery))
    }

    /// The name of this run: records are numbered within it, from 1.
    pub fn incarnation(&self) -> Uuid {
        self.engine.stamp.incarnation
    }

    /// Accepts `records`, all or none, with one `write(2)`; returns the number of the last. From here they survive the death
    /// of the process, and soon after a power cut. Blocks while 16 MiB (less with small segments) wait for the disk.
    ///
    /// # Errors
    /// [`Error::QuotaReached`], [`Error::NoSpace`], [`Error::TooLarge`], [`Error::Failed`], [`Error::Closed`]: nothing was
    /// accepted.
    pub fn append<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<u64, Error> {
        self.engine.append(records, false)
    }

    /// Like [`append`](Self::append), for small records that say what could not be accepted: they may use a reserve of an
    /// eighth of a segment when the quota is reached or the disk is full.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_marker<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<u64, Error> {
        self.engine.append(records, true)
    }

    /// Returns when everything accepted so far survives a power cut.
    ///
    /// # Errors
    /// [`Error::Failed`] when the disk refuses.
    pub fn flush(&self) -> Result<(), Error> {
        self.engine.flush()
    }

    /// For reading, waiting and releasing, on any thread.
    pub fn handle(&self) -> Handle<F> {
        Handle { engine: Arc::clone(&self.engine) }
    }

    /// Accepts no more, syncs what was accepted and gives back the room that is not needed. The directory stays locked until
    /// the last [`Handle`] and [`Cursor`] is gone too.
    ///
    /// # Errors
    /// [`Error::Failed`] when not everything accepted could be synced.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let engine = &self.engine;
        {
            let mut writer = engine.lock();
            if matches!(writer.phase, Phase::Open) {
                writer.phase = Phase::Closed;
            }
            engine.work.notify_one();
            engine.done.notify_all();
        }
        if thread.join().is_err() {
            tracing::error!("the journal's thread panicked");
        }
        let mut writer = engine.lock();
        if let Spare::Ready(fresh) = &writer.spare {
            engine.discard(fresh);
            writer.spare = Spare::OverQuota;
        }
        let failed = match &writer.phase {
            Phase::Failed(why) => Some(Arc::clone(why)),
            _ => None,
        };
        if let (Some(active), None) = (&writer.active, &failed) {
            give_back(&*engine.fs, &active.segment.file, active.at);
        }
        drop(writer);
        if failed.is_none() {
            engine.board.update(|inner| {
                inner.progress.state = State::Closed;
                // Nobody writes to it any more: once it is not needed it may be released like the others.
                inner.segments.iter_mut().for_each(|segment| segment.active = false);
            });
        }
        engine.notify();
        failed.map_or(Ok(()), |why| Err(Error::Failed(why)))
    }
}

impl<F: JournalFs> Drop for Journal<F> {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::warn!(%error, "the journal was dropped and could not be synced");
        }
    }
}

impl<F: JournalFs> Handle<F> {
    /// The incarnation being written.
    pub fn incarnation(&self) -> Uuid {
        self.engine.stamp.incarnation
    }

    /// How far the journal has come.
    pub fn progress(&self) -> Progress {
        self.engine.board.lock().progress
    }

    /// Waits until a record beyond `seq` was accepted, the journal ended, or `timeout` has passed.
    pub fn wait_beyond(&self, seq: u64, timeout: Duration) -> Progress {
        self.engine.board.wait_beyond(seq, timeout)
    }

    /// Reads the records of `incarnation` that follow `after`.
    ///
    /// # Errors
    /// [`Error::Released`] when the next one is gone, [`Error::UnknownIncarnation`] when there is none at all.
    pub fn cursor(&self, incarnation: Uuid, after: u64) -> Result<Cursor<F>, Error> {
        Cursor::new(Arc::clone(&self.engine.fs), Arc::clone(&self.engine.board), incarnation, after)
    }

    /// Says that the records of `incarnation` up to `upto` are not needed any more. Segments that have no others are
    /// removed; the rest of them stays readable.
    ///
    /// # Errors
    /// [`Error::Io`] when a segment could not be removed; the next release tries again.
    pub fn release(&self, incarnation: Uuid, upto: u64) -> Result<(), Error> {
        self.engine.release(incarnation, upto)
    }

    /// What the journal occupies.
    pub fn usage(&self) -> Usage {
        let inner = self.engine.board.lock();
        Usage {
            used_bytes: inner.used,
            max_bytes: self.engine.options.max_bytes,
            segments: inner.segments.len(),
            segments_given_up: inner.given_up,
        }
    }
}

impl Archive {
    /// Reads what is in `dir`, also beside a running journal; its current incarnation is then seen as of now.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::UnknownVersion`], [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_in(OsFs::read_only(dir)?)
    }
}

impl<F: JournalFs> Archive<F> {
    /// Reads what is in a directory.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_in(fs: F) -> Result<Self, Error> {
        let found = survey(&fs)?;
        Ok(Self { fs: Arc::new(fs), board: Arc::new(Board::new(None, found.segments)), recovery: found.recovery })
    }

    /// What was found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads the records of `incarnation` that follow `after`.
    ///
    /// # Errors
    /// As [`Handle::cursor`].
    pub fn cursor(&self, incarnation: Uuid, after: u64) -> Result<Cursor<F>, Error> {
        Cursor::new(Arc::clone(&self.fs), Arc::clone(&self.board), incarnation, after)
    }
}

/// After a `kill -9` what the page cache shows need not be on the disk: sync it before it is taken for the truth.
fn sync_again<F: JournalFs>(fs: &F) -> Result<(), Error> {
    let names = retry(|| fs.list()).map_err(|source| Error::io("list", "the directory", source))?;
    for name in names.iter().filter(|name| segment_number(name).is_some()) {
        let (file, _) = retry(|| fs.open(name)).map_err(|source| Error::io("open", name, source))?;
        if let Err(error) = retry(|| fs.sync_data(&file)) {
            tracing::warn!(segment = %name, %error, "an old segment cannot be synced: it may not survive a power cut");
        }
    }
    Ok(())
}

/// Removes what is of no use, sets aside what cannot be read, and gives back room. What fails is tried at the next start.
fn tidy<F: JournalFs>(fs: &F, found: &mut Survey, incarnation: Uuid) {
    for name in &found.leftovers {
        remove_if_there(fs, name);
    }
    for name in &found.recovery.unreadable {
        match quarantine(fs, name, incarnation) {
            Ok(aside) => found.recovery.quarantined.push(aside),
            Err(error) => tracing::warn!(segment = %name, %error, "a damaged segment cannot be set aside"),
        }
    }
    for segment in found.segments.iter_mut().filter(|segment| segment.end < segment.size) {
        let Ok((file, _)) = retry(|| fs.open(&segment_name(segment.number))) else { continue };
        if give_back(fs, &file, segment.end) {
            let saved = segment.size - segment.end;
            (segment.size, segment.limit) = (segment.end, segment.end);
            let run = found.recovery.incarnations.iter_mut().find(|run| run.id == segment.incarnation);
            run.into_iter().for_each(|run| run.bytes -= saved);
        }
    }
    if let Err(error) = retry(|| fs.sync_dir()) {
        tracing::warn!(%error, "the journal's directory cannot be synced");
    }
}

/// Cuts zeros off the end of a segment; tells whether that worked.
fn give_back<F: JournalFs>(fs: &F, file: &F::File, length: u64) -> bool {
    let cut: io::Result<()> = retry(|| fs.truncate(file, length));
    cut.inspect_err(|error| tracing::warn!(%error, "the unused end of a segment cannot be given back")).is_ok()
}

impl<F: JournalFs> Clone for Handle<F> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine) }
    }
}

impl<F: JournalFs> fmt::Debug for Journal<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("incarnation", &self.incarnation()).finish_non_exhaustive()
    }
}

impl<F: JournalFs> fmt::Debug for Handle<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl<F: JournalFs> fmt::Debug for Archive<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("recovery", &self.recovery).finish_non_exhaustive()
    }
}
