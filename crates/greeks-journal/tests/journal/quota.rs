//! A journal at its quota or on a full disk: nothing accepted is dropped, markers still fit, room heals it.

use std::time::{Duration, Instant};

use crate::support::disk::Disk;
use crate::support::world::{SEGMENT, options};
use greeks_journal::{Error, Journal, Next, Options};

const SEGMENTS: u64 = 6;
const RECORD: [u8; 84] = [7; 84]; // 104 bytes as a frame

/// Appends until it is refused; tells how many records were accepted.
fn fill(journal: &Journal<Disk>) -> (u64, Error) {
    let mut accepted = 0;
    loop {
        match journal.append(&[RECORD, RECORD]) {
            Ok(_) => accepted += 2,
            Err(refused) => return (accepted, refused),
        }
    }
}

fn count(journal: &Journal<Disk>, after: u64) -> u64 {
    let mut cursor = journal.handle().cursor(journal.incarnation(), after).unwrap();
    let mut count = 0;
    while let Next::Record { seq, .. } = cursor.read().unwrap() {
        count += 1;
        assert_eq!(seq, after + count);
    }
    count
}

#[test]
fn at_the_quota_records_are_refused_and_markers_are_not() {
    let disk = Disk::empty();
    let (journal, _) = Journal::open_in(disk.clone(), options(SEGMENTS)).unwrap();
    let (accepted, refused) = fill(&journal);
    assert!(matches!(refused, Error::QuotaReached { limit, .. } if limit == SEGMENTS * SEGMENT), "{refused:?}");
    // All but the room of the next incarnation's segment and the reserve of this one's is used.
    let expected = ((SEGMENTS - 1) * (SEGMENT - 128) - SEGMENT / 8) / 208 * 2;
    assert!(accepted.abs_diff(expected) <= 2 * SEGMENTS, "{accepted} of about {expected}");
    let used = disk.now().names().map(|name| disk.now().content(name).len() as u64).sum::<u64>();
    assert_eq!(journal.handle().usage().used_bytes, used);
    assert!(used <= SEGMENTS * SEGMENT);

    assert!(journal.append(&[&[0; 2000][..]]).is_err(), "a batch is accepted whole or not at all");
    let mut markers = 0;
    while journal.append_marker(&["shed"]).is_ok() {
        markers += 1;
    }
    assert!(markers >= SEGMENT / 8 / 24, "{markers}");
    assert_eq!(count(&journal, 0), accepted + markers);

    // One segment goes, one comes.
    journal.handle().release(journal.incarnation(), (SEGMENT - 128) / 208 * 2).unwrap();
    let (more, _) = fill(&journal);
    assert!((30..40).contains(&more), "{more}");
    let first = match journal.handle().cursor(journal.incarnation(), 0) {
        Err(Error::Released { asked: 1, first }) => first,
        other => panic!("{other:?}"),
    };
    assert_eq!(count(&journal, first - 1), accepted + markers + more - (first - 1));
}

/// Runs that find the quota used up by those before can say so, again and again, and take nothing from them.
#[test]
fn a_start_at_the_quota_can_still_say_so() {
    let disk = Disk::empty();
    let (journal, _) = Journal::open_in(disk.clone(), options(SEGMENTS)).unwrap();
    let (accepted, _) = fill(&journal);
    drop(journal);
    let mut starts = 0;
    for start in 1..=5 {
        let (journal, recovery) = Journal::open_in(disk.clone(), options(SEGMENTS)).unwrap();
        assert_eq!(recovery.incarnations.len(), start);
        assert_eq!(recovery.incarnations[0].last, accepted);
        if journal.append_marker(&["shed"]).is_ok() {
            starts += 1;
        }
        assert!(matches!(journal.append(&[RECORD; 9]), Err(Error::QuotaReached { .. })));
        assert!(journal.handle().usage().used_bytes <= SEGMENTS * SEGMENT);
    }
    assert_eq!(starts, 5);
    let (journal, recovery) = Journal::open_in(disk, options(SEGMENTS)).unwrap();
    let old = recovery.incarnations[0].id;
    journal.handle().release(old, accepted).unwrap();
    journal.append(&[RECORD; 9]).unwrap();
}

