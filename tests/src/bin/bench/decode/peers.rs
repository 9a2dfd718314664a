//! Other clients, each decoding in a program of its own that is built or installed on request.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::Turn;
use super::sum::Sum;
use crate::Result;
use crate::baseline::{environment, run};

pub(crate) const DXLINK: &str = "dxlink 0.3.3";
pub(crate) const TASTYTRADE: &str = "tastytrade 13.2.3 (Python)";
pub(crate) const IBIND: &str = "ibind 0.2.2 (Python)";

/// For packages to be fetched and built.
const BUILD_DEADLINE: Duration = Duration::from_secs(1_200);
/// For a program to start, or to decode all frames once: an event takes it microseconds.
const TURN_DEADLINE: Duration = Duration::from_secs(120);

/// What can be started: `None` where it could not be built or installed.
#[derive(Debug)]
pub(crate) struct Peers {
    dxlink: Option<PathBuf>,
    python: Option<PathBuf>,
    script: PathBuf,
}

/// One client with one file of frames.
#[derive(Debug)]
pub(crate) struct Peer {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Peers {
    /// Builds and installs them under `target/`, unless they are there. What fails is told and not measured, here and when it starts.
    pub(crate) async fn prepare() -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        // target/PROFILE/bench -> target
        let own = std::env::current_exe()?;
        let target = own.parent().and_then(Path::parent).ok_or("this program is not in a target directory")?;
        println!("building dxlink and installing the Python clients: some minutes the first time");
        let dxlink = build(&sources.join("dxlink"), &target.join("peers")).await;
        let python = environment(&target.join("peers-python"), &sources.join("requirements.txt")).await;
        Ok(Self {
            dxlink: or_told(DXLINK, dxlink),
            python: or_told("the Python clients", python),
            script: sources.join("decode.py"),
        })
    }

    /// The `dxlink` crate.
    pub(crate) async fn dxlink(&self, file: &Path) -> Option<Peer> {
        or_told(DXLINK, Peer::start(Command::new(self.dxlink.as_ref()?).arg(file)).await)
    }

    /// A Python client, by its package.
    pub(crate) async fn python(&self, package: &str, file: &Path) -> Option<Peer> {
        let mut command = Command::new(self.python.as_ref()?);
        command.arg(&self.script).arg(package).arg(file).env("PYTHONDONTWRITEBYTECODE", "1");
        or_told(package, Peer::start(&mut command).await)
    }
}

/// The program of a package of its own.
async fn build(package: &Path, target: &Path) -> Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    build.arg(package.join("Cargo.toml")).arg("--target-dir").arg(target);
    run(&mut build, BUILD_DEADLINE).await?;
    Ok(target.join("release").join("peer-dxlink"))
}

fn or_told<T>(name: &str, made: Result<T>) -> Option<T> {
    made.inspect_err(|error| println!("not measured: {name}: {error}")).ok()
}

impl Peer {
    async fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let mut peer = Self { _child: child, input, output };
        // It has warmed up when it answers.
        peer.turn(Duration::ZERO).await?;
        Ok(peer)
    }

    /// Lets it decode its frames for so long.
    pub(crate) async fn turn(&mut self, time: Duration) -> Result<Turn> {
        self.input.write_all(format!("{}\n", time.as_secs_f64()).as_bytes()).await?;
        let line = timeout(TURN_DEADLINE, self.output.next_line()).await.map_err(|_| "a peer does not answer")??;
        let line = line.ok_or("a peer has ended")?;
        Turn::of(&line).ok_or_else(|| format!("a peer printed no figures: {line}").into())
    }
}

impl Turn {
    /// From a line, a JSON object: `greeks` only where the values can be compared.
    fn of(line: &str) -> Option<Self> {
        let object: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| object[name].as_u64();
        let sum = number("greeks").zip(number("events")).map(|(greeks, events)| Sum { events, greeks, rest: None });
        let passes = u32::try_from(number("passes")?).ok().filter(|passes| *passes > 0)?;
        Some(Self { nanos: object["nanos"].as_f64()?, passes, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_a_line() {
        let turn = Turn::of(r#"{"nanos": 5e7, "passes": 2, "events": 20000, "greeks": 18446744073709551615}"#).unwrap();
        assert_eq!((turn.nanos, turn.passes), (5e7, 2));
        assert_eq!(turn.sum, Some(Sum { events: 20_000, greeks: u64::MAX, rest: None }));
        let turn = Turn::of(r#"{"nanos": 300000000, "passes": 1, "events": 19234}"#).unwrap();
        assert_eq!((turn.nanos, turn.sum), (3e8, None));
        for line in ["", "{}", r#"{"nanos": 1, "passes": 0}"#] {
            assert!(Turn::of(line).is_none(), "{line}");
        }
    }
}
