//! The judge as a process of its own: what it is given is files and a database, and what it says is lines.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tokio::process::Command;

use super::Error;
use super::oracle::{self, Breach, Verdict, Violation};

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Which program to run as `PROGRAM oracle DIRECTORY URL`; the first call decides.
pub fn use_program(path: &Path) {
    PROGRAM.get_or_init(|| path.to_owned());
}

/// Has an episode judged.
///
/// # Errors
/// When the judge cannot say anything.
pub async fn ask(directory: &Path, url: &str) -> Result<Verdict, Error> {
    let program = PROGRAM.get().ok_or("it was not said which program the judge is")?;
    let mut command = Command::new(program);
    command.arg("oracle").arg(directory).arg(url).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    parse(&said).ok_or_else(|| {
        format!("the judge failed: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr)).into()
    })
}

/// The judge's part: prints the figures, then the violations, one a line.
///
/// # Errors
/// When the files or the database cannot be read.
pub async fn answer(directory: &Path, url: &str) -> Result<String, String> {
    let verdict = oracle::judge_directory(directory, url).await?;
    let Verdict { accepted, stored, excused, repeated, minutes, violations } = &verdict;
    let mut lines = format!("judged {accepted} {stored} {excused} {repeated} {minutes} {}\n", violations.len());
    for Violation { breach, what } in violations {
        lines.push_str(&format!("{} {}\n", breach.name(), what.replace('\n', " ")));
    }
    Ok(lines)
}

fn parse(said: &str) -> Option<Verdict> {
    let mut lines = said.lines();
    let figures = lines.next()?.strip_prefix("judged ")?;
    let figures: Vec<usize> = figures.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [accepted, stored, excused, repeated, minutes, count] = *figures.as_slice() else { return None };
    let violation = |line: &str| {
        let (name, what) = line.split_once(' ')?;
        let breach = Breach::ALL.into_iter().find(|breach| breach.name() == name)?;
        Some(Violation { breach, what: what.to_owned() })
    };
    let violations = lines.map(violation).collect::<Option<Vec<_>>>()?;
    (violations.len() == count).then_some(Verdict { accepted, stored, excused, repeated, minutes, violations })
}
