//! Where records are read and decoded. Everything here blocks.

use std::collections::VecDeque;
use std::io;

use greeks_journal::{Cursor, Error, Gap, Handle, Next};
use greeks_model::{Batch, LogError, Record, RecordDecoder, Seq, UnixNanos, Uuid};

use super::{corrupt, moment};

/// A batch ends when its binary forms have this length, however few records that are.
const BATCH_BYTES: usize = 8 << 20;

/// Reads one incarnation; holds one batch at most.
#[derive(Debug)]
pub(super) struct Desk {
    handle: Handle,
    incarnation: Uuid,
    /// The oldest record there was when the journal was opened.
    first: u64,
    /// What is known to be missing, in order.
    holes: Vec<Gap>,
    /// When the incarnation began: no record is older.
    began: UnixNanos,
    /// The last record that somebody else had, and its time.
    passed: (u64, UnixNanos),
    /// None until something is read, and after a failure.
    reading: Option<Reading>,
    decoder: RecordDecoder,
    /// Read and not handed out.
    ready: VecDeque<Record>,
    /// The number before the first of `ready`.
    after: u64,
}

/// A place in the journal.
#[derive(Debug)]
struct Reading {
    cursor: Cursor,
    /// The last number that left here.
    at: u64,
    /// The time of the last record read.
    seen: UnixNanos,
    /// What stands for missing records up to this number.
    standing_in: Option<(u64, Record)>,
    /// Read to see where a hole ends.
    behind: Option<Record>,
    /// The length of the last record read.
    bytes: usize,
}

impl Desk {
    pub(super) fn new(handle: Handle, incarnation: Uuid, first: u64, holes: Vec<Gap>, began: UnixNanos) -> Self {
        let holes = join(holes);
        Self {
            handle,
            incarnation,
            first,
            holes,
            passed: (0, began),
            began,
            reading: None,
            decoder: RecordDecoder::new(),
            ready: VecDeque::new(),
            after: 0,
        }
    }

    pub(super) fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Goes on behind record `seq`, which `last` is: somebody else had it.
    pub(super) fn pass(&mut self, seq: u64, last: &Record) {
        // A segment that is held open takes its place on the disk.
        self.reading = None;
        self.passed = (seq, moment(last).unwrap_or(self.passed.1));
    }

    /// At most `max` of the records that follow `after`, as far as they were read.
    pub(super) fn take(&mut self, after: u64, max: usize) -> Option<Batch> {
        let passed = usize::try_from(after.checked_sub(self.after)?).ok()?;
        if passed >= self.ready.len() {
            return None;
        }
        self.ready.drain(..passed);
        let count = self.ready.len().min(max.max(1));
        let records = self.ready.drain(..count).collect();
        self.after = after + count as u64;
        Some(Batch { first: Seq(after).plus(1), records })
    }

    /// Whether everything read has been handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Reads at most `max` of the records that follow `after`.
    pub(super) fn fill(&mut self, after: u64, max: usize) -> Result<(), LogError> {
        self.ready.clear();
        self.after = after;
        let mut reading = match self.reading.take() {
            Some(reading) if reading.at == after => reading,
            _ => self.seek(after).map_err(unreadable)?,
        };
        let mut bytes = 0;
        while self.ready.len() < max.max(1) && bytes < BATCH_BYTES {
            let Some(record) = reading.next(&mut self.decoder, &mut self.holes)? else { break };
            if reading.at > after {
                bytes += reading.bytes;
                self.ready.push_back(record);
            }
        }
        self.reading = Some(reading);
        Ok(())
    }

    /// A hole is one statement wherever reading begins, so it is read from the record before it on.
    fn seek(&self, after: u64) -> Result<Reading, Error> {
        let hole = self.holes.iter().find(|hole| (hole.from - 1..hole.to).contains(&after));
        let from = hole.map_or(after, |hole| hole.from.saturating_sub(2).max(self.first - 1));
        let cursor = self.handle.cursor(self.incarnation, from)?;
        let seen = if self.passed.0 == from { self.passed.1 } else { self.began };
        Ok(Reading { cursor, at: from, seen, standing_in: None, behind: None, bytes: 0 })
    }

