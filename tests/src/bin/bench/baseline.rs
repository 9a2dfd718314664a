//! The Python design, run from where it is in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use greekd_tests::cluster::{Cluster, Database};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::Result;
use crate::product::Load;

/// For packages to be fetched and installed.
const INSTALL_DEADLINE: Duration = Duration::from_secs(600);
/// Beyond the time of the stream: the design may be unable to keep up, and then works off what waits.
const RUN_DEADLINE: Duration = Duration::from_secs(300);

/// A Python that can run the design, and the database it writes to.
#[derive(Debug)]
pub(crate) struct Baseline {
    python: PathBuf,
    program: PathBuf,
    database: Database,
}

/// What it prints of a run; times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Taken over by the writer -> commit acknowledged.
    pub(crate) p95: f64,
    /// Due at the source -> commit acknowledged: sees what waits in front of the writer too.
    pub(crate) due_p95: f64,
    pub(crate) rows_per_second: f64,
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
}

impl Baseline {
    /// Installs what the design needs beside this program's own build, unless it is there.
    pub(crate) async fn prepare(directory: &Path, cluster: &Cluster) -> Result<Self> {
        let directory = directory.canonicalize().map_err(|error| format!("{}: {error}", directory.display()))?;
        // target/PROFILE/bench -> target/bench-python
        let own = std::env::current_exe()?;
        let target = own.parent().and_then(Path::parent).ok_or("this program is not in a target directory")?;
        let python = environment(&target.join("bench-python"), &directory.join("requirements.txt")).await?;
        let database = cluster.database("baseline").await;
        Ok(Self { python, program: directory.join("baseline_writer.py"), database })
    }

    /// One run, from a websocket through the broker's Python SDK into empty tables.
    pub(crate) async fn measure(&self, load: Load) -> Result<Sample> {
        let mut command = Command::new(&self.python);
        command.arg(&self.program).args(["--reset", "--feed", "ws", "--dsn", &self.database.url]);
        command.args(["--rate", &load.rate.to_string(), "--seconds", &load.seconds.to_string()]);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let stream = Duration::from_secs(load.seconds.into());
        let printed = run(&mut command, stream + RUN_DEADLINE).await?;
        Sample::of(&printed).ok_or_else(|| format!("the baseline printed no figures: {printed}").into())
    }
}

impl Sample {
    /// From the last line, a JSON object.
    fn of(printed: &str) -> Option<Self> {
        let object: Value = serde_json::from_str(printed.lines().last()?).ok()?;
        let figure = |name: &str| object[name].as_f64();
        Some(Self {
            p95: figure("recv_p95_ms")?,
            due_p95: figure("due_p95_ms")?,
            rows_per_second: figure("rows_per_s")?,
            client_cpu: figure("client_cpu_s_per_100k")?,
            server_cpu: figure("server_cpu_s_per_100k")?,
        })
    }
}

/// The Python of an environment that has what is required: made and filled, unless it is there.
pub(crate) async fn environment(directory: &Path, requirements: &Path) -> Result<PathBuf> {
    let python = directory.join("bin").join("python");
    if !python.is_file() {
        println!("making a Python environment in {}", directory.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(directory), INSTALL_DEADLINE).await?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(install).arg(requirements), INSTALL_DEADLINE).await?;
    Ok(python)
}

/// Runs a program to its end and returns what it printed.
pub(crate) async fn run(command: &mut Command, within: Duration) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(within, command.output()).await.map_err(|_| format!("{name} still runs after {within:?}"))?;
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_the_last_line() {
        let line =
            r#"{"feed": "ws", "rate": 50.0, "rows": 400, "rows_per_s": 49.9, "recv_p95_ms": 941.2, "due_p95_ms": 948,
            "client_cpu_s_per_100k": 123.0, "server_cpu_s_per_100k": 6.7}"#
                .replace('\n', " ");
        let sample = Sample { p95: 941.2, due_p95: 948.0, rows_per_second: 49.9, client_cpu: 123.0, server_cpu: 6.7 };
        assert_eq!(Sample::of(&format!("a warning\n{line}\n")), Some(sample));
        assert_eq!(Sample::of("{}"), None);
        assert_eq!(Sample::of(""), None);
    }
}
