//! greekd for one run, with its ledger.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::fault::Moment;
use crate::daemon::{program, signal};

/// Segments are small, so that they change often.
const SEGMENT_BYTES: &str = "32768";
/// Until a process that was told to end in order is late.
const STOP: Duration = Duration::from_secs(10);
/// For a first row, where one is waited for: with a database that is away there may be none.
const FIRST_ROW: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(2);
/// What greekd logs soon after it has begun to listen for signals.
const LISTENS: &str = "rows go to the database";
const SIGTERM: i32 = 15;
const SIGABRT: i32 = 6;

/// A run under way.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    watch: Watch,
}

/// How far a run has come.
#[derive(Clone, Debug)]
pub struct Watch {
    ledger: PathBuf,
    started: Instant,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Waits until then, or until a first row is too long in coming.
    pub async fn until(&self, moment: Moment) {
        match moment {
            Moment::Start(delay) => tokio::time::sleep_until(self.started + delay).await,
            Moment::FirstRow(delay) => {
                let waits = || self.started.elapsed() < FIRST_ROW && !self.over.load(Ordering::Relaxed);
                while self.accepted() == 0 && waits() {
                    tokio::time::sleep(STEP).await;
                }
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// There will be no more rows.
    pub fn is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn accepted(&self) -> u64 {
        self.ledger.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was killed.
    Killed,
    /// It reached its point.
    Aborted,
    /// It ended in order, having been asked to.
    Stopped,
    /// It was asked before it listened.
    NotYetListening,
    /// Anything else, in words.
    Unexpected(String),
}

impl Process {
    /// Starts run `number` of the episode in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(directory: &Path, number: usize, environment: &[(String, String)]) -> io::Result<Self> {
        let file = |kind: &str| directory.join(kind).join(format!("{number:03}"));
        let (log, ledger) = (file("log"), file("ledger"));
        let mut command = Command::new(program());
        command.arg("run").current_dir(directory).env_clear().env("GREEKD_LISTEN", "127.0.0.1:0").kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", directory);
        command.env("GREEKD_DATA_DIR", directory.join("data")).env("GREEKD_SEGMENT_BYTES", SEGMENT_BYTES);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // The ledger is what would be standard input: no other process gets hold of it.
        let ledger_file = OpenOptions::new().create_new(true).append(true).open(&ledger)?;
        command.env("GREEKD_LEDGER", "0").stdin(ledger_file);
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let watch = Watch { ledger, started: Instant::now(), over: Arc::default() };
        Ok(Self { child: command.spawn()?, log, watch })
    }

    /// What tells how far it has come, for others.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// How much it has accepted so far, in bytes of its ledger.
    pub fn accepted(&self) -> u64 {
        self.watch.accepted()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it then.
    pub async fn kill_at(&mut self, moment: Moment) -> Fate {
        match self.lives_until(moment).await {
            Ok(()) => self.kill().await,
            Err(fate) => fate,
        }
    }

    async fn lives_until(&mut self, moment: Moment) -> Result<(), Fate> {
        let watch = self.watch.clone();
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = watch.until(moment) => return Ok(()),
        };
        Err(self.unexpected(status))
    }

    /// Kills it.
    pub async fn kill(&mut self) -> Fate {
        // It may have ended by itself in this very moment: its status tells.
        drop(self.child.kill().await);
        match self.child.wait().await {
            Ok(status) if status.signal() == Some(9) => Fate::Killed,
            status => self.unexpected(status),
        }
    }

    /// Asks it to end then.
    pub async fn stop_at(&mut self, moment: Moment) -> Fate {
        if let Err(fate) = self.lives_until(moment).await {
            return fate;
        }
        if let Some(pid) = self.child.id() {
            signal(pid, "TERM");
        }
        let Ok(status) = timeout(STOP, self.child.wait()).await else {
            self.kill().await;
            return Fate::Unexpected(format!("not stopped within {STOP:?}"));
        };
        match status {
            Ok(status) if status.success() => Fate::Stopped,
            Ok(status) if status.signal() == Some(SIGTERM) && !self.log().contains(LISTENS) => Fate::NotYetListening,
            status => self.unexpected(status),
        }
    }

    /// Waits until it ends at its point; when it does not reach that in time, it is killed.
    pub async fn reach(&mut self, patience: Duration) -> Fate {
        match timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) if status.signal() == Some(SIGABRT) => Fate::Aborted,
            Ok(status) => self.unexpected(status),
            Err(_) => self.kill().await,
        }
    }

    fn unexpected(&self, status: io::Result<ExitStatus>) -> Fate {
        match status {
            Ok(status) => {
                let log = self.log();
                let last = log.lines().last().unwrap_or_default();
                Fate::Unexpected(format!("{status}: {last}"))
            }
            Err(error) => Fate::Unexpected(error.to_string()),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// No core dumps of processes that end on purpose.
pub fn without_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).expect("a limit may be lowered");
}
