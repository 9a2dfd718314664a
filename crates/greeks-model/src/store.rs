//! The two ends of the durable path: records go in at one, and come out numbered at the other.

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Record;

/// Takes records in their final order. Called from the pipeline thread.
pub trait SnapshotSink: Send {
    /// Accepts `records`, all or none; returns when they are accepted. Blocks while the store is at its limit.
    ///
    /// # Errors
    /// [`SinkError`] when they were not accepted; none of them was, but for what [`SinkError::Full`] says.
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError>;

    /// Accepts no more records and makes what was accepted as durable as the sink can.
    ///
    /// # Errors
    /// [`SinkError`] when that failed.
    fn close(self: Box<Self>) -> Result<(), SinkError>;
}

/// Records were not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The sink is closed or its reader is gone.
    #[error("the sink is closed")]
    Closed,
    /// The medium refused.
    #[error("the sink cannot write")]
    Io(#[source] std::io::Error),
    /// There is no room. Some of the records were given up; the others were accepted. The sink has counted them and will
    /// say so itself, as [`Record::Shed`]: do not hand them in again, and go on.
    #[error("the sink is full: {} records were given up", given_up.len())]
    Full {
        /// Their places among the records handed in, in rising order; at least one.
        given_up: Vec<usize>,
    },
}

/// The number of a record within one incarnation: 1 for the first, then without holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The number `by` places further on.
    #[must_use]
    pub const fn plus(self, by: u64) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive records of one incarnation.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The number of the first record.
    pub first: Seq,
    /// At least one record; each is numbered one more than the one before.
    pub records: Vec<Record>,
}

impl Batch {
    /// The number of the last record.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.first.plus((self.records.len() as u64).saturating_sub(1))
    }
}

/// Ordered, numbered, re-readable records. Numbers are never reused within an incarnation, and an incarnation is never
/// reused: that is what lets the store skip what it has already.
#[async_trait]
pub trait SnapshotLog: Send {
    /// Names the run of numbers this log counts in.
    fn incarnation(&self) -> Uuid;

    /// At most `max` records that follow `after`; waits for at least one. May be asked again for the same records until
    /// they are released.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the records are handed out again.
    ///
    /// # Errors
    /// [`LogError::Closed`] when no record follows and none will; other variants when reading failed.
    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError>;

    /// Tells that everything up to `upto` is stored and need not be kept.
    ///
    /// # Errors
    /// [`LogError`] when the log could not drop it; the records stay readable.
    async fn release(&mut self, upto: Seq) -> Result<(), LogError>;
}

/// A log could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The writing end is closed and everything has been read.
    #[error("the log has ended")]
    Closed,
    /// The records asked for were released before.
    #[error("record {asked} was released already; the log begins at {first}")]
    Released {
        /// The record asked for.
        asked: Seq,
        /// The oldest record kept.
        first: Seq,
    },
    /// The medium failed.
    #[error("the log cannot be read")]
    Io(#[source] std::io::Error),
}
