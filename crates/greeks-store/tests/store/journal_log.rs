//! The log on disk: what goes in comes out, over restarts, kills and damage.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{at, drain, open_journal, series, tick, ticks};
use greeks_model::{
    Batch, GapReason, GapRecord, LogError, PositionsRecord, Record, Seq, ShedRecord, SnapshotLog, SnapshotSink,
    SourceId, UnixNanos, Uuid,
};
use greeks_store::JournalLogs;
use proptest::prelude::*;

const CALL: &str = "AAPL  261218C00232500";
const CHILD_DIR: &str = "GREEKS_STORE_TEST_JOURNAL";
const SMALL: u64 = 16 << 10;

fn open(dir: &Path, segments: u64) -> JournalLogs {
    open_journal(dir, SMALL, segments)
}

fn rows(numbers: std::ops::Range<u32>) -> Vec<Record> {
    ticks(&series("5WT00001", CALL), numbers)
}

fn source(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

fn gap(from: UnixNanos) -> Record {
    let to = Some(from.saturating_add(Duration::from_secs(1)));
    Record::Gap(GapRecord { source: source("tastytrade"), from, to, reason: GapReason::Silence, count: Some(3) })
}

#[tokio::test]
async fn every_kind_of_record_reads_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, leftovers, .. } = open(dir.path(), 8);
    assert!(leftovers.is_empty());
    let moment = at("2026-11-20T15:00:00.123456789Z");
    let held = series("5WT00001", CALL);
    let mut row = tick(&held, 7);
    row.source_payload = Some(r#"{"x":"é"}"#.into());
    row.theta = Some(-0.0);
    let records = [
        Record::Snapshot(row),
        Record::Positions(PositionsRecord {
            source: source("tastytrade"),
            account_id: held.account_id.clone(),
            observed_at: moment,
            positions: vec![(held, -2.0)],
        }),
        gap(moment),
        Record::Shed(ShedRecord { source: source("tastytrade"), from: moment, to: moment, count: 9 }),
    ];
    writer.append(&records).unwrap();
    writer.append(&[]).unwrap();
    let batch = log.next(Seq::ZERO, 10).await.unwrap();
    assert_eq!(batch, Batch { first: Seq(1), records: records.to_vec() });
    assert_eq!(log.next(Seq(1), 2).await.unwrap().records, records[1..3], "again, from anywhere");
    Box::new(writer).close().unwrap();
    assert_eq!(drain(&mut log).await, (1, records.to_vec()), "what was accepted is readable after the close");
}

/// More rows than are kept in memory: some come from there and some from the disk, and none twice or not at all.
#[tokio::test]
async fn a_reader_that_falls_behind_and_catches_up_has_every_row_in_order() {
    const ROWS: u32 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, .. } = open_journal(dir.path(), 256 << 10, 400);
    let (mut read, mut random) = (Seq::ZERO, fastrand::Rng::with_seed(7));
    let mut written = 0;
    while read.0 < u64::from(ROWS) {
        let more = random.u32(0..5_000).min(ROWS - written);
        for batch in rows(written..written + more).chunks(500) {
            writer.append(batch).unwrap();
        }
        written += more;
        // Now and then nobody reads for so long that what comes next is on the disk only.
        for _ in 0..random.u32(0..5) {
            if read.0 == u64::from(written) {
                break;
            }
            let batch = log.next(read, random.usize(1..2_500)).await.unwrap();
            assert_eq!(batch.first, read.plus(1));
            let (first, last) = (u32::try_from(read.0).unwrap(), u32::try_from(batch.last().0).unwrap());
            assert!(batch.records == rows(first..last), "rows {first} to {last}");
            if random.bool() {
                read = batch.last();
                log.release(read).await.unwrap();
            }
        }
    }
    assert_eq!(written, ROWS);
}

