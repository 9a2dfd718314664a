//! The log on disk when there is no room: what is given up is counted exactly, and nothing else is lost.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Database, WallClock, drain, open_journal, series, tick, ticks};
use greeks_model::{
    AccountId, GapReason, GapRecord, LogError, PositionsRecord, Record, Seq, SinkError, SnapshotLog, SnapshotSink,
    SourceId, UnixNanos,
};
use greeks_store::{Committer, CommitterConfig, JournalFull, JournalLogs};

const CALL: &str = "AAPL  261218C00232500";
const SMALL: u64 = 16 << 10;
/// An eighth of it is the reserve: room for the statements of the outages below.
const LARGE: u64 = 128 << 10;

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

fn received(record: &Record) -> UnixNanos {
    match record {
        Record::Snapshot(row) => row.received_at,
        other => panic!("{other:?}"),
    }
}

/// The counts stated last, by source and beginning.
fn stated(records: &[Record]) -> HashMap<(String, UnixNanos), u64> {
    let sheds = records.iter().filter_map(|record| match record {
        Record::Shed(shed) => Some(((shed.source.as_str().to_owned(), shed.from), shed.count)),
        _ => None,
    });
    sheds.collect()
}

#[tokio::test]
async fn a_full_journal_gives_up_the_newest_rows_and_counts_each() {
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, monitor, .. } = open_journal(dir.path(), LARGE, 4);
    let mut other = (*series("U1234567", CALL)).clone();
    other.broker = source("ibkr");
    let (ours, other) = (series("5WT00001", CALL), Arc::new(other));
    let (mut accepted, mut given_up) = (Vec::new(), HashMap::<String, u64>::new());
    let (mut records, mut statements) = (Vec::new(), HashMap::new());
    let (mut number, mut released) = (0, 0);
    for outage in 1..=3_u64 {
        let mut refused = 0;
        while refused < 500 {
            let mut batch: Vec<Record> = vec![Record::Snapshot(tick(&ours, number))];
            batch.extend((number % 3 == 0).then(|| Record::Snapshot(tick(&other, number))));
            // Appears among rows that are given up, and is not.
            let telling = number % 100 == 0;
            batch.extend(telling.then(|| gap(received(&batch[0]))));
            number += 1;
            match writer.append(&batch) {
                Ok(()) => accepted.extend(batch),
                Err(SinkError::Full { given_up: places }) => {
                    assert_eq!(monitor.full(), Some(JournalFull::Quota));
                    let kept = batch.iter().filter(|record| matches!(record, Record::Gap(_))).cloned();
                    accepted.extend(kept);
                    let rows = batch.iter().enumerate().filter(|(_, record)| matches!(record, Record::Snapshot(_)));
                    assert_eq!(places, rows.map(|(place, _)| place).collect::<Vec<_>>());
                    for place in &places {
                        *given_up.entry(batch[*place].source().as_str().to_owned()).or_default() += 1;
                    }
                    refused += places.len();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(monitor.given_up(), given_up.values().sum::<u64>());
        // That the reserve takes something does not mean that there is room.
        let alone = gap(UnixNanos::from_millis(i64::try_from(outage).unwrap()));
        writer.append(std::slice::from_ref(&alone)).unwrap();
        accepted.push(alone);
        assert!(monitor.is_full());
        assert!(monitor.usage().used_bytes <= 4 * LARGE);
        // What is stated while it lasts lags by an eighth at most: a kill would leave that.
        let mut after = Seq(released);
        while monitor.progress().written > after.0 {
            let batch = log.next(after, 1_000).await.unwrap();
            after = batch.last();
            records.extend(batch.records);
        }
        statements.extend(stated(&records));
        let total: u64 = statements.values().sum();
        assert!(total <= monitor.given_up() && total * 9 >= monitor.given_up() * 8 - 16, "{statements:?} {given_up:?}");
        assert_eq!(statements.len() as u64, 2 * outage, "a stretch per source and outage: {statements:?}");
        // There is room again.
        log.release(after).await.unwrap();
        released = after.0;
        let row = Record::Snapshot(tick(&ours, number));
        number += 1;
        writer.append(std::slice::from_ref(&row)).unwrap();
        accepted.push(row);
        assert!(!monitor.is_full());
    }
    Box::new(writer).close().unwrap();
    loop {
        match log.next(Seq(released), 1_000).await {
            Ok(batch) => {
                released = batch.last().0;
                records.extend(batch.records);
            }
            Err(LogError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    statements.extend(stated(&records));
    for (name, count) in &given_up {
        let sum: u64 = statements.iter().filter(|((source, _), _)| source == name).map(|(_, count)| count).sum();
        assert_eq!(sum, *count, "{name}");
    }
    records.retain(|record| !matches!(record, Record::Shed(_)));
    assert_eq!(records, accepted, "what was accepted is there, and nothing that was given up");
}

#[tokio::test]
async fn what_is_given_up_at_the_end_is_stated_by_the_close() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open_journal(dir.path(), LARGE, 4);
    let mut given_up = 0;
    for number in 0..5_000 {
        match journal.writer.append(&rows(number..number + 1)) {
            Ok(()) => {}
            Err(SinkError::Full { given_up: places }) => given_up += places.len() as u64,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(given_up > 1_000);
    Box::new(journal.writer).close().unwrap();
    drop((journal.log, journal.monitor));
    let mut journal = open_journal(dir.path(), LARGE, 4);
    let (_, records) = drain(&mut journal.leftovers[0].log).await;
    assert_eq!(stated(&records).into_values().collect::<Vec<_>>(), [given_up]);
    let refused = journal.writer.append(&rows(0..1));
    assert!(matches!(refused, Err(SinkError::Full { given_up }) if given_up == [0]), "still full");
}

#[tokio::test]
async fn more_than_one_write_can_hold_is_several_and_what_never_fits_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let JournalLogs { mut writer, mut log, monitor, .. } = open_journal(dir.path(), SMALL, 100);
    let mut sent = rows(0..300);
    let mut long = tick(&series("5WT00001", CALL), 300);
    long.source_payload = Some("x".repeat(8 << 20).into());
    let with_long: Vec<Record> = sent.iter().cloned().chain([Record::Snapshot(long)]).chain(rows(301..302)).collect();
    assert!(matches!(writer.append(&with_long), Err(SinkError::Full { given_up }) if given_up == [300]));
    assert_eq!((monitor.full(), monitor.given_up()), (None, 1), "there is room, and it is not said that there is none");
    drop(writer);
    let (_, mut records) = drain(&mut log).await;
    assert_eq!(stated(&records).into_values().collect::<Vec<_>>(), [1]);
    records.retain(|record| !matches!(record, Record::Shed(_)));
    sent.extend(rows(301..302));
    assert_eq!(records, sent);
}

/// As many positions as some hold who make markets: one record of more than a megabyte.
#[tokio::test]
async fn an_account_of_twenty_thousand_lines_goes_through_journal_and_store() {
    const LINES: u32 = 20_000;
    let (database, dir) = (Database::migrated().await, tempfile::tempdir().unwrap());
    let JournalLogs { mut writer, log, monitor, .. } = open_journal(dir.path(), 8 << 20, 8);
    let contract = |line: u32| format!("SPXW  26{:02}18P{:08}", 1 + line % 12, 1_000 * (1 + line / 12));
    let held = |line: u32| (series("5WT00001", &contract(line)), f64::from(line + 1));
    let positions = PositionsRecord {
        source: source("tastytrade"),
        account_id: AccountId::new("5WT00001").unwrap(),
        observed_at: UnixNanos::from_millis(1_795_170_400_000),
        positions: (0..LINES).map(held).collect(),
    };
    let record = Record::Positions(positions);
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    let row = Record::Snapshot(tick(&series("5WT00001", &contract(0)), 1));
    writer.append(&[record, row]).unwrap();
    assert_eq!(monitor.given_up(), 0);
    Box::new(writer).close().unwrap();
    let config = CommitterConfig::new(database.config.clone(), "test");
    Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock)).0.run().await.unwrap();
    let sql = "SELECT count(*), count(DISTINCT contract_key), sum(quantity)::bigint FROM positions_history";
    let stored = database.client().await.query_one(sql, &[]).await.unwrap();
    let lines = i64::from(LINES);
    let counts: [i64; 3] = [stored.get(0), stored.get(1), stored.get(2)];
    assert_eq!(counts, [lines, lines, lines * (lines + 1) / 2]);
}
