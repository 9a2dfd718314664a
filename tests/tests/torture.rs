//! The fault harness for three minutes: kills, crashes of PostgreSQL and cut connections, every point once; nothing that
//! was accepted is lost or stored twice. `cargo xtask torture --minutes N` goes on for longer.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use greekd_tests::torture::episode::{self, Script};
use greekd_tests::torture::fault::{Ending, Moment, Plan, Trouble};
use greekd_tests::torture::lane::Lane;
use greekd_tests::torture::options::Options;
use greekd_tests::torture::proxy::Cut;
use greekd_tests::torture::{judging, session};

const WANTED: [(&str, u64); 5] = [
    ("kill -9", 200),
    ("PostgreSQL stopped at once", 20),
    (Cut::BeforeCommit.name(), 20),
    (Cut::AfterCommit.name(), 20),
    (Cut::MidCopy.name(), 10),
];

/// Seeds that once showed a broken promise.
fn known_seeds() -> Vec<u64> {
    let lines = include_str!("../torture-seeds.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| line.trim().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_stored_once_whatever_ends() {
    judging::use_program(Path::new(env!("CARGO_BIN_EXE_torture")));
    // Another seed each time: in the long run this is a session of its own.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let options = Options {
        time: Duration::from_secs(240),
        known: known_seeds(),
        wanted: WANTED.to_vec(),
        // Most of a run is waiting: for connections, for the disk, for its end.
        lanes: 10,
        ..Options::new(seed)
    };
    let report = session::run(options).await.unwrap();
    println!("\n{}", report.totals);
    assert!(report.totals.is_clean(), "seeds {:?}\n{}", report.failed, report.totals);
    assert_eq!(report.totals.never_hit(&report.points), Vec::<&str>::new());
    for (fault, count) in WANTED {
        assert!(report.totals.of(fault) >= count, "only {} times {fault}", report.totals.of(fault));
    }
}

/// A run ends without a word, the next one stores what it left and dies before its first row, and then there is no
/// database to ask what was stored last: that something is missing has to be said all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_ask_the_database_still_states_what_is_missing() {
    judging::use_program(Path::new(env!("CARGO_BIN_EXE_torture")));
    let killed = |trouble, moment| Plan { trouble, ending: Ending::Kill(moment) };
    let millis = Duration::from_millis;
    let plans = vec![
        killed(Trouble::None, Moment::FirstRow(millis(300))),
        Plan { trouble: Trouble::None, ending: Ending::Point("journal.before_write".to_owned(), 0) },
        killed(Trouble::Down, Moment::FirstRow(millis(300))),
    ];
    let name = "forgotten".to_owned();
    let script = Script { name, seed: 1, plans, environment: vec![], rate: 300.0, tamper: None, verbose: true };
    let outcome = episode::play(&mut Lane::start().await.unwrap(), &script).await.unwrap();
    assert_eq!(outcome.violations, Vec::<String>::new());
}
