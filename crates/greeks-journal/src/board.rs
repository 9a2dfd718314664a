//! What readers may know of the journal: its segments and how far it has come. Held for moments only, never during I/O.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::Error;
use crate::format::FRAMES_AT;

/// How far the journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The last record accepted; 0 before the first. It survives the death of the process.
    pub written: u64,
    /// The last record that survives a power cut too.
    pub durable: u64,
    /// Whether more is to come.
    pub state: State,
}

/// Whether a journal accepts records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It does.
    Open,
    /// It was closed: nothing follows.
    Closed,
    /// The disk failed: nothing follows.
    Failed,
}

/// A segment that has records.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) incarnation: Uuid,
    pub(crate) number: u64,
    pub(crate) first: u64,
    /// Less than `first` as long as there is none.
    pub(crate) last: u64,
    /// Nothing at or beyond it is a record.
    pub(crate) limit: u64,
    /// What follows need not be kept.
    pub(crate) end: u64,
    /// What it occupies.
    pub(crate) size: u64,
    pub(crate) damaged: bool,
    /// It is being written to.
    pub(crate) active: bool,
    /// Its file is being removed.
    pub(crate) releasing: bool,
    /// Records that it is known where they begin, in order: who wants a late one need not read all those before.
    pub(crate) marks: Vec<Mark>,
}

/// Where a record begins in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) at: u64,
}

/// How many marks a segment has at most.
const MARKS: u64 = 64;

impl Segment {
    /// Records up to `last` were written; the first of them begins at `from`, the last ends at `limit`.
    pub(crate) fn grow(&mut self, from: Mark, last: u64, limit: u64) {
        if from.at >= self.marks.last().map_or(FRAMES_AT, |mark| mark.at) + self.size / MARKS {
            self.marks.push(from);
        }
        (self.last, self.limit) = (last, limit);
    }

    /// The last mark that is not behind record `seq`.
    fn mark(&self, seq: u64) -> Mark {
        let known = self.marks.iter().rfind(|mark| mark.seq <= seq);
        known.copied().unwrap_or(Mark { seq: self.first, at: FRAMES_AT })
    }
}

/// Where a record is to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Segment {
        number: u64,
        /// Where to begin to look.
        from: Mark,
        last: u64,
        limit: u64,
    },
    /// Nowhere; the next one there is has this number.
    Missing { next: u64 },
    /// It has not been written.
    NotYet,
}

#[derive(Debug)]
pub(crate) struct Board {
    live: Option<Uuid>,
    inner: Mutex<Inner>,
    moved: Condvar,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) progress: Progress,
    /// In the order of their numbers.
    pub(crate) segments: Vec<Segment>,
    /// Up to where segments were released since the journal was opened.
    released: HashMap<Uuid, u64>,
    /// What all segments and the spare occupy.
    pub(crate) used: u64,
    /// How many segments a failed write or sync has cost.
    pub(crate) given_up: u64,
}

