//! One turn of `greekd run`: the unmodified program between the double of the broker and PostgreSQL.

use std::time::{Duration, Instant};

use broker_sim::{MarketConfig, SimConfig, SimulatedMarket, TastySim};
use greekd_tests::cluster::Database;
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::expected;
use greekd_tests::http::{address, oldest_waits};
use greekd_tests::process::{cpu_seconds, resident_bytes};
use greekd_tests::tasty;
use greeks_store::tokio_postgres::Client;
use jiff::Timestamp;
use serde_json::Value;

use crate::Result;

/// For the program to start, and for what was sent to be stored; generous, since machines are shared.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often memory and what waits are looked at: seldom, since to answer has its price.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a turn asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Greeks events per second.
    pub(crate) rate: f64,
    pub(crate) seconds: u32,
    /// Contracts held.
    pub(crate) positions: usize,
    /// Whether measuring begins only when the first value of each contract is stored.
    pub(crate) without_first: bool,
}

/// What a turn of greekd showed; times in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Received -> durable, as the program reports it at its end.
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// Received -> accepted by the journal.
    pub(crate) accepted_p99: f64,
    /// The source's stamp to the start of the transaction that stored the row: sees what waited before the socket.
    pub(crate) due_p95: Option<f64>,
    /// From the start of the program until it streamed, in seconds.
    pub(crate) started: f64,
    /// Events per second that the double sent.
    pub(crate) events_per_second: f64,
    /// Rows stored per second, from the beginning of the stream until the last was durable.
    pub(crate) rows_per_second: f64,
    /// How long the oldest record waited for the database at most, in seconds, as the program reports it.
    pub(crate) oldest: f64,
    /// Most memory in use, in bytes.
    pub(crate) resident: f64,
    /// Processor seconds of greekd for 100,000 events.
    pub(crate) client_cpu: Option<f64>,
    /// The same of its backend.
    pub(crate) server_cpu: Option<f64>,
}

