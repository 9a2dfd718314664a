//! The journal on a real disk: who may open it, what it looks like, and reading while it is written.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greeks_journal::{Archive, Error, Journal, JournalFs, Next, Options, OsFs, State};
use rustix::fs::{FileType, Mode, mknodat};

fn small() -> Options {
    Options { max_bytes: 1 << 20, segment_bytes: 16 << 10, ..Options::default() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn everything_is_private() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("not/there/yet");
    let (journal, _) = Journal::open(&dir, small()).unwrap();
    journal.append(&["one"]).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(journal);
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    drop(Journal::open(&dir, small()).unwrap());
    assert_eq!(mode(&dir), 0o700, "and made so again");
}

#[test]
fn a_directory_of_somebody_else_s_files_stays_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("shared");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("site.html"), "read by a web server").unwrap();
    let refused = Journal::open(&dir, small()).unwrap_err();
    assert!(matches!(&refused, Error::Untrusted { path, .. } if *path == dir), "{refused:?}");
    assert!(refused.to_string().contains("a directory of its own") && refused.to_string().contains("chmod 700"));
    assert_eq!((mode(&dir), fs::read_dir(&dir).unwrap().count()), (0o755, 1), "nothing was changed or added");

    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    drop(Journal::open(&dir, small()).unwrap());
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn a_directory_without_other_files_is_made_private() {
    let temp = tempfile::tempdir().unwrap();
    let own =
        ["LOCK", "0000000001.tmp", "0000000002.seg.67e55044-10b1-426f-9247-bb680e5fe0c8.quarantined", "lost+found"];
    for names in [&[][..], &own] {
        let dir = temp.path().join(names.len().to_string());
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        names.iter().for_each(|name| fs::write(dir.join(name), "").unwrap());
        drop(Journal::open(&dir, small()).unwrap());
        assert_eq!(mode(&dir), 0o700, "{names:?}");
    }
}

#[test]
fn one_writer_at_a_time_and_any_number_of_readers() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    journal.append(&["one"]).unwrap();
    let refused = Journal::open(temp.path(), small()).unwrap_err();
    let own = std::process::id();
    assert!(matches!(refused, Error::Locked { holder: Some(pid), .. } if pid == own), "{refused:?}");
    assert!(refused.to_string().ends_with(&format!("is in use by process {own}")), "{refused}");
    let archive = Archive::open(temp.path()).unwrap();
    let mut cursor = archive.cursor(journal.incarnation(), 0).unwrap();
    assert_eq!(cursor.read().unwrap(), Next::Record { seq: 1, bytes: b"one" });
    assert_eq!(cursor.read().unwrap(), Next::CaughtUp);
    journal.close().unwrap();
    let (_journal, recovery) = Journal::open(temp.path(), small()).unwrap();
    assert_eq!(recovery.incarnations.len(), 1);
}

#[test]
fn links_and_pipes_are_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let elsewhere = temp.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    for (case, plant) in [("link", true), ("pipe", false)] {
        let dir = temp.path().join(case);
        drop(Journal::open(&dir, small()).unwrap());
        let planted = dir.join("0000000001.seg");
        if plant {
            symlink(&elsewhere, &planted).unwrap();
        } else {
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(File::open(&dir).unwrap(), "0000000001.seg", FileType::Fifo, mode, 0).unwrap();
        }
        let refused = Journal::open(&dir, small()).unwrap_err();
        assert!(matches!(&refused, Error::Io { action: "open", name, .. } if name == "0000000001.seg"), "{refused:?}");
        assert!(fs::symlink_metadata(&planted).is_ok(), "and nothing was touched");
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

#[test]
fn the_lock_is_no_way_out_of_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (temp.path().join("journal"), temp.path().join("elsewhere"));
    fs::create_dir(&dir).unwrap();
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, dir.join("LOCK")).unwrap();
    assert!(matches!(OsFs::exclusive(&dir), Err(Error::Io { action: "open", .. })));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

