//! Many episodes, several at a time.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::episode::{self, Outcome, Script};
use super::lane::Lane;
use super::options::Options;
use super::totals::Totals;
use super::{Error, fault, process};
use crate::daemon::program;

/// How often the figures are told.
const TELL: Duration = Duration::from_secs(60);
/// So many broken promises of an episode are shown.
const SHOW: usize = 10;

/// What a session has come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The figures.
    pub totals: Totals,
    /// Every point there is.
    pub points: Vec<String>,
    /// Seeds of episodes in which a promise was broken.
    pub failed: Vec<u64>,
}

/// What the lanes share.
struct Session {
    options: Options,
    points: Vec<String>,
    began: Instant,
    next: AtomicU64,
    report: Mutex<Report>,
}

/// An episode of a session.
struct Part {
    script: Script,
    /// Whether it meets every point in turn.
    sweep: bool,
}

/// Plays episodes until time is up, and prints how each went.
///
/// # Errors
/// When the harness itself cannot go on.
pub async fn run(options: Options) -> Result<Report, Error> {
    process::without_core_dumps();
    let points = tokio::task::spawn_blocking(points).await??;
    let report = Report { totals: Totals::default(), points: points.clone(), failed: Vec::new() };
    let (lanes, next) = (options.lanes, AtomicU64::new(0));
    let session = Session { options, points, began: Instant::now(), next, report: Mutex::new(report) };
    let session = Arc::new(session);
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        running.spawn(play(Arc::clone(&session)));
    }
    let mut minute = tokio::time::interval_at(tokio::time::Instant::now() + TELL, TELL);
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(lane) => lane??,
                None => break,
            },
            _ = minute.tick() => say(&session.report().totals),
        }
    }
    Ok(session.report())
}

/// The points that this greekd can end at.
fn points() -> Result<Vec<String>, Error> {
    let output = Command::new(program()).arg("run").env_clear().env("GREEKD_FAILPOINTS", "list").output()?;
    let points: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    if !output.status.success() || points.is_empty() {
        return Err("greekd was built without the feature failpoints".into());
    }
    Ok(points)
}

async fn play(session: Arc<Session>) -> Result<(), Error> {
    let mut lane = Lane::start().await?;
    while let Some(part) = session.script() {
        let began = Instant::now();
        let outcome = episode::play(&mut lane, &part.script).await?;
        session.note(&part, &outcome, began.elapsed());
    }
    Ok(())
}

impl Session {
    /// The next episode, unless enough were played.
    fn script(&self) -> Option<Part> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let options = &self.options;
        let known = usize::try_from(number).ok().and_then(|at| options.known.get(at).copied());
        let number = number.saturating_sub(options.known.len() as u64);
        let enough = options.episodes.is_some_and(|wanted| number >= wanted) || self.has_all_wanted();
        if known.is_none() && (enough || self.began.elapsed() >= options.time) {
            return None;
        }
        let sweep = known.is_none() && options.sweep && number == 0;
        let seed = known.unwrap_or(options.seed.wrapping_add(number));
        let plans = match sweep {
            true => fault::sweep(&self.points),
            false => fault::episode(&mut Rng::with_seed(seed), &self.points, options.runs),
        };
        let name = format!("episode_{seed}_{}", if sweep { "sweep" } else { "seed" });
        let environment = options.environment.clone();
        let verbose = options.verbose;
        let script = Script { name, seed, plans, environment, rate: options.rate, tamper: None, verbose };
        Some(Part { script, sweep })
    }

    fn has_all_wanted(&self) -> bool {
        let wanted = &self.options.wanted;
        let totals = self.report().totals;
        !wanted.is_empty() && wanted.iter().all(|(fault, count)| totals.of(fault) >= *count)
    }

    fn note(&self, Part { script, sweep }: &Part, outcome: &Outcome, took: Duration) {
        let totals = &outcome.totals;
        let what = if *sweep { "every point" } else { "episode" };
        say(format_args!("SEED={} {what} in {:.1} s: {totals}", script.seed, took.as_secs_f64()));
        for violation in outcome.violations.iter().take(SHOW) {
            say(format_args!("  {violation}"));
        }
        if let Some(kept) = &outcome.kept {
            let (seed, sweep) = (script.seed, if *sweep { "" } else { " --no-sweep" });
            let runs = self.options.runs.map(|runs| format!(" --runs {runs}")).unwrap_or_default();
            say(format_args!("  {} in all; kept in {}", outcome.violations.len(), kept.display()));
            say(format_args!("  again: cargo xtask torture --episodes 1 --seed {seed}{runs}{sweep}"));
        }
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.totals.add(totals);
        if !outcome.violations.is_empty() {
            report.failed.push(script.seed);
        }
    }

    fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// For the person who started it.
#[allow(clippy::print_stdout)]
pub(super) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
