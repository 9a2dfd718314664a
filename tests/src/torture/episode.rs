//! A chain of runs of greekd on one directory and one database, each ended by a fault; then the judge.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_sim::{Disconnect, MarketConfig, SimConfig, SimulatedMarket, TastySim};
use greeks_store::greeks_journal::Archive;
use tokio::time::sleep;

use super::fault::{Ending, Moment, Plan, Trouble};
use super::lane::Lane;
use super::oracle::Verdict;
use super::process::{Fate, Process};
use super::proxy::{Proxy, Rule};
use super::records::{self, End, RunNote};
use super::totals::Totals;
use super::{Error, judging};
use crate::scratch::scratch;
use crate::tasty::environment;

/// For a point to be reached.
const REACH: Duration = Duration::from_secs(4);
/// For the last run to store all that the others have left.
const DRAIN: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);
/// Four segments.
const FULL_JOURNAL: &str = "131072";

/// What an episode is played with.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name, of letters and digits: also that of its database.
    pub name: String,
    /// Decides the market.
    pub seed: u64,
    /// What happens.
    pub plans: Vec<Plan>,
    /// More settings for greekd.
    pub environment: Vec<(String, String)>,
    /// Events per second.
    pub rate: f64,
    /// What is done to the database before it is judged, to see whether the judge sees it.
    pub tamper: Option<String>,
    /// Whether each run is told.
    pub verbose: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The figures.
    pub totals: Totals,
    /// Broken promises in words, those that the judge found and those that were seen on the way.
    pub violations: Vec<String>,
    /// Kept when a promise was broken.
    pub kept: Option<PathBuf>,
}

/// An episode under way.
struct Stage<'a> {
    lane: &'a mut Lane,
    script: &'a Script,
    directory: &'a Path,
    proxy: Proxy,
    sim: TastySim,
    runs: Vec<RunNote>,
    totals: Totals,
    violations: Vec<(&'static str, String)>,
    /// PostgreSQL is down and comes back while the next run starts.
    down: bool,
}

/// Plays an episode.
///
/// # Errors
/// When the harness itself cannot go on.
pub async fn play(lane: &mut Lane, script: &Script) -> Result<Outcome, Error> {
    let directory = scratch();
    for kind in ["log", "ledger"] {
        std::fs::create_dir(directory.path().join(kind))?;
    }
    lane.create(&script.name).await?;
    let market = SimulatedMarket { seed: script.seed, positions: 24, rate: script.rate, ..SimulatedMarket::default() };
    let sim = TastySim::start(SimConfig { market: MarketConfig::Simulated(market), ..SimConfig::simulated(1) }).await?;
    let proxy = Proxy::start(lane.socket_dir())?;
    let mut stage = Stage {
        lane,
        script,
        directory: directory.path(),
        proxy,
        sim,
        runs: Vec::new(),
        totals: Totals { episodes: 1, ..Totals::default() },
        violations: Vec::new(),
        down: false,
    };
    for plan in &script.plans {
        stage.run(plan).await?;
    }
    stage.last_run().await?;
    let verdict = stage.judge().await?;
    let Stage { mut totals, violations, sim, .. } = stage;
    sim.shutdown().await;
    lane.forget(&script.name).await;
    let violations = sum_up(&mut totals, verdict, violations);
    let kept = (!violations.is_empty()).then(|| directory.keep());
    Ok(Outcome { totals, violations, kept })
}

