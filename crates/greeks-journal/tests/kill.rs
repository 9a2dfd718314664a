//! A process that is really killed. Alone in its file: a process being started holds copies of all locks for a moment.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use greeks_journal::{Archive, Error, Journal, Next, Options};

fn small() -> Options {
    Options { max_bytes: 1 << 20, segment_bytes: 16 << 10, ..Options::default() }
}

/// The other half of the next test: appends to the journal in `GREEKS_JOURNAL_DIR` and says so, until it is killed.
#[test]
#[ignore = "run by the test below, in a process that is killed"]
#[allow(clippy::disallowed_methods)]
fn appends_until_killed() {
    let Some(dir) = std::env::var_os("GREEKS_JOURNAL_DIR") else { return };
    let (journal, recovery) = Journal::open(Path::new(&dir), small()).unwrap();
    for run in &recovery.incarnations {
        let keep = run.last.saturating_sub(200);
        journal.handle().release(run.id, keep).unwrap();
    }
    println!("\nopened {}", journal.incarnation());
    loop {
        let next = journal.handle().progress().written + 1;
        let batch: Vec<String> = (next..next + next % 5 + 1).map(|seq| format!("record {seq}")).collect();
        match journal.append(&batch) {
            Ok(last) => println!("accepted {last}"),
            Err(Error::QuotaReached { .. }) => journal.handle().release(journal.incarnation(), next).unwrap(),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_has_accepted() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "appends_until_killed", "--ignored", "--nocapture"])
            .env("GREEKS_JOURNAL_DIR", temp.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let opened = lines.find_map(|line| line.strip_prefix("opened ").map(String::from)).unwrap();
        // Killed after a number of acknowledgements, so at any moment of what follows.
        let mut accepted = 0;
        let mut hear = |line: String| {
            if let Some(last) = line.strip_prefix("accepted ").and_then(|last| last.parse().ok()) {
                accepted = last;
            }
        };
        lines.by_ref().take(fastrand::usize(0..3_000)).for_each(&mut hear);
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(&mut hear);
        acknowledged += accepted;

        let archive = Archive::open(temp.path()).unwrap();
        let run = archive.recovery().incarnations.iter().find(|run| run.id.to_string() == opened);
        let (first, last, gaps) = run.map_or((1, 0, 0), |run| (run.first, run.last, run.gaps.len()));
        // The last line may be cut short, so that less is known to be accepted than was.
        assert!(last >= accepted, "round {round}: {accepted} accepted, {last} found");
        assert_eq!(gaps, 0);
        if let Some(run) = run {
            let mut cursor = archive.cursor(run.id, first - 1).unwrap();
            for expected in first..=last {
                let record = format!("record {expected}");
                assert_eq!(cursor.read().unwrap(), Next::Record { seq: expected, bytes: record.as_bytes() });
            }
        }
    }
    assert!(acknowledged > 1_000, "{acknowledged}");
}
