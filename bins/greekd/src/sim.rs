//! `greekd sim`: the doubles alone, for anyone who tests a client.

use std::process::ExitCode;
use std::time::Duration;

use broker_sim::{
    ChainMarket, IbkrCustomer, IbkrSim, IbkrSimConfig, MarketConfig, SimConfig, SimError, SimulatedMarket, TastySim,
};

use crate::cli::{MarketArgs, SimArgs};
use crate::exit::{Code, Failure, with_causes};
use crate::out::say;
use crate::signals::Signals;

/// The pause after each close of a replayed chain, as a part of its day.
const NIGHT: f64 = 0.2;

/// A gateway has about a hundred market data lines for options and underlyings together.
const MOST_AT_IBKR: u32 = 60;
/// Contracts that are held at both brokers, where there are as many.
const AT_BOTH: usize = 6;

pub(crate) async fn ibkr(args: &SimArgs) -> Result<ExitCode, Failure> {
    refuse_beyond_loopback(args)?;
    let config = IbkrSimConfig { listen: args.listen, market: market(&args.market), ..ibkr_config(&args.market) };
    let mut signals = Signals::install()?;
    let sim = IbkrSim::start(config).await.map_err(|error| refused(&error))?;
    say(format_args!("IBKR_GATEWAY_URL={}", sim.gateway_url()))?;
    if let Some(fingerprint) = sim.fingerprint() {
        say(format_args!("IBKR_TLS=sha256:{fingerprint}"))?;
    }
    tracing::info!(positions = options_at_ibkr(&sim), "double of a Client Portal gateway");
    signals.next().await;
    signals.or_at_once(sim.shutdown()).await;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn tastytrade(args: &SimArgs) -> Result<ExitCode, Failure> {
    refuse_beyond_loopback(args)?;
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

fn refuse_beyond_loopback(args: &SimArgs) -> Result<(), Failure> {
    if args.listen.ip().is_loopback() {
        return Ok(());
    }
    Err(Failure::new(Code::Config, "a double listens on loopback only").remedy("use 127.0.0.1 or [::1]"))
}

/// The settings of a double of tastytrade with this market, without a ledger: it may run for days.
pub(crate) fn config(args: &MarketArgs) -> SimConfig {
    SimConfig { market: market(args), ledger_capacity: 0, ..SimConfig::simulated(args.seed) }
}

/// The same of IBKR; some of its contracts are held by the market's own customer too.
pub(crate) fn ibkr_config(args: &MarketArgs) -> IbkrSimConfig {
    let customer = IbkrCustomer::default();
    let positions = args.positions.min(MOST_AT_IBKR) as usize;
    let customer = IbkrCustomer {
        positions: positions.div_ceil(customer.accounts.len()),
        shared: AT_BOTH.min(positions),
        ..customer
    };
    IbkrSimConfig { customer, ledger_capacity: 0, ..IbkrSimConfig::simulated(args.seed) }
}

fn market(args: &MarketArgs) -> MarketConfig {
    match &args.chain {
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
    }
}

/// Open option positions at a double of IBKR.
pub(crate) fn options_at_ibkr(sim: &IbkrSim) -> usize {
    sim.positions().iter().filter(|position| position.is_open_option()).count()
}

/// Open option positions at a double of tastytrade.
pub(crate) fn options(sim: &TastySim) -> usize {
    sim.positions().iter().filter(|position| position.is_open_option()).count()
}

pub(crate) fn refused(error: &SimError) -> Failure {
    let code = match error {
        SimError::Listen { .. } => Code::Unavailable,
        _ => Code::Config,
    };
    Failure::new(code, with_causes(error))
}