fn sum_up(totals: &mut Totals, verdict: Verdict, seen: Vec<(&'static str, String)>) -> Vec<String> {
    let count = |count: usize| count as u64;
    totals.accepted += count(verdict.accepted);
    totals.stored += count(verdict.stored);
    totals.excused += count(verdict.excused);
    totals.repeated += count(verdict.repeated);
    totals.minutes += count(verdict.minutes);
    for (name, _) in &seen {
        totals.breach(name);
    }
    for violation in &verdict.violations {
        totals.breach(violation.breach.name());
    }
    let seen = seen.into_iter().map(|(name, what)| format!("{name}: {what}"));
    seen.chain(verdict.violations.iter().map(ToString::to_string)).collect()
}

impl Stage<'_> {
    /// One run and its fault.
    async fn run(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut environment = self.environment();
        let mut points = Vec::new();
        if let Trouble::Disk(call, passes) = &plan.trouble {
            points.push(format!("{call}={passes}*off->1*return(error)"));
        }
        if let Ending::Point(point, passes) = &plan.ending {
            points.push(if *passes > 0 { format!("{point}={passes}*off->return") } else { format!("{point}=return") });
        }
        if !points.is_empty() {
            environment.push(("GREEKD_FAILPOINTS".to_owned(), points.join(";")));
        }
        let mut trouble = plan.trouble.clone();
        match &trouble {
            Trouble::Cut(cut, every) => drop(self.proxy.set(Rule::Cut(*cut, *every))),
            Trouble::SlowCommit if !self.lane.slow_commits(&self.script.name, 0.15).await => trouble = Trouble::None,
            Trouble::Poison if !self.lane.poison(&self.script.name, true).await => trouble = Trouble::None,
            Trouble::Down if !self.down => self.lane.stop().await,
            Trouble::Full => environment.push(("GREEKD_QUOTA_BYTES".to_owned(), FULL_JOURNAL.to_owned())),
            _ => {}
        }
        let undisturbed =
            !self.down && matches!(trouble, Trouble::None | Trouble::Disk(..) | Trouble::SlowCommit | Trouble::Cut(..));
        let began = Instant::now();
        let (mut process, note) = self.start(&environment, undisturbed)?;
        let fate = self.inflict(&trouble, &plan.ending, &mut process).await?;
        for cut in self.proxy.set(Rule::Pass) {
            self.totals.fault(cut.name());
        }
        self.tell(&format!("run {}, {:.2} s: {plan:?} -> {fate:?}", note.number, began.elapsed().as_secs_f64()))?;
        self.note(plan, fate, note);
        Ok(())
    }

    /// Writes down what happened, for whoever has to find out why.
    fn tell(&self, line: &str) -> Result<(), Error> {
        let path = self.directory.join("story");
        let mut story = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(story, "{line}")?;
        if self.script.verbose {
            super::session::say(format_args!("{}: {line}", self.script.name));
        }
        Ok(())
    }

    fn start(&mut self, environment: &[(String, String)], undisturbed: bool) -> Result<(Process, RunNote), Error> {
        self.totals.runs += 1;
        let number = self.runs.len();
        let note = RunNote { number, started_at: micros(), undisturbed, end: End::Ended };
        Ok((Process::start(self.directory, number, environment)?, note))
    }

    /// Trouble and end take their course at the same time.
    async fn inflict(&mut self, trouble: &Trouble, ending: &Ending, process: &mut Process) -> Result<Fate, Error> {
        let (lane, script) = (&mut *self.lane, self.script);
        let comes_back = std::mem::take(&mut self.down) && *trouble != Trouble::Down;
        let watch = process.watch();
        let trouble_runs = async {
            if comes_back {
                lane.restart().await?;
            }
            match trouble {
                Trouble::Immediate { at, pause } => {
                    watch.until(*at).await;
                    lane.crash_for("QUIT", *pause).await?;
                }
                Trouble::Postmaster { at, pause } => {
                    watch.until(*at).await;
                    lane.crash_for("KILL", *pause).await?;
                }
                Trouble::Terminate(at) => {
                    watch.until(*at).await;
                    return Ok(lane.terminate(&script.name).await);
                }
                Trouble::Full => {
                    watch.until(Moment::FirstRow(Duration::ZERO)).await;
                    lane.crash_for("INT", Duration::from_millis(800)).await?;
                }
                _ => {}
            }
            Ok::<_, Error>(0)
        };
        let ends = async {
            let fate = match ending {
                Ending::Kill(at) => process.kill_at(*at).await,
                Ending::Term(at) => process.stop_at(*at).await,
                Ending::Point(..) => process.reach(REACH).await,
            };
            watch.is_over();
            fate
        };
        let (terminated, fate) = tokio::join!(trouble_runs, ends);
        self.totals.add(&Totals {
            faults: [("connections terminated".to_owned(), terminated?)].into_iter().filter(|(_, n)| *n > 0).collect(),
            ..Totals::default()
        });
        self.aftermath(trouble).await?;
        Ok(fate)
    }

    async fn aftermath(&mut self, trouble: &Trouble) -> Result<(), Error> {
        match trouble {
            Trouble::Immediate { .. } => self.totals.fault("PostgreSQL stopped at once"),
            Trouble::Postmaster { .. } => self.totals.fault("PostgreSQL kill -9"),
            Trouble::Together => {
                self.lane.crash("QUIT").await;
                self.totals.fault("PostgreSQL stopped at once");
                self.down = true;
            }
            Trouble::SlowCommit => {
                self.lane.normal_commits(&self.script.name).await;
                self.totals.fault("slow COMMIT");
            }
            Trouble::Poison => {
                if !self.lane.poison(&self.script.name, false).await {
                    return Err("the database stays poisoned".into());
                }
                self.totals.fault("rows refused");
            }
            Trouble::Down => {
                self.totals.fault("no database");
                self.down = true;
            }
            Trouble::Disk(..) => self.totals.fault("disk error"),
            Trouble::Full => self.totals.fault("journal full"),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, plan: &Plan, fate: Fate, mut note: RunNote) {
        match (&fate, &plan.ending) {
            (Fate::Killed, _) => self.totals.fault("kill -9"),
            (Fate::Aborted, Ending::Point(point, _)) => self.totals.point(point),
            (Fate::Stopped | Fate::NotYetListening, _) => self.totals.fault("SIGTERM"),
            (fate, _) => self.violations.push(("ended", format!("run {} {plan:?}: {fate:?}", note.number))),
        }
        if matches!(fate, Fate::Killed | Fate::Aborted) {
            note.end = End::Died;
        }
        self.runs.push(note);
    }

    /// Nothing happens to the last one: it stores what the others have left, streams a little, and stops in order.
    async fn last_run(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.down) {
            self.lane.restart().await?;
        }
        let (began, left) = (Instant::now(), self.left()?);
        let environment = self.environment();
        let (mut process, note) = self.start(&environment, true)?;
        if let Err(why) = self.drains(&mut process, &left).await {
            self.violations.push(("ended", format!("the last run {why}")));
        }
        let control = self.sim.control();
        control.pause().await?;
        control.refuse_connections(true);
        control.disconnect_all(Disconnect::Orderly).await?;
        let fate = process.stop_at(Moment::FirstRow(Duration::from_millis(100))).await;
        self.tell(&format!("the last run, {:.2} s: {fate:?}", began.elapsed().as_secs_f64()))?;
        if fate != Fate::Stopped {
            self.violations.push(("ended", format!("the last run: {fate:?}")));
        }
        self.runs.push(note);
        let client = self.lane.connect(&self.script.name).await?;
        for (incarnation, last) in self.left()? {
            let mark = self.lane.mark(&client, &incarnation).await;
            if mark < last {
                let what = format!("{} of {last} records of {incarnation} were not stored at the end", last - mark);
                self.violations.push(("ended", what));
            }
        }
        Ok(())
    }

    /// Waits until something was accepted and all of `left` is stored.
    async fn drains(&mut self, process: &mut Process, left: &[(String, i64)]) -> Result<(), String> {
        let began = Instant::now();
        let mut client = None;
        while began.elapsed() < DRAIN {
            if !process.runs() {
                return Err("ended by itself".to_owned());
            }
            if client.is_none() {
                client = self.lane.connect(&self.script.name).await.ok();
            }
            if let Some(client) = client.as_ref().filter(|_| process.accepted() > 2_000) {
                let mut waiting = 0;
                for (incarnation, last) in left {
                    waiting += last - self.lane.mark(client, incarnation).await.min(*last);
                }
                if waiting == 0 {
                    return Ok(());
                }
            }
            sleep(STEP).await;
        }
        Err(format!("has not stored what others had left within {DRAIN:?}"))
    }

    /// The runs of numbers in the journal, with their last record.
    fn left(&self) -> Result<Vec<(String, i64)>, Error> {
        let journal = self.directory.join("data/journal");
        if !journal.exists() {
            return Ok(Vec::new());
        }
        let archive = Archive::open(&journal)?;
        let last = |last: u64| i64::try_from(last).unwrap_or(i64::MAX);
        Ok(archive.recovery().incarnations.iter().map(|run| (run.id.to_string(), last(run.last))).collect())
    }

    async fn judge(&mut self) -> Result<Verdict, Error> {
        let ledger = self.sim.ledger().snapshot();
        if ledger.overflowed > 0 {
            return Err("the double has forgotten what it sent".into());
        }
        records::write_sent(&self.directory.join("sent"), &self.sim.positions(), &ledger.entries)?;
        records::write_runs(&self.directory.join("runs"), &self.runs)?;
        if let Some(sql) = &self.script.tamper {
            self.lane.connect(&self.script.name).await?.batch_execute(sql).await?;
        }
        judging::ask(self.directory, &self.lane.url(&self.script.name)).await
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> =
            environment(&self.sim).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (name, host) = (&self.script.name, self.proxy.host().display());
        all.push(("DATABASE_URL".to_owned(), format!("postgresql:///{name}?host={host}&user=greekd")));
        all.extend(self.script.environment.iter().cloned());
        all
    }
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
