//! Bit rot, truncation and blocks in the wrong place, exhaustively: never a wrong record, never more lost than was hit, and
//! what is lost is told.

use std::ops::{Range, RangeInclusive};
use std::thread;

use crate::support::craft::{name, segment};
use crate::support::disk::{Disk, Image, Lies};
use crate::support::world::{options, read, seed};
use fastrand::Rng;
use greeks_journal::{Archive, Gap, Incarnation, Journal, Next, Options, Recovery};
use proptest::prelude::*;
use uuid::Uuid;

const SEGMENT: usize = 64 << 10;
const STAMPS: usize = 128;
const NAME: &str = "0000000001.seg";

/// A segment full of records, as a journal has written it.
#[derive(Clone)]
struct Full {
    bytes: Vec<u8>,
    records: Vec<Vec<u8>>,
    /// Where the frame of each record is.
    frames: Vec<Range<usize>>,
}

fn full_segment() -> Full {
    let disk = Disk::empty();
    let size = SEGMENT as u64;
    let options = Options { segment_bytes: size, max_bytes: 3 * size, ..Options::default() };
    let (journal, _) = Journal::open_in(disk.clone(), options).unwrap();
    let mut rng = Rng::with_seed(1);
    let mut full = Full { bytes: Vec::new(), records: Vec::new(), frames: Vec::new() };
    let mut at = STAMPS;
    loop {
        let left = SEGMENT - at;
        // Lengths of every remainder, empty records too; the last one fills the segment to its end.
        let length = if left > 600 { rng.usize(0..500) } else { left - 16 };
        let record: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        journal.append_marker(&[&record]).unwrap();
        let end = at + (16 + length).next_multiple_of(8);
        full.frames.push(at..end);
        full.records.push(record);
        at = end;
        if at == SEGMENT {
            break;
        }
    }
    full.bytes = disk.now().content(NAME).to_vec();
    assert_eq!(full.bytes.len(), SEGMENT);
    full
}

fn disk(segments: &[(&str, &[u8])]) -> Disk {
    let mut image = Image::default();
    segments.iter().for_each(|(name, bytes)| image.insert(name, bytes.to_vec()));
    Disk::new(image, Lies::default())
}

/// The numbers of the records that can be read; panics when one of them is not what was written.
fn readable(archive: &Archive<Disk>, full: &Full) -> Vec<u64> {
    let mut numbers = Vec::with_capacity(full.records.len());
    let Some(run) = archive.recovery().incarnations.first() else { return numbers };
    let mut cursor = archive.cursor(run.id, run.first - 1).unwrap();
    loop {
        match cursor.read().unwrap() {
            Next::Record { seq, bytes } => {
                assert_eq!(full.records[seq as usize - 1], bytes, "record {seq} is another one than was written");
                numbers.push(seq);
            }
            Next::Gap(gap) => assert!(run.gaps.contains(&gap), "{gap:?} {run:?}"),
            _ => return numbers,
        }
    }
}

fn only(recovery: &Recovery) -> &Incarnation {
    assert!(recovery.unreadable.is_empty(), "{recovery:?}");
    let [run] = recovery.incarnations.as_slice() else { panic!("{recovery:?}") };
    run
}

/// Calls `check` for every number below `count`, on all cores.
fn for_all(count: usize, check: impl Fn(&Full, &Disk, usize) + Sync) {
    let full = full_segment();
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (full, check) = (&full, &check);
            scope.spawn(move || {
                let disk = disk(&[(NAME, &full.bytes)]);
                (worker..count).step_by(workers).for_each(|number| check(full, &disk, number));
            });
        }
    });
}

#[test]
fn every_single_bit_flipped() {
    for_all(SEGMENT * 8, |full, disk, bit| {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        disk.damage(NAME, flip);
        let archive = Archive::open_in(disk.clone()).unwrap();
        let run = only(archive.recovery());
        let hit = full.frames.iter().position(|frame| frame.contains(&(bit / 8))).map(|index| index as u64 + 1);
        let count = full.records.len() as u64;
        let expected: Vec<u64> = (1..=count).filter(|seq| Some(*seq) != hit).collect();
        assert_eq!(readable(&archive, full), expected, "bit {bit}");
        let (gaps, torn) = match hit {
            None => (vec![], false),
            Some(last) if last == count => (vec![], true),
            Some(seq) => (vec![Gap { from: seq, to: seq }], false),
        };
        assert_eq!((&run.gaps, run.torn_bytes > 0), (&gaps, torn), "bit {bit}");
        assert_eq!(run.damaged.is_empty(), gaps.is_empty(), "bit {bit}");
        disk.damage(NAME, flip);
    });
}

