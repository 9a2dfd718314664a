//! `greekd snapshots --gaps`: what could not be received or kept.

use std::io::{self, Write};
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_store::{GapFilter, GapRow, Queries};
use serde::Serialize;

use super::refused;
use crate::cli::{Output, SnapshotsArgs};
use crate::database::Database;
use crate::exit::Failure;
use crate::out;
use crate::table::{self, Column, Millis, age};

/// A row of `ingest_gaps`; an end that is not known is null.
#[derive(Debug, Serialize)]
struct Object<'a> {
    source: &'a str,
    kind: &'a str,
    gap_from: String,
    gap_to: Option<String>,
    reason: &'a str,
    events: Option<u64>,
    noted_at: String,
}

impl<'a> From<&'a GapRow> for Object<'a> {
    fn from(row: &'a GapRow) -> Self {
        Self {
            source: &row.source,
            kind: &row.kind,
            gap_from: row.from.to_string(),
            gap_to: row.to.map(|to| to.to_string()),
            reason: &row.reason,
            events: row.events,
            noted_at: row.noted_at.to_string(),
        }
    }
}

pub(super) async fn run(database: &Database, args: &SnapshotsArgs) -> Result<(), Failure> {
    let queries = Queries::new(database.config(), 1).map_err(|error| refused(&error))?;
    let mut filter = GapFilter::default();
    filter.source.clone_from(&args.broker);
    filter.from = args.from.map(UnixNanos::from_timestamp);
    filter.to = args.to.map(UnixNanos::from_timestamp);
    filter.limit = args.limit;
    let rows = queries.gaps(&filter).await.map_err(|error| refused(&error))?;
    out::print(|stdout| match args.output {
        Output::Table => print(&rows, stdout),
        Output::Json => {
            serde_json::to_writer_pretty(&mut *stdout, &rows.iter().map(Object::from).collect::<Vec<_>>())?;
            writeln!(stdout)
        }
        Output::Csv => csv(&rows, stdout),
    })
}

const COLUMNS: [Column; 7] = [
    ("source", true),
    ("from", true),
    ("to", true),
    ("length", false),
    ("kind", true),
    ("reason", true),
    ("events", false),
];

fn print(rows: &[GapRow], out: &mut impl Write) -> io::Result<()> {
    let line = |row: &GapRow| {
        [
            row.source.clone(),
            Millis(row.from).to_string(),
            row.to.map_or_else(|| "-".into(), |to| Millis(to).to_string()),
            row.to.map_or_else(|| "-".into(), |to| length(to.saturating_since(row.from))),
            row.kind.clone(),
            row.reason.clone(),
            row.events.map_or_else(|| "-".into(), |events| events.to_string()),
        ]
    };
    table::write(&COLUMNS, &rows.iter().map(line).collect::<Vec<_>>(), out)
}

/// Short ones to the millisecond.
fn length(of: Duration) -> String {
    if of < Duration::from_secs(10) { format!("{:.3}s", of.as_secs_f64()) } else { age(of) }
}

fn csv(rows: &[GapRow], out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for row in rows {
        writer.serialize(Object::from(row)).map_err(io::Error::other)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_for_people() {
        assert_eq!(length(Duration::from_micros(1_500)), "0.002s");
        assert_eq!([length(Duration::from_secs(75)), length(Duration::from_secs(7_300))], ["75s", "2h"]);
    }
}
