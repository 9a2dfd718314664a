//! What is done to a run, drawn from a seed.

use std::time::Duration;

use fastrand::Rng;

use super::proxy::Cut;

/// When something happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after its start.
    Start(Duration),
    /// So long after it has accepted its first row.
    FirstRow(Duration),
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL.
    Kill(Moment),
    /// SIGTERM: it has to end in order, in ten seconds.
    Term(Moment),
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
        /// When.
        at: Moment,
        /// How long it is gone.
        pause: Duration,
    },
    /// The same by `kill -9`.
    Postmaster {
        /// When.
        at: Moment,
        /// How long it is gone.
        pause: Duration,
    },
    /// PostgreSQL ends at once together with greekd, and comes back while the next run starts.
    Together,
    /// The server ends greekd's connections.
    Terminate(Moment),
    /// Connections are cut, every so many transactions.
    Cut(Cut, u32),
    /// Each COMMIT takes its time: a killed writer's last transaction outlives it.
    SlowCommit,
    /// There is no database.
    Down,
    /// The disk refuses a write, a sync or a segment once, after so many.
    Disk(String, u32),
    /// The database refuses some rows for what they are, until the run has ended.
    Poison,
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

/// Runs of a long chain: some two and a half minutes, in which minutes of the book end and are stored.
const LONG: usize = 90;

/// A chain of runs on one directory and one database; of 10 to 25, or a long one in ten, unless it is said how many.
pub fn episode(rng: &mut Rng, points: &[String], runs: Option<usize>) -> Vec<Plan> {
    let drawn = if rng.u32(..10) == 0 { LONG } else { rng.usize(10..=25) };
    (0..runs.unwrap_or(drawn)).map(|_| plan(rng, points)).collect()
}

/// Every point in turn, each in the middle of a chain, so that each recovers from the one before. What only a new
/// database needs comes first.
pub fn sweep(points: &[String]) -> Vec<Plan> {
    let is_first = |point: &&String| ["partition.", "series."].iter().any(|kind| point.starts_with(kind));
    let (mut first, rest): (Vec<_>, Vec<_>) = points.iter().partition(is_first);
    first.sort();
    let plan = |point: &String| Plan {
        trouble: needed(point),
        ending: Ending::Point(point.clone(), (often(point) - 1).min(3)),
    };
    first.into_iter().chain(rest).map(plan).collect()
}

fn plan(rng: &mut Rng, points: &[String]) -> Plan {
    let ending = match rng.u32(0..100) {
        0..60 => Ending::Kill(moment(rng)),
        60..88 if !points.is_empty() => {
            let point = points[rng.usize(..points.len())].clone();
            let passes = rng.u32(..often(&point));
            return Plan { trouble: needed(&point), ending: Ending::Point(point, passes) };
        }
        _ => Ending::Term(moment(rng)),
    };
    let trouble = trouble(rng);
    match (&trouble, ending) {
        // Connections are cut where something is committed.
        (Trouble::Cut(..) | Trouble::SlowCommit, Ending::Kill(Moment::Start(_))) => {
            Plan { trouble, ending: Ending::Kill(Moment::FirstRow(millis(rng, 100..900))) }
        }
        (_, ending) => Plan { trouble, ending },
    }
}

fn trouble(rng: &mut Rng) -> Trouble {
    let pause = |rng: &mut Rng| millis(rng, 0..300);
    match rng.u32(0..100) {
        0..35 => Trouble::None,
        35..47 => Trouble::Immediate { at: moment(rng), pause: pause(rng) },
        47..51 => Trouble::Postmaster { at: moment(rng), pause: pause(rng) },
        51..55 => Trouble::Together,
        55..59 => Trouble::Terminate(Moment::FirstRow(millis(rng, 0..400))),
        59..79 => Trouble::Cut(Cut::ALL[rng.usize(..Cut::ALL.len())], rng.u32(2..6)),
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
        "quarantine.before_commit" => Trouble::Poison,
        _ => Trouble::None,
    }
}

/// How often a run passes a point in a second or two, at least.
fn often(point: &str) -> u32 {
    match point {
        "journal.before_write" | "journal.after_write" | "journal.before_sync" | "journal.after_sync" => 40,
        "journal.recover" | "journal.give_up" | "quarantine.before_commit" => 1,
        // The first rows of all need them.
        "series.before_insert" | "partition.before_create" => 1,
        // So does a gap or a position.
        "db.mixed.after_begin" | "db.mixed.after_extras" | "db.mixed.before_commit" => 1,
        "db.before_begin" | "db.after_mark" | "db.mid_copy" | "db.after_copy" | "db.after_commit" => 20,
        _ => 3,
    }
}

/// Half of them any time while it starts, half of them while it streams, and some of those later.
fn moment(rng: &mut Rng) -> Moment {
    match rng.u32(0..8) {
        0..4 => Moment::Start(millis(rng, 0..900)),
        4..7 => Moment::FirstRow(millis(rng, 0..500)),
        _ => Moment::FirstRow(millis(rng, 500..2_000)),
    }
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
        let of = |seed| episode(&mut Rng::with_seed(seed), &points, None);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!((0..50).flat_map(of).any(|plan| matches!(plan.trouble, Trouble::Cut(Cut::AfterCommit, _))));
    }
}