impl Board {
    /// `live` is the incarnation that is being written, if one is.
    pub(crate) fn new(live: Option<Uuid>, segments: Vec<Segment>) -> Self {
        let state = if live.is_some() { State::Open } else { State::Closed };
        let used = segments.iter().map(|segment| segment.size).sum();
        let progress = Progress { written: 0, durable: 0, state };
        let inner = Inner { progress, segments, released: HashMap::new(), used, given_up: 0 };
        Self { live, inner: Mutex::new(inner), moved: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that waiting readers want to know.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.moved.notify_all();
    }

    pub(crate) fn wait_beyond(&self, seq: u64, timeout: Duration) -> Progress {
        let waits = |inner: &mut Inner| inner.progress.written <= seq && inner.progress.state == State::Open;
        let (inner, _) =
            self.moved.wait_timeout_while(self.lock(), timeout, waits).unwrap_or_else(PoisonError::into_inner);
        inner.progress
    }

    /// Where record `seq` of `incarnation` is.
    pub(crate) fn place(&self, incarnation: Uuid, seq: u64) -> Result<Place, Error> {
        let inner = self.lock();
        let live = self.live == Some(incarnation);
        let mut kept = inner
            .segments
            .iter()
            .filter(|segment| segment.incarnation == incarnation && !segment.releasing && segment.first <= segment.last)
            .peekable();
        let Some(oldest) = kept.peek().map(|segment| segment.first) else {
            return match live {
                true if seq > inner.progress.written => Ok(Place::NotYet),
                true => Err(Error::Released { asked: seq, first: inner.progress.written + 1 }),
                // An archive has seen them, and then that they were gone.
                false => match inner.released.get(&incarnation).filter(|_| self.live.is_none()) {
                    Some(upto) if seq > *upto => Ok(Place::NotYet),
                    Some(upto) => Err(Error::Released { asked: seq, first: upto.saturating_add(1) }),
                    None => Err(Error::UnknownIncarnation(incarnation)),
                },
            };
        };
        // Between the last one released and the oldest kept there may be some that were lost: they are a gap.
        if seq <= inner.released.get(&incarnation).copied().unwrap_or(oldest.saturating_sub(1)) {
            return Err(Error::Released { asked: seq, first: oldest });
        }
        let Some(segment) = kept.find(|segment| segment.last >= seq) else { return Ok(Place::NotYet) };
        if seq < segment.first {
            return Ok(Place::Missing { next: segment.first });
        }
        let from = segment.mark(seq);
        Ok(Place::Segment { number: segment.number, from, last: segment.last, limit: segment.limit })
    }
}

impl Board {
    /// Whether this process writes the journal.
    pub(crate) fn has_writer(&self) -> bool {
        self.live.is_some()
    }

    /// A segment's file is not there any more, nor are those before it: they are released in order.
    pub(crate) fn found_gone(&self, incarnation: Uuid, number: u64) {
        let mut inner = self.lock();
        let gone = |segment: &&Segment| segment.incarnation == incarnation && segment.number <= number;
        let gone: Vec<Segment> = inner.segments.iter().filter(gone).cloned().collect();
        gone.iter().for_each(|segment| inner.release(segment));
    }

    /// The oldest segment of `incarnation` that has nothing beyond `upto`; from now on its records count as gone.
    pub(crate) fn begin_release(&self, incarnation: Uuid, upto: u64) -> Option<Segment> {
        let mut inner = self.lock();
        let oldest = inner.segments.iter_mut().find(|segment| segment.incarnation == incarnation)?;
        if oldest.active || oldest.last > upto {
            return None;
        }
        oldest.releasing = true;
        Some(oldest.clone())
    }
}

impl Inner {
    /// Goes on in another segment.
    pub(crate) fn enter(&mut self, segment: Segment) {
        self.segments.iter_mut().for_each(|older| older.active = false);
        self.segments.push(segment);
    }

    /// Ends every segment of `incarnation` before record `base`; tells the numbers of those that have none left.
    pub(crate) fn cut(&mut self, incarnation: Uuid, base: u64) -> Vec<u64> {
        for segment in self.segments.iter_mut().filter(|segment| segment.incarnation == incarnation) {
            segment.last = segment.last.min(base - 1);
        }
        let emptied = |segment: &&Segment| segment.incarnation == incarnation && segment.first > segment.last;
        let numbers: Vec<u64> = self.segments.iter().filter(emptied).map(|segment| segment.number).collect();
        numbers.iter().for_each(|number| self.remove(*number));
        numbers
    }

    /// Forgets a segment whose records are not needed any more.
    pub(crate) fn release(&mut self, segment: &Segment) {
        self.released.insert(segment.incarnation, segment.last);
        self.remove(segment.number);
    }

    /// Forgets a segment.
    fn remove(&mut self, number: u64) {
        let size = |segment: &Segment| if segment.number == number { segment.size } else { 0 };
        self.used -= self.segments.iter().map(size).sum::<u64>();
        self.segments.retain(|segment| segment.number != number);
    }
}