#[test]
fn on_a_full_disk_records_are_refused_until_there_is_room() {
    let disk = Disk::empty();
    disk.set_capacity(3 * SEGMENT);
    let (journal, _) = Journal::open_in(disk.clone(), options(100)).unwrap();
    let (accepted, refused) = fill(&journal);
    assert!(matches!(refused, Error::NoSpace(_)), "{refused:?}");
    journal.append_marker(&["shed"]).unwrap();
    assert_eq!(count(&journal, 0), accepted + 1);
    journal.flush().unwrap();
    disk.set_capacity(9 * SEGMENT);
    let end = Instant::now() + Duration::from_secs(10);
    while journal.append(&[RECORD; 9]).is_err() {
        assert!(Instant::now() < end, "room was made and is not used");
        std::thread::yield_now();
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let sizes = [(1 << 20, 1 << 10), (1 << 20, 1 << 19), (1 << 40, 1 << 33)];
    for (max_bytes, segment_bytes) in sizes {
        let options = Options { max_bytes, segment_bytes, ..Options::default() };
        assert!(matches!(Journal::open_in(Disk::empty(), options), Err(Error::Options { .. })), "{segment_bytes}");
    }
    let options = Options { sync_window: Duration::MAX, ..Options::default() };
    assert!(matches!(Journal::open_in(Disk::empty(), options), Err(Error::Options { .. })), "no sync would ever begin");
    let (journal, _) = Journal::open_in(Disk::empty(), Options::default()).unwrap();
    let too_long = vec![0; (8 << 20) + 1];
    assert!(matches!(journal.append(&[&too_long]), Err(Error::TooLarge { .. })));
    // 16 MiB are written at once, heads of frames included.
    assert!(matches!(journal.append(&[&too_long[1..]; 2]), Err(Error::TooLarge { .. })));
    assert_eq!(journal.append(&[&too_long[1..]]).unwrap(), 1);
    assert_eq!(journal.append(&[&too_long[1 << 20..]; 2]).unwrap(), 3);
    assert_eq!(journal.append::<&[u8]>(&[]).unwrap(), 3, "nothing is accepted at once");
    let mut cursor = journal.handle().cursor(journal.incarnation(), 0).unwrap();
    for (expected, length) in [(1, 8 << 20), (2, 7 << 20), (3, 7 << 20)] {
        match cursor.read().unwrap() {
            Next::Record { seq, bytes } => assert_eq!((seq, bytes.len() - bytes.len() % 2), (expected, length)),
            other => panic!("{other:?}"),
        }
    }
}

/// Nobody asks for a sync here and none is due for an hour: but what a power cut would take, and memory holds, has a limit.
#[test]
fn what_is_not_synced_is_bounded() {
    let (journal, _) = Journal::open_in(Disk::empty(), options(1_000)).unwrap();
    let mut most = 0;
    for _ in 0..500 {
        journal.append(&[RECORD, RECORD]).unwrap();
        let progress = journal.handle().progress();
        most = most.max((progress.written - progress.durable) * 104);
    }
    assert!((SEGMENT / 4..=SEGMENT / 2).contains(&most), "{most} bytes");
}

#[test]
fn no_earlier_sync_is_a_setting_that_works() {
    let options = Options { sync_bytes: usize::MAX, ..Options::default() };
    let (journal, _) = Journal::open_in(Disk::empty(), options).unwrap();
    for number in 1..=3 {
        assert_eq!(journal.append(&["one"]).unwrap(), number);
        journal.flush().unwrap();
    }
    journal.close().unwrap();
}
