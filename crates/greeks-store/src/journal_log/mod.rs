//! A log on disk: what was accepted survives `kill -9`, a database outage of hours and, once synced, a power cut.

mod desk;
mod log;
mod recent;
mod tally;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use greeks_journal::{Error, Handle, Incarnation, Journal, Options, Progress, Recovery, Usage};
use greeks_model::{GapReason, GapRecord, LogError, Record, SourceId, UnixNanos};
use tokio::sync::Notify;

pub use log::JournalLog;
pub use writer::JournalLogWriter;

use desk::Desk;
use recent::Recent;

/// The name under which a gap is stated where accepted records are lost: whose they were cannot be read any more.
pub(crate) const JOURNAL: &str = "journal";

/// What [`journal_log`] opens.
#[derive(Debug)]
#[non_exhaustive]
pub struct JournalLogs {
    /// The end the pipeline appends to.
    pub writer: JournalLogWriter,
    /// What the writer accepts, as it comes.
    pub log: JournalLog,
    /// What earlier runs have left, the oldest first. Commit each to its end before the next and before [`log`](Self::log):
    /// records are then stored in the order in which they were received.
    pub leftovers: Vec<Leftover>,
    /// Segments that could not be read at all and were set aside.
    pub unreadable: Vec<String>,
    /// For status pages and metrics.
    pub monitor: JournalMonitor,
}

/// The records an earlier run has accepted and not released.
#[derive(Debug)]
#[non_exhaustive]
pub struct Leftover {
    /// What recovery found: how many, what is missing, what a crash has torn off.
    pub found: Incarnation,
    /// The records. Ends with [`LogError::Closed`](greeks_model::LogError::Closed); when its last record is released its
    /// files are gone, or set aside if they are damaged.
    pub log: JournalLog,
}

impl Leftover {
    /// Shows every record that can be read, in order, without handing any out: a start wants to know what was accepted
    /// last. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`LogError::Io`] when the disk fails or a record is not understood.
    pub fn scan(&self, mut visit: impl FnMut(&Record)) -> Result<(), LogError> {
        self.log.scan(self.found.first, &mut visit)
    }
}

/// Shows how a journal is doing.
#[derive(Clone, Debug)]
pub struct JournalMonitor {
    handle: Handle,
    shedding: Arc<Shedding>,
}

/// Why a journal gives up new rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalFull {
    /// It has reached its quota.
    Quota,
    /// The disk has no room for what the quota permits.
    Disk,
}

/// What the writer tells of records given up.
#[derive(Debug, Default)]
struct Shedding {
    total: AtomicU64,
    /// Why the latest append gave up records: 0 when it did not, 1 for the quota, 2 for the disk.
    now: AtomicU8,
}

impl Shedding {
    /// Notes what became of an append; returns what became of the one before.
    fn swap(&self, full: Option<JournalFull>) -> Option<JournalFull> {
        let now = match full {
            None => 0,
            Some(JournalFull::Quota) => 1,
            Some(JournalFull::Disk) => 2,
        };
        Self::read(self.now.swap(now, Ordering::Relaxed))
    }

    const fn read(now: u8) -> Option<JournalFull> {
        match now {
            0 => None,
            1 => Some(JournalFull::Quota),
            _ => Some(JournalFull::Disk),
        }
    }
}

impl JournalMonitor {
    /// What the journal occupies.
    pub fn usage(&self) -> Usage {
        self.handle.usage()
    }

    /// How far the writer has come, and what of it survives a power cut.
    pub fn progress(&self) -> Progress {
        self.handle.progress()
    }

    /// How many records were given up since the start.
    pub fn given_up(&self) -> u64 {
        self.shedding.total.load(Ordering::Relaxed)
    }

    /// Whether the latest append had to give up records.
    pub fn is_full(&self) -> bool {
        self.full().is_some()
    }

    /// Why the latest append had to give up records; `None` when it did not.
    pub fn full(&self) -> Option<JournalFull> {
        Shedding::read(self.shedding.now.load(Ordering::Relaxed))
    }
}