#[test]
fn a_reader_follows_the_writer_through_segments_that_come_and_go() {
    const COUNT: u64 = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let listener = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (journal, _) = Journal::open(temp.path(), Options { listener: Some(listener), ..small() }).unwrap();
    let (handle, id) = (journal.handle(), journal.incarnation());
    let reader = thread::spawn(move || {
        let mut cursor = handle.cursor(id, 0).unwrap();
        loop {
            match cursor.read().unwrap() {
                Next::Record { seq, bytes } => {
                    assert_eq!(bytes, seq.to_le_bytes().repeat((seq % 20) as usize));
                    if seq % 500 == 0 {
                        handle.release(id, seq).unwrap();
                    }
                }
                Next::CaughtUp => {
                    let after = cursor.after();
                    let progress = handle.wait_beyond(after, Duration::from_secs(60));
                    if progress.written == after {
                        assert_eq!(progress.state, State::Closed);
                        return after;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    });
    let mut next = 1;
    while next <= COUNT {
        let batch: Vec<Vec<u8>> =
            (next..next + next % 7 + 1).map(|seq| seq.to_le_bytes().repeat((seq % 20) as usize)).collect();
        match journal.append(&batch) {
            Ok(last) => next = last + 1,
            // The reader is behind: what it releases makes room.
            Err(Error::QuotaReached { .. }) => thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    }
    let handle = journal.handle();
    journal.close().unwrap();
    assert_eq!(reader.join().unwrap(), next - 1);
    let progress = handle.progress();
    assert_eq!((progress.written, progress.durable, progress.state), (next - 1, next - 1, State::Closed));
    assert!(calls.load(Ordering::Relaxed) > COUNT / 7);
    assert!(handle.usage().segments < 30, "what was released is gone: {:?}", handle.usage());
}

/// A directory that the writer changes, once for each of `changes`, between the look at its names and the next file.
struct Changing {
    fs: OsFs,
    changes: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl JournalFs for Changing {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.fs.list();
        let change = self.changes.lock().unwrap().pop();
        change.into_iter().for_each(|change| change());
        names
    }

    fn open(&self, name: &str) -> io::Result<(File, u64)> {
        self.fs.open(name)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.read_at(file, bytes, offset)
    }

    fn create(&self, _: &str) -> io::Result<File> {
        unreachable!("for reading only")
    }

    fn allocate(&self, _: &File, _: u64) -> io::Result<()> {
        unreachable!("for reading only")
    }

    fn truncate(&self, _: &File, _: u64) -> io::Result<()> {
        unreachable!("for reading only")
    }

    fn write_at(&self, _: &File, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("for reading only")
    }

    fn sync_data(&self, _: &File) -> io::Result<()> {
        unreachable!("for reading only")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("for reading only")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("for reading only")
    }

    fn sync_dir(&self) -> io::Result<()> {
        unreachable!("for reading only")
    }
}

/// Appends records of 1 KiB until so many segments of [`small`] have been begun; returns the number of the last.
fn fill(journal: &Journal, segments: usize) -> u64 {
    let mut last = 0;
    while journal.handle().usage().segments < segments {
        last = journal.append(&[[7; 1024]]).unwrap();
    }
    last
}

#[test]
fn an_archive_opens_while_the_writer_removes_segments() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    let (last, id) = (fill(&journal, 6), journal.incarnation());
    let release = |upto: u64| -> Box<dyn FnOnce() + Send> {
        let handle = journal.handle();
        Box::new(move || handle.release(id, upto).unwrap())
    };
    let changes = Mutex::new(vec![release(last / 2), release(last / 4)]);
    let fs = Changing { fs: OsFs::read_only(temp.path()).unwrap(), changes };
    let archive = Archive::open_in(fs).unwrap();
    let [found] = archive.recovery().incarnations.as_slice() else { panic!("{:?}", archive.recovery()) };
    assert!(found.first > last / 4 && found.first <= last / 2 + 1 && found.last == last, "{found:?}");
    assert_eq!(found.gaps, [], "what was released is no gap");
}

#[test]
fn an_archive_says_that_a_record_was_released_meanwhile() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    let (last, id) = (fill(&journal, 6), journal.incarnation());
    let archive = Archive::open(temp.path()).unwrap();
    let mut cursor = archive.cursor(id, 0).unwrap();
    journal.handle().release(id, last / 2).unwrap();
    let Error::Released { asked: 1, first } = cursor.read().unwrap_err() else { panic!() };
    assert!(
        matches!(cursor.read(), Err(Error::Released { asked: 1, first: again }) if again == first),
        "it stays there"
    );
    // Whether `first` itself is still there only its file can tell.
    let mut after = first - 1;
    let first = loop {
        match archive.cursor(id, after).unwrap().read() {
            Ok(Next::Record { seq, .. }) => break seq,
            Err(Error::Released { first, .. }) => after = first - 1,
            other => panic!("{other:?}"),
        }
    };
    assert!(first > 1 && first <= last / 2 + 1, "{first}");

    // And so it is when nothing is left.
    let (old, archive) = (id, Archive::open(temp.path()).unwrap());
    let mut cursor = archive.cursor(old, first - 1).unwrap();
    journal.close().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    journal.handle().release(old, last).unwrap();
    let mut after = first - 1;
    while let Err(refused) = cursor.read() {
        let Error::Released { asked, first } = refused else { panic!("{refused:?}") };
        assert!(asked == after + 1 && first > asked, "{refused:?}");
        after = first - 1;
        cursor = archive.cursor(old, after).unwrap();
    }
    assert_eq!(after, last);
    assert_eq!(cursor.read().unwrap(), Next::CaughtUp);
}

#[test]
fn records_are_synced_without_being_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    let handle = journal.handle();
    let end = Instant::now() + Duration::from_secs(30);
    for last in 1..=3 {
        journal.append(&["one"]).unwrap();
        while handle.progress().durable < last {
            assert!(Instant::now() < end, "{:?}", handle.progress());
            thread::yield_now();
        }
    }
    assert_eq!(handle.wait_beyond(3, Duration::from_millis(1)).written, 3, "the wait has an end");
}

#[test]
fn a_closed_journal_accepts_nothing_and_can_be_read() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(temp.path(), small()).unwrap();
    let (handle, id) = (journal.handle(), journal.incarnation());
    journal.append(&["one"]).unwrap();
    journal.close().unwrap();
    assert_eq!(handle.cursor(id, 0).unwrap().read().unwrap(), Next::Record { seq: 1, bytes: b"one" });
    assert!(matches!(handle.cursor(uuid::Uuid::nil(), 0), Err(Error::UnknownIncarnation(_))));
    let files: Vec<u64> =
        fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(files.len(), 2, "one segment and the lock, no spare");
    assert!(files.iter().all(|length| *length < 200), "{files:?}");
}
