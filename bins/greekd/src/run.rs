//! `greekd run`: stream and store until told to stop.

use std::process::ExitCode;

use crate::daemon::View;
use crate::exit::Failure;
use crate::live::Live;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::watch::Watch;
use crate::web::{Metrics, Web};
use crate::{simulated, sources, stream};

pub(crate) async fn run(settings: &Settings, metrics: &Metrics) -> Result<ExitCode, Failure> {
    // Before anything that takes its time: a stop at once is an orderly one, too.
    let mut signals = Signals::install()?;
    settings.require_broker()?;
    let sources = sources::configured(settings)?;
    simulated::keep_apart(settings, false)?;
    let web = Web::bind(settings, metrics).await?;
    let Some(mut database) = stream::open(settings, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    let until = std::future::pending();
    let mut watch = Watch::default();
    let each_second = |view: &View| {
        watch.look(view.sources());
        metrics.upkeep();
    };
    let mut live = Live::new(settings, false, &sources);
    if let Some(web) = web {
        live.serve(web, database.config());
    }
    let figures = stream::stream(settings, &mut database, sources, &mut signals, until, each_second, live).await;
    stream::close(database, &mut signals).await;
    let figures = figures?;
    let latency = &figures.latency;
    let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    tracing::info!(
        events = figures.counts.events,
        rows = figures.stored,
        p50_ms = millis(latency.p50),
        p95_ms = millis(latency.p95),
        p99_ms = millis(latency.p99),
        accepted_p99_ms = millis(figures.accepted.p99),
        waiting = figures.waiting,
        "stopped"
    );
    Ok(ExitCode::SUCCESS)
}