/// Opens the journal in `dir`, made when it does not exist, under a new incarnation. The options' `schema` is set here, and
/// their listener is called as well.
///
/// Reads through everything that earlier runs have left, so it blocks for as long as the disk takes: call it before the
/// runtime starts or on a thread for blocking work.
///
/// # Damage
///
/// Records that were accepted and can no longer be read keep their numbers: each of them is read as one and the same
/// [`Record::Gap`] of source `journal` and reason [`GapReason::Corrupt`], from the time of the record before to that of the
/// record behind, with their count. The database makes one row of `ingest_gaps` of them. Segments of which not even the
/// head can be read are stated the same way, without a count, as the first record of the new incarnation.
///
/// # Errors
/// Those of [`Journal::open`]; neither damage nor a full disk is one.
///
/// ```
/// use greeks_model::{GapReason, GapRecord, Record, Seq, SnapshotLog, SnapshotSink, SourceId, UnixNanos};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let options = greeks_store::greeks_journal::Options::default();
/// let mut journal = greeks_store::journal_log(&dir.path().join("journal"), options)?;
/// assert!(journal.leftovers.is_empty(), "nothing was left by an earlier run");
/// let since = UnixNanos::EPOCH;
/// let gap = GapRecord { source: SourceId::new("test")?, from: since, to: None, reason: GapReason::Silence, count: None };
/// journal.writer.append(&[Record::Gap(gap.clone())])?; // from here on it survives the process
/// assert_eq!(journal.log.next(Seq::ZERO, 100).await?.records, [Record::Gap(gap)]);
/// journal.log.release(Seq(1)).await?; // it is in the database
/// # Ok(())
/// # }
/// ```
pub fn journal_log(dir: &Path, mut options: Options) -> Result<JournalLogs, Error> {
    let arrived = Arc::new(Notify::new());
    options.schema = u32::from(Record::VERSION);
    options.listener = Some(match options.listener.take() {
        None => {
            let arrived = Arc::clone(&arrived);
            Arc::new(move || arrived.notify_one())
        }
        Some(theirs) => {
            let arrived = Arc::clone(&arrived);
            Arc::new(move || {
                arrived.notify_one();
                theirs();
            })
        }
    });
    let (journal, recovery) = Journal::open(dir, options)?;
    if let Some(gap) = unreadable(dir, &recovery) {
        state(&journal, &gap);
    }
    let handle = journal.handle();
    let living = Desk::new(handle.clone(), journal.incarnation(), 1, Vec::new(), now());
    let left = recovery.incarnations.into_iter().map(|found| {
        let desk = Desk::new(handle.clone(), found.id, found.first, found.gaps.clone(), nanos(found.opened_at));
        let log = JournalLog::left(handle.clone(), desk, &found);
        Leftover { found, log }
    });
    let leftovers = left.collect();
    let shedding = Arc::<Shedding>::default();
    let recent = Arc::<Recent>::default();
    Ok(JournalLogs {
        log: JournalLog::living(handle.clone(), living, arrived, Arc::clone(&recent)),
        leftovers,
        unreadable: recovery.unreadable,
        monitor: JournalMonitor { handle, shedding: Arc::clone(&shedding) },
        writer: JournalLogWriter::new(journal, dir, shedding, recent),
    })
}

/// The statement about segments nothing can be read of: something between the oldest of what is here and now.
fn unreadable(dir: &Path, recovery: &Recovery) -> Option<Record> {
    let aside = recovery.quarantined.iter().filter(|name| recovery.unreadable.iter().any(|bad| name.starts_with(bad)));
    let written = aside.filter_map(|name| dir.join(name).metadata().ok()?.modified().ok());
    let begun = recovery.incarnations.iter().map(|run| run.opened_at);
    let to = now();
    let from = written.chain(begun).map(nanos).min().map_or(to, |from| from.min(to));
    (!recovery.unreadable.is_empty()).then(|| corrupt(from, Some(to), None)).flatten()
}

fn state(journal: &Journal, gap: &Record) {
    let mut bytes = Vec::new();
    gap.encode(&mut bytes);
    if let Err(error) = journal.append_marker(&[bytes]) {
        tracing::error!(%error, "damaged segments were set aside, and there is no room to state the gap");
    }
}

/// The statement that accepted records cannot be read.
fn corrupt(from: UnixNanos, to: Option<UnixNanos>, count: Option<u64>) -> Option<Record> {
    let source = SourceId::new(JOURNAL).ok()?;
    let to = to.map(|to| to.max(from));
    Some(Record::Gap(GapRecord { source, from, to, reason: GapReason::Corrupt, count }))
}

/// The time a record speaks of, the later one of two.
pub(crate) fn moment(record: &Record) -> Option<UnixNanos> {
    match record {
        Record::Snapshot(row) => Some(row.received_at),
        Record::Positions(positions) => Some(positions.observed_at),
        Record::Gap(gap) => Some(gap.to.unwrap_or(gap.from)),
        Record::Shed(shed) => Some(shed.to),
        _ => None,
    }
}

fn now() -> UnixNanos {
    nanos(SystemTime::now())
}

fn nanos(at: SystemTime) -> UnixNanos {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