    /// How much of what is stored up to `upto` may go: the record before a hole is needed as long as the hole is.
    pub(super) fn may_go(&self, upto: u64) -> u64 {
        let hole = self.holes.iter().find(|hole| (hole.from - 1..hole.to).contains(&upto));
        hole.map_or(upto, |hole| hole.from.saturating_sub(2))
    }
}

impl Reading {
    fn next(&mut self, decoder: &mut RecordDecoder, holes: &mut Vec<Gap>) -> Result<Option<Record>, LogError> {
        loop {
            match &self.standing_in {
                Some((upto, record)) if self.at < *upto => {
                    self.at += 1;
                    return Ok(Some(record.clone()));
                }
                _ => self.standing_in = None,
            }
            if let Some(record) = self.behind.take() {
                self.at += 1;
                return Ok(Some(record));
            }
            match self.read(decoder)? {
                Found::Record(record) => {
                    self.at += 1;
                    return Ok(Some(record));
                }
                Found::Hole(hole) => self.stand_in(hole, decoder, holes)?,
                Found::Nothing => return Ok(None),
            }
        }
    }

    /// Looks where the hole ends, and makes of it what is handed out instead.
    fn stand_in(&mut self, mut hole: Gap, decoder: &mut RecordDecoder, holes: &mut Vec<Gap>) -> Result<(), LogError> {
        let from = self.seen;
        let to = loop {
            match self.read(decoder)? {
                Found::Record(record) => {
                    self.behind = Some(record);
                    break Some(self.seen);
                }
                Found::Hole(more) => hole.to = more.to,
                Found::Nothing => break None,
            }
        };
        let count = hole.to - hole.from + 1;
        tracing::error!(incarnation = %self.cursor.incarnation(), from = hole.from, to = hole.to, "records are damaged");
        let record = corrupt(from, to, Some(count));
        self.standing_in = Some((hole.to, record.ok_or_else(|| LogError::Io(io::ErrorKind::InvalidData.into()))?));
        if !holes.iter().any(|known| known.from <= hole.from && hole.to <= known.to) {
            holes.push(hole);
            *holes = join(std::mem::take(holes));
        }
        Ok(())
    }

    fn read(&mut self, decoder: &mut RecordDecoder) -> Result<Found, LogError> {
        match self.cursor.read().map_err(unreadable)? {
            Next::Record { seq, bytes } => {
                self.bytes = bytes.len();
                let record = decode(decoder, seq, bytes)?;
                self.seen = moment(&record).unwrap_or(self.seen);
                Ok(Found::Record(record))
            }
            Next::Gap(gap) => Ok(Found::Hole(gap)),
            _ => Ok(Found::Nothing),
        }
    }
}

#[derive(Debug)]
enum Found {
    Record(Record),
    Hole(Gap),
    Nothing,
}

/// The bytes are as they were written and mean nothing to this program.
#[derive(Debug, thiserror::Error)]
#[error("record {seq} of the journal is intact and cannot be understood")]
struct Undecodable {
    seq: u64,
    #[source]
    error: greeks_model::DecodeError,
}

pub(super) fn decode(decoder: &mut RecordDecoder, seq: u64, bytes: &[u8]) -> Result<Record, LogError> {
    decoder
        .decode(bytes)
        .map_err(|error| LogError::Io(io::Error::new(io::ErrorKind::InvalidData, Undecodable { seq, error })))
}

/// Holes that touch are one.
fn join(mut holes: Vec<Gap>) -> Vec<Gap> {
    holes.sort_unstable_by_key(|hole| hole.from);
    holes.dedup_by(|next, hole| {
        let touches = next.from <= hole.to + 1;
        if touches {
            hole.to = hole.to.max(next.to);
        }
        touches
    });
    holes
}

pub(super) fn unreadable(error: Error) -> LogError {
    match error {
        Error::Released { asked, first } => LogError::Released { asked: Seq(asked), first: Seq(first) },
        Error::Io { ref source, .. } => LogError::Io(io::Error::new(source.kind(), error)),
        other => LogError::Io(io::Error::other(other)),
    }
}
