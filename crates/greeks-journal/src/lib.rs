//! An append-only, checksummed, segmented log of byte records. What it has accepted survives `kill -9` at once and a
//! power cut soon after; what it cannot give back it names.
//!
//! ```
//! use std::time::Duration;
//! use greeks_journal::{Journal, Next, Options};
//!
//! # let dir = tempfile::tempdir()?;
//! let (journal, recovery) = Journal::open(&dir.path().join("journal"), Options::default())?;
//! assert!(recovery.incarnations.is_empty(), "nothing was left by an earlier run");
//! journal.append(&["one", "two"])?; // accepted: one write(2)
//! journal.flush()?; // durable: fdatasync, otherwise within 20 ms
//!
//! let handle = journal.handle(); // for other threads
//! let mut cursor = handle.cursor(journal.incarnation(), 0)?;
//! assert_eq!(cursor.read()?, Next::Record { seq: 1, bytes: b"one" });
//! assert_eq!(cursor.read()?, Next::Record { seq: 2, bytes: b"two" });
//! assert_eq!(cursor.read()?, Next::CaughtUp);
//! assert_eq!(handle.wait_beyond(2, Duration::ZERO).written, 2);
//! handle.release(journal.incarnation(), 2)?; // segments without any other record are removed
//! journal.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Promises
//!
//! * [`Journal::append`] accepts all of its records or none, and returns when `write(2)` has. Records are numbered from 1
//!   without holes, within an *incarnation* that is new at every start: no number is ever used twice.
//! * A thread of the journal's own syncs in groups: 20 ms or 1 MiB after the first record that is not synced.
//! * When a write fails otherwise, or a sync, the segment is given up: what was not synced is still in memory, goes to a new segment,
//!   is synced there, and only then counts. When that fails too the journal has [failed](State::Failed). A failed sync is
//!   never tried again on the same file: the kernel may have dropped the data and would report success.
//! * That there is no room for a write (a file system that copies what it writes, a quota of the account) is no failure of the
//!   disk: what has reached the file is overwritten with zeros, which are synced, and the records are refused.
//! * The quota is met when a segment is made, not in the middle of a batch. At the quota or on a full disk records are
//!   refused, none is dropped, and [markers](Journal::append_marker) still fit. (Only giving up a segment may go beyond the
//!   quota, by one segment.)
//! * There is no cursor on disk. Readers know how far they have come; [`Handle::release`] removes whole segments.
//! * Files of earlier incarnations are never appended to. Zeros at their end are cut off; what is damaged is kept.
//!
//! # Format, version 1
//!
//! A directory (mode 0700) has segments `NNNNNNNNNN.seg` (0600; ten decimal digits, rising through all incarnations),
//! segments in the making `*.tmp`, segments set aside `*.quarantined`, and `LOCK`, which the writer holds with `flock` and
//! which contains its process id. A segment is made as `.tmp` of its full length, gets its first stamp, is synced, renamed,
//! and the directory is synced; then it waits empty until it is needed. Integers are little-endian.
//!
//! A **segment** is a stamp at 0, a stamp at 64, frames from 128 on, then zeros or its end. The first stamp is written when
//! the segment is made, with `base` 0. The second is the same with `base` set, written before the first frame — or, when it
//! takes over from a segment that was given up, after the frames that were moved. A segment whose second stamp is
//! all zeros holds no records.
//!
//! | stamp | | |
//! |--:|--|--|
//! | 0 | 8 bytes | `grkjrnl\n` |
//! | 8 | u32 | format version |
//! | 12 | u32 | [`Options::schema`] |
//! | 16 | 16 bytes | incarnation, a UUID |
//! | 32 | u64 | the number in the file's name |
//! | 40 | u64 | `base`: its first record. Records with this number or a higher one in earlier segments of the incarnation do not count |
//! | 48 | u64 | when the incarnation began, nanoseconds since 1970 |
//! | 56 | 4 bytes | zeros |
//! | 60 | u32 | CRC-32C of bytes 0 to 59 |
//!
//! | frame | | |
//! |--:|--|--|
//! | 0 | u32 | `0xA5000000` + length of the payload, at most [`MAX_RECORD_BYTES`] |
//! | 4 | u32 | CRC-32C of: incarnation, segment number (u64), place of the frame in the file (u64), bytes 0 to 3 and 8 to the end of the frame |
//! | 8 | u64 | number of the record |
//! | 16 | | payload, then zeros up to a multiple of 8 |
//!
//! As the checksum covers where a frame stands, bytes left by another file, and blocks moved or doubled, never pass for a
//! record. Every version keeps the length of the stamp and the place of its magic, version and checksum, so that a version
//! that is not known can be told from damage.
//!
//! # Recovery
//!
//! [`Journal::open`] syncs what it finds (after a crash the page cache may show what the disk does not have), then decides
//! segment by segment. Every state of a directory has one answer:
//!
//! | found | answer |
//! |--|--|
//! | only zeros, or nothing, behind the last record | the end |
//! | something else behind the last record of an incarnation, or instead of its first | torn: a crash interrupted it. Ignored and counted, [`Incarnation::torn_bytes`] |
//! | something that is no record, and further on one that is | damage: a [`Gap`], and reading goes on there. Records are looked for at multiples of 8, with a number that fits |
//! | a page the disk cannot read | damage as above |
//! | an end too early, or a segment missing, before the next segment's `base` | a [`Gap`] |
//! | a `base` not higher than earlier records | those were moved here and do not count where they were |
//! | one of the two stamps damaged | the other one is used |
//! | both stamps damaged, or for another file; or no record but something else, and a later segment has records | set aside as `*.quarantined`, [`Recovery::unreadable`] |
//! | an intact stamp of another version | [`Error::UnknownVersion`]: nothing is touched |
//! | a segment or incarnation without records, `*.tmp` | removed |
//! | a link, a pipe, somebody else's file | [`Error::Io`] |
//!
//! A gap is not always damage: a power cut may keep a later page and lose an earlier one, neither of which was synced. Damaged
//! segments stay where they are until they are released, and are then set aside instead of deleted.

mod board;
mod cursor;
mod engine;
mod error;
mod failpoints;
mod format;
mod fs;
mod journal;
mod options;
mod os_fs;
mod recover;
mod scan;
mod sync;
mod writer;

pub use board::{Progress, State};
pub use cursor::{Cursor, Next};
pub use error::Error;
#[cfg(feature = "failpoints")]
pub use failpoints::FAILPOINTS;
pub use format::{FORMAT_VERSION, MAX_RECORD_BYTES};
pub use fs::JournalFs;
pub use journal::{Archive, Handle, Journal, Usage};
pub use options::{Listener, Options};
pub use os_fs::OsFs;
pub use recover::{Gap, Incarnation, Recovery};