#[test]
fn every_truncation() {
    for_all(SEGMENT + 1, |full, disk, length| {
        disk.damage(NAME, |bytes| bytes.truncate(length));
        let archive = Archive::open_in(disk.clone()).unwrap();
        let whole = full.frames.iter().filter(|frame| frame.end <= length).count() as u64;
        assert_eq!(readable(&archive, full), (1..=whole).collect::<Vec<u64>>(), "{length} bytes");
        for run in &archive.recovery().incarnations {
            assert_eq!((run.last, run.gaps.len()), (whole, 0));
        }
        disk.damage(NAME, |bytes| bytes.clone_from(&full.bytes));
    });
}

/// The numbers of the records no byte of which is in `places`.
fn untouched(full: &Full, places: &[Range<usize>]) -> Vec<u64> {
    let hit = |frame: &Range<usize>| places.iter().any(|place| frame.start < place.end && place.start < frame.end);
    (1..).zip(&full.frames).filter(|(_, frame)| !hit(frame)).map(|(seq, _)| seq).collect()
}

/// Every block is zeroed, replaced by another one, or swapped with it: only records with a byte in it are lost.
#[test]
fn blocks_zeroed_doubled_and_swapped() {
    let full = full_segment();
    let mut rng = Rng::with_seed(seed());
    for size in [512, 4096] {
        for block in 1..SEGMENT / size {
            let other = rng.usize(1..SEGMENT / size);
            let (here, there) = (block * size..(block + 1) * size, other * size..(other + 1) * size);
            let mut zeroed = full.bytes.clone();
            zeroed[here.clone()].fill(0);
            let mut doubled = full.bytes.clone();
            doubled.copy_within(there.clone(), here.start);
            let mut swapped = doubled.clone();
            swapped[there.clone()].copy_from_slice(&full.bytes[here.clone()]);
            for (bytes, places) in [
                (zeroed, vec![here.clone()]),
                (doubled, vec![here.clone()]),
                (swapped, vec![here.clone(), there.clone()]),
            ] {
                let expected = untouched(&full, if bytes == full.bytes { &[] } else { &places });
                let archive = Archive::open_in(disk(&[(NAME, &bytes)])).unwrap();
                assert_eq!(readable(&archive, &full), expected, "blocks of {size}: {block} and {other}");
            }
        }
    }
}

/// Blocks that were another file's before, or the same file's at another place, are no records.
#[test]
fn bytes_of_other_segments_are_no_records() {
    let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let records: Vec<(u64, Vec<u8>)> = (1..=20).map(|seq| (seq, vec![7; 40])).collect();
    let written = segment(ours, 1, 1, &records[..10]);
    for stale in
        [segment(theirs, 1, 1, &records), segment(ours, 2, 1, &records), [&written[..], &written[STAMPS..]].concat()]
    {
        let reused = [&written[..], &stale[written.len()..]].concat();
        let archive = Archive::open_in(disk(&[(NAME, &reused)])).unwrap();
        let run = only(archive.recovery());
        assert_eq!((run.id, run.first, run.last, run.gaps.len()), (ours, 1, 10, 0));
        assert_eq!(run.torn_bytes as usize, stale.len() - written.len());
    }
    let genuine = segment(ours, 1, 1, &records);
    let archive = Archive::open_in(disk(&[(NAME, &genuine)])).unwrap();
    assert_eq!(only(archive.recovery()).last, 20, "the right bytes are records");
}

