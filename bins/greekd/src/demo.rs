//! `greekd demo`: a double of the broker on real sockets, the unmodified client, a private PostgreSQL.

use std::process::ExitCode;
use std::time::Duration;

use broker_sim::TastySim;
use secrecy::SecretString;

use crate::cli::DemoArgs;
use crate::daemon::{Daemon, Figures, View};
use crate::database::Database;
use crate::exit::{Code, Failure};
use crate::settings::{DatabaseChoice, Settings, Tastytrade};
use crate::signals::Signals;
use crate::{sim, snapshots, sources};

const DEFAULT_DURATION: Duration = Duration::from_secs(30);
/// For what a finished market has sent to arrive.
const TRICKLE: Duration = Duration::from_secs(2);
const SAMPLE_ROWS: u32 = 12;

/// Streams for a while and shows what was stored. `own_dir` tells that the data directory was chosen for this demo;
/// otherwise simulated rows are kept apart from real ones.
pub(crate) async fn run(mut settings: Settings, args: DemoArgs, own_dir: bool) -> Result<ExitCode, Failure> {
    if !own_dir {
        settings.data_dir.push("demo");
    }
    settings.database = DatabaseChoice::Private;
    let mut signals = Signals::install()?;
    let sim = TastySim::start(sim::config(&args.market)).await.map_err(|error| sim::refused(&error))?;
    println!("SIMULATED: {} option positions at a double of tastytrade; no account is involved", sim::options(&sim));
    println!("rows go to a private PostgreSQL under {}", settings.data_dir.display());

    let tastytrade = at_double(&sim);
    let mut database = Database::open(&settings).await?;
    database.migrate().await?;
    println!("look inside at any time: {}", psql_line(&database));
    let mut daemon = Daemon::start(&settings, &database, vec![sources::tastytrade(&tastytrade)?]).await?;

    let mut seconds = 0_u32;
    let each_second = |view: &View| {
        seconds += 1;
        println!("{}", status_line(seconds, &view.figures()));
    };
    let end = async {
        tokio::select! {
            () = signals.next() => {}
            () = end_of_market(&sim, args.duration, args.market.chain.is_some()) => {}
        }
    };
    let outcome = tokio::select! {
        outcome = daemon.run(end, each_second) => outcome,
        () = database.keep_running() => Ok(()),
    };
    let stopping = async {
        let figures = daemon.stop().await;
        sim.shutdown().await;
        figures
    };
    let figures = match signals.or_at_once(stopping).await {
        Ok(figures) => figures,
        Err(code) => return Ok(code),
    };
    outcome?;
    let figures = figures?;
    println!("\nnewest row of some of the positions:");
    snapshots::print_latest(&database, SAMPLE_ROWS).await?;
    println!("\n{}", summary(&figures));
    let program = std::env::current_exe().map_or_else(|_| "greekd".into(), |path| path.display().to_string());
    let directory = settings.data_dir.display();
    println!("  {program} snapshots --data-dir {directory}");
    println!("  {program} db psql --data-dir {directory}");
    database.close().await?;
    if figures.stored == 0 {
        return Err(Failure::new(Code::Runtime, "no row was stored").remedy("run it again with -v and read the log"));
    }
    Ok(ExitCode::SUCCESS)
}

fn at_double(sim: &TastySim) -> Tastytrade {
    let credentials = sim.credentials();
    Tastytrade {
        refresh_token: SecretString::from(credentials.refresh_token),
        client_secret: SecretString::from(credentials.client_secret),
        api_url: Some(sim.api_url()),
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
