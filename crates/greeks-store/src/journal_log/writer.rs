//! The end that the pipeline appends to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use greeks_journal::{Error, Journal};
use greeks_model::{Record, RecordEncoder, SinkError, SnapshotSink};

use super::recent::Recent;
use super::tally::Tally;
use super::{JournalFull, Shedding};

/// Keeps so many buffers of at most this length from one append for the next.
const KEEP_BUFFERS: usize = 4_096;
const KEEP_BYTES: usize = 4 << 10;
/// That a record never fits is told no more often than this: it may come again with every poll.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The writing end of a journal. Each append is one `write(2)` and accepted when it returns; syncing goes on behind it.
///
/// # When there is no room
///
/// At the quota or on a full disk nothing accepted is dropped, and nothing waits: rows are given up, the newest ones that
/// is, and the append says [`SinkError::Full`]. Gaps and positions still fit into a reserve. What is given up is counted
/// per source and stated as [`Record::Shed`] through the same reserve, at once and then whenever an eighth has come on
/// top, and in full together with the first records that are accepted again or at the end; when even the end finds no room
/// for them, closing fails. A record that is longer than any append is given up and counted alike. All statements about one
/// stretch have the same source and `from`: they are one row in the database, and the last one counts. Only a process
/// killed in the middle of it leaves a count that is too low, by an eighth at most.
#[derive(Debug)]
pub struct JournalLogWriter {
    journal: Journal,
    /// Reused, so that a steady stream allocates nothing.
    encoded: Buffers,
    tally: Tally,
    /// Where it is, for people.
    dir: PathBuf,
    /// Whether and why the last append found no room, and at most the reserve took something.
    refused: Option<JournalFull>,
    /// When it was last told that a record never fits.
    told_too_long: Option<Instant>,
    shedding: Arc<Shedding>,
    /// For the reader, beside the disk.
    recent: Arc<Recent>,
    /// The number that the next record will have.
    next: u64,
}

impl JournalLogWriter {
    pub(super) fn new(journal: Journal, dir: &Path, shedding: Arc<Shedding>, recent: Arc<Recent>) -> Self {
        let next = journal.handle().progress().written + 1;
        Self {
            journal,
            encoded: Buffers::default(),
            tally: Tally::default(),
            dir: dir.to_owned(),
            refused: None,
            told_too_long: None,
            shedding,
            recent,
            next,
        }
    }

    /// Returns when everything accepted so far survives a power cut too.
    ///
    /// # Errors
    /// [`SinkError::Io`] when the disk refuses.
    pub fn flush(&self) -> Result<(), SinkError> {
        self.journal.flush().map_err(refused)
    }

    /// Accepts `records`, which begin at `place` of what was handed in, in one write unless they are too many for one;
    /// adds the places of those given up to `given_up`.
    fn accept(&mut self, records: &[Record], place: usize, given_up: &mut Vec<usize>) -> Result<(), SinkError> {
        let statements = self.tally.statements();
        let all = || statements.iter().chain(records);
        let encoded = self.encoded.of(all());
        self.recent.offer(self.next, all());
        let appended = self.journal.append(encoded);
        if appended.is_err() {
            self.recent.take_back(self.next);
        }
        match appended {
            Ok(last) => {
                self.next = last + 1;
                self.tally.finish();
            }
            Err(Error::QuotaReached { .. }) => self.find_full(JournalFull::Quota, records, place, given_up),
            Err(Error::NoSpace(_)) => self.find_full(JournalFull::Disk, records, place, given_up),
            Err(Error::TooLarge { bytes, limit }) => match records.len() {
                // It would never fit: it must not hold up the others.
                0 | 1 => {
                    self.tell_too_long(records, bytes, limit);
                    self.give_up(records, place, given_up, |_| true);
                }
                several => {
                    let (before, after) = records.split_at(several / 2);
                    self.accept(before, place, given_up)?;
                    self.accept(after, place + before.len(), given_up)?;
                }
            },
            Err(error) => return Err(refused(error)),
        }
        Ok(())
    }

    /// Keeps what fits into the reserve and counts the rest.
    fn find_full(&mut self, full: JournalFull, records: &[Record], place: usize, given_up: &mut Vec<usize>) {
        self.refused = Some(full);
        let is_row = |record: &Record| matches!(record, Record::Snapshot(_));
        let others = self.encoded.of(records.iter().filter(|record| !is_row(record)));
        let kept = others.is_empty() || mark(&self.journal, others, &mut self.next);
        self.give_up(records, place, given_up, |record| !kept || is_row(record));
    }

