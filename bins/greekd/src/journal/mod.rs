//! The journal of this data directory: where accepted rows are safe before the database has them.

pub(crate) mod inspect;
pub(crate) mod replay;

use std::io;
use std::path::{Path, PathBuf};

use greeks_model::{Clock, Record, SnapshotSink, UnixNanos};
use greeks_processor::SystemClock;
use greeks_processor::metrics::GAPS_TOTAL;
use greeks_store::greeks_journal::{Error, Options};
use greeks_store::private::make_data_dir;
use greeks_store::{JournalLogWriter, JournalLogs, Leftover, journal_log};

use crate::exit::{Code, Failure, with_causes};
use crate::memory::Memory;
use crate::settings::{Journal as JournalSettings, Settings};

/// A segment is the unit in which room is taken and given back: small enough that a quota has some of them.
const SEGMENTS_OF_A_QUOTA: u64 = 8;
const LARGEST_SEGMENT: u64 = 64 << 20;
/// How the names of journals begin that were moved aside.
const PARKED: &str = "journal.parked-";

/// An open journal, and what earlier runs have left in it.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) logs: JournalLogs,
    pub(crate) memory: Memory,
}

/// Where the journal of a data directory is.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Opens the journal of the data directory, which is made where it does not exist. Reads through what earlier runs have
/// left: on a thread of its own, since that takes as long as the disk does.
pub(crate) async fn open(settings: &Settings) -> Result<Journal, Failure> {
    let (data_dir, options) = (settings.data_dir.clone(), options(&settings.journal));
    #[cfg(feature = "failpoints")]
    let options = crate::failpoints::shrink(options);
    let opened = tokio::task::spawn_blocking(move || open_in(&data_dir, options)).await;
    opened.unwrap_or_else(|error| Err(Failure::new(Code::Runtime, format!("the journal cannot be opened: {error}"))))
}

fn open_in(data_dir: &Path, options: Options) -> Result<Journal, Failure> {
    make_data_dir(data_dir).map_err(|error| unusable(data_dir, &error))?;
    let mut logs = journal_log(&directory(data_dir), options).map_err(|error| refused(&error))?;
    let mut memory = Memory::default();
    for left in &logs.leftovers {
        understood(left)?;
        let found = &left.found;
        tracing::info!(
            incarnation = %found.id,
            records = found.last - found.first + 1,
            torn_bytes = found.torn_bytes,
            "an earlier run has left records in the journal: what is not stored yet will be"
        );
        let read = left.scan(|record| memory.note(record));
        read.map_err(|error| Failure::new(Code::Disk, format!("the journal cannot be read: {}", with_causes(&error))))?;
    }
    // Before anything is let go: should the database be away at the next start, only the journal can tell.
    state_crashes(&mut memory, &mut logs.writer, SystemClock::new().now());
    tell_of_parked(data_dir);
    Ok(Journal { logs, memory })
}

/// Writes down where runs that were killed have stopped receiving, as far as that was not stated before.
pub(crate) fn state_crashes(memory: &mut Memory, writer: &mut JournalLogWriter, now: UnixNanos) {
    let crashes = memory.note_crashes(now);
    for gap in &crashes {
        let labels = [("source", gap.source.to_string()), ("reason", gap.reason.to_string())];
        metrics::counter!(GAPS_TOTAL, &labels).increment(1);
    }
    let crashes: Vec<Record> = crashes.into_iter().map(Record::Gap).collect();
    if let Err(error) = writer.append(&crashes) {
        tracing::error!(error = with_causes(&error), "the end of an earlier run cannot be stated");
    }
}

/// Nobody stores what was moved aside but a person, who may have forgotten it.
fn tell_of_parked(data_dir: &Path) {
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PARKED)) {
        let directory = entry.path().display().to_string();
        tracing::warn!(
            directory,
            "a journal was moved aside: `greekd journal replay` stores what it holds; then remove it"
        );
    }
}

/// Refuses records of another version, as after a downgrade.
fn understood(left: &Leftover) -> Result<(), Failure> {
    let (found, known) = (left.found.schema, u32::from(Record::VERSION));
    if found == known {
        return Ok(());
    }
    let what = format!("the journal holds records of version {found}, this program knows {known}");
    Err(Failure::new(Code::Config, what).remedy("start the greekd that wrote them, or a newer one"))
}

fn options(settings: &JournalSettings) -> Options {
    let segment_bytes = (settings.max_bytes / SEGMENTS_OF_A_QUOTA).min(LARGEST_SEGMENT);
    Options { max_bytes: settings.max_bytes, segment_bytes, sync_window: settings.sync, ..Options::default() }
}

pub(crate) fn unusable(directory: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Disk, format!("the data directory {} cannot be made: {error}", directory.display()))
        .remedy("give this account the right to write there, or choose another one with --data-dir or GREEKD_DATA_DIR")
}

/// What it means that a journal cannot be opened.
pub(crate) fn refused(error: &Error) -> Failure {
    let what = with_causes(error);
    match error {
        Error::Locked { .. } => {
            Failure::new(Code::Unavailable, what).remedy("stop that greekd first, or give another --data-dir")
        }
        Error::UnknownVersion { .. } => {
            Failure::new(Code::Config, what).remedy("start the greekd that wrote it, or a newer one")
        }
        Error::Options { .. } => Failure::new(Code::Config, what).remedy("correct GREEKD_JOURNAL_MAX_BYTES"),
        _ => {
            Failure::new(Code::Disk, what).remedy("correct the directory's rights or disk, or give another --data-dir")
        }
    }
}

/// Moves a journal aside whose records must not be stored without a person: another greekd has taken over, and may have
/// received the same events. Tells where it is.
pub(crate) fn park(data_dir: &Path) -> io::Result<PathBuf> {
    let parked = |number: u32| data_dir.join(format!("{PARKED}{number}"));
    let aside = (1..).map(parked).find(|path| !path.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    std::fs::rename(directory(data_dir), &aside)?;
    Ok(aside)
}
