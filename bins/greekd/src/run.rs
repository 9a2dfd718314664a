//! `greekd run`: stream and store until told to stop.

use std::process::ExitCode;

use crate::daemon::Daemon;
use crate::database::Database;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::sources;

pub(crate) async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    settings.require_broker()?;
    let sources = sources::configured(settings)?;
    let mut signals = Signals::install()?;
    let opened = async {
        let database = Database::open(settings).await?;
        let version = database.migrate().await?;
        Ok::<_, Failure>((database, version))
    };
    let (mut database, schema) = tokio::select! {
        opened = opened => opened?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    tracing::info!(place = database.place(), schema, "rows go to the database");

    let mut daemon = Daemon::start(settings, &database, sources).await?;
    let outcome = tokio::select! {
        outcome = daemon.run(signals.next(), |_| ()) => outcome,
        () = database.keep_running() => Ok(()),
    };
    tracing::info!("stopping");
    let stopping = async {
        let figures = daemon.stop().await;
        if let Err(failure) = database.close().await {
            tracing::warn!(error = %failure, "the private PostgreSQL did not stop in good order");
        }
        figures
    };
    let figures = match signals.or_at_once(stopping).await {
        Ok(figures) => figures,
        Err(code) => return Ok(code),
    };
    // What ended the run matters more than what its end brought with it.
    outcome?;
    let figures = figures?;
    let latency = &figures.latency;
    let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    tracing::info!(
        events = figures.counts.events,
        rows = figures.stored,
        p50_ms = millis(latency.p50),
        p95_ms = millis(latency.p95),
        p99_ms = millis(latency.p99),
        "stopped"
    );
    Ok(ExitCode::SUCCESS)
}
