//! Settings of a journal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::format::{FRAMES_AT, frame_bytes};

const MIN_SEGMENT_BYTES: u64 = 4 << 10;
const MAX_SEGMENT_BYTES: u64 = 1 << 32;
const MAX_UNSYNCED_BYTES: usize = 16 << 20;
const MAX_RESERVE_BYTES: u64 = 8 << 20;
/// Whoever wants more has mistaken the unit; far more than this no clock can add.
const MAX_SYNC_WINDOW: Duration = Duration::from_secs(3600);

/// Called after the journal has come further; see [`Options::listener`].
pub type Listener = Arc<dyn Fn() + Send + Sync>;

/// Settings of a journal. `Options::default()` keeps up to 8 GiB in segments of 64 MiB and syncs every 20 ms.
#[derive(Clone)]
pub struct Options {
    /// What all segments together may occupy, incarnations of earlier runs and the spare included. At least three segments.
    pub max_bytes: u64,
    /// The length of a segment: the unit in which room is taken and given back.
    pub segment_bytes: u64,
    /// At most this long after a record was accepted, syncing it begins; at most an hour. Grows by itself on disks that take
    /// longer.
    pub sync_window: Duration,
    /// Syncing begins earlier when this much was accepted since the last time. What may wait at all is bounded anyway, see
    /// [`Journal::append`](crate::Journal::append).
    pub sync_bytes: usize,
    /// The caller's name for the form of its payloads, handed back with every [`Incarnation`](crate::Incarnation).
    pub schema: u32,
    /// Called after [`Progress`](crate::Progress) has changed, by the thread that changed it and with no lock held. Must not
    /// block: meant for waking what waits elsewhere, for instance `tokio::sync::Notify::notify_one`.
    pub listener: Option<Listener>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 30,
            segment_bytes: 64 << 20,
            sync_window: Duration::from_millis(20),
            sync_bytes: 1 << 20,
            schema: 0,
            listener: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("max_bytes", &self.max_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .field("sync_window", &self.sync_window)
            .field("sync_bytes", &self.sync_bytes)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let reason = match self {
            Self { segment_bytes: ..MIN_SEGMENT_BYTES, .. } => "segment_bytes is less than 4 KiB",
            Self { segment_bytes, .. } if *segment_bytes > MAX_SEGMENT_BYTES => "segment_bytes is more than 4 GiB",
            Self { segment_bytes, max_bytes, .. } if max_bytes / 3 < *segment_bytes => {
                "max_bytes is less than three segments"
            }
            Self { sync_window, .. } if *sync_window > MAX_SYNC_WINDOW => "sync_window is more than an hour",
            _ => return Ok(()),
        };
        Err(Error::Options { reason })
    }

    /// How much of the last segment is kept for markers.
    pub(crate) fn reserve(&self) -> u64 {
        (self.segment_bytes / 8).min(MAX_RESERVE_BYTES)
    }

    /// How much may be accepted that is not synced. It is also kept in memory, and must fit into a new segment together
    /// with one append, which is not longer than that either.
    pub(crate) fn max_unsynced(&self) -> usize {
        let half = (self.segment_bytes - FRAMES_AT) / 2;
        usize::try_from(half).map_or(MAX_UNSYNCED_BYTES, |half| half.min(MAX_UNSYNCED_BYTES)) / frame_bytes(0)
            * frame_bytes(0)
    }
}
