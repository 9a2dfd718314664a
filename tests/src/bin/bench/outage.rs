//! `bench outage`: an hour without a database, and how soon everything is stored after it.

use std::time::{Duration, Instant};

use broker_sim::{MarketConfig, SimConfig, SimulatedMarket, TastySim};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::scratch::scratch;
use greekd_tests::tasty::{environment, settle};

use crate::options::OutageOptions;
use crate::{Result, machine};
use greekd_tests::process::resident_bytes;

const PATIENCE: Duration = Duration::from_secs(120);
/// With the database, before it goes: what is normal.
const NORMAL: Duration = Duration::from_secs(20);
/// Contracts in the book.
const POSITIONS: usize = 400;
/// More would be slower than the outage.
const LONGEST_DRAIN: Duration = Duration::from_secs(7_200);
const MIB: f64 = 1_048_576.0;

/// Streams, takes the database away, gives it back, and counts.
pub(crate) async fn run(options: &OutageOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let mut cluster = Cluster::start().await;
    let url = cluster.database("outage").await.url;
    let market = SimulatedMarket { rate: options.rate, positions: POSITIONS, ..SimulatedMarket::default() };
    // What was sent is counted, not kept: an hour of it would not fit.
    let sim = TastySim::start(SimConfig {
        market: MarketConfig::Simulated(market),
        ledger_capacity: 1,
        ..SimConfig::simulated(1)
    })
    .await?;
    let directory = scratch();
    let mut settings = environment(&sim);
    settings.push(("DATABASE_URL", url.clone()));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let daemon = Daemon::start_in(directory.path(), &["run"], &settings);
    let streaming = sim.wait_until(PATIENCE, |stats| stats.streaming == 1).await;
    streaming.map_err(|error| format!("greekd does not stream: {error}\n{}", tail(&daemon.stderr())))?;
    let mut memory = Memory::new(daemon.pid());
    memory.watch(NORMAL).await;
    let normal = memory.take();
    println!("{}", machine::line(&cluster, machine::load()).await?);
    println!("normal: resident {:.1} to {:.1} MiB", normal.0 / MIB, normal.1 / MIB);

    let (begin, sent_before) = (Instant::now(), sim.stats().greeks_sent);
    let lasting = Duration::from_secs_f64(options.minutes * 60.0);
    cluster.restart_after(memory.watch(lasting)).await;
    let away = memory.take();
    let (outage, sent) = (begin.elapsed(), sim.stats().greeks_sent - sent_before);
    let used = journal_bytes(directory.path());
    println!(
        "away for {:.0} s: {sent} events sent, {:.0}/s; resident {:.1} to {:.1} MiB; journal {:.1} MiB",
        outage.as_secs_f64(),
        sent as f64 / outage.as_secs_f64(),
        away.0 / MIB,
        away.1 / MIB,
        used / MIB
    );

    let begin = Instant::now();
    let database = cluster.connect("outage").await;
    let stored = async || {
        let row =
            database.client.query_one("SELECT coalesce(sum(last_seq), 0)::bigint FROM ingest_progress", &[]).await;
        row.map_or(0, |row| row.get::<_, i64>(0))
    };
    let before = stored().await;
    // Whatever is sent meanwhile has to be stored as well: caught up is when the newest row is a second old (an index has the
    // event's time: a look at all rows would slow down what it looks at).
    let fresh =
        "SELECT max(received_at) > now() - interval '1 s' FROM greek_ticks WHERE event_time > now() - interval '10 s'";
    let end = Instant::now() + LONGEST_DRAIN;
    loop {
        memory.look();
        let row = database.client.query_one(fresh, &[]).await;
        if row.ok().and_then(|row| row.get::<_, Option<bool>>(0)).unwrap_or(false) {
            break;
        }
        if Instant::now() > end {
            return Err(format!("not drained after {LONGEST_DRAIN:?}\n{}", tail(&daemon.stderr())).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (took, after) = (begin.elapsed().as_secs_f64(), stored().await);
    let drained = memory.take();
    let per_second = (after - before) as f64 / took;
    println!(
        "drained in {took:.1} s: {per_second:.0} records/s, {:.1} times real time; resident up to {:.1} MiB",
        per_second / options.rate,
        drained.1 / MIB
    );

    settle(&sim).await;
    let ended = daemon.stop().await;
    if !ended.status.success() {
        return Err(format!("greekd ended with {}\n{}", ended.status, tail(&ended.stderr)).into());
    }
    let sql = "SELECT count(*), count(DISTINCT (event_time, series_id)), \
               (SELECT coalesce(sum(events), 0)::bigint FROM ingest_gaps WHERE kind = 'shed') FROM greek_ticks";
    let row = database.client.query_one(sql, &[]).await?;
    let (rows, distinct, shed): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    println!(
        "{} events sent in all; {rows} rows stored, {distinct} of them distinct; {shed} given up",
        sim.stats().greeks_sent
    );
    println!("{}", ended.stderr.last().map(String::as_str).unwrap_or_default());
    println!("resident above normal: {:.1} MiB", (away.1.max(drained.1) - normal.1) / MIB);
    sim.shutdown().await;
    Ok(())
}

/// The least and the most that a process had in memory.
struct Memory {
    pid: u32,
    seen: Option<(f64, f64)>,
}

impl Memory {
    fn new(pid: u32) -> Self {
        Self { pid, seen: None }
    }

    fn look(&mut self) {
        let Some(now) = resident_bytes(self.pid) else { return };
        let (least, most) = self.seen.unwrap_or((now, now));
        self.seen = Some((least.min(now), most.max(now)));
    }

    async fn watch(&mut self, lasting: Duration) {
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            self.look();
            tokio::time::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    fn take(&mut self) -> (f64, f64) {
        self.look();
        self.seen.take().unwrap_or_default()
    }
}

fn journal_bytes(directory: &std::path::Path) -> f64 {
    let files = std::fs::read_dir(directory.join("greekd-data/journal")).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len() as f64).sum()
}
