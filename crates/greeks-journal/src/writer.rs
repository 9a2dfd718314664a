//! The state of the writing side, and the segments it writes to.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::failpoints::{failpoint, failpoint_io};
use crate::format::{FRAME_HEAD, FRAMES_AT, FrameHead, OPENING_AT, STAMP_BYTES, Seal, Stamp, frame_bytes};
use crate::fs::{read_full, retry, write_all};
use crate::recover::{segment_name, unfinished_name};
use crate::{Error, JournalFs};

/// A disk that stays full is told of no more often than this.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Everything the writing side changes, behind one lock.
pub(crate) struct Writer<F: JournalFs> {
    pub(crate) phase: Phase,
    /// The segment that records go to; none before the first.
    pub(crate) active: Option<Active<F>>,
    pub(crate) spare: Spare<F>,
    pub(crate) next_number: u64,
    pub(crate) written: u64,
    pub(crate) durable: u64,
    /// Frames of the records between `durable` and `written`: what the sync in flight covers, and what came after.
    pub(crate) syncing: Vec<u8>,
    pub(crate) filling: Vec<u8>,
    /// When the first of `filling` was accepted.
    pub(crate) unsynced_since: Option<Instant>,
    /// The files that `filling` went to, oldest first.
    pub(crate) unsynced_files: Vec<Arc<F::File>>,
    /// Somebody waits for a sync.
    pub(crate) sync_now: bool,
    /// Why a segment was last refused, as far as that was told, and when; none when one was made since.
    pub(crate) told_refusal: Option<(Option<i32>, Instant)>,
    /// How often a segment was given up. A sync begun before the last time says nothing any more.
    pub(crate) given_up: u64,
}

pub(crate) enum Phase {
    Open,
    Closed,
    Failed(Arc<io::Error>),
}

/// The segment made in advance.
pub(crate) enum Spare<F: JournalFs> {
    Ready(Fresh<F>),
    /// The thread will make one.
    Wanted,
    /// The thread is making one.
    Making,
    /// There is no room in the quota.
    OverQuota,
    /// The disk refused.
    Refused {
        why: Arc<io::Error>,
        retry_at: Instant,
    },
}

/// A segment nothing was written to yet.
pub(crate) struct Fresh<F: JournalFs> {
    pub(crate) file: Arc<F::File>,
    pub(crate) stamp: Stamp,
    pub(crate) size: u64,
    /// Made of the last room there is.
    pub(crate) markers_only: bool,
}

pub(crate) struct Active<F: JournalFs> {
    pub(crate) segment: Fresh<F>,
    seal: Seal,
    /// Where the next frame goes.
    pub(crate) at: u64,
    /// Its file is among the unsynced ones.
    pub(crate) unsynced: bool,
}

impl<F: JournalFs> Writer<F> {
    pub(crate) fn new(next_number: u64) -> Self {
        Self {
            phase: Phase::Open,
            active: None,
            spare: Spare::Wanted,
            next_number,
            written: 0,
            durable: 0,
            syncing: Vec::new(),
            filling: Vec::new(),
            unsynced_since: None,
            unsynced_files: Vec::new(),
            sync_now: false,
            told_refusal: None,
            given_up: 0,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Closed => Err(Error::Closed),
            Phase::Failed(why) => Err(Error::Failed(Arc::clone(why))),
        }
    }

    pub(crate) fn unsynced_bytes(&self) -> usize {
        self.syncing.len() + self.filling.len()
    }

    /// Whether `need` bytes may go to the active segment. Records leave the reserve alone unless another segment is ready.
    pub(crate) fn fits(&self, need: u64, marker: bool, reserve: u64) -> bool {
        let more = matches!(&self.spare, Spare::Ready(fresh) if !fresh.markers_only);
        self.active.as_ref().is_some_and(|active| {
            let kept = if marker || more { 0 } else { reserve };
            (marker || !active.segment.markers_only) && active.room() >= need + kept
        })
    }

    /// Writes `records` to the active segment with one call. On an error nothing counts as written, but it may be there.
    pub(crate) fn write<R: AsRef<[u8]>>(&mut self, fs: &F, records: &[R]) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        let kept = self.filling.len();
        let (mut seq, mut at) = (self.written, active.at);
        for record in records {
            seq += 1;
            active.seal.push(&mut self.filling, at, seq, record.as_ref());
            at += frame_bytes(record.as_ref().len()) as u64;
        }
        let frames = self.filling.get(kept..).unwrap_or_default();
        let write = || {
            failpoint_io!("journal.before_write")?;
            write_all(fs, &active.segment.file, frames, active.at)
        };
        if let Err(error) = write() {
            self.filling.truncate(kept);
            return Err(error);
        }
        failpoint!("journal.after_write");
        active.at = at;
        self.written = seq;
        if !active.unsynced {
            active.unsynced = true;
            self.unsynced_files.push(Arc::clone(&active.segment.file));
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Makes sure that nothing of `records`, for which there was no room, ever passes for a record: not behind those that are
    /// accepted in their place, and not after a power cut. On an error the file cannot be relied on.
    pub(crate) fn take_back<R: AsRef<[u8]>>(&self, fs: &F, records: &[R]) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        let file = &active.segment.file;
        let (mut at, mut any) = (active.at, false);
        for record in records {
            // The file itself tells what has reached it. Where something has, there is room for zeros.
            let mut head = [0; FRAME_HEAD];
            read_full(fs, file, &mut head, at)?;
            if head != [0; FRAME_HEAD] {
                write_all(fs, file, &[0; FRAME_HEAD], at)?;
                any = true;
            }
            at += frame_bytes(record.as_ref().len()) as u64;
        }
        if any { retry(|| fs.sync_data(file)) } else { Ok(()) }
    }

