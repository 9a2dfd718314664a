//! Appending, rolling over, and surviving a disk that fails.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::board::{Board, Mark, Segment, State};
use crate::failpoints::{failpoint, failpoint_io};
use crate::format::{FRAMES_AT, MAX_RECORD_BYTES, Stamp, frame_bytes};
use crate::fs::{is_full, retry, write_all};
use crate::recover::{QUARANTINED, segment_name};
use crate::writer::{Fresh, Phase, Spare, Writer, remove_if_there};
use crate::{Error, JournalFs, Options};

type Guard<'a, F> = MutexGuard<'a, Writer<F>>;

/// What the journal, its handles and its thread share.
pub(crate) struct Engine<F: JournalFs> {
    pub(crate) fs: Arc<F>,
    pub(crate) board: Arc<Board>,
    pub(crate) options: Options,
    /// Of every segment of this incarnation, but for number and base.
    pub(crate) stamp: Stamp,
    pub(crate) writer: Mutex<Writer<F>>,
    /// The thread has something to do.
    pub(crate) work: Condvar,
    /// The thread has done something.
    pub(crate) done: Condvar,
    /// One release at a time.
    pub(crate) releases: Mutex<()>,
}

impl<F: JournalFs> Engine<F> {
    pub(crate) fn lock(&self) -> Guard<'_, F> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait elsewhere. Not to be called with the lock held.
    pub(crate) fn notify(&self) {
        if let Some(listener) = &self.options.listener {
            listener();
        }
    }

    /// Accepts `records`, all or none; tells the number of the last.
    pub(crate) fn append<R: AsRef<[u8]>>(&self, records: &[R], marker: bool) -> Result<u64, Error> {
        let outcome = self.append_quietly(records, marker);
        self.notify();
        outcome
    }

    fn append_quietly<R: AsRef<[u8]>>(&self, records: &[R], marker: bool) -> Result<u64, Error> {
        let need = self.measure(records)?;
        let writer = self.lock();
        writer.check()?;
        if records.is_empty() {
            return Ok(writer.written);
        }
        let writer = self.wait_for_syncs(writer, need)?;
        let (mut writer, roll) = self.make_room(writer, need as u64, marker)?;
        if let Err(error) = self.write(&mut writer, records, roll) {
            // The file is as good as before, unless what is left of them cannot be taken back.
            if is_full(&error) && writer.take_back(&*self.fs, records).is_ok() {
                return Err(Error::NoSpace(Arc::new(error)));
            }
            self.give_up_segment(&mut writer, error)?;
            // What was unsynced and one append fit into a new segment.
            self.write(&mut writer, records, false).map_err(|error| self.fail(&mut writer, error))?;
        }
        let first_of_window = writer.filling.len() == need;
        if first_of_window || writer.filling.len() >= self.options.sync_bytes {
            self.work.notify_one();
        }
        Ok(writer.written)
    }