/// A reader that is behind has the next batch read while it stores one, and what it has stored goes all the same.
#[tokio::test]
async fn a_reader_that_is_behind_frees_the_disk_batch_by_batch() {
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, monitor, .. } = open_journal(dir.path(), 256 << 10, 400);
    for batch in rows(0..40_000).chunks(500) {
        writer.append(batch).unwrap();
    }
    let mut read = Seq::ZERO;
    let mut segments = vec![monitor.usage().segments];
    while read.0 < 30_000 {
        let batch = log.next(read, 1_000).await.unwrap();
        assert_eq!((batch.first, batch.records.len()), (read.plus(1), 1_000));
        read = batch.last();
        log.release(read).await.unwrap();
        segments.push(monitor.usage().segments);
    }
    let (before, after) = (segments[0], segments[30]);
    assert!(before > 10 && after <= before / 4 + 2, "{segments:?}");
    assert!(segments.windows(5).all(|five| five[4] < five[0]), "{segments:?}");
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_an_append_and_by_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, .. } = open(dir.path(), 8);
    let reader = tokio::spawn(async move {
        let batch = log.next(Seq::ZERO, 9).await.unwrap();
        (batch.records, log.next(batch.first, 9).await)
    });
    tokio::task::yield_now().await;
    writer.append(&rows(0..1)).unwrap();
    tokio::task::yield_now().await;
    drop(writer);
    let (records, end) = reader.await.unwrap();
    assert_eq!(records, rows(0..1));
    assert!(matches!(end, Err(LogError::Closed)), "{end:?}");
}

#[derive(Clone, Debug)]
enum Action {
    Append(u32),
    /// After how much of what is not released, at most how many, and whether nobody waits for the answer.
    Next(f64, usize, bool),
    Release(f64),
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0_u32..60).prop_map(Action::Append),
        5 => (0.0..1.0_f64, 1_usize..100, any::<bool>()).prop_map(|(at, max, drop)| Action::Next(at, max, drop)),
        2 => (0.0..1.0_f64).prop_map(Action::Release),
        1 => Just(Action::Restart),
    ]
}

/// What one incarnation must hold.
struct Model {
    name: Uuid,
    records: Vec<Record>,
    released: usize,
}

