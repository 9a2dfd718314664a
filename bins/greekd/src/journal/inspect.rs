//! `greekd journal inspect`: what a journal holds, also beside a running greekd.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use greeks_model::{Record, UnixNanos};
use greeks_store::greeks_journal::{Archive, Error, Incarnation, Next};
use serde::Serialize;

use super::refused;
use crate::cli::{JournalInspectArgs, JournalOutput};
use crate::exit::{Code, Failure};
use crate::out;
use crate::settings::Settings;
use crate::table::{self, Column, Millis};

/// What one run has left.
#[derive(Debug, Default, Serialize)]
struct Run {
    incarnation: String,
    began: String,
    format: u32,
    first: u64,
    last: u64,
    bytes: u64,
    rows: u64,
    positions: u64,
    gaps: u64,
    sheds: u64,
    /// Intact records that this program does not understand.
    not_understood: u64,
    /// Numbers whose records are damaged.
    missing: u64,
    torn_bytes: u64,
    /// Times of receipt of the first and the last row.
    from: Option<String>,
    to: Option<String>,
    damaged_segments: Vec<String>,
}

/// A whole directory.
#[derive(Debug, Serialize)]
struct Contents {
    directory: String,
    runs: Vec<Run>,
    unreadable_segments: Vec<String>,
    set_aside: Vec<String>,
}

pub(crate) fn run(settings: &Settings, args: &JournalInspectArgs) -> Result<ExitCode, Failure> {
    let directory = args.directory.clone().unwrap_or_else(|| super::directory(&settings.data_dir));
    if !directory.is_dir() {
        let what = format!("there is no journal at {}", directory.display());
        return Err(Failure::new(Code::Unavailable, what).remedy("name its directory, or give another --data-dir"));
    }
    let contents = read(&directory).map_err(|error| refused(&error))?;
    out::print(|stdout| match args.output {
        JournalOutput::Table => print(&contents, stdout),
        JournalOutput::Json => {
            serde_json::to_writer_pretty(&mut *stdout, &contents)?;
            writeln!(stdout)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn read(directory: &Path) -> Result<Contents, Error> {
    let archive = Archive::open(directory)?;
    let recovery = archive.recovery();
    Ok(Contents {
        directory: directory.display().to_string(),
        runs: recovery.incarnations.iter().map(|found| of_run(&archive, found)).collect::<Result<_, _>>()?,
        unreadable_segments: recovery.unreadable.clone(),
        set_aside: recovery.quarantined.clone(),
    })
}

fn of_run(archive: &Archive, found: &Incarnation) -> Result<Run, Error> {
    let mut run = Run {
        incarnation: found.id.to_string(),
        began: jiff::Timestamp::try_from(found.opened_at).map(|at| format!("{at:.3}")).unwrap_or_default(),
        format: found.schema,
        first: found.first,
        last: found.last,
        bytes: found.bytes,
        missing: found.gaps.iter().map(|gap| gap.to - gap.from + 1).sum(),
        torn_bytes: found.torn_bytes,
        damaged_segments: found.damaged.clone(),
        ..Run::default()
    };
    let mut cursor = archive.cursor(found.id, found.first.saturating_sub(1))?;
    let mut received: Option<(UnixNanos, UnixNanos)> = None;
    loop {
        match cursor.read() {
            // A greekd that runs has stored it meanwhile.
            Err(Error::Released { first, .. }) => cursor = archive.cursor(found.id, first.saturating_sub(1))?,
            Err(error) => return Err(error),
            Ok(Next::Record { bytes, .. }) => match Record::decode(bytes) {
                Ok(Record::Snapshot(row)) => {
                    run.rows += 1;
                    let (from, to) = received.get_or_insert((row.received_at, row.received_at));
                    (*from, *to) = ((*from).min(row.received_at), (*to).max(row.received_at));
                }
                Ok(Record::Positions(_)) => run.positions += 1,
                Ok(Record::Gap(_)) => run.gaps += 1,
                Ok(Record::Shed(_)) => run.sheds += 1,
                Ok(_) | Err(_) => run.not_understood += 1,
            },
            Ok(Next::Gap(_)) => {}
            Ok(_) => break,
        }
    }
    (run.from, run.to) =
        received.map_or((None, None), |(from, to)| (Some(Millis(from).to_string()), Some(Millis(to).to_string())));
    Ok(run)
}

const COLUMNS: [Column; 11] = [
    ("incarnation", true),
    ("began", true),
    ("first", false),
    ("last", false),
    ("rows", false),
    ("positions", false),
    ("gaps", false),
    ("missing", false),
    ("bytes", false),
    ("received from", true),
    ("to", true),
];

fn print(contents: &Contents, out: &mut impl Write) -> io::Result<()> {
    if contents.runs.is_empty() {
        writeln!(out, "{}: nothing waits", contents.directory)?;
    } else {
        let dash = || "-".to_owned();
        let line = |run: &Run| {
            [
                run.incarnation.clone(),
                run.began.clone(),
                run.first.to_string(),
                run.last.to_string(),
                run.rows.to_string(),
                run.positions.to_string(),
                (run.gaps + run.sheds).to_string(),
                run.missing.to_string(),
                run.bytes.to_string(),
                run.from.clone().unwrap_or_else(dash),
                run.to.clone().unwrap_or_else(dash),
            ]
        };
        table::write(&COLUMNS, &contents.runs.iter().map(line).collect::<Vec<_>>(), out)?;
    }
    for name in &contents.unreadable_segments {
        writeln!(out, "unreadable: {name}")?;
    }
    for name in &contents.set_aside {
        writeln!(out, "set aside because it is damaged: {name}")?;
    }
    Ok(())
}
