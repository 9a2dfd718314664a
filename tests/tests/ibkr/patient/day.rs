//! A day at IBKR in 144 seconds: every interval of the protocol is divided by 600. Subscriptions end every second, the
//! user logs in elsewhere, the network goes silent, the night takes the login away. At the end every contract is live,
//! and there is no hole in any contract's rows that is not a noted gap.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_sim::{IbkrMischief, IbkrProtocol, IbkrSim, IbkrSimConfig, MarketConfig, Pace, SimulatedMarket};
use greekd_tests::tasty::PATIENCE;
use greeks_model::{Clock, GapReason, GapRecord, Record, SinkError, SnapshotSink, UnixNanos};
use greeks_processor::{
    Backoff, Pipeline, PipelineConfig, Probes, RetryPolicy, SourceHandle, Supervisor, SupervisorConfig,
};
use ibkr_stream::{IbkrConfig, IbkrSource};
use tokio::time::{Instant, sleep_until};

const FASTER: u32 = 600;
const DAY: Duration = Duration::from_secs(86_400 / FASTER as u64);
/// An hour of that day.
const HOUR: Duration = Duration::from_secs(3_600 / FASTER as u64);
/// Without a row for longer, a contract has a hole. It has ten events a second here.
const HOLE: Duration = Duration::from_millis(1_500);
/// What a busy machine may add to what was measured.
const SLACK: Duration = Duration::from_millis(500);

/// Keeps what the pipeline gives.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Record>>>);

impl Kept {
    fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SnapshotSink for Kept {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(records);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// The client's intervals, divided like the double's. A tenth of a second is a minute then, and no scheduler's business:
/// what judges silence and steps keeps some time.
fn client(sim: &IbkrSim) -> IbkrConfig {
    let mut config = IbkrConfig::new(&sim.gateway_url());
    for interval in [
        &mut config.rest_spacing,
        &mut config.tickle_spacing,
        &mut config.account_list_spacing,
        &mut config.penalty,
        &mut config.maintenance_pause,
        &mut config.init_poll,
        &mut config.tickle_every,
        &mut config.tic_every,
        &mut config.renew_after,
        &mut config.subscription_life,
        &mut config.first_frame_after,
        &mut config.quiet_after,
        &mut config.stalled_after,
        &mut config.subscribe_spacing,
        &mut config.position_poll,
        &mut config.execution_recheck,
    ] {
        *interval /= FASTER;
    }
    config.heartbeat_timeout = Duration::from_millis(500);
    config.init_timeout = Duration::from_secs(2);
    config
}

fn retries() -> RetryPolicy {
    let mut policy = RetryPolicy {
        backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(10), Duration::from_millis(100)),
        stable_after: Duration::from_secs(60) / FASTER,
        ..RetryPolicy::default()
    };
    let Probes { login_required, session_taken, .. } = &mut policy.probes;
    for probe in [login_required, session_taken] {
        *probe = probe.map(|every| every / FASTER);
    }
    policy
}

fn double() -> IbkrSimConfig {
    let market = SimulatedMarket { rate: 200.0, underlying_rate: 40.0, ..SimulatedMarket::default() };
    let mut config = IbkrSimConfig::with_market(MarketConfig::Simulated(market), 1);
    config.customer.positions = 10;
    config.pace = Pace::EveryEvent;
    config.protocol = IbkrProtocol::default().divided_by(FASTER);
    config.protocol.status_delay = Duration::from_millis(10);
    // The login of the morning lasts for more than this day; the night is played.
    config.protocol.sso_life *= 2;
    // How punctual a thousandth of a second is says nothing about the client.
    config.protocol.tic_limit = Duration::from_secs(2);
    config.protocol.socket_messages = 1_000;
    config.ledger_capacity = 0;
    config
}

/// An outage that was played.
struct Outage {
    what: &'static str,
    from: UnixNanos,
    to: UnixNanos,
}

/// The client, supervised, with a pipeline behind it.
struct Client {
    supervisor: Supervisor,
    handle: SourceHandle,
    pipeline: Pipeline,
    clock: Arc<dyn Clock>,
    kept: Kept,
}

impl Client {
    fn start(sim: &IbkrSim, config: IbkrConfig) -> Self {
        let fingerprint = sim.fingerprint().unwrap().parse().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = Arc::new(ibkr_stream::tls::fingerprint(provider, fingerprint).unwrap());
        let supervising = SupervisorConfig { retry: retries(), ..SupervisorConfig::default() };
        let (instruments, clock) = (Arc::clone(&supervising.instruments), Arc::clone(&supervising.clock));
        let mut supervisor = Supervisor::new(supervising);
        let handle = supervisor.spawn(Box::new(IbkrSource::new(config, tls).unwrap()), 8_192).unwrap();
        let kept = Kept::default();
        let pipeline = PipelineConfig::new(instruments, Arc::clone(&clock));
        let pipeline = Pipeline::spawn(pipeline, supervisor.take_inbox(), Box::new(kept.clone())).unwrap();
        Self { supervisor, handle, pipeline, clock, kept }
    }

