//! What a record costs: appending, making durable, reading back, recovering.
//!
//! ```text
//! cargo run --release -p greeks-journal --example cost [-- DIRECTORY]
//! ```
//!
//! Processor time is that of the whole process, the journal's thread included; the rest is time on the wall.
#![allow(clippy::print_stdout, reason = "a program whose output is its purpose")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use greeks_journal::{Archive, Journal, Next, Options};

const RECORD: [u8; 200] = [7; 200];
const BYTES: u64 = 200 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let temp = tempfile::tempdir_in(std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from))?;
    for batch in [1, 5, 50, 500] {
        let dir = temp.path().join(batch.to_string());
        append(&dir, batch)?;
    }
    paced(&temp.path().join("paced"))?;
    read_back(&temp.path().join("50"))
}

/// As fast as it goes.
fn append(dir: &Path, batch: usize) -> Result<(), Box<dyn Error>> {
    let (journal, _) = Journal::open(dir, Options::default())?;
    let records = vec![RECORD; batch];
    let count = (BYTES / RECORD.len() as u64 / batch as u64).min(200_000);
    let (started, busy) = (Instant::now(), processor_time());
    for _ in 0..count {
        journal.append(&records)?;
    }
    let (took, busy) = (started.elapsed(), processor_time() - busy);
    journal.flush()?;
    let total = count * batch as u64;
    println!(
        "append, {batch:>3} a call: {:>6} ns a record, of which processor {:>6} ns; durable {:?} later",
        nanos_each(took, total),
        nanos_each(busy, total),
        started.elapsed() - took,
    );
    journal.close()?;
    Ok(())
}

/// 5,000 records a second, one at a time: what the pipeline sees.
fn paced(dir: &Path) -> Result<(), Box<dyn Error>> {
    let (journal, _) = Journal::open(dir, Options::default())?;
    let mut each = Vec::new();
    let started = Instant::now();
    for number in 0..25_000 {
        while started.elapsed() < Duration::from_micros(200) * number {
            std::thread::yield_now();
        }
        let call = Instant::now();
        journal.append(&[RECORD])?;
        each.push(call.elapsed());
    }
    each.sort_unstable();
    let at = |share: usize| each.get((each.len() - 1) * share / 1000).copied().unwrap_or_default();
    println!("append at 5,000/s: p50 {:?}, p99 {:?}, p99.9 {:?}, most {:?}", at(500), at(990), at(999), at(1000));
    journal.close()?;
    Ok(())
}

fn read_back(dir: &Path) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let archive = Archive::open(dir)?;
    let recovered = started.elapsed();
    let mut total = 0_u64;
    let started = Instant::now();
    for run in &archive.recovery().incarnations {
        let mut cursor = archive.cursor(run.id, run.first - 1)?;
        while let Next::Record { .. } = cursor.read()? {
            total += 1;
        }
    }
    println!("recover: {:>6} ns a record", nanos_each(recovered, total));
    println!("read:    {:>6} ns a record", nanos_each(started.elapsed(), total));
    Ok(())
}

fn nanos_each(took: Duration, count: u64) -> u128 {
    took.as_nanos() / u128::from(count.max(1))
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
