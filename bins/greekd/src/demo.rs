//! `greekd demo`: a double of the broker on real sockets, the unmodified client, a private PostgreSQL.

use std::process::ExitCode;
use std::time::Duration;

use broker_sim::TastySim;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::cli::DemoArgs;
use crate::daemon::{Figures, View};
use crate::database::Database;
use crate::exit::Failure;
use crate::out::say;
use crate::settings::{Settings, Tastytrade};
use crate::signals::Signals;
use crate::{sim, simulated, snapshots, sources, stream};

const DEFAULT_DURATION: Duration = Duration::from_secs(30);
/// For what a finished market has sent to arrive.
const TRICKLE: Duration = Duration::from_secs(2);
const SAMPLE_ROWS: u32 = 12;

/// Streams for a while and shows what was stored. `own_dir` tells that the data directory was chosen for this demo.
pub(crate) async fn run(mut settings: Settings, args: DemoArgs, own_dir: bool) -> Result<ExitCode, Failure> {
    if !own_dir {
        settings.data_dir.push("demo");
    }
    simulated::keep_apart(&settings, true)?;
    let mut signals = Signals::install()?;
    let sim = TastySim::start(sim::config(&args.market)).await.map_err(|error| sim::refused(&error))?;
    say(format_args!(
        "SIMULATED: {} option positions at a double of tastytrade; no account is involved",
        sim::options(&sim)
    ))?;
    say(format_args!("rows go to a private PostgreSQL under {}", settings.data_dir.display()))?;
    let Some(mut database) = stream::open(&settings, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    let shown = show(&settings, &args, &sim, &mut database, &mut signals).await;
    stream::close(database, &mut signals).await;
    signals.or_at_once(sim.shutdown()).await;
    shown.map(|()| ExitCode::SUCCESS)
}

async fn show(
    settings: &Settings,
    args: &DemoArgs,
    sim: &TastySim,
    database: &mut Database,
    signals: &mut Signals,
) -> Result<(), Failure> {
    say(format_args!("look inside at any time: {}", psql_line(database)))?;
    let (mut seconds, unheard) = (0_u32, Notify::new());
    let each_second = |view: &View| {
        seconds += 1;
        if say(status_line(seconds, &view.figures())).is_err() {
            unheard.notify_one();
        }
    };
    let until = async {
        tokio::select! {
            () = end_of_market(sim, args.duration, args.market.chain.is_some()) => {}
            // Nobody reads any more.
            () = unheard.notified() => {}
        }
    };
    let sources = vec![sources::tastytrade(&at_double(sim))?];
    let figures = stream::stream(settings, database, sources, signals, until, each_second).await?;
    say("\nnewest row of some of the positions:")?;
    snapshots::print_latest(database, SAMPLE_ROWS).await?;
    say(format_args!("\n{}", summary(&figures)))?;
    let program = std::env::current_exe().map_or_else(|_| "greekd".into(), |path| path.display().to_string());
    let directory = settings.data_dir.display();
    say(format_args!("  {program} snapshots --data-dir {directory}"))?;
    say(format_args!("  {program} db psql --data-dir {directory}"))
}

fn at_double(sim: &TastySim) -> Tastytrade {
    let credentials = sim.credentials();
    Tastytrade {
        refresh_token: SecretString::from(credentials.refresh_token),
        client_secret: SecretString::from(credentials.client_secret),
        api_url: Some(sim.api_url()),
        streamer_url: Some(sim.streamer_url()),
        accounts: None,
        ca_file: None,
    }
}

/// Resolves after `duration`; without one at the end of a chain, or after half a minute of a market that has no end.
async fn end_of_market(sim: &TastySim, duration: Option<f64>, ends: bool) {
    let limit = match duration {
        Some(seconds) => Some(Duration::from_secs_f64(seconds)),
        None if ends => None,
        None => Some(DEFAULT_DURATION),
    };
    let timer = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let finished = async {
        let year = Duration::from_secs(31_536_000);
        if sim.wait_until(year, |stats| stats.market_finished).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(TRICKLE).await;
    };
    tokio::select! {
        () = timer => {}
        () = finished, if ends => {}
    }
}

/// One line about one second.
fn status_line(seconds: u32, figures: &Figures) -> String {
    let sources: Vec<String> = figures
        .sources
        .iter()
        .map(|(id, state, reason)| match reason {
            Some(reason) => format!("{id} {state}: {reason}"),
            None => format!("{id} {state}"),
        })
        .collect();
    let p95 = if figures.latency.count == 0 { "-".into() } else { millis(figures.latency.p95) };
    format!(
        "{seconds:>4} s  events {:>8}  rows {:>8}  stored {:>8}  p95 {p95:>8}  {}",
        figures.counts.events,
        figures.counts.rows,
        figures.stored,
        sources.join("  ")
    )
}

fn summary(figures: &Figures) -> String {
    let latency = &figures.latency;
    format!(
        "{} rows stored; received to durable over the last minute: p50 {}, p95 {}, p99 {}. See more:",
        figures.stored,
        millis(latency.p50),
        millis(latency.p95),
        millis(latency.p99)
    )
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn psql_line(database: &Database) -> String {
    database.server().map_or_else(|| database.place(), greeks_store::private::PrivateServer::dsn_for_psql)
}

#[cfg(test)]
mod tests {
    use greeks_model::SourceId;
    use greeks_processor::{Counts, Percentiles};
    use greeks_store::CommitterStatus;

    use super::*;

    #[test]
    fn a_second_is_one_line() {
        let mut figures = Figures {
            counts: Counts::default(),
            stored: 7,
            latency: Percentiles::default(),
            database: CommitterStatus::default(),
            sources: vec![(SourceId::new("tastytrade").unwrap(), "degraded", Some("delayed quotes".into()))],
        };
        assert_eq!(
            status_line(3, &figures),
            "   3 s  events        0  rows        0  stored        7  p95        -  tastytrade degraded: delayed quotes"
        );
        figures.latency = Percentiles { count: 1, p95: Duration::from_micros(2_340), ..Percentiles::default() };
        figures.sources[0] = (SourceId::new("tastytrade").unwrap(), "connected", None);
        assert!(status_line(3, &figures).ends_with("p95   2.3 ms  tastytrade connected"));
    }
}