    /// Waits until the Greeks of so many contracts are streamed.
    async fn streams(&self, sim: &IbkrSim, wanted: u64) {
        let live = sim.wait_until(PATIENCE, |stats| stats.streaming == wanted && stats.authenticated == 1).await;
        live.unwrap_or_else(|error| panic!("{error}: {:?}, {:?}", sim.stats(), self.handle.status().borrow()));
    }

    async fn stop(self) -> Vec<Record> {
        let Self { supervisor, pipeline, kept, .. } = self;
        assert!(supervisor.stop(PATIENCE).await.is_empty());
        tokio::task::spawn_blocking(move || pipeline.join()).await.unwrap().unwrap();
        kept.records()
    }
}

fn options(sim: &IbkrSim) -> u64 {
    let open = sim.positions().into_iter().filter(|position| position.is_open_option());
    open.map(|position| position.conid).collect::<BTreeSet<_>>().len() as u64
}

/// The gaps as they were told last: each is told when it opens, and again when it closes.
fn gaps(records: &[Record]) -> Vec<&GapRecord> {
    let mut told: BTreeMap<UnixNanos, &GapRecord> = BTreeMap::new();
    for record in records {
        if let Record::Gap(gap) = record {
            told.insert(gap.from, gap);
        }
    }
    told.into_values().collect()
}

fn overlaps(gap: &GapRecord, from: UnixNanos, to: UnixNanos) -> bool {
    gap.from <= to.saturating_add(SLACK) && gap.to.is_none_or(|end| end.saturating_add(SLACK) >= from)
}

/// When each account had rows of each contract.
fn rows(records: &[Record]) -> BTreeMap<(String, String), Vec<UnixNanos>> {
    let mut seen: BTreeMap<(String, String), Vec<UnixNanos>> = BTreeMap::new();
    for record in records {
        if let Record::Snapshot(row) = record {
            let line = (row.series.account_id.as_str().to_owned(), row.series.contract.to_string());
            seen.entry(line).or_default().push(row.received_at);
        }
    }
    seen
}

/// The holes in the rows of all contracts until `end`, and of them those that no gap explains: without the time of the
/// gaps they are still holes.
fn holes(records: &[Record], end: UnixNanos) -> (usize, Vec<String>) {
    let gaps = gaps(records);
    let noted = |from: UnixNanos, to: UnixNanos| -> Duration {
        let within = |gap: &&GapRecord| gap.to.unwrap_or(to).min(to).saturating_since(gap.from.max(from));
        gaps.iter().map(within).sum()
    };
    let (mut all, mut unexplained) = (0, Vec::new());
    for (line, mut times) in rows(records) {
        times.push(end);
        for pair in times.windows(2).filter(|pair| pair[1].saturating_since(pair[0]) >= HOLE) {
            all += 1;
            if pair[1].saturating_since(pair[0]).saturating_sub(noted(pair[0], pair[1])) >= HOLE {
                unexplained.push(format!("{line:?}: nothing from {} to {}", pair[0], pair[1]));
            }
        }
    }
    (all, unexplained)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_with_every_contract_live_and_every_outage_known() {
    let sim = IbkrSim::start(double()).await.unwrap();
    let control = sim.control();
    let client = Client::start(&sim, client(&sim));
    let wanted = options(&sim);
    client.streams(&sim, wanted).await;
    let morning = Instant::now();
    let mut outages = Vec::new();
    for (hour, what) in [
        (3, "login elsewhere"),
        (6, "silence"),
        (9, "brokerage session lost"),
        (12, "frame that is none"),
        (16, "nightly reset"),
        (20, "gateway down"),
    ] {
        sleep_until(morning + HOUR * hour).await;
        let from = client.clock.now();
        match what {
            "login elsewhere" => {
                control.compete();
                tokio::time::sleep(HOUR / 2).await;
                control.stop_competing();
            }
            "silence" => assert_eq!(control.inflict(IbkrMischief::Silence).await.unwrap(), 1),
            "brokerage session lost" => control.lose_brokerage(),
            "frame that is none" => assert_eq!(control.inflict(IbkrMischief::NotUtf8).await.unwrap(), 1),
            "nightly reset" => {
                control.nightly_reset(HOUR / 4, 503, true);
                // Nobody is up to log in.
                tokio::time::sleep(HOUR * 2).await;
                control.login();
            }
            _ => {
                control.take_down().await.unwrap();
                tokio::time::sleep(HOUR / 2).await;
                control.bring_up().await.unwrap();
            }
        }
        sim.wait_until(PATIENCE, |stats| stats.authenticated == 0).await.ok();
        client.streams(&sim, wanted).await;
        outages.push(Outage { what, from, to: client.clock.now() });
    }
    sleep_until(morning + DAY).await;
    client.streams(&sim, wanted).await;
    // The last rows of every contract.
    let evening = client.clock.now();
    tokio::time::sleep(HOLE).await;
    let stats = sim.stats();
    let records = client.stop().await;

    let gaps = gaps(&records);
    for Outage { what, from, to } in &outages {
        let known: Vec<GapReason> = gaps.iter().filter(|gap| overlaps(gap, *from, *to)).map(|gap| gap.reason).collect();
        println!("{what}: {:.2} s, noted as {known:?}", to.saturating_since(*from).as_secs_f64());
        let reason = match *what {
            "silence" => GapReason::Silence,
            "frame that is none" => GapReason::ProtocolViolation,
            _ => GapReason::Disconnected,
        };
        assert!(known.contains(&reason), "{what}: {gaps:?}");
    }

    let held = sim.positions().iter().filter(|position| position.is_open_option()).count();
    assert_eq!(rows(&records).len(), held, "every contract of every account has rows");
    let (holes, unexplained) = holes(&records, evening);
    assert_eq!(unexplained, Vec::<String>::new(), "{gaps:?}");
    println!(
        "{} records; {} subscriptions renewed, {} expired, {} tickles, {} sockets, {} brokerage sessions; {holes} holes, \
         all noted; {} calls refused",
        records.len(),
        stats.renewed,
        stats.expired,
        stats.tickles,
        stats.connections,
        stats.brokerage_sessions,
        stats.unauthorized
    );
    assert!(stats.renewed > wanted * 100, "a subscription ends every second: {stats:?}");
    assert_eq!(stats.competed, 0, "nobody's session was taken");
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

/// A client that does not know how short subscriptions live has holes that it cannot explain.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_nobody_noted_is_found() {
    let sim = IbkrSim::start(double()).await.unwrap();
    let mut config = client(&sim);
    config.renew_after = Duration::from_secs(300);
    config.subscription_life = Duration::from_secs(600);
    config.quiet_after = Duration::from_secs(300);
    let client = Client::start(&sim, config);
    let wanted = options(&sim);
    client.streams(&sim, wanted).await;
    sim.wait_until(PATIENCE, |stats| stats.expired >= wanted).await.unwrap();
    tokio::time::sleep(HOLE * 2).await;
    let evening = client.clock.now();
    let (found, unexplained) = holes(&client.stop().await, evening);
    assert!(found > 0 && unexplained.len() == found, "{found} holes, {unexplained:?}");
    sim.shutdown().await;
}
