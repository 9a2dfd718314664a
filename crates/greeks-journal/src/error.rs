//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

/// The journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or this one, has the directory open.
    #[error("{} is in use by {}", dir.display(), holder.map_or("another process".into(), |pid| format!("process {pid}")))]
    Locked {
        /// The journal's directory.
        dir: PathBuf,
        /// Who holds the lock, as far as it has said so.
        holder: Option<u32>,
    },
    /// The directory or a file in it belongs to another user or is no plain file.
    #[error("{} cannot be trusted: {reason}", path.display())]
    Untrusted {
        /// What was found.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A segment was written by a version this one does not know. Nothing was touched.
    #[error("segment {name} has format version {version}; this program knows version {known}", known = crate::FORMAT_VERSION)]
    UnknownVersion {
        /// The segment's file.
        name: String,
        /// The version found.
        version: u32,
    },
    /// A system call failed. For an append: nothing was accepted.
    #[error("cannot {action} {name}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        name: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Settings that cannot work together.
    #[error("journal settings: {reason}")]
    Options {
        /// Which and why.
        reason: &'static str,
    },
    /// A record or a batch is longer than can be written. Nothing was accepted.
    #[error("{bytes} bytes in one append; at most {limit} are possible")]
    TooLarge {
        /// What was asked, as stored.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
    /// Accepting the records would exceed the quota. Nothing was accepted; releasing segments makes room.
    #[error("the journal has reached its quota: {used} of {limit} bytes")]
    QuotaReached {
        /// What the segments occupy.
        used: u64,
        /// What they may.
        limit: u64,
    },
    /// The disk has no room for the records, or none for a new segment, or refuses that one otherwise. Nothing was accepted.
    #[error("the disk has no room")]
    NoSpace(#[source] Arc<io::Error>),
    /// The disk failed twice in a row. No append succeeds any more; what was accepted stays readable as far as the disk
    /// permits. Whether records refused with this error reappear after a restart is not known.
    #[error("the journal has failed")]
    Failed(#[source] Arc<io::Error>),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// The record was released before. After a restart this is also the answer for records that were lost with everything
    /// before them: whoever knows that they were not released knows them for a gap, up to `first`.
    #[error("record {asked} was released already; the next kept is {first}")]
    Released {
        /// The record asked for.
        asked: u64,
        /// The oldest one kept, or the next to be written.
        first: u64,
    },
    /// No record of this incarnation is here.
    #[error("the journal has nothing of incarnation {0}")]
    UnknownIncarnation(Uuid),
}

impl Error {
    pub(crate) fn io(action: &'static str, name: &str, source: io::Error) -> Self {
        Self::Io { action, name: name.into(), source }
    }
}
