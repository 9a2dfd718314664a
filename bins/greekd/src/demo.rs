//! `greekd demo`: doubles of both brokers on real sockets, the unmodified clients, a private PostgreSQL.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use broker_sim::{IbkrSim, SimMarket, SimPosition, TastySim};
use greeks_model::QuoteSource;
use ibkr_stream::tls::Fingerprint;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::cli::DemoArgs;
use crate::daemon::{Figures, View};
use crate::database::Database;
use crate::exit::{Code, Failure};
use crate::live::Live;
use crate::out::say;
use crate::settings::{Ibkr, Settings, Tastytrade, Trust};
use crate::signals::Signals;
use crate::web::{Metrics, Web};
use crate::{sim, simulated, snapshots, sources, stream};

const DEFAULT_DURATION: Duration = Duration::from_secs(30);
/// For what a finished market has sent to arrive.
const TRICKLE: Duration = Duration::from_secs(2);
const SAMPLE_ROWS: u32 = 12;

/// Streams for a while and shows what was stored. `own_dir` tells that the data directory was chosen for this demo.
pub(crate) async fn run(
    mut settings: Settings,
    args: DemoArgs,
    own_dir: bool,
    metrics: &Metrics,
) -> Result<ExitCode, Failure> {
    if !own_dir {
        settings.data_dir.push("demo");
    }
    simulated::keep_apart(&settings, true)?;
    let mut signals = Signals::install()?;
    let web = Web::bind(&settings, metrics).await?;
    let brokers = Doubles::start(&args).await?;
    say(format_args!(
        "SIMULATED, no account is involved: {} option positions at a double of IBKR's gateway, {} at a double of \
         tastytrade; {} contracts are held at both",
        sim::options_at_ibkr(&brokers.ibkr),
        sim::options(&brokers.tastytrade),
        brokers.contracts_at_both()
    ))?;
    say(format_args!("rows go to a private PostgreSQL under {}", settings.data_dir.display()))?;
    // Before the database: its start takes a part of the time that a client of IBKR waits before its first calls.
    (settings.ibkr, settings.tastytrade) = (Some(brokers.at_ibkr()?), Some(brokers.at_tastytrade()));
    let sources = sources::configured(&settings)?;
    let Some(mut database) = stream::open(&settings, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    let mut live = Live::new(&settings, true, &sources);
    if let Some(web) = web {
        let url = web.url();
        if live.serve(web, database.config()) {
            say(format_args!("the live book is served at {url} as long as this runs"))?;
        }
    }
    let shown = show(&settings, &args, &brokers, sources, &mut database, &mut signals, (live, metrics)).await;
    stream::close(database, &mut signals).await;
    signals.or_at_once(brokers.shutdown()).await;
    shown.map(|()| ExitCode::SUCCESS)
}

async fn show(
    settings: &Settings,
    args: &DemoArgs,
    brokers: &Doubles,
    sources: Vec<Box<dyn QuoteSource>>,
    database: &mut Database,
    signals: &mut Signals,
    (live, metrics): (Live, &Metrics),
) -> Result<(), Failure> {
    say(format_args!("look inside at any time: {}", psql_line(database)))?;
    let (mut seconds, unheard) = (0_u32, Notify::new());
    let each_second = |view: &View| {
        seconds += 1;
        metrics.upkeep();
        if say(status_line(seconds, &view.figures())).is_err() {
            unheard.notify_one();
        }
    };
    let until = async {
        tokio::select! {
            () = end_of_market(&brokers.tastytrade, args.duration, args.market.chain.is_some()) => {}
            // Nobody reads any more.
            () = unheard.notified() => {}
        }
    };
    let figures = stream::stream(settings, database, sources, signals, until, each_second, live).await?;
    say("\nnewest row of some of the positions:")?;
    snapshots::print_latest(database, SAMPLE_ROWS).await?;
    say(format_args!("\n{}", summary(&figures)))?;
    let program = std::env::current_exe().map_or_else(|_| "greekd".into(), |path| path.display().to_string());
    let directory = settings.data_dir.display();
    say(format_args!("  {program} positions --data-dir {directory}"))?;
    say(format_args!("  {program} snapshots --data-dir {directory}"))?;
    say(format_args!("  {program} db psql --data-dir {directory}"))
}

/// Both brokers, on one market.
struct Doubles {
    market: SimMarket,
    ibkr: IbkrSim,
    tastytrade: TastySim,
}

impl Doubles {
    async fn start(args: &DemoArgs) -> Result<Self, Failure> {
        let starting = async {
            let config = sim::config(&args.market);
            let market = SimMarket::start(config.market.clone()).await?;
            let ibkr = IbkrSim::start_on(&market, sim::ibkr_config(&args.market)).await?;
            let tastytrade = TastySim::start_on(&market, config).await?;
            Ok(Self { market, ibkr, tastytrade })
        };
        starting.await.map_err(|error| sim::refused(&error))
    }

    fn contracts_at_both(&self) -> usize {
        let positions = self.tastytrade.positions();
        let there: HashSet<_> = positions.iter().filter_map(SimPosition::contract).collect();
        let positions = self.ibkr.positions();
        let here: HashSet<_> =
            positions.iter().filter(|row| row.is_open_option()).filter_map(|row| row.contract()).collect();
        here.intersection(&there).count()
    }

    fn at_ibkr(&self) -> Result<Ibkr, Failure> {
        let fingerprint: Result<Fingerprint, _> = self.ibkr.fingerprint().unwrap_or_default().parse();
        let fingerprint = fingerprint.map_err(|error| Failure::new(Code::Runtime, error))?;
        Ok(Ibkr {
            gateway_url: self.ibkr.gateway_url(),
            websocket_url: None,
            accounts: None,
            trust: Trust::Fingerprint(fingerprint),
            compete: false,
            market_data_lines: None,
        })
    }

    fn at_tastytrade(&self) -> Tastytrade {
        let credentials = self.tastytrade.credentials();
        Tastytrade {
            refresh_token: SecretString::from(credentials.refresh_token),
            client_secret: SecretString::from(credentials.client_secret),
            api_url: Some(self.tastytrade.api_url()),
            streamer_url: Some(self.tastytrade.streamer_url()),
            accounts: None,
            ca_file: None,
        }
    }

    async fn shutdown(self) {
        tokio::join!(self.ibkr.shutdown(), self.tastytrade.shutdown());
        self.market.shutdown().await;
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
    use greeks_processor::Percentiles;

    use super::*;

    #[test]
    fn a_second_is_one_line() {
        let mut figures = Figures { stored: 7, ..Figures::none() };
        figures.sources = vec![(SourceId::new("tastytrade").unwrap(), "degraded", Some("delayed quotes".into()))];
        assert_eq!(
            status_line(3, &figures),
            "   3 s  events        0  rows        0  stored        7  p95        -  tastytrade degraded: delayed quotes"
        );
        figures.latency = Percentiles { count: 1, p95: Duration::from_micros(2_340), ..Percentiles::default() };
        figures.sources[0] = (SourceId::new("tastytrade").unwrap(), "connected", None);
        assert!(status_line(3, &figures).ends_with("p95   2.3 ms  tastytrade connected"));
    }
}