impl Load {
    /// With a book so small that its first values, which meet a cold program, are 2 % of what is streamed at most, and large
    /// enough that no contract ticks more often than any does.
    pub(crate) fn new(rate: f64, seconds: u32) -> Self {
        let load = Self { rate, seconds, positions: 0, without_first: false };
        Self { positions: (load.events() / 50).clamp(2, 400), ..load }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are small and positive")]
    fn events(self) -> usize {
        (self.rate * f64::from(self.seconds)) as usize
    }

    fn sim(self) -> SimConfig {
        let positions = self.positions;
        // The market also quotes a contract that was closed today, which nobody subscribes to.
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let share = (positions + 1) as f64 / positions as f64;
        let market = SimulatedMarket { rate: self.rate * share, positions, ..SimulatedMarket::default() };
        let ledger_capacity = 2 * self.events() + 4 * positions + 100_000;
        SimConfig { market: MarketConfig::Simulated(market), ledger_capacity, ..SimConfig::simulated(1) }
    }
}

/// Streams for the time of `load` into `database`. A lost or doubled row is an error: the speed of a program that loses rows
/// means nothing.
pub(crate) async fn measure(database: &Database, load: Load) -> Result<Sample> {
    let before = newest_before(&database.client).await?;
    let sim = TastySim::start(load.sim()).await?;
    let launched = Instant::now();
    let daemon = tasty::daemon(&sim, database);
    let streaming = sim.wait_until(PATIENCE, |stats| stats.streaming == 1).await;
    streaming.map_err(|error| format!("greekd does not stream: {error}\n{}", tail(&daemon.stderr())))?;
    let started = launched.elapsed().as_secs_f64();
    let backends = backends(&database.client).await?;
    let at = address(&daemon).await;
    if load.without_first {
        first_values(&database.client, before, load.positions).await?;
    }

    let cpu = || (cpu_seconds(daemon.pid()), backends.iter().map(|pid| cpu_seconds(*pid)).sum::<Option<f64>>());
    let begin_wall = Timestamp::now();
    let (begin, sent_before, cpu_before) = (Instant::now(), sim.stats().greeks_sent, cpu());
    let (mut oldest, mut resident) = (0.0_f64, 0.0_f64);
    let mut look = async || {
        let waits = oldest_waits(&at).await.unwrap_or(0.0);
        oldest = oldest.max(waits);
        resident = resident.max(resident_bytes(daemon.pid()).unwrap_or_default());
        waits
    };
    let end = begin + Duration::from_secs(load.seconds.into());
    while Instant::now() < end {
        tokio::time::sleep(LOOK_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        look().await;
    }
    let (took, mut cpu_after) = (begin.elapsed().as_secs_f64(), cpu());
    sim.control().pause().await?;
    let sent = sim.stats().greeks_sent - sent_before;

    // The last events may be on their way to the socket still, so what is wanted is asked anew each time; and only when
    // nothing waits, since the account takes seconds of a processor that greekd has use for.
    let end = Instant::now() + PATIENCE;
    let mut behind = false;
    while look().await > 0.0 || Some(count(&database.client, before).await) != wanted(&sim) {
        if Instant::now() > end {
            return Err(format!("not every row is stored after {PATIENCE:?}\n{}", tail(&daemon.stderr())).into());
        }
        behind = true;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let durable = last_stored(&database.client, begin_wall).await?;
    if behind {
        // What was sent in time and stored later has its price, too.
        cpu_after = cpu();
    }
    let ended = daemon.stop().await;
    if !ended.status.success() {
        return Err(format!("greekd ended with {}\n{}", ended.status, tail(&ended.stderr)).into());
    }
    let wanted = wanted(&sim).ok_or("the ledger of the double has overflowed")?;
    sim.shutdown().await;

    let figures = Figures::of(&ended.stderr).ok_or("greekd has not reported its latency at its end")?;
    if figures.rows != wanted {
        return Err(format!("greekd reports {} rows stored, {wanted} were to be", figures.rows).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer events than 2^52")]
    let sent = sent as f64;
    let per_100k = |(before, after): (Option<f64>, Option<f64>)| Some((after? - before?) / sent * 1e5);
    Ok(Sample {
        p50: figures.p50,
        p95: figures.p95,
        p99: figures.p99,
        accepted_p99: figures.accepted_p99,
        due_p95: due_p95(&database.client, if load.without_first { begin_wall } else { before }).await?,
        started,
        events_per_second: sent / took,
        rows_per_second: sent / durable,
        oldest,
        resident,
        client_cpu: per_100k((cpu_before.0, cpu_after.0)),
        server_cpu: per_100k((cpu_before.1, cpu_after.1)),
    })
}

/// A program that streams a book of so many contracts at so many events per second, without an account of what was sent:
/// an hour of it would not fit.
pub(crate) async fn book(database: &Database, positions: u32, rate: f64) -> Result<(TastySim, Daemon)> {
    let market = SimulatedMarket { rate, positions: positions as usize, ..SimulatedMarket::default() };
    let config = SimConfig { market: MarketConfig::Simulated(market), ledger_capacity: 1, ..SimConfig::simulated(1) };
    let sim = TastySim::start(config).await?;
    let daemon = tasty::daemon(&sim, database);
    Ok((sim, daemon))
}

/// Rows that follow from what the double has sent so far; `None` when its ledger has overflowed.
fn wanted(sim: &TastySim) -> Option<u64> {
    let ledger = sim.ledger().snapshot();
    let rows = expected::from_ledger(&ledger.entries, &sim.positions());
    (ledger.overflowed == 0).then(|| rows.values().map(|rows| rows.len() as u64).sum())
}

/// Rows that are not older than this turn.
async fn count(client: &Client, since: Timestamp) -> u64 {
    // Asked again when it fails.
    let count = client.query_one("SELECT count(*) FROM greek_ticks WHERE event_time > $1", &[&since]).await;
    count.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs())
}

/// Waits until a value of each contract is stored.
async fn first_values(client: &Client, since: Timestamp, contracts: usize) -> Result<()> {
    let sql = "SELECT count(DISTINCT series_id) >= $2 FROM greek_ticks WHERE event_time > $1";
    let contracts = i64::try_from(contracts)?;
    let end = Instant::now() + PATIENCE;
    while !client.query_one(sql, &[&since, &contracts]).await?.get::<_, bool>(0) {
        if Instant::now() > end {
            return Err(format!("not every contract has a value after {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Processes of the server that work for greekd.
async fn backends(client: &Client) -> Result<Vec<u32>> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
               AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect())
}

/// Seconds from `begin` to the start of the transaction that stored the last row, which has 2,000 at most.
async fn last_stored(client: &Client, begin: Timestamp) -> Result<f64> {
    let last: Timestamp = client.query_one("SELECT max(persisted_at) FROM greek_ticks", &[]).await?.try_get(0)?;
    Ok(last.duration_since(begin).as_secs_f64())
}

/// Leaves out the first value of each contract, which had its stamp before anybody was connected.
async fn due_p95(client: &Client, since: Timestamp) -> Result<Option<f64>> {
    let sql = "SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM persisted_at - event_time)::float8) \
               * 1000 FROM greek_ticks WHERE flags & 4 = 0 AND event_time > $1";
    Ok(client.query_one(sql, &[&since]).await?.get(0))
}

/// Rows of this turn are younger. The market's first values may have their stamps a moment before it begins, and an earlier
/// turn may have filled the database.
async fn newest_before(client: &Client) -> Result<Timestamp> {
    let moment = Timestamp::now().saturating_sub(Duration::from_secs(600))?;
    // Before the first turn there is no table.
    let known = client.query_one("SELECT to_regclass('greek_ticks') IS NOT NULL", &[]).await?.get(0);
    let newest: Option<Timestamp> =
        if known { client.query_one("SELECT max(event_time) FROM greek_ticks", &[]).await?.get(0) } else { None };
    Ok(newest.map_or(moment, |newest| newest.max(moment)))
}

/// The last line of greekd's log.
#[derive(Debug, PartialEq)]
struct Figures {
    rows: u64,
    p50: f64,
    p95: f64,
    p99: f64,
    accepted_p99: f64,
}

impl Figures {
    fn of(log: &[String]) -> Option<Self> {
        let lines = log.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["fields"]["message"] == "stopped")?;
        let fields = &line["fields"];
        let millis = |name: &str| fields[name].as_f64();
        let rows = fields["rows"].as_u64()?;
        let (p50, p95, p99) = (millis("p50_ms")?, millis("p95_ms")?, millis("p99_ms")?);
        Some(Self { rows, p50, p95, p99, accepted_p99: millis("accepted_p99_ms")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_last_line() {
        let stopped = r#"{"level":"INFO","fields":{"message":"stopped","events":9,"rows":7,"p50_ms":0.9,"p95_ms":1.7,"p99_ms":2.0,"accepted_p99_ms":0.2},"target":"greekd::run"}"#;
        let log = ["not JSON", stopped, r#"{"fields":{"message":"something else"}}"#].map(str::to_owned);
        assert_eq!(Figures::of(&log), Some(Figures { rows: 7, p50: 0.9, p95: 1.7, p99: 2.0, accepted_p99: 0.2 }));
        assert_eq!(
            Figures::of(&[r#"{"fields":{"message":"stopped","rows":0}}"#.to_owned()]),
            None,
            "no row, no latency"
        );
        assert_eq!(Figures::of(&[]), None);
    }

    #[test]
    fn books_fit_their_rate() {
        let positions = |rate, seconds| Load::new(rate, seconds).positions;
        assert_eq!([positions(5.0, 20), positions(50.0, 20), positions(20_000.0, 20)], [2, 20, 400]);
    }
}
