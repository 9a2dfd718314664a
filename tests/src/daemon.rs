//! The greekd program as a child process.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cluster::Database;
use crate::scratch::scratch;

/// A run of greekd in an empty working directory, with nothing in its environment but what the test gives.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
    _directory: Option<TempDir>,
}

/// What an ended run left.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<String>,
    /// What it logged.
    pub stderr: Vec<String>,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// The program, built from the present sources in the profile of this one: by `cargo xtask test` together with the
/// tests, which says so in `GREEKD_IS_BUILT`, otherwise here.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if std::env::var_os("GREEKD_IS_BUILT").is_none() {
            let mut build = std::process::Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--package", "greekd"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            // As with `--all-features`; what is measured is measured without.
            build.args(if cfg!(debug_assertions) { ["--features", "failpoints"].as_slice() } else { &["--release"] });
            // Cargo tells these to what it runs; build scripts that look at them would run anew.
            for (name, _) in std::env::vars_os() {
                let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
                if name.to_str().is_some_and(own) {
                    build.env_remove(name);
                }
            }
            assert!(build.status().is_ok_and(|status| status.success()), "greekd cannot be built");
        }
        // target/debug/deps/TEST or target/debug/PROGRAM -> target/debug/greekd
        let own = std::env::current_exe().expect("the path of this program");
        let beside = own.parent().expect("the directory of this program");
        let directory = if beside.ends_with("deps") { beside.parent().expect("the target directory") } else { beside };
        directory.join("greekd")
    })
}

impl Daemon {
    /// Starts `greekd ARGS`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = scratch();
        let mut daemon = Self::start_in(directory.path(), args, environment);
        daemon._directory = Some(directory);
        daemon
    }

    /// Starts `greekd run` with these brokers and this database.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run_with(database: &Database, brokers: &[(&'static str, String)]) -> Self {
        let mut environment: Vec<(&str, &str)> = brokers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.push(("DATABASE_URL", &database.url));
        Self::start(&["run"], &environment)
    }

    /// Starts `greekd ARGS` in this working directory, which is its home and holds its data unless told otherwise.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_in(directory: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        command.args(args).current_dir(directory).env_clear().kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", directory).env("GREEKD_DATA_DIR", directory.join("greekd-data"));
        // Many run at a time: each takes a free port.
        command.env("GREEKD_LISTEN", "127.0.0.1:0");
        // As a person would see it in a pipe: JSON on stderr.
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("greekd starts");
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            read(child.stdout.take().expect("stdout"), Arc::clone(&stdout)),
            read(child.stderr.take().expect("stderr"), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers, _directory: None }
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("greekd runs")
    }

    /// Where it serves HTTP, such as `127.0.0.1:9850`; `None` as long as it has not said so.
    pub fn http(&self) -> Option<String> {
        let mut said = self.stderr().into_iter().chain(self.stdout());
        let line = said.find(|line| line.contains("the live book") && line.contains("http://"))?;
        let (_, rest) = line.split_once("http://")?;
        rest.split('/').next().map(str::to_owned)
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// Sends it a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Asks it to stop and waits for that.
    ///
    /// # Panics
    /// When it does not end within 15 s.
    pub async fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait(Duration::from_secs(15)).await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait(mut self, within: Duration) -> Ended {
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            panic!("greekd still runs after {within:?}; its log:\n{}", self.stderr().join("\n"));
        };
        for reader in self.readers.drain(..) {
            reader.await.expect("a reader of its output");
        }
        Ended { status: status.expect("its exit status"), stdout: self.stdout(), stderr: self.stderr() }
    }
}

/// Sends a process a signal by its name, such as `TERM`.
///
/// # Panics
/// When it cannot be sent.
pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// The last of its log, for messages.
pub fn tail(lines: &[String]) -> String {
    lines.iter().rev().take(20).rev().map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn read(from: impl AsyncRead + Unpin + Send + 'static, into: Lines) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            lock(&into).push(line);
        }
    })
}

fn lock(lines: &Lines) -> std::sync::MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
