//! The end that the pipeline appends to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use greeks_journal::{Error, Journal};
use greeks_model::{Record, RecordEncoder, SinkError, SnapshotSink};

use super::Shedding;
use super::recent::Recent;
use super::tally::Tally;

/// Keeps so many buffers of at most this length from one append for the next.
const KEEP_BUFFERS: usize = 4_096;
const KEEP_BYTES: usize = 4 << 10;

/// The writing end of a journal. Each append is one `write(2)` and accepted when it returns; syncing goes on behind it.
///
/// # When there is no room
///
/// At the quota or on a full disk nothing accepted is dropped, and nothing waits: rows are given up, the newest ones that
/// is, and the append says [`SinkError::Full`]. Gaps and positions still fit into a reserve. What is given up is counted
/// per source and stated as [`Record::Shed`] through the same reserve, at once and then whenever an eighth has come on
/// top, and in full together with the first records that are accepted again or at the end. All statements about one
/// stretch have the same source and `from`: they are one row in the database, and the last one counts. Only a process
/// killed in the middle of it leaves a count that is too low, by an eighth at most.
#[derive(Debug)]
pub struct JournalLogWriter {
    journal: Journal,
    /// Reused, so that a steady stream allocates nothing.
    encoded: Buffers,
    tally: Tally,
    /// Whether the last append found no room, and at most the reserve took something.
    refused: bool,
    shedding: Arc<Shedding>,
    /// For the reader, beside the disk.
    recent: Arc<Recent>,
    /// The number that the next record will have.
    next: u64,
}

impl JournalLogWriter {
    pub(super) fn new(journal: Journal, shedding: Arc<Shedding>, recent: Arc<Recent>) -> Self {
        let next = journal.handle().progress().written + 1;
        let (encoded, tally) = (Buffers::default(), Tally::default());
        Self { journal, encoded, tally, refused: false, shedding, recent, next }
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
            Err(Error::QuotaReached { .. } | Error::NoSpace(_)) => self.give_up(records, place, given_up),
            Err(Error::TooLarge { bytes, .. }) => match records.len() {
                // It would never fit: it must not hold up the others.
                0 | 1 => {
                    tracing::error!(bytes, "a record is longer than the journal can hold");
                    self.give_up(records, place, given_up);
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
    fn give_up(&mut self, records: &[Record], place: usize, given_up: &mut Vec<usize>) {
        self.refused = true;
        let is_row = |record: &&Record| matches!(record, Record::Snapshot(_));
        let others = self.encoded.of(records.iter().filter(|record| !is_row(record)));
        let kept = others.is_empty() || mark(&self.journal, others, &mut self.next);
        for (at, record) in records.iter().enumerate().filter(|(_, record)| !kept || is_row(record)) {
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
        self.refused = false;
        self.accept(records, 0, &mut given_up)?;
        let full = self.refused;
        self.shedding.total.fetch_add(given_up.len() as u64, Ordering::Relaxed);
        if self.shedding.now.swap(full, Ordering::Relaxed) != full {
            let total = self.shedding.total.load(Ordering::Relaxed);
            match full {
                true => tracing::error!(total, "the journal is full: new rows are given up until there is room"),
                false => tracing::info!(total, "the journal has room again"),
            }
        }
        if given_up.is_empty() { Ok(()) } else { Err(SinkError::Full { given_up }) }
    }

    fn close(mut self: Box<Self>) -> Result<(), SinkError> {
        if !self.tally.is_empty() && !self.state() {
            tracing::error!(statements = ?self.tally.statements(), "no room to state what was given up");
        }
        self.journal.close().map_err(refused)
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
