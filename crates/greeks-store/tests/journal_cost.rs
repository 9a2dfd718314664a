//! What an append costs: one write, and nothing from the allocator. Alone in its program, so that nobody else is counted.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use greeks_model::SnapshotSink;
use greeks_store::greeks_journal::Options;
use greeks_store::journal_log;
use support::{series, ticks};

/// How many times this thread has called for a write, where the kernel tells.
fn writes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("syscw: ")?.parse().ok())
}

#[test]
fn an_append_is_one_write_and_allocates_nothing() {
    const APPENDS: u64 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = journal_log(dir.path(), Options::default()).unwrap().writer;
    let rows = ticks(&series("5WT00001", "AAPL  261218C00232500"), 0..20);
    // The first ones find no segment and no buffers.
    (0..APPENDS).for_each(|_| writer.append(&rows).unwrap());
    let before = writes();
    let counted = allocation_counter::measure(|| (0..APPENDS).for_each(|_| writer.append(&rows).unwrap()));
    let Some(written) = writes().zip(before).map(|(after, before)| after - before) else { return };
    println!("{written} writes, {} allocations in {APPENDS} appends of 20 rows", counted.count_total);
    assert_eq!(written, APPENDS);
    // The journal keeps what is not synced; its buffer may still grow when the disk is slow.
    assert!(counted.count_total < APPENDS / 50, "{counted:?}");
}
