//! The files of an episode, by which the judge knows what was accepted, what was sent and what was done.
//!
//! ```text
//! EPISODE/ledger/007   what run 7 has accepted, written by greekd itself
//! EPISODE/sent         what the broker's double held and sent, in order
//! EPISODE/runs         one line per run
//! EPISODE/story        the same for people
//! EPISODE/log/007      the log of run 7
//! EPISODE/data         the data directory of greekd
//! ```

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use broker_sim::{GreekValues, LedgerEntry, SimPosition, Stamp};

use crate::expected::Line;

/// Bits of delta, gamma, theta, vega, rho, implied volatility, option price and the underlying's price.
pub type Values = [Option<u64>; 8];

/// A row as greekd and the database tell it; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// The broker.
    pub source: String,
    /// The account.
    pub account: String,
    /// `contract_key`.
    pub contract: String,
    /// The broker's time.
    pub event_time: i64,
    /// When it was received.
    pub received_at: i64,
    /// The figures.
    pub values: Values,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, account, contract, event_time, received_at, values } = self;
        write!(f, "{source} {account} {contract:?} of {event_time} received {received_at}:")?;
        values.iter().try_for_each(|value| match value {
            Some(bits) => write!(f, " {}", f64::from_bits(*bits)),
            None => write!(f, " -"),
        })
    }
}

/// What a run has accepted, in order; `None` stands for a record that is no row.
pub type Accepted = Vec<Option<Row>>;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It died without a chance to say anything.
    Died,
    /// It was asked to stop, or ended by itself.
    Ended,
}

/// What the judge has to know of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunNote {
    /// Its number.
    pub number: usize,
    /// When it was started, in microseconds.
    pub started_at: i64,
    /// Whether the database was there all the while: only then what was stored last is known for sure at the start.
    pub undisturbed: bool,
    /// How it ended.
    pub end: End,
}

/// What the double of the broker held and sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Who holds what, by streamer symbol.
    pub holders: HashMap<String, Vec<Line>>,
    /// In the order of sending.
    pub entries: Vec<LedgerEntry>,
}

/// Reads what a run has accepted. A last line without an end was being written when the process died.
pub fn parse_ledger(text: &str) -> Option<Accepted> {
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    whole.lines().map(parse_accepted).collect()
}

fn parse_accepted(line: &str) -> Option<Option<Row>> {
    if line == "other" {
        return Some(None);
    }
    let mut words = line.strip_prefix("row ")?.split(' ');
    let mut row = Row {
        source: words.next()?.to_owned(),
        account: words.next()?.to_owned(),
        event_time: words.next()?.parse().ok()?,
        received_at: words.next()?.parse().ok()?,
        contract: spaced(words.next()?),
        values: [None; 8],
    };
    for value in &mut row.values {
        *value = parse_bits(words.next()?)?;
    }
    words.next().is_none().then_some(Some(row))
}

fn parse_bits(word: &str) -> Option<Option<u64>> {
    if word == "-" { Some(None) } else { u64::from_str_radix(word, 16).ok().map(Some) }
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// Writes down what the double held and sent.
///
/// # Errors
/// When the file cannot be written.
pub fn write_sent(path: &Path, positions: &[SimPosition], entries: &[LedgerEntry]) -> io::Result<()> {
    let mut text = String::new();
    for position in positions.iter().filter(|position| position.is_open_option()) {
        let Some(listing) = position.listing() else { continue };
        let contract = listing.contract.to_string().replace(' ', "_");
        add(&mut text, format_args!("held {} {} {contract}", listing.streamer_symbol, position.account));
    }
    for entry in entries {
        let GreekValues { price, volatility, delta, gamma, theta, rho, vega } = entry.values;
        let mut line = format!("sent {} {} {}", entry.connection, entry.symbol, entry.stamp.time);
        for value in [price, volatility, delta, gamma, theta, rho, vega] {
            line.push_str(&format!(" {:x}", value.to_bits()));
        }
        add(&mut text, format_args!("{line}"));
    }
    std::fs::write(path, text)
}

/// Reads that again.
pub fn parse_sent(text: &str) -> Option<Sent> {
    let mut sent = Sent::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["held", symbol, account, contract] => {
                let line = ((*account).to_owned(), spaced(contract));
                sent.holders.entry((*symbol).to_owned()).or_default().push(line);
            }
            ["sent", connection, symbol, time, values @ ..] => {
                let bits: Vec<u64> =
                    values.iter().map(|word| u64::from_str_radix(word, 16)).collect::<Result<_, _>>().ok()?;
                let [price, volatility, delta, gamma, theta, rho, vega] =
                    <[u64; 7]>::try_from(bits).ok()?.map(f64::from_bits);
                sent.entries.push(LedgerEntry {
                    connection: connection.parse().ok()?,
                    symbol: (*symbol).into(),
                    stamp: Stamp { time: time.parse().ok()?, sequence: 0 },
                    values: GreekValues { price, volatility, delta, gamma, theta, rho, vega },
                    written: true,
                });
            }
            _ => return None,
        }
    }
    Some(sent)
}

/// Writes down how the runs went.
///
/// # Errors
/// When the file cannot be written.
pub fn write_runs(path: &Path, runs: &[RunNote]) -> io::Result<()> {
    let mut text = String::new();
    for run in runs {
        let end = if run.end == End::Died { "died" } else { "ended" };
        let database = if run.undisturbed { "undisturbed" } else { "disturbed" };
        add(&mut text, format_args!("{} {} {database} {end}", run.number, run.started_at));
    }
    std::fs::write(path, text)
}

/// Reads that again.
pub fn parse_runs(text: &str) -> Option<Vec<RunNote>> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [number, started_at, database, end] = words.as_slice() else { return None };
        Some(RunNote {
            number: number.parse().ok()?,
            started_at: started_at.parse().ok()?,
            undisturbed: *database == "undisturbed",
            end: if *end == "died" { End::Died } else { End::Ended },
        })
    };
    text.lines().map(parse).collect()
}

fn add(text: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").expect("memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "row ibkr U1 5 7 SPXW__261124P06650000 8000000000000000 - - - - - - 3ff0000000000000\n";

    #[test]
    fn a_line_cut_short_was_not_accepted_and_a_strange_one_is_an_error() {
        let accepted = parse_ledger(&format!("{ROW}other\nrow ibkr U1 5")).unwrap();
        let row = accepted[0].as_ref().unwrap();
        assert_eq!((row.contract.as_str(), row.event_time, row.received_at), ("SPXW  261124P06650000", 5, 7));
        assert_eq!((row.values[0], row.values[1], row.values[7]), (Some(1 << 63), None, Some(1.0_f64.to_bits())));
        assert_eq!((accepted.len(), &accepted[1]), (2, &None));
        assert_eq!(parse_ledger(""), Some(vec![]));
        assert_eq!(parse_ledger(&format!("something\n{ROW}")), None);
        assert_eq!(parse_ledger(&ROW.replace(" - - ", " - ")), None);
    }

    #[test]
    fn runs_are_read_as_they_were_written() {
        let runs = [
            RunNote { number: 0, started_at: 17, undisturbed: true, end: End::Died },
            RunNote { number: 1, started_at: 18, undisturbed: false, end: End::Ended },
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        write_runs(file.path(), &runs).unwrap();
        assert_eq!(parse_runs(&std::fs::read_to_string(file.path()).unwrap()).unwrap(), runs);
    }
}
