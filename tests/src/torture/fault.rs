//! What is done to a run, drawn from a seed.

use std::time::Duration;

use fastrand::Rng;

use super::proxy::Cut;

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL so long after the start.
    Kill(Duration),
    /// SIGTERM so long after the start: it has to end in order, in ten seconds.
    Term(Duration),
    /// By itself at this point, having passed it so many times.
    Point(String, u32),
}

/// What happens to everything else meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// PostgreSQL ends at once without writing anything out, and comes back after a pause.
    Immediate {
        /// After the start of the run.
        at: Duration,
        /// How long it is gone.
        pause: Duration,
    },
    /// The same by `kill -9`.
    Postmaster {
        /// After the start of the run.
        at: Duration,
        /// How long it is gone.
        pause: Duration,
    },
    /// PostgreSQL ends at once together with greekd, and comes back while the next run starts.
    Together,
    /// The server ends greekd's connections.
    Terminate(Duration),
    /// Connections are cut, every so many transactions.
    Cut(Cut, u32),
    /// Each COMMIT takes its time: a killed writer's last transaction outlives it.
    SlowCommit,
    /// There is no database.
    Down,
    /// The disk refuses a write, a sync or a segment once, after so many.
    Disk(String, u32),
    /// The journal has hardly any room, and the database goes away for a while.
    Full,
}

/// A run and its fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What happens meanwhile.
    pub trouble: Trouble,
    /// How it ends.
    pub ending: Ending,
}

/// A chain of runs on one directory and one database.
pub fn episode(rng: &mut Rng, points: &[String]) -> Vec<Plan> {
    let runs = rng.usize(10..=25);
    (0..runs).map(|_| plan(rng, points)).collect()
}

/// Every point in turn, each in the middle of a chain, so that each recovers from the one before.
pub fn sweep(points: &[String]) -> Vec<Plan> {
    let plan = |point: &String| {
        let passes = if is_rare(point) { 0 } else { 3 };
        Plan { trouble: needed(point), ending: Ending::Point(point.clone(), passes) }
    };
    points.iter().map(plan).collect()
}

fn plan(rng: &mut Rng, points: &[String]) -> Plan {
    let ending = match rng.u32(0..100) {
        0..60 => Ending::Kill(moment(rng)),
        60..88 if !points.is_empty() => {
            let point = points[rng.usize(..points.len())].clone();
            let passes = if is_rare(&point) { rng.u32(0..3) } else { rng.u32(0..40) };
            return Plan { trouble: needed(&point), ending: Ending::Point(point, passes) };
        }
        _ => Ending::Term(moment(rng)),
    };
    Plan { trouble: trouble(rng), ending }
}

fn trouble(rng: &mut Rng) -> Trouble {
    let pause = |rng: &mut Rng| millis(rng, 0..300);
    match rng.u32(0..100) {
        0..40 => Trouble::None,
        40..50 => Trouble::Immediate { at: millis(rng, 0..900), pause: pause(rng) },
        50..54 => Trouble::Postmaster { at: millis(rng, 0..900), pause: pause(rng) },
        54..59 => Trouble::Together,
        59..64 => Trouble::Terminate(millis(rng, 200..900)),
        64..79 => Trouble::Cut(Cut::ALL[rng.usize(..Cut::ALL.len())], rng.u32(2..8)),
        79..87 => Trouble::SlowCommit,
        87..92 => Trouble::Down,
        92..96 => {
            let call =
                ["journal.before_write", "journal.before_sync", "journal.before_opening", "journal.before_create"];
            Trouble::Disk(call[rng.usize(..call.len())].to_owned(), rng.u32(0..20))
        }
        _ => Trouble::Full,
    }
}

/// A point that the disk has to fail for.
fn needed(point: &str) -> Trouble {
    match point {
        "journal.give_up" => Trouble::Disk("journal.before_sync".to_owned(), 3),
        _ => Trouble::None,
    }
}

/// Passed once or a few times in a run.
fn is_rare(point: &str) -> bool {
    !["before_write", "after_write", "before_sync", "after_sync"].iter().any(|name| point == format!("journal.{name}"))
        && !point.starts_with("db.")
}

/// Mostly within the first 900 ms: about half of them until the first rows come, half of them after.
fn moment(rng: &mut Rng) -> Duration {
    if rng.u32(0..8) == 0 { millis(rng, 900..2_500) } else { millis(rng, 0..900) }
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_micros(rng.u64(range.start * 1_000..range.end * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let points = ["journal.after_write".to_owned(), "journal.recover".to_owned()];
        let of = |seed| episode(&mut Rng::with_seed(seed), &points);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!((0..50).flat_map(of).any(|plan| matches!(plan.trouble, Trouble::Cut(Cut::AfterCommit, _))));
    }
}
