//! `greekd journal replay`: stores what a journal holds that no running greekd owns.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use greeks_processor::SystemClock;
use greeks_store::greeks_journal::Options;
use greeks_store::{Committer, CommitterConfig, CommitterState, Leftover, journal_log};

use super::{refused, understood};
use crate::database::Database;
use crate::exit::{Code, Failure, with_causes};
use crate::out::say;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{simulated, stream};

/// Nothing is written here: room for what the library keeps ready.
const SEGMENT: u64 = 1 << 20;

/// Stores every record of the journal in `directory` that the database does not have, and removes what it has. May be
/// broken off and run again, also beside a running greekd.
pub(crate) async fn run(settings: &Settings, directory: &Path) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install()?;
    if !directory.is_dir() {
        let what = format!("there is no journal at {}", directory.display());
        return Err(Failure::new(Code::Unavailable, what)
            .remedy("`greekd journal inspect` shows the one of the data directory"));
    }
    let mut files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    if !files.any(|file| file.path().extension().is_some_and(|kind| kind == "seg")) {
        say(format_args!("{}: nothing waits", directory.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let invented = directory.canonicalize().is_ok_and(|path| path.parent().is_some_and(simulated::is_simulated));
    if invented && !simulated::is_simulated(&settings.data_dir) {
        let what = format!("{} holds rows of a demo, which must not mix with real ones", directory.display());
        return Err(Failure::new(Code::Config, what).remedy("name the demo's directory with --data-dir"));
    }
    let options = Options { segment_bytes: SEGMENT, ..Options::default() };
    let opening = directory.to_path_buf();
    let logs = tokio::task::spawn_blocking(move || journal_log(&opening, options)).await;
    let logs = logs.map_err(|error| Failure::new(Code::Runtime, error))?.map_err(|error| refused(&error))?;
    let database = Database::open_shared(settings).await?;
    let replaying = async {
        let mut all = (0, 0);
        for left in logs.leftovers {
            understood(&left)?;
            let (records, rows) = replay(&database, left).await?;
            all = (all.0 + records, all.1 + rows);
        }
        say(format_args!("{} records read, {} rows stored that were not there yet: {}", all.0, all.1, database.place()))
    };
    let replayed = tokio::select! {
        replayed = replaying => replayed,
        () = signals.next() => Err(Failure::new(Code::CutShort, "broken off: run it again to store the rest")),
    };
    stream::close(database, &mut signals).await;
    replayed.map(|()| ExitCode::SUCCESS)
}

/// Tells how many records there were, and how many rows were stored.
async fn replay(database: &Database, left: Leftover) -> Result<(u64, u64), Failure> {
    let Leftover { found, log, .. } = left;
    let mut config = CommitterConfig::new(database.config().clone(), format!("greekd journal replay of {}", found.id));
    (config.migrate, config.exclusive) = (true, false);
    let (committer, status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(SystemClock::new()));
    let mut watched = status.clone();
    let failing = async {
        // A person waits: no second try.
        let bad =
            |state| matches!(state, CommitterState::Retrying | CommitterState::NeedsOperator | CommitterState::Full);
        match watched.wait_for(|status| bad(status.state)).await {
            Ok(status) => status.last_error.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        stored = committer.run() => {
            stored.map_err(|error| Failure::new(Code::Disk, with_causes(&error)))?;
            Ok((found.last - found.first + 1, status.borrow().rows_written))
        }
        reason = failing => Err(Failure::new(Code::Unavailable, format!("the database cannot be used: {reason}"))
            .remedy("nothing is lost: run it again when it can")),
    }
}