    fn tell_too_long(&mut self, records: &[Record], bytes: usize, limit: usize) {
        let now = Instant::now();
        if self.told_too_long.is_some_and(|told| now.saturating_duration_since(told) < TELL_AGAIN) {
            return;
        }
        self.told_too_long = Some(now);
        let source = records.first().map(|record| record.source().as_str());
        let positions = records.first().and_then(|record| match record {
            Record::Positions(positions) => Some(positions.positions.len()),
            _ => None,
        });
        tracing::error!(
            source,
            positions,
            bytes,
            limit,
            "a record is longer than the journal can hold and is given up"
        );
    }

    /// Counts those of `records` that are lost.
    fn give_up(
        &mut self,
        records: &[Record],
        place: usize,
        given_up: &mut Vec<usize>,
        is_lost: impl Fn(&Record) -> bool,
    ) {
        for (at, record) in records.iter().enumerate().filter(|(_, record)| is_lost(record)) {
            self.tally.add(record);
            given_up.push(place + at);
        }
        if self.tally.is_due() {
            self.state();
        }
    }

    /// States what was given up so far, if the reserve permits; tells whether it did.
    fn state(&mut self) -> bool {
        let statements = self.tally.statements();
        let accepted = mark(&self.journal, self.encoded.of(&statements), &mut self.next);
        if accepted {
            self.tally.note();
        }
        accepted
    }
}

impl SnapshotSink for JournalLogWriter {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut given_up = Vec::new();
        self.refused = None;
        self.accept(records, 0, &mut given_up)?;
        let full = self.refused;
        self.shedding.total.fetch_add(given_up.len() as u64, Ordering::Relaxed);
        if self.shedding.swap(full) != full {
            let total = self.shedding.total.load(Ordering::Relaxed);
            let (directory, max_bytes) = (self.dir.display(), self.journal.handle().usage().max_bytes);
            match full {
                Some(JournalFull::Quota) => tracing::error!(
                    %directory, total, max_bytes, remedy = "bring the database back, or allow the journal more bytes",
                    "the journal is full: new rows are given up until there is room within its quota"
                ),
                Some(JournalFull::Disk) => tracing::error!(
                    %directory, total, remedy = "make room on the disk of this directory",
                    "the journal is full: new rows are given up until there is room on the disk"
                ),
                None => tracing::info!(total, "the journal has room again"),
            }
        }
        if given_up.is_empty() { Ok(()) } else { Err(SinkError::Full { given_up }) }
    }

    fn close(mut self: Box<Self>) -> Result<(), SinkError> {
        let stated = self.tally.is_empty() || self.state();
        let unstated = if stated { Vec::new() } else { self.tally.statements() };
        self.journal.close().map_err(refused)?;
        if unstated.is_empty() {
            return Ok(());
        }
        tracing::error!(directory = %self.dir.display(), statements = ?unstated, "no room to state what was given up");
        Err(SinkError::Io(io::Error::new(io::ErrorKind::StorageFull, Unstated::of(&unstated))))
    }
}

/// Nobody will hear of rows that were given up, but for this.
#[derive(Debug, thiserror::Error)]
#[error("no room to state that {records} records were given up")]
struct Unstated {
    records: u64,
}

impl Unstated {
    fn of(statements: &[Record]) -> Self {
        let count = |record: &Record| if let Record::Shed(shed) = record { shed.count } else { 0 };
        Self { records: statements.iter().map(count).sum() }
    }
}

/// Appends to the reserve; tells whether there was room. What is rare the reader has from the disk.
fn mark(journal: &Journal, encoded: &[Vec<u8>], next: &mut u64) -> bool {
    let last = journal.append_marker(encoded);
    if let Ok(last) = last {
        *next = last + 1;
    }
    last.is_ok()
}

/// Binary forms, in buffers that are used again.
#[derive(Debug, Default)]
struct Buffers {
    encoder: RecordEncoder,
    forms: Vec<Vec<u8>>,
}

impl Buffers {
    /// The binary forms of `records`.
    fn of<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> &[Vec<u8>] {
        self.forms.truncate(KEEP_BUFFERS);
        let mut count = 0;
        for record in records {
            if self.forms.len() == count {
                self.forms.push(Vec::new());
            }
            if let Some(form) = self.forms.get_mut(count) {
                form.clear();
                form.shrink_to(KEEP_BYTES);
                self.encoder.encode(record, form);
            }
            count += 1;
        }
        self.forms.get(..count).unwrap_or_default()
    }
}

fn refused(error: Error) -> SinkError {
    match error {
        Error::Closed => SinkError::Closed,
        Error::Failed(ref why) => SinkError::Io(io::Error::new(why.kind(), error)),
        other => SinkError::Io(io::Error::other(other)),
    }
}