/// What it is, the files of three segments, the last record, the gaps, and how many segments are unreadable.
type Case = (&'static str, [Vec<u8>; 3], u64, Vec<Gap>, usize);

/// Segments of one incarnation: which are there, what is wrong with them, and what must come out.
#[test]
fn segments_missing_damaged_and_superseded() {
    let id = Uuid::from_u128(1);
    let records = |numbers: RangeInclusive<u64>| numbers.map(|seq| (seq, vec![7; 40])).collect::<Vec<_>>();
    let part = |number, numbers: RangeInclusive<u64>| segment(id, number, *numbers.start(), &records(numbers));
    let [a, b, c] = [part(1, 1..=10), part(2, 11..=20), part(3, 21..=30)];
    let gap = |from, to| vec![Gap { from, to }];
    let spoil = |bytes: &[u8], places: &[usize]| {
        let mut bytes = bytes.to_vec();
        places.iter().for_each(|at| bytes[*at] ^= 0xFF);
        bytes
    };
    let unopened = [&b[..64], &[0; 64], &b[128..]].concat();
    let first_frame_of_b = spoil(&b, &[STAMPS + 20]);
    let three = |a: &[u8], b: &[u8], c: &[u8]| [a.to_vec(), b.to_vec(), c.to_vec()];
    let cases: [Case; 12] = [
        ("all there", three(&a, &b, &c), 30, vec![], 0),
        ("the middle is missing", three(&a, &[], &c), 30, gap(11, 20), 0),
        ("the middle does not say whose it is", three(&a, &spoil(&b, &[3, 70]), &c), 30, gap(11, 20), 1),
        ("the middle is empty", three(&a, &b[..10], &c), 30, gap(11, 20), 1),
        ("the first stamp is damaged", three(&a, &spoil(&b, &[3]), &c), 30, vec![], 0),
        ("the second stamp is damaged", three(&a, &spoil(&b, &[70]), &c), 30, vec![], 0),
        ("second stamp and first record", three(&a, &spoil(&first_frame_of_b, &[70]), &c), 30, gap(11, 11), 0),
        ("the middle was never begun", three(&a, &unopened, &c), 30, gap(11, 20), 0),
        ("the middle ends early", three(&a, &b[..b.len() - 56], &c), 30, gap(20, 20), 0),
        ("the end of the middle is torn", three(&a, &b[..b.len() - 10], &c), 30, gap(20, 20), 0),
        ("the end of all is torn", three(&a, &b, &c[..c.len() - 10]), 29, vec![], 0),
        ("a segment moved under another name", three(&a, &a, &c), 30, gap(11, 20), 1),
    ];
    for (case, segments, last, gaps, unreadable) in cases {
        let mut image = Image::default();
        for (number, bytes) in (1..).zip(segments).filter(|(_, bytes)| !bytes.is_empty()) {
            image.insert(&name(number), bytes);
        }
        let archive = Archive::open_in(Disk::new(image, Lies::default())).unwrap();
        let recovery = archive.recovery();
        let run = &recovery.incarnations[0];
        assert_eq!((run.first, run.last, &run.gaps), (1, last, &gaps), "{case}");
        assert_eq!(recovery.unreadable.len(), unreadable, "{case}");
        let found = read(&mut archive.cursor(id, 0).unwrap()).unwrap();
        for item in &found {
            let missing = gaps.iter().any(|gap| (gap.from..=gap.to).contains(&item.seq));
            assert_eq!(item.bytes.is_none(), missing, "{case}: {}", item.seq);
        }
        assert_eq!(found.last().unwrap().seq, last, "{case}");
    }
}

/// A segment that took over from one that was given up: what the older one has from there on does not count.
#[test]
fn a_segment_takes_over_from_its_base_on() {
    let id = Uuid::from_u128(1);
    let old = segment(id, 1, 1, &(1..=10).map(|seq| (seq, b"old".to_vec())).collect::<Vec<_>>());
    let new = segment(id, 2, 8, &[(8, b"new".to_vec()), (9, b"new".to_vec())]);
    let archive = Archive::open_in(disk(&[(NAME, &old), (&name(2), &new)])).unwrap();
    let found = read(&mut archive.cursor(id, 0).unwrap()).unwrap();
    let told: Vec<_> = found.iter().map(|item| (item.seq, item.bytes.as_deref().unwrap())).collect();
    let expected: Vec<(u64, &[u8])> = (1..=9).map(|seq| (seq, if seq < 8 { &b"old"[..] } else { b"new" })).collect();
    assert_eq!(told, expected);
    assert_eq!(only(archive.recovery()).torn_bytes, 0);
}

/// Damaged segments outlive their release; unreadable ones are out of the way at once; files of others stay.
#[test]
fn damage_is_set_aside_not_deleted() {
    let id = Uuid::from_u128(1);
    let mut hurt = segment(id, 1, 1, &(1..=9).map(|seq| (seq, vec![7; 40])).collect::<Vec<_>>());
    hurt[300] ^= 1;
    let sound = segment(id, 2, 10, &[(10, vec![7; 40])]);
    let disk = disk(&[
        (NAME, &hurt),
        (&name(2), &sound),
        (&name(3), b"nonsense"),
        ("notes.txt", b"mine"),
        ("0000000009.tmp", b""),
    ]);
    let (journal, recovery) = Journal::open_in(disk.clone(), options(8)).unwrap();
    assert_eq!(recovery.unreadable, [name(3)]);
    assert_eq!(recovery.incarnations[0].damaged, [NAME]);
    assert_eq!((recovery.incarnations[0].gaps.len(), recovery.quarantined.len()), (1, 1));
    journal.handle().release(id, 10).unwrap();
    let names: Vec<String> = disk.now().names().map(String::from).filter(|name| !name.ends_with(".seg")).collect();
    let [first, third, notes] = names.as_slice() else { panic!("{names:?}") };
    assert!(first.starts_with(NAME) && first.ends_with(".quarantined"), "{first}");
    assert_eq!(disk.now().content(first), hurt);
    assert!(third.starts_with(&name(3)) && third.ends_with(".quarantined"), "{third}");
    assert_eq!(notes, "notes.txt");
    drop(journal);
    let archive = Archive::open_in(disk).unwrap();
    assert_eq!((archive.recovery().incarnations.len(), archive.recovery().quarantined.len()), (0, 2));
}

proptest! {
    /// Files of any content: there is an answer, everything can be read, and the journal goes on.
    #[test]
    fn any_content_has_an_answer(
        files in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1200)), 1..4),
    ) {
        let mut image = Image::default();
        for (number, (stamped, bytes)) in (1..).zip(files) {
            let start = if stamped { segment(Uuid::from_u128(1), number, number, &[]) } else { vec![] };
            image.insert(&name(number), [start, bytes].concat());
        }
        goes_on(image)?;
    }

    /// Intact stamps and records that no journal would write: any number, any base.
    #[test]
    fn any_numbers_have_an_answer(
        segments in prop::collection::vec(
            (number(), prop::collection::vec((number(), prop::collection::vec(any::<u8>(), 0..40)), 0..6), 0..4_u8),
            1..5,
        ),
    ) {
        let mut image = Image::default();
        for (at, (base, records, id)) in (1..).zip(segments) {
            image.insert(&name(at), segment(Uuid::from_u128(u128::from(id)), at, base, &records));
        }
        goes_on(image)?;
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(u64::MAX >> 1)]
}

