//! `greekd sim`: the doubles alone, for anyone who tests a client.

use std::process::ExitCode;
use std::time::Duration;

use broker_sim::{ChainMarket, MarketConfig, SimConfig, SimError, SimulatedMarket, TastySim};

use crate::cli::{MarketArgs, SimArgs};
use crate::exit::{Code, Failure, chain};
use crate::out::say;
use crate::signals::Signals;

/// The pause after each close of a replayed chain, as a part of its day.
const NIGHT: f64 = 0.2;

pub(crate) async fn tastytrade(args: &SimArgs) -> Result<ExitCode, Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(Code::Config, "a double listens on loopback only").remedy("use 127.0.0.1 or [::1]"));
    }
    let mut config = config(&args.market);
    config.listen = args.listen;
    let mut signals = Signals::install()?;
    let sim = TastySim::start(config).await.map_err(|error| refused(&error))?;
    let credentials = sim.credentials();
    say(format_args!("TASTYTRADE_API_URL={}", sim.api_url()))?;
    say(format_args!("TASTYTRADE_STREAMER_URL={}", sim.streamer_url()))?;
    say(format_args!("TASTYTRADE_REFRESH_TOKEN={}", credentials.refresh_token))?;
    say(format_args!("TASTYTRADE_CLIENT_SECRET={}", credentials.client_secret))?;
    tracing::info!(positions = options(&sim), feed = sim.dxlink_url(), "double of tastytrade");
    signals.next().await;
    signals.or_at_once(sim.shutdown()).await;
    Ok(ExitCode::SUCCESS)
}

/// The settings of a double with this market, without a ledger: it may run for days.
pub(crate) fn config(args: &MarketArgs) -> SimConfig {
    let market = match &args.chain {
        None => MarketConfig::Simulated(SimulatedMarket {
            seed: args.seed,
            positions: args.positions as usize,
            rate: args.rate,
            ..SimulatedMarket::default()
        }),
        Some(path) => MarketConfig::Chain(ChainMarket {
            day: Duration::from_secs_f64(args.day),
            night: Duration::from_secs_f64(args.day * NIGHT),
            rate: args.rate,
            seed: args.seed,
            accounts: 1,
            ..ChainMarket::new(path)
        }),
    };
    SimConfig { market, ledger_capacity: 0, ..SimConfig::simulated(args.seed) }
}

/// Open option positions of a double.
pub(crate) fn options(sim: &TastySim) -> usize {
    sim.positions().iter().filter(|position| position.is_open_option()).count()
}

pub(crate) fn refused(error: &SimError) -> Failure {
    let code = match error {
        SimError::Listen { .. } => Code::Unavailable,
        _ => Code::Config,
    };
    Failure::new(code, chain(error))
}
