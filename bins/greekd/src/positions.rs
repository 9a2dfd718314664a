//! `greekd positions`: what is held now at all brokers, and what they say of the same contract.

mod compare;
mod output;

use std::process::ExitCode;

use greeks_store::{PositionRow, Queries, QueryError};

use crate::cli::{Output, PositionsArgs};
use crate::database::Database;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::snapshots::refused;
use crate::{out, stream};

pub(crate) async fn run(settings: &Settings, args: &PositionsArgs) -> Result<ExitCode, Failure> {
    let database = Database::open_existing(settings).await?;
    database.ready().await?;
    let rows = fetch(&database).await.map_err(|error| refused(&error));
    stream::close(database, &mut Signals::install()?).await;
    print(&rows?, args.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn fetch(database: &Database) -> Result<Vec<PositionRow>, QueryError> {
    Queries::new(database.config(), 1)?.positions().await
}

fn print(rows: &[PositionRow], output: Output) -> Result<(), Failure> {
    out::print(|stdout| match output {
        Output::Table => output::table(rows, stdout),
        Output::Json => output::json(rows, stdout),
        Output::Csv => output::csv(rows, stdout),
    })
}