fn goes_on(image: Image) -> Result<(), TestCaseError> {
    let disk = Disk::new(image, Lies::default());
    let (journal, recovery) = Journal::open_in(disk.clone(), options(8)).unwrap();
    for run in &recovery.incarnations {
        prop_assert!(run.first <= run.last && run.first > 0);
        let mut cursor = journal.handle().cursor(run.id, run.first - 1).unwrap();
        let mut next = run.first;
        let mut gaps = Vec::new();
        loop {
            match cursor.read().unwrap() {
                Next::Record { seq, .. } => {
                    prop_assert_eq!(seq, next);
                    next = seq + 1;
                }
                Next::Gap(gap) => {
                    prop_assert!(gap.from == next && gap.to >= gap.from);
                    next = gap.to + 1;
                    gaps.push(gap);
                }
                _ => break,
            }
        }
        prop_assert_eq!(next, run.last + 1);
        let count = |gaps: &[Gap]| gaps.iter().map(|gap| gap.to - gap.from + 1).sum::<u64>();
        prop_assert_eq!(count(&gaps), count(&run.gaps));
    }
    prop_assert_eq!(journal.append(&["goes on"]).unwrap(), 1);
    drop(journal);
    let ids = Archive::open_in(disk).unwrap().recovery().incarnations.len();
    prop_assert_eq!(ids, recovery.incarnations.len() + 1);
    Ok(())
}