    /// Returns when everything accepted so far survives a power cut.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut writer = self.lock();
        let target = writer.written;
        while writer.durable < target {
            if let Phase::Failed(why) = &writer.phase {
                return Err(Error::Failed(Arc::clone(why)));
            }
            writer = self.wait_for_sync(writer);
        }
        Ok(())
    }

    /// The bytes that `records` will take.
    fn measure<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<usize, Error> {
        let limit = self.options.max_unsynced();
        let mut bytes = 0_usize;
        for record in records {
            let length = record.as_ref().len();
            if length > MAX_RECORD_BYTES {
                return Err(Error::TooLarge { bytes: length, limit: MAX_RECORD_BYTES });
            }
            bytes = bytes.saturating_add(frame_bytes(length));
        }
        if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(bytes) }
    }

    /// What is not synced is bounded: it is held in memory, and a power cut takes it.
    fn wait_for_syncs<'a>(&'a self, mut writer: Guard<'a, F>, need: usize) -> Result<Guard<'a, F>, Error> {
        while writer.unsynced_bytes() > 0 && writer.unsynced_bytes() + need > self.options.max_unsynced() {
            writer = self.wait_for_sync(writer);
            writer.check()?;
        }
        Ok(writer)
    }

    fn wait_for_sync<'a>(&'a self, mut writer: Guard<'a, F>) -> Guard<'a, F> {
        writer.sync_now = true;
        self.work.notify_one();
        self.done.wait(writer).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is room for `need` bytes, and whether it is in the spare.
    fn make_room<'a>(
        &'a self,
        mut writer: Guard<'a, F>,
        need: u64,
        marker: bool,
    ) -> Result<(Guard<'a, F>, bool), Error> {
        loop {
            writer.check()?;
            if writer.fits(need, marker, self.options.reserve()) {
                return Ok((writer, false));
            }
            match &writer.spare {
                Spare::Ready(fresh) if !fresh.markers_only || (marker && fresh.size >= FRAMES_AT + need) => {
                    return Ok((writer, true));
                }
                Spare::Ready(_) | Spare::OverQuota => {
                    return Err(Error::QuotaReached { used: self.board.lock().used, limit: self.options.max_bytes });
                }
                Spare::Refused { why, .. } => return Err(Error::NoSpace(Arc::clone(why))),
                Spare::Wanted | Spare::Making => {
                    self.work.notify_one();
                    writer = self.done.wait(writer).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn write<R: AsRef<[u8]>>(&self, writer: &mut Writer<F>, records: &[R], roll: bool) -> io::Result<()> {
        if roll {
            self.roll(writer)?;
        }
        let end = |writer: &Writer<F>| writer.active.as_ref().map_or(0, |active| active.at);
        let from = Mark { seq: writer.written + 1, at: end(writer) };
        writer.write(&*self.fs, records)?;
        let (written, limit) = (writer.written, end(writer));
        self.board.update(|inner| {
            inner.progress.written = written;
            if let Some(segment) = inner.segments.last_mut().filter(|segment| segment.active) {
                segment.grow(from, written, limit);
            }
        });
        Ok(())
    }

    /// Goes on in the spare.
    fn roll(&self, writer: &mut Writer<F>) -> io::Result<()> {
        let Spare::Ready(fresh) = mem::replace(&mut writer.spare, Spare::Wanted) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.work.notify_one();
        let base = writer.written + 1;
        if let Err(error) = fresh.write_opening(&*self.fs, base) {
            self.discard(&fresh);
            return Err(error);
        }
        self.board.update(|inner| inner.enter(self.entry(&fresh, base, writer.written, FRAMES_AT)));
        writer.active = Some(fresh.activate(0));
        Ok(())
    }

    /// After a write or a sync has failed the file cannot be relied on: the kernel may have dropped what it could not
    /// write, and a second sync would not say so. What is not synced goes to a new segment, which is synced before it counts.
    pub(crate) fn give_up_segment(&self, writer: &mut Writer<F>, error: io::Error) -> Result<(), Error> {
        tracing::warn!(%error, unsynced = writer.unsynced_bytes(), "the disk failed: moving to a new segment");
        self.rewrite(writer).map_err(|error| self.fail(writer, error))
    }

    fn rewrite(&self, writer: &mut Writer<F>) -> io::Result<()> {
        let fresh = match mem::replace(&mut writer.spare, Spare::Wanted) {
            Spare::Ready(fresh) if !fresh.markers_only => fresh,
            other => {
                writer.spare = other;
                // Beyond the quota if need be: this is for records that were accepted.
                self.make_segment(self.claim(writer, self.options.segment_bytes), self.options.segment_bytes, false)?
            }
        };
        let frames = writer.unsynced_frames(&fresh);
        let base = writer.durable + 1;
        let written = || {
            write_all(&*self.fs, &fresh.file, &frames, FRAMES_AT)?;
            failpoint!("journal.give_up");
            // From here on older segments end before `base`: only now that it is all here, should the process be killed.
            fresh.write_opening(&*self.fs, base)?;
            retry(|| self.fs.sync_data(&fresh.file))
        };
        if let Err(error) = written() {
            self.discard(&fresh);
            return Err(error);
        }
        writer.given_up += 1;
        writer.durable = writer.written;
        writer.syncing.clear();
        writer.filling.clear();
        writer.unsynced_since = None;
        writer.unsynced_files.clear();
        let mut emptied = Vec::new();
        self.board.update(|inner| {
            emptied = inner.cut(self.stamp.incarnation, base);
            inner.progress.durable = writer.written;
            inner.given_up += 1;
            inner.enter(self.entry(&fresh, base, writer.written, FRAMES_AT + frames.len() as u64));
        });
        for number in emptied {
            remove_if_there(&*self.fs, &segment_name(number));
        }
        writer.active = Some(fresh.activate(frames.len()));
        self.drop_outdated_spare(writer);
        self.work.notify_one();
        self.done.notify_all();
        Ok(())
    }

    /// A spare may only follow the active segment: the order of numbers is the order of records.
    pub(crate) fn drop_outdated_spare(&self, writer: &mut Writer<F>) {
        let active = writer.active.as_ref().map_or(0, |active| active.segment.stamp.number);
        if let Spare::Ready(fresh) = &writer.spare
            && fresh.stamp.number < active
        {
            self.discard(fresh);
            writer.spare = Spare::Wanted;
            self.work.notify_one();
        }
    }

    /// The journal accepts nothing any more.
    pub(crate) fn fail(&self, writer: &mut Writer<F>, error: io::Error) -> Error {
        tracing::error!(%error, "the journal has failed");
        let why = Arc::new(error);
        writer.phase = Phase::Failed(Arc::clone(&why));
        self.board.update(|inner| inner.progress.state = State::Failed);
        self.work.notify_one();
        self.done.notify_all();
        Error::Failed(why)
    }

    /// Takes a number and counts the room of a segment that is about to be made.
    pub(crate) fn claim(&self, writer: &mut Writer<F>, size: u64) -> u64 {
        let number = writer.next_number;
        writer.next_number += 1;
        self.board.lock().used += size;
        number
    }

    /// Makes a segment for which room was claimed.
    pub(crate) fn make_segment(&self, number: u64, size: u64, markers_only: bool) -> io::Result<Fresh<F>> {
        let stamp = Stamp { number, ..self.stamp };
        Fresh::make(&*self.fs, stamp, size, markers_only).inspect_err(|_| self.board.lock().used -= size)
    }

    pub(crate) fn discard(&self, fresh: &Fresh<F>) {
        remove_if_there(&*self.fs, &segment_name(fresh.stamp.number));
        self.board.lock().used -= fresh.size;
    }

    fn entry(&self, fresh: &Fresh<F>, first: u64, last: u64, limit: u64) -> Segment {
        Segment {
            incarnation: self.stamp.incarnation,
            number: fresh.stamp.number,
            first,
            last,
            limit,
            end: fresh.size,
            size: fresh.size,
            damaged: false,
            active: true,
            releasing: false,
            marks: Vec::new(),
        }
    }
}

impl<F: JournalFs> Engine<F> {
    /// Removes the segments of `incarnation` that have nothing beyond `upto`, the oldest first and each for good before the
    /// next: what a crash leaves has no hole.
    pub(crate) fn release(&self, incarnation: uuid::Uuid, upto: u64) -> Result<(), Error> {
        let _one_at_a_time = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut released = Ok(());
        let mut any = false;
        while let Some(segment) = self.board.begin_release(incarnation, upto) {
            released = self.remove_segment(&segment);
            if released.is_err() {
                break;
            }
            self.board.update(|inner| inner.release(&segment));
            any = true;
        }
        if any {
            self.room_was_made();
            self.notify();
        }
        released
    }

    fn remove_segment(&self, segment: &Segment) -> Result<(), Error> {
        let name = segment_name(segment.number);
        let (action, removed) = if segment.damaged {
            ("set aside", quarantine(&*self.fs, &name, self.stamp.incarnation).map(drop))
        } else {
            ("remove", failpoint_io!("journal.before_unlink").and_then(|()| retry(|| self.fs.remove(&name))))
        };
        failpoint!("journal.after_unlink");
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(action, &name, error)),
            _ => {}
        }
        retry(|| self.fs.sync_dir()).map_err(|source| Error::io("sync", "the directory", source))
    }

    fn room_was_made(&self) {
        let mut writer = self.lock();
        match &writer.spare {
            Spare::Ready(fresh) if fresh.markers_only => self.discard(fresh),
            Spare::OverQuota | Spare::Refused { .. } => {}
            _ => return,
        }
        writer.spare = Spare::Wanted;
        self.work.notify_one();
    }
}

/// Sets a segment aside under a name that nothing else has, and tells it.
pub(crate) fn quarantine<F: JournalFs>(fs: &F, name: &str, by: uuid::Uuid) -> io::Result<String> {
    let aside = format!("{name}.{by}{QUARANTINED}");
    retry(|| fs.rename(name, &aside))?;
    tracing::warn!(segment = name, kept_as = %aside, "a damaged segment is set aside");
    Ok(aside)
}
