//! `greekd snapshots`: stored rows as a table, JSON or CSV.

mod gaps;
mod output;

use std::process::ExitCode;

use greeks_model::UnixNanos;
use greeks_store::{Queries, QueryError, SnapshotFilter, SnapshotRow};

use crate::cli::{Output, SnapshotsArgs};
use crate::database::Database;
use crate::exit::{Code, Failure, with_causes};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{out, stream};

pub(crate) async fn run(settings: &Settings, args: &SnapshotsArgs) -> Result<ExitCode, Failure> {
    let database = Database::open_existing(settings).await?;
    database.ready().await?;
    let printed = match args.gaps {
        true => gaps::run(&database, args).await,
        false => fetch(&database, args).await.and_then(|rows| print(&rows, args.output)),
    };
    stream::close(database, &mut Signals::install()?).await;
    printed.map(|()| ExitCode::SUCCESS)
}

/// Prints the newest row of up to `limit` positions.
pub(crate) async fn print_latest(database: &Database, limit: u32) -> Result<(), Failure> {
    let queries = Queries::new(database.config(), 1).map_err(|error| refused(&error))?;
    let mut rows = queries.latest(&SnapshotFilter::default()).await.map_err(|error| refused(&error))?;
    // Every n-th, so that each kind of contract is among them.
    let step = rows.len().div_ceil(limit as usize).max(1);
    let mut place = 0_usize;
    rows.retain(|_| {
        place += 1;
        (place - 1).is_multiple_of(step)
    });
    print(&rows, Output::Table)
}

/// Pages through until the limit is reached.
async fn fetch(database: &Database, args: &SnapshotsArgs) -> Result<Vec<SnapshotRow>, Failure> {
    let queries = Queries::new(database.config(), 1).map_err(|error| refused(&error))?;
    let mut filter = SnapshotFilter::default();
    filter.broker.clone_from(&args.broker);
    filter.account_id.clone_from(&args.account_id);
    filter.contract_key.clone_from(&args.contract_key);
    filter.underlying.clone_from(&args.underlying);
    filter.from = args.from.map(UnixNanos::from_timestamp);
    filter.to = args.to.map(UnixNanos::from_timestamp);
    let mut rows = Vec::new();
    let mut missing = args.limit;
    while missing > 0 {
        filter.limit = missing.min(SnapshotFilter::MAX_LIMIT);
        let page = queries.snapshots(&filter).await.map_err(|error| refused(&error))?;
        missing = missing.saturating_sub(u32::try_from(page.rows.len()).unwrap_or(u32::MAX));
        rows.extend(page.rows);
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            break;
        }
    }
    Ok(rows)
}

fn print(rows: &[SnapshotRow], output: Output) -> Result<(), Failure> {
    out::print(|stdout| match output {
        Output::Table => output::table(rows, stdout),
        Output::Json => output::json(rows, stdout),
        Output::Csv => output::csv(rows, stdout),
    })
}

/// A question that the database did not answer.
pub(crate) fn refused(error: &QueryError) -> Failure {
    let code = match error {
        QueryError::Connect(_) | QueryError::Deadline(_) => Code::Unavailable,
        _ => Code::Runtime,
    };
    Failure::new(code, with_causes(error))
}
