//! Reading records back, in order, while others are being written.

use std::fmt;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::board::{Board, Mark, Place};
use crate::format::Seal;
use crate::fs::retry;
use crate::recover::segment_name;
use crate::scan::{Found, Scanner};
use crate::{Error, Gap, JournalFs};

/// What a cursor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next<'a> {
    /// The next record.
    Record {
        /// Its number.
        seq: u64,
        /// What was appended.
        bytes: &'a [u8],
    },
    /// Records that were accepted and cannot be read; the cursor goes on behind them.
    Gap(Gap),
    /// Nothing follows now. For the incarnation being written, ask again when
    /// [`Handle::wait_beyond`](crate::Handle::wait_beyond) says so; for others this is the end.
    CaughtUp,
}

/// Walks the records of one incarnation. Reads files, so it may block for as long as the disk takes; never waits for the
/// writer.
pub struct Cursor<F: JournalFs = crate::OsFs> {
    fs: Arc<F>,
    board: Arc<Board>,
    incarnation: Uuid,
    /// The record to hand out next.
    wanted: u64,
    open: Option<Open<F>>,
}

struct Open<F: JournalFs> {
    number: u64,
    /// The last record that counts.
    last: u64,
    scanner: Scanner<F>,
}

/// [`Next`] without the bytes.
enum Step {
    Record(u64),
    Gap(Gap),
    CaughtUp,
}

impl<F: JournalFs> Cursor<F> {
    pub(crate) fn new(fs: Arc<F>, board: Arc<Board>, incarnation: Uuid, after: u64) -> Result<Self, Error> {
        let wanted = after.saturating_add(1);
        board.place(incarnation, wanted)?;
        Ok(Self { fs, board, incarnation, wanted, open: None })
    }

    /// The incarnation whose records these are.
    pub fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// The number of the last record handed out or found missing.
    pub fn after(&self) -> u64 {
        self.wanted - 1
    }

    /// The next record, in order of their numbers.
    ///
    /// # Errors
    /// [`Error::Released`] when it was released meanwhile, [`Error::Io`] when the disk refused; both leave the cursor where
    /// it is.
    pub fn read(&mut self) -> Result<Next<'_>, Error> {
        match self.step()? {
            Step::Record(seq) => {
                let bytes = self.open.as_ref().map(|open| open.scanner.payload()).unwrap_or_default();
                Ok(Next::Record { seq, bytes })
            }
            Step::Gap(gap) => Ok(Next::Gap(gap)),
            Step::CaughtUp => Ok(Next::CaughtUp),
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            let Some(open) = self.open.as_mut().filter(|open| self.wanted <= open.last) else {
                match self.advance()? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            };
            let found = open.scanner.next(&*self.fs);
            match found.map_err(|source| Error::io("read", &segment_name(open.number), source))? {
                Found::Record(seq) if seq < self.wanted => {}
                // The scanner tells of every number from the one on with which it began: none is passed over here.
                Found::Record(seq) => {
                    self.wanted = seq + 1;
                    return Ok(Step::Record(seq));
                }
                Found::Hole(gap) if gap.to < self.wanted => {}
                Found::Hole(gap) => {
                    let to = gap.to.min(open.last);
                    return Ok(self.missing(to));
                }
                Found::End { .. } => {
                    let to = open.last;
                    return Ok(self.missing(to));
                }
            }
        }
    }

    /// Opens the segment that has the wanted record, or looks further in the one that is open.
    fn advance(&mut self) -> Result<Option<Step>, Error> {
        match self.board.place(self.incarnation, self.wanted)? {
            Place::NotYet => Ok(Some(Step::CaughtUp)),
            Place::Missing { next } => Ok(Some(self.missing(next - 1))),
            Place::Segment { number, from, last, limit } => {
                match &mut self.open {
                    Some(open) if open.number == number => {
                        open.last = last;
                        open.scanner.extend(limit);
                    }
                    _ => self.enter(number, from, last, limit)?,
                }
                Ok(None)
            }
        }
    }

    fn missing(&mut self, to: u64) -> Step {
        let gap = Gap { from: self.wanted, to: to.max(self.wanted) };
        self.wanted = gap.to + 1;
        Step::Gap(gap)
    }

    fn enter(&mut self, number: u64, from: Mark, last: u64, limit: u64) -> Result<(), Error> {
        match retry(|| self.fs.open(&segment_name(number))) {
            Ok((file, _)) => {
                let scanner =
                    Scanner::new(file, Seal::new(self.incarnation, number), Some(from.seq), limit).at(from.at);
                self.open = Some(Open { number, last, scanner });
                Ok(())
            }
            // Another process has the journal and tells nobody what it releases.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.board.has_writer() => {
                self.board.found_gone(self.incarnation, number);
                Ok(())
            }
            // Released between the look and here: the next look will tell.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.gone(number)? => Ok(()),
            Err(source) => Err(Error::io("open", &segment_name(number), source)),
        }
    }

    fn gone(&self, number: u64) -> Result<bool, Error> {
        let place = self.board.place(self.incarnation, self.wanted)?;
        Ok(!matches!(place, Place::Segment { number: same, .. } if same == number))
    }
}

impl<F: JournalFs> fmt::Debug for Cursor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("incarnation", &self.incarnation)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}
