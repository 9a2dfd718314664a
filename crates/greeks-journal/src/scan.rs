//! Reading one segment: intact records in order, and what lies between them.

use std::io;

use crate::format::{ALIGN, FRAME_HEAD, FRAMES_AT, FrameHead, Seal, frame_bytes};
use crate::fs::{is_lost, read_full};
use crate::{Gap, JournalFs};

/// How much is read at a time.
const CHUNK: usize = 256 << 10;
/// When a read fails, its pieces of this length are tried one by one.
const PAGE: usize = 4 << 10;

/// What stands next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An intact record with the number expected; [`Scanner::payload`] is it.
    Record(u64),
    /// These records were here and cannot be read.
    Hole(Gap),
    /// No intact record follows. `junk` bytes up to the last one that is not zero do.
    End { junk: u64 },
}

/// Walks the frames of one segment.
pub(crate) struct Scanner<F: JournalFs> {
    window: Window<F>,
    seal: Seal,
    /// Where the next frame begins.
    at: u64,
    /// The number it has, if that is known.
    expected: Option<u64>,
    /// Where the payload of the last record is.
    payload: (u64, usize),
    /// Bytes were skipped.
    skipped: bool,
}

impl<F: JournalFs> Scanner<F> {
    /// `base` is the number of the first record, if the segment tells; nothing at or beyond `limit` is looked at.
    pub(crate) fn new(file: F::File, seal: Seal, base: Option<u64>, limit: u64) -> Self {
        let window = Window { file, limit, start: 0, bytes: Vec::new(), unreadable: false };
        Self { window, seal, at: FRAMES_AT, expected: base, payload: (0, 0), skipped: false }
    }

    /// Begins at `at`, where the first record is that is to be read.
    pub(crate) fn at(mut self, at: u64) -> Self {
        self.at = at;
        self
    }

    /// Where the last record read ends.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Looks further: the segment has grown.
    pub(crate) fn extend(&mut self, limit: u64) {
        self.window.limit = limit;
    }

    /// Whether anything was skipped or could not be read.
    pub(crate) fn damaged(&self) -> bool {
        self.skipped || self.window.unreadable
    }

    /// The record found last.
    pub(crate) fn payload(&self) -> &[u8] {
        self.window.have(self.payload.0, self.payload.1).unwrap_or_default()
    }

    pub(crate) fn next(&mut self, fs: &F) -> io::Result<Found> {
        match self.head(fs, self.at)? {
            Some(head)
                if self.expected.is_none_or(|expected| expected == head.seq) && self.holds(fs, self.at, head)? =>
            {
                Ok(self.take(head))
            }
            _ => self.search(fs),
        }
    }

    fn take(&mut self, head: FrameHead) -> Found {
        self.payload = (self.at + FRAME_HEAD as u64, head.length);
        self.at += frame_bytes(head.length) as u64;
        self.expected = Some(head.seq.saturating_add(1));
        Found::Record(head.seq)
    }

    /// Looks for the next intact record behind something that is none.
    fn search(&mut self, fs: &F) -> io::Result<Found> {
        let mut at = self.at;
        let mut junk_end = at;
        while at < self.window.limit {
            let chunk = self.window.get(fs, at, CHUNK)?;
            let length = chunk.len() as u64;
            if chunk.is_empty() {
                break;
            }
            if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
                junk_end = at + last as u64 + 1;
                for candidate in (at..at + length).step_by(ALIGN) {
                    match self.head(fs, candidate)? {
                        Some(head) if self.plausible(candidate, head) && self.holds(fs, candidate, head)? => {
                            return Ok(self.resume(candidate, head));
                        }
                        _ => {}
                    }
                }
            }
            at += length.next_multiple_of(ALIGN as u64);
        }
        Ok(Found::End { junk: junk_end - self.at })
    }

    /// No more records can be missing than fit into the bytes that were skipped.
    fn plausible(&self, candidate: u64, head: FrameHead) -> bool {
        let room = (candidate - self.at) / frame_bytes(0) as u64;
        self.expected.is_none_or(|expected| (expected..=expected.saturating_add(room)).contains(&head.seq))
    }

    fn resume(&mut self, at: u64, head: FrameHead) -> Found {
        self.at = at;
        self.skipped = true;
        match self.expected.replace(head.seq) {
            Some(expected) if expected < head.seq => Found::Hole(Gap { from: expected, to: head.seq - 1 }),
            _ => self.take(head),
        }
    }

    fn head(&mut self, fs: &F, at: u64) -> io::Result<Option<FrameHead>> {
        Ok(self.window.get(fs, at, FRAME_HEAD)?.first_chunk().and_then(FrameHead::decode))
    }

    fn holds(&mut self, fs: &F, at: u64, head: FrameHead) -> io::Result<bool> {
        Ok(self.seal.holds(at, head, self.window.get(fs, at, frame_bytes(head.length))?))
    }
}

/// A piece of a file, moved along as needed.
struct Window<F: JournalFs> {
    file: F::File,
    limit: u64,
    /// Where `bytes` begins in the file.
    start: u64,
    bytes: Vec<u8>,
    unreadable: bool,
}

impl<F: JournalFs> Window<F> {
    /// The bytes from `at`, fewer than `length` only where the limit or the file ends.
    fn get(&mut self, fs: &F, at: u64, length: usize) -> io::Result<&[u8]> {
        let length = usize::try_from(self.limit.saturating_sub(at)).map_or(length, |left| left.min(length));
        if self.have(at, length).is_none() {
            self.load(fs, at, length.max(CHUNK))?;
        }
        let loaded = self.bytes.len().min(length);
        Ok(self.have(at, length).or_else(|| self.have(at, loaded)).unwrap_or_default())
    }

    fn have(&self, at: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(length)?)
    }

    fn load(&mut self, fs: &F, at: u64, length: usize) -> io::Result<()> {
        let left = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        self.bytes.clear();
        self.bytes.resize(length.min(left), 0);
        self.start = at;
        let filled = match read_full(fs, &self.file, &mut self.bytes, at) {
            Ok(filled) => filled,
            Err(_) => self.load_pages(fs)?,
        };
        self.bytes.truncate(filled);
        Ok(())
    }

    /// Reads around what the disk cannot read: the unreadable becomes bytes that are no record and not the end either.
    fn load_pages(&mut self, fs: &F) -> io::Result<usize> {
        let mut filled = 0;
        for (page, bytes) in self.bytes.chunks_mut(PAGE).enumerate() {
            let wanted = bytes.len();
            match read_full(fs, &self.file, bytes, self.start + (page * PAGE) as u64) {
                Ok(read) => filled += read,
                Err(error) if is_lost(&error) => {
                    bytes.fill(0xFF);
                    self.unreadable = true;
                    filled += wanted;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