    /// Whether it is worth telling that a segment was refused: the first time, for another reason, and once in a while.
    pub(crate) fn is_news(&mut self, refused: &io::Error, now: Instant) -> bool {
        let news = self
            .told_refusal
            .is_none_or(|(code, at)| code != refused.raw_os_error() || now.saturating_duration_since(at) >= TELL_AGAIN);
        if news {
            self.told_refusal = Some((refused.raw_os_error(), now));
        }
        news
    }

    /// The unsynced records as frames for another segment.
    pub(crate) fn unsynced_frames(&self, fresh: &Fresh<F>) -> Vec<u8> {
        let seal = fresh.seal();
        let mut frames = Vec::with_capacity(self.unsynced_bytes());
        for mut rest in [self.syncing.as_slice(), self.filling.as_slice()] {
            while let Some(head) = rest.first_chunk().and_then(FrameHead::decode) {
                let payload = rest.get(FRAME_HEAD..FRAME_HEAD + head.length).unwrap_or_default();
                let at = FRAMES_AT + frames.len() as u64;
                seal.push(&mut frames, at, head.seq, payload);
                rest = rest.get(frame_bytes(head.length)..).unwrap_or_default();
            }
        }
        frames
    }
}

impl<F: JournalFs> Fresh<F> {
    /// Makes a segment that will be there after a power cut, and leaves nothing behind when that fails.
    pub(crate) fn make(fs: &F, stamp: Stamp, size: u64, markers_only: bool) -> io::Result<Self> {
        let (unfinished, name) = (unfinished_name(stamp.number), segment_name(stamp.number));
        let make = || {
            failpoint_io!("journal.before_create")?;
            let file = retry(|| fs.create(&unfinished))?;
            retry(|| fs.allocate(&file, size))?;
            write_all(fs, &file, &Stamp { base: 0, ..stamp }.encode(), 0)?;
            retry(|| fs.sync_data(&file))?;
            failpoint_io!("journal.before_rename")?;
            retry(|| fs.rename(&unfinished, &name))?;
            failpoint_io!("journal.before_dirsync")?;
            retry(|| fs.sync_dir())?;
            failpoint!("journal.after_dirsync");
            Ok(Self { file: Arc::new(file), stamp, size, markers_only })
        };
        make().inspect_err(|_| {
            for name in [&unfinished, &name] {
                remove_if_there(fs, name);
            }
        })
    }

    /// Says that records from `base` on are in this segment, and no longer in older ones.
    pub(crate) fn write_opening(&self, fs: &F, base: u64) -> io::Result<()> {
        failpoint_io!("journal.before_opening")?;
        let stamp: [u8; STAMP_BYTES] = Stamp { base, ..self.stamp }.encode();
        write_all(fs, &self.file, &stamp, OPENING_AT)
    }

    /// Begins to write frames behind the `filled` bytes of them that are there.
    pub(crate) fn activate(self, filled: usize) -> Active<F> {
        Active { seal: self.seal(), at: FRAMES_AT + filled as u64, unsynced: false, segment: self }
    }

    fn seal(&self) -> Seal {
        Seal::new(self.stamp.incarnation, self.stamp.number)
    }
}

impl<F: JournalFs> Active<F> {
    fn room(&self) -> u64 {
        self.segment.size.saturating_sub(self.at)
    }
}

/// Removes a file that is of no use. If that fails the next start does it.
pub(crate) fn remove_if_there<F: JournalFs>(fs: &F, name: &str) {
    match retry(|| fs.remove(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = name, %error, "cannot remove a file of the journal");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsFs;

    #[test]
    fn a_disk_that_stays_full_is_told_once_a_minute_and_when_the_reason_changes() {
        let (mut writer, begin) = (Writer::<OsFs>::new(1), Instant::now());
        let told: Vec<bool> = [(0, 28), (1, 28), (2, 13), (3, 13), (61, 13), (62, 13), (121, 13), (122, 13)]
            .map(|(second, code)| {
                writer.is_news(&io::Error::from_raw_os_error(code), begin + Duration::from_secs(second))
            })
            .into();
        assert_eq!(told, [true, false, true, false, false, true, false, true]);
    }
}