impl Model {
    fn of(journal: &JournalLogs) -> Self {
        Self { name: journal.log.incarnation(), records: Vec::new(), released: 0 }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
async fn run(actions: Vec<Action>) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 1_000);
    let mut next = 0;
    let mut model = Model::of(&journal);
    let mut older: Vec<Model> = Vec::new();
    for action in actions {
        match action {
            Action::Append(count) => {
                let records = rows(next..next + count);
                next += count;
                journal.writer.append(&records).unwrap();
                model.records.extend(records);
            }
            Action::Next(at, max, nobody_waits) => {
                let after = (at * model.records.len() as f64) as usize;
                let wanted = model.records.len() - after;
                let seq = Seq(after as u64);
                if nobody_waits {
                    // Polled once and dropped.
                    drop(tokio::time::timeout(Duration::ZERO, journal.log.next(seq, max)).await);
                } else if wanted > 0 {
                    match journal.log.next(seq, max).await {
                        Ok(batch) => {
                            assert_eq!(batch.first, seq.plus(1));
                            assert!((1..=max).contains(&batch.records.len()));
                            assert_eq!(batch.records, model.records[after..after + batch.records.len()]);
                        }
                        Err(LogError::Released { asked, first }) => {
                            assert_eq!(asked, seq.plus(1));
                            assert!(asked < first && first.0 <= model.released as u64 + 1, "{asked} {first}");
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
            Action::Release(at) => {
                let upto = (at * model.records.len() as f64) as usize;
                journal.log.release(Seq(upto as u64)).await.unwrap();
                model.released = model.released.max(upto);
            }
            Action::Restart => {
                drop(journal);
                journal = open(dir.path(), 1_000);
                let ended = std::mem::replace(&mut model, Model::of(&journal));
                older.extend(Some(ended).filter(|model| !model.records.is_empty()));
                check_leftovers(&mut journal, &mut older).await;
            }
        }
    }
}

/// What was released may be gone; what was not is there, in order, and nothing else.
async fn check_leftovers(journal: &mut JournalLogs, older: &mut Vec<Model>) {
    let mut left = journal.leftovers.iter_mut().peekable();
    for model in older.iter() {
        let Some(leftover) = left.next_if(|leftover| leftover.found.id == model.name) else {
            assert_eq!(model.released, model.records.len(), "something that was not released is gone");
            continue;
        };
        assert_eq!(leftover.found.last, model.records.len() as u64);
        let (first, records) = drain(&mut leftover.log).await;
        assert!(first <= model.released + 1, "{first} of {}", model.released);
        assert_eq!(records, model.records[first - 1..]);
    }
    assert!(left.peek().is_none());
    drop(left);
    // The oldest is done with.
    older.retain(|model| journal.leftovers.iter().any(|leftover| leftover.found.id == model.name));
    if let [leftover, ..] = journal.leftovers.as_mut_slice() {
        leftover.log.release(Seq(leftover.found.last)).await.unwrap();
        older.remove(0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_vector(actions in prop::collection::vec(action(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(actions));
    }
}

/// Files of the journal that hold segments.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect()
}

/// Flips a bit of a record where it lies.
fn damage(dir: &Path, record: &Record) {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    for path in segments(dir) {
        let mut content = fs::read(&path).unwrap();
        if let Some(place) = content.windows(bytes.len()).position(|window| window == bytes) {
            content[place + bytes.len() / 2] ^= 1;
            fs::write(&path, content).unwrap();
            return;
        }
    }
    panic!("{record:?} is in no segment");
}

fn received(record: &Record) -> UnixNanos {
    match record {
        Record::Snapshot(row) => row.received_at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_damaged_is_stated_where_it_was_however_often_reading_begins() {
    const ROWS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut sent = rows(0..400);
    let mut journal = open(dir.path(), 100);
    journal.writer.append(&sent).unwrap();
    drop(journal);
    // The first of all, one alone, and three in a row.
    for index in [0, 130, 230, 231, 232] {
        damage(dir.path(), &sent[index]);
    }
    let mut journal = open(dir.path(), 100);
    let [leftover] = journal.leftovers.as_mut_slice() else { panic!("{:?}", journal.leftovers) };
    let began = UnixNanos::from_timestamp(leftover.found.opened_at.try_into().unwrap());
    let hole = |from, to: &Record, count| {
        let (to, reason) = (Some(received(to).max(from)), GapReason::Corrupt);
        Record::Gap(GapRecord { source: source("journal"), from, to, reason, count: Some(count) })
    };
    let stated = [
        (0..1, hole(began, &sent[1], 1)),
        (130..131, hole(received(&sent[129]), &sent[131], 1)),
        (230..233, hole(received(&sent[229]), &sent[233], 3)),
    ];
    for (range, statement) in stated {
        range.for_each(|index| sent[index] = statement.clone());
    }
    assert_eq!(drain(&mut leftover.log).await, (1, sent.clone()));
    for after in [0, 1, 129, 130, 131, 229, 230, 231, 232, 233] {
        let batch = leftover.log.next(Seq(after as u64), 5).await.unwrap();
        assert_eq!(batch.records, sent[after..after + batch.records.len()], "after {after}");
    }
    // In the middle of a hole, what it is known by is kept for the next start.
    leftover.log.release(Seq(231)).await.unwrap();
    drop(journal);
    let mut journal = open(dir.path(), 100);
    let log = &mut journal.leftovers[0].log;
    assert_eq!(log.next(Seq(231), 1).await.unwrap().records, sent[231..232]);
    let (first, records) = drain(log).await;
    assert!(first > 1 && first < 230, "{first}");
    assert_eq!(records, sent[first - 1..]);
    log.release(Seq(ROWS as u64)).await.unwrap();
    drop(journal);
    assert!(open(dir.path(), 100).leftovers.is_empty());
    let kept = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".quarantined"));
    assert!(kept.count() >= 2, "damaged segments are set aside");
}

/// The beginning of a segment is damaged, and the segment before it is stored: its last record says when the hole began.
#[tokio::test]
async fn a_hole_keeps_what_it_is_known_by_until_it_is_stored_whole() {
    let sent = rows(0..400);
    let (mut base, mut stated) = (0, None);
    for damaged in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 100).writer.append(&sent).unwrap();
        if damaged {
            [base - 1, base].into_iter().for_each(|index| damage(dir.path(), &sent[index]));
        }
        // Up to somewhere in a segment, or to the first of the two that are damaged.
        let upto = if damaged { base } else { 250 };
        let mut leftover = open(dir.path(), 100).leftovers.remove(0);
        stated = damaged.then_some(leftover.log.next(Seq(upto as u64), 1).await.unwrap().records);
        leftover.log.release(Seq(upto as u64)).await.unwrap();
        drop(leftover);
        let mut leftover = open(dir.path(), 100).leftovers.remove(0);
        let again = leftover.log.next(Seq(upto as u64), 1).await.unwrap().records;
        match &stated {
            None => base = usize::try_from(leftover.found.first).unwrap(),
            Some(stated) => assert_eq!(again, *stated),
        }
    }
    assert!(base > 1);
    match stated.unwrap().as_slice() {
        [Record::Gap(gap)] => assert_eq!((gap.from, gap.count), (received(&sent[base - 2]), Some(2))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn segments_of_which_nothing_can_be_read_are_stated_in_the_new_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 100);
    journal.writer.append(&rows(0..10)).unwrap();
    drop(journal);
    for path in segments(dir.path()) {
        let mut content = fs::read(&path).unwrap();
        content[..128].fill(0xAA);
        fs::write(&path, content).unwrap();
    }
    let mut journal = open(dir.path(), 100);
    assert!(journal.leftovers.is_empty());
    assert_eq!(journal.unreadable.len(), 1);
    match journal.log.next(Seq::ZERO, 9).await.unwrap().records.as_slice() {
        [Record::Gap(GapRecord { source, from, to: Some(to), reason: GapReason::Corrupt, count: None })] => {
            assert_eq!(source.as_str(), "journal");
            assert!(from <= to && to.saturating_since(*from) < Duration::from_secs(600));
        }
        other => panic!("{other:?}"),
    }
    drop(journal);
    assert!(open(dir.path(), 100).unreadable.is_empty(), "stated once");
}

/// Appends rows and says so, until it is killed; run by the test below as its child.
#[test]
#[ignore = "child process of another test"]
fn appends_until_it_is_killed() {
    let dir = std::env::var_os(CHILD_DIR).unwrap();
    let mut journal = open(Path::new(&dir), 10_000);
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nincarnation {}", journal.log.incarnation()).unwrap();
    for portion in 0_u32.. {
        journal.writer.append(&rows(portion * 3..portion * 3 + 3)).unwrap();
        writeln!(out, "accepted {}", portion * 3 + 3).unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_accepted() {
    const KILLS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let mut ledger: HashMap<String, u32> = HashMap::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "journal_log::appends_until_it_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let name = lines.find_map(|line| line.strip_prefix("incarnation ").map(str::to_owned)).unwrap();
        let enough = 1 + kill * kill * 20;
        let mut accepted = lines.by_ref().filter_map(|line| line.strip_prefix("accepted ")?.parse::<u32>().ok());
        let mut last = accepted.by_ref().take(enough).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died.
        last = accepted.last().unwrap_or(last);
        ledger.insert(name, last);
    }
    let mut journal = open(dir.path(), 10_000);
    assert_eq!(journal.leftovers.len(), KILLS);
    let mut total = 0;
    for leftover in &mut journal.leftovers {
        let promised = ledger[&leftover.found.id.to_string()];
        let (first, records) = drain(&mut leftover.log).await;
        let count = u32::try_from(records.len()).unwrap();
        assert_eq!((first, records), (1, rows(0..count)));
        // One append may have been written and not said.
        assert!((promised..=promised + 3).contains(&count), "{count} of {promised}");
        total += promised;
    }
    println!("{KILLS} kills, {total} rows accepted, 0 lost");
}
