//! The judge: compares what was accepted and what was sent with what the database holds. It knows nothing of greekd but
//! its promises.

mod minutes;
mod order;
mod stated;
mod stored;
mod truth;

use std::fmt;
use std::path::Path;

use greeks_store::tokio_postgres::NoTls;

pub use stored::{Mark, MinuteFigures, MinuteKey, Stored, StoredGap, StoredRow};

use super::records::{self, Accepted, RunNote, Sent};

/// The promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    /// A row was accepted and is not stored.
    Lost,
    /// A row is stored twice.
    Duplicated,
    /// A row is stored with other values than were accepted.
    Changed,
    /// A row is stored that was never sent.
    Invented,
    /// A number was given twice, out of order, or beyond the mark.
    Numbered,
    /// The database refused a row.
    Quarantined,
    /// Something is missing and no gap says so.
    Unstated,
    /// A minute of the book that is stored says something else than its rows.
    Outdated,
}

impl Breach {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Duplicated,
        Self::Changed,
        Self::Invented,
        Self::Numbered,
        Self::Quarantined,
        Self::Unstated,
        Self::Outdated,
    ];

    /// For files and people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Changed => "changed",
            Self::Invented => "invented",
            Self::Numbered => "numbered",
            Self::Quarantined => "quarantined",
            Self::Unstated => "unstated",
            Self::Outdated => "outdated",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub breach: Breach,
    /// Where.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.breach.name(), self.what)
    }
}

/// What is known of an episode beside the database.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What each run has accepted.
    pub accepted: Vec<Accepted>,
    /// How each run went.
    pub runs: Vec<RunNote>,
    /// What the double sent.
    pub sent: Sent,
}

/// What the judge found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Rows that greekd has accepted.
    pub accepted: usize,
    /// Rows in the database.
    pub stored: usize,
    /// Rows that were sent, received by a dying process and not accepted; a gap says so.
    pub excused: usize,
    /// Rows that the broker repeated at a reconnect and that were stored again, because the database could not be asked.
    pub repeated: usize,
    /// Sums of the book by the minute that were stored, and are as their rows say.
    pub minutes: usize,
    /// What is not as promised.
    pub violations: Vec<Violation>,
}

impl Verdict {
    fn add(&mut self, breach: Breach, what: impl Into<String>) {
        self.violations.push(Violation { breach, what: what.into() });
    }

    /// How often this promise was broken.
    pub fn count(&self, breach: Breach) -> usize {
        self.violations.iter().filter(|violation| violation.breach == breach).count()
    }
}

/// Judges an episode by its files and its database; what it finds is printed, the first line being the figures.
///
/// # Errors
/// When the files or the database cannot be read.
pub async fn judge_directory(directory: &Path, url: &str) -> Result<Verdict, String> {
    let evidence = evidence(directory)?;
    let (client, connection) = greeks_store::tokio_postgres::connect(url, NoTls).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let stored = stored::read(&client).await.map_err(|error| format!("the database cannot be read: {error}"))?;
    drop(client);
    drop(connection.await);
    Ok(judge(&evidence, &stored))
}

/// Reads the files of an episode.
///
/// # Errors
/// With the file that cannot be read.
pub fn evidence(directory: &Path) -> Result<Evidence, String> {
    let read = |name: &str| {
        std::fs::read_to_string(directory.join(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let runs = records::parse_runs(&read("runs")?).ok_or("runs cannot be understood")?;
    let sent = records::parse_sent(&read("sent")?).ok_or("sent cannot be understood")?;
    let ledger = |run: &RunNote| {
        let name = format!("ledger/{:03}", run.number);
        records::parse_ledger(&read(&name)?).ok_or_else(|| format!("{name} cannot be understood"))
    };
    let accepted = runs.iter().map(ledger).collect::<Result<_, _>>()?;
    Ok(Evidence { accepted, runs, sent })
}

/// Judges an episode.
pub fn judge(evidence: &Evidence, stored: &Stored) -> Verdict {
    let accepted = evidence.accepted.iter().flatten().flatten().count();
    let mut verdict = Verdict { accepted, stored: stored.rows.len(), ..Verdict::default() };
    truth::accepted_is_stored(evidence, stored, &mut verdict);
    truth::stored_once(evidence, stored, &mut verdict);
    order::numbers(evidence, stored, &mut verdict);
    stated::sent_or_stated(evidence, stored, &mut verdict);
    stated::ends_are_stated(evidence, stored, &mut verdict);
    minutes::as_their_rows(stored, &mut verdict);
    for refused in &stored.quarantined {
        verdict.add(Breach::Quarantined, refused);
    }
    verdict
}

#[cfg(test)]
mod tests;
