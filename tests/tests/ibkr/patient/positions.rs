//! Positions at IBKR that are opened and closed while greekd streams, alone and beside the other broker's.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use broker_sim::{
    IbkrCustomer, IbkrMischief, IbkrSim, IbkrSimConfig, MarketConfig, Pace, SimConfig, SimMarket, SimulatedMarket,
    TastySim, WrongAnswer, Wrongness,
};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::cross_broker::{self, ByContract};
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::expected::{self, Line};
use greekd_tests::ibkr::{
    asked, contracts, difference, environment, from_database, from_ledger, newest_row, options, said, series_after,
    settle, stop_and_compare, streams, told_closed,
};
use greekd_tests::tasty::{self, PATIENCE};
use greekd_tests::wait::until;
use greeks_model::Contract;
use greeks_store::{DatabaseConfig, Queries};
use serde_json::Value;

/// Accounts of the doubles' customers.
const HERE: [&str; 2] = ["U1234567", "U7654321"];
const THERE: [&str; 2] = ["5WT00001", "5WT00002"];

/// Some that nobody holds at the start: an index option, an option on a future, and another index option.
const CONTRACTS: [&str; 3] = ["SPXW  300118P06500000", "/ESZ29 291207C6700", "SPXW  300118C07000000"];

/// How often positions are read though nothing tells of a change, and what is done with what is found.
const POLL: Duration = Duration::from_secs(60 + 15);

fn market() -> SimulatedMarket {
    SimulatedMarket { rate: 300.0, positions: 12, ..SimulatedMarket::default() }
}

fn config(customer: IbkrCustomer) -> IbkrSimConfig {
    let mut config = IbkrSimConfig::with_market(MarketConfig::Simulated(market()), 1);
    config.customer = customer;
    config.pace = Pace::EveryEvent;
    config
}

/// Both brokers on one market, and a greekd that streams from both.
struct Scene {
    market: SimMarket,
    here: IbkrSim,
    there: TastySim,
    database: Database,
    daemon: Daemon,
}

impl Scene {
    async fn start(cluster: &Cluster, name: &str) -> Self {
        let market = SimMarket::start(MarketConfig::Simulated(market())).await.unwrap();
        let there = TastySim::start_on(&market, SimConfig::simulated(1)).await.unwrap();
        let customer = IbkrCustomer { positions: 8, ..IbkrCustomer::default() };
        let here = IbkrSim::start_on(&market, config(customer)).await.unwrap();
        let database = cluster.database(name).await;
        let mut brokers = environment(&here);
        brokers.extend(tasty::environment(&there));
        let daemon = Daemon::run_with(&database, &brokers);
        streams(&here, &daemon, options(&here)).await;
        let there_too = there.wait_until(PATIENCE, |stats| stats.streaming == 1 && stats.streamer_connected == 1).await;
        there_too.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
        Self { market, here, there, database, daemon }
    }

    async fn open(&self, account: &str, contract: &str) {
        let contract: Contract = contract.parse().unwrap();
        match HERE.contains(&account) {
            true => self.here.control().open_position(account, &contract, -3).await.unwrap(),
            false => self.there.control().open_position(account, &contract, -3).await.unwrap(),
        }
    }

    fn close(&self, account: &str, contract: &str) {
        let contract: Contract = contract.parse().unwrap();
        match HERE.contains(&account) {
            true => self.here.control().close_position(account, &contract).unwrap(),
            false => self.there.control().close_position(account, &contract).unwrap(),
        }
    }

    /// How long until it has rows, with its quantity.
    async fn has_rows(&self, account: &str, contract: &str, within: Duration) -> Duration {
        let began = Instant::now();
        loop {
            if let (Some(quantity), _) = newest_row(&self.database, account, contract).await {
                assert_eq!(quantity, -3.0);
                return began.elapsed();
            }
            let log = || self.daemon.stderr().join("\n");
            assert!(began.elapsed() < within, "{contract} has no rows in {account}; the log:\n{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long after `closed` the last row was received, seen once all others have rows of `then`.
    async fn last_row(&self, account: &str, contract: &str, closed: jiff::Timestamp, then: Duration) -> f64 {
        let then = closed.checked_add(jiff::SignedDuration::try_from(then).unwrap()).unwrap();
        let others: usize = self.here.positions().iter().filter(|row| row.is_open_option()).count()
            + self.there.positions().iter().filter(|row| row.is_open_option()).count();
        until("all others have later rows", PATIENCE, async || {
            (series_after(&self.database, then).await >= others).then_some(())
        })
        .await;
        let (_, last) = newest_row(&self.database, account, contract).await;
        last.expect("it had rows").duration_since(closed).as_secs_f64()
    }

    async fn end(self) {
        let ended = self.daemon.stop().await;
        assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));
        assert_eq!((self.here.violations(), self.there.violations()), (vec![], vec![]));
        assert_eq!((self.here.stats().connections, self.there.stats().connections), (1, 1), "the streams went on");
        self.here.shutdown().await;
        self.there.shutdown().await;
        self.market.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_finds_what_nobody_told_and_one_that_fails_closes_nothing() {
    let cluster = Cluster::start().await;
    tokio::join!(quiet_changes(&cluster), failed_reads(&cluster));
}

/// Only REST knows, at both brokers; found by the reads that are made all the time.
async fn quiet_changes(cluster: &Cluster) {
    let scene = Scene::start(cluster, "quiet").await;
    scene.here.control().quiet_positions(true);
    scene.there.control().quiet_positions(true);
    let held = |account: &str| {
        let here = scene.here.positions();
        let mut here = here.iter().filter(|row| row.account == account && row.is_open_option());
        let there = scene.there.positions();
        let mut there = there.iter().filter(|row| row.account == account && row.is_open_option());
        let here = here.next_back().and_then(|row| row.contract()).map(ToString::to_string);
        here.or_else(|| there.next_back().and_then(|row| row.contract()).map(ToString::to_string)).unwrap()
    };
    let gone = [(HERE[1], held(HERE[1])), (THERE[1], held(THERE[1]))];
    for (account, contract) in &gone {
        scene.close(account, contract);
    }
    for account in [HERE[0], THERE[0]] {
        scene.open(account, CONTRACTS[0]).await;
    }
    let at_both =
        tokio::join!(scene.has_rows(HERE[0], CONTRACTS[0], POLL), scene.has_rows(THERE[0], CONTRACTS[0], POLL));
    println!("opened quietly: rows after {:?} here and {:?} there", at_both.0, at_both.1);
    let expected: BTreeSet<Line> =
        gone.iter().map(|(account, contract)| ((*account).to_owned(), contract.clone())).collect();
    until("what was closed quietly is told", POLL, async || {
        (told_closed(&scene.database).await.into_iter().collect::<BTreeSet<_>>() == expected).then_some(())
    })
    .await;
    for (account, contract) in &gone {
        let now = jiff::Timestamp::now();
        let after = scene.last_row(account, contract, now, Duration::from_secs(1)).await;
        assert!(after < 0.5, "{account} {contract}: a row {after} s after its close was known");
    }
    scene.end().await;
}

/// Reads that fail, pages that fail, and a cache that is old: what is held stays held, and goes on streaming.
async fn failed_reads(cluster: &Cluster) {
    let database = cluster.database("reads").await;
    let account = HERE[0].to_owned();
    let mut config = config(IbkrCustomer { accounts: vec![account], positions: 101, ..IbkrCustomer::default() });
    config.protocol.lines = 300;
    // Nothing but an invalidation renews it in this test.
    config.protocol.position_cache = Duration::from_secs(3_600);
    let sim = IbkrSim::start(config).await.unwrap();
    let control = sim.control();
    let daemon = Daemon::run_with(&database, &environment(&sim));
    streams(&sim, &daemon, options(&sim)).await;
    assert!(asked(&sim, "/positions/1") >= 1, "the account has two pages");
    let lines = sim.stats().lines;
    assert_eq!(lines, contracts(&sim.positions()));

    let fault = |path: &str, how| WrongAnswer { path: path.to_owned(), times: 1, how };
    for wrong in [
        fault("/positions/0", Wrongness::Status(500)),
        fault("/positions/1", Wrongness::Status(500)),
        fault("/positions/1", Wrongness::Html(502)),
        fault("/positions/0", Wrongness::Status(503)),
        fault("/positions/1", Wrongness::Status(404)),
        fault("/portfolio2/", Wrongness::Status(500)),
        fault("/portfolio2/", Wrongness::Status(404)),
    ] {
        let (path, before) = (wrong.path.clone(), asked(&sim, &wrong.path));
        control.change_faults(|faults| faults.rest.answers.push(wrong));
        // `act` lets greekd look at the accounts again.
        assert_eq!(control.inflict(IbkrMischief::Accounts).await.unwrap(), 1);
        // A failed list is read again by itself.
        let reads = if path == "/portfolio2/" { 1 } else { 2 };
        until(&format!("{path} is read again"), PATIENCE, async || {
            (asked(&sim, &path) >= before + reads).then_some(())
        })
        .await;
        assert_eq!((told_closed(&database).await, sim.stats().lines), (vec![], lines), "{path}");
    }
    let failed = said(&daemon, "positions could not be read");
    assert_eq!(failed, 5, "{}", tail(&daemon.stderr()));

    // The cached list cannot be renewed; the other one tells what was opened and what was closed.
    let refused =
        WrongAnswer { path: "/positions/invalidate".to_owned(), times: u32::MAX, how: Wrongness::Status(500) };
    control.change_faults(|faults| faults.rest.answers = vec![refused]);
    control.quiet_positions(true);
    let gone = sim.positions().into_iter().rfind(|row| row.is_open_option()).unwrap();
    let gone = gone.contract().unwrap().clone();
    control.close_position(HERE[0], &gone).unwrap();
    control.open_position(HERE[0], &CONTRACTS[0].parse().unwrap(), 2).await.unwrap();
    assert_eq!(control.inflict(IbkrMischief::Accounts).await.unwrap(), 1);
    until("the new one has rows", PATIENCE, async || newest_row(&database, HERE[0], CONTRACTS[0]).await.1).await;
    until("the closed one is told", PATIENCE, async || (!told_closed(&database).await.is_empty()).then_some(())).await;
    assert_eq!(told_closed(&database).await, [(HERE[0].to_owned(), gone.to_string())]);

    let now = jiff::Timestamp::now();
    let held = usize::try_from(options(&sim)).unwrap();
    until("all that is held has later rows", PATIENCE, async || {
        (series_after(&database, now).await >= held).then_some(())
    })
    .await;
    // What expired yesterday is in every answer, with position 0.
    let empty: Vec<String> = sim
        .positions()
        .iter()
        .filter(|row| row.quantity == 0)
        .filter_map(|row| Some(row.contract()?.to_string()))
        .collect();
    assert_eq!(empty.len(), 2, "{empty:?}");
    let sql = "SELECT contract_key FROM series WHERE contract_key = ANY($1)";
    let told: Vec<String> = database.client.query(sql, &[&empty]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(told, [gone.to_string()]);
    assert_eq!((sim.stats().connections, sim.violations()), (1, vec![]));
    assert!(daemon.stop().await.status.success());
    sim.shutdown().await;
}

/// With a word of it. At the end both brokers have stored exactly what they sent to those who held it all the time, and
/// what greekd says of contracts that are held at both is what the two ledgers say.
#[tokio::test(flavor = "multi_thread")]
async fn positions_come_and_go_at_both_brokers() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster, "both").await;
    let Scene { here, there, database, .. } = &scene;
    let held_here = here.positions();
    let held_there = there.positions();
    for (account, contract, soon) in [
        (HERE[0], CONTRACTS[0], 5),
        (HERE[1], CONTRACTS[1], 5),
        (THERE[0], CONTRACTS[0], 2),
        (THERE[1], CONTRACTS[1], 2),
        (HERE[1], CONTRACTS[2], 5),
    ] {
        scene.open(account, contract).await;
        let took = scene.has_rows(account, contract, PATIENCE).await;
        println!("{contract} in {account}: rows after {took:?}");
        assert!(took < Duration::from_secs(soon), "{took:?}\n{}", tail(&scene.daemon.stderr()));
    }
    let lines = here.stats().lines;
    for (account, contract) in [(HERE[1], CONTRACTS[2]), (THERE[1], CONTRACTS[1])] {
        scene.close(account, contract);
        let now = jiff::Timestamp::now();
        let after = scene.last_row(account, contract, now, Duration::from_secs(6)).await;
        println!("{contract} in {account}: the last row {after} s after its close");
        assert!(after < 5.0, "{after}\n{}", tail(&scene.daemon.stderr()));
    }
    assert_eq!(here.stats().lines, lines - 1, "its underlying is that of others");
    let of = |account: &str, contract: &str| (account.to_owned(), contract.to_owned());
    assert_eq!(told_closed(database).await, [of(THERE[1], CONTRACTS[1]), of(HERE[1], CONTRACTS[2])]);

    let connections = (here.stats().connections, there.stats().connections);
    assert_eq!(connections, (1, 1), "the streams went on");
    tasty::settle(there).await;
    settle(here).await;
    let (ledger_here, ledger_there) = (here.ledger().snapshot(), there.ledger().snapshot());
    assert_eq!((ledger_here.overflowed, ledger_there.overflowed), (0, 0));
    let wanted_here = from_ledger(&ledger_here.entries, &held_here);
    let wanted_there = expected::from_ledger(&ledger_there.entries, &held_there);
    until("every row of what was held all the time is stored", PATIENCE, async || {
        let (stored_here, stored_there) = stored_of(database, &wanted_here, &wanted_there).await;
        let same = difference(&wanted_here, &stored_here).is_none() && wanted_there == stored_there;
        same.then_some(())
    })
    .await;
    let count = wanted_here.values().map(Vec::len).sum::<usize>() + wanted_there.values().map(Vec::len).sum::<usize>();
    println!("{count} rows of what was held all the time, all stored once");

    let (now_here, now_there) = (here.positions(), there.positions());
    let sent_there = (ledger_there.entries.as_slice(), now_there.as_slice());
    let wanted = cross_broker::from_ledgers((&ledger_here.entries, &now_here), sent_there);
    // The other one was closed at one of them.
    assert!(CONTRACTS[..2].iter().map(|key| wanted.contains_key(*key)).eq([true, false]), "{wanted:?}");
    assert!(wanted.len() >= 6, "{wanted:?}");
    let times = |all: &ByContract| all.iter().map(|(key, both)| (key.clone(), both.times)).collect::<Vec<_>>();
    let found = until("the newest of both brokers is stored", PATIENCE, async || {
        let found = cross_broker::from_database(database).await;
        (times(&found) == times(&wanted)).then_some(found)
    })
    .await;
    assert_eq!(found, wanted);
    println!("{} contracts are held at both brokers; of {}: {:?}", found.len(), CONTRACTS[0], found[CONTRACTS[0]]);
    // The comparison sees the last bit of one value of one broker.
    let mut entries = ledger_here.entries.clone();
    let last = entries.iter_mut().rfind(|entry| *entry.contract == *CONTRACTS[0]).unwrap();
    last.state.delta = last.state.delta.map(f64::next_up);
    assert_ne!(cross_broker::from_ledgers((&entries, &now_here), sent_there), found);
    command_line_says(&scene, &wanted).await;

    // Not by `Scene::end`: both doubles let nobody in any more.
    let ended = scene.daemon.stop().await;
    assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));
    assert_eq!((scene.here.violations(), scene.there.violations()), (vec![], vec![]));
    scene.here.shutdown().await;
    scene.there.shutdown().await;
    scene.market.shutdown().await;
}

type RowsHere = BTreeMap<Line, Vec<greekd_tests::ibkr::Row>>;
type RowsThere = BTreeMap<Line, Vec<expected::Row>>;

/// The rows of the lines that are in these.
async fn stored_of(database: &Database, here: &RowsHere, there: &RowsThere) -> (RowsHere, RowsThere) {
    let mut stored_here = from_database(&database.client).await;
    stored_here.retain(|line, _| here.contains_key(line));
    let mut stored_there = expected::from_database(&database.client).await;
    stored_there.retain(|line, _| there.contains_key(line));
    (stored_here, stored_there)
}

/// `greekd positions -o json` lists what is held at both, with the same differences.
async fn command_line_says(scene: &Scene, wanted: &ByContract) {
    let settings = [("DATABASE_URL", scene.database.url.as_str())];
    let ended = Daemon::start(&["positions", "-o", "json"], &settings).wait(PATIENCE).await;
    assert!(ended.status.success(), "{ended:?}");
    let listed: Vec<Value> = serde_json::from_str(&ended.stdout.join("\n")).unwrap();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let found: BTreeMap<(String, String), f64> = listed
        .iter()
        .map(|row| ((text(row, "account_id"), text(row, "contract_key")), row["quantity"].as_f64().unwrap()))
        .collect();
    let here = scene.here.positions();
    let here = here.iter().filter(|row| row.is_open_option());
    let here = here.map(|row| ((row.account.clone(), row.contract().unwrap().to_string()), row.quantity as f64));
    let there = scene.there.positions();
    let there = there
        .iter()
        .filter(|row| row.is_open_option())
        .map(|row| ((row.account.clone(), row.listing().unwrap().contract.to_string()), row.quantity as f64));
    assert_eq!(found, here.chain(there).collect(), "what is held");
    assert_eq!(found.len(), listed.len());
    for row in &listed {
        let both = wanted.get(&text(row, "contract_key"));
        assert_eq!(row["other_broker"].as_str().is_some(), both.is_some(), "{row}");
        let Some(both) = both else { continue };
        // One row of a contract is of `ibkr`, and its difference is that of the view; the other broker's is the opposite.
        let sign = if text(row, "broker") == "ibkr" { 1.0 } else { -1.0 };
        assert_eq!(row["delta_difference"].as_f64(), both.delta.map(|delta| sign * delta), "{row}");
        assert_eq!(row["implied_volatility_difference"].as_f64(), both.volatility.map(|it| sign * it), "{row}");
    }
}

/// Another quantity, nothing held at all, something again, and a change while no stream stood.
#[tokio::test(flavor = "multi_thread")]
async fn another_quantity_nothing_at_all_and_a_change_while_away() {
    let cluster = Cluster::start().await;
    let database = cluster.database("changes").await;
    let account = HERE[0];
    let sim = IbkrSim::start(config(IbkrCustomer {
        accounts: vec![account.to_owned()],
        positions: 2,
        ..IbkrCustomer::default()
    }))
    .await
    .unwrap();
    let control = sim.control();
    let daemon = Daemon::run_with(&database, &environment(&sim));
    streams(&sim, &daemon, 2).await;
    let held: Vec<Contract> =
        sim.positions().iter().filter(|row| row.is_open_option()).map(|row| row.contract().unwrap().clone()).collect();
    let has = async |contract: &str, quantity: f64| {
        let what = format!("{contract} has rows with {quantity}; the log:\n{}", tail(&daemon.stderr()));
        until(&what, PATIENCE, async || {
            (newest_row(&database, account, contract).await.0 == Some(quantity)).then_some(())
        })
        .await;
    };
    control.open_position(account, &held[0], 77).await.unwrap();
    has(&held[0].to_string(), 77.0).await;

    held.iter().for_each(|contract| control.close_position(account, contract).unwrap());
    let empty = sim.wait_until(PATIENCE, |stats| stats.lines == 0).await;
    empty.unwrap_or_else(|error| panic!("still subscribed: {error}\n{}", tail(&daemon.stderr())));
    until("both are told to be closed", PATIENCE, async || (told_closed(&database).await.len() == 2).then_some(()))
        .await;
    control.open_position(account, &CONTRACTS[0].parse().unwrap(), -1).await.unwrap();
    has(CONTRACTS[0], -1.0).await;
    assert_eq!(sim.stats().connections, 1, "the stream went on");

    control.quiet_positions(true);
    control.lose_brokerage();
    control.open_position(account, &CONTRACTS[1].parse().unwrap(), 4).await.unwrap();
    control.open_position(account, &CONTRACTS[0].parse().unwrap(), -2).await.unwrap();
    has(CONTRACTS[1], 4.0).await;
    has(CONTRACTS[0], -2.0).await;
    assert_eq!((sim.stats().connections, told_closed(&database).await.len()), (2, 2));
    assert!(daemon.stop().await.status.success());
    assert_eq!(sim.violations(), []);
    sim.shutdown().await;
}

/// The database's own words for what the view says, by the library that others use.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_at_one_broker_alone_is_not_compared() {
    let cluster = Cluster::start().await;
    let database = cluster.database("alone").await;
    let sim = IbkrSim::start(config(IbkrCustomer { positions: 3, ..IbkrCustomer::default() })).await.unwrap();
    let daemon = Daemon::run_with(&database, &environment(&sim));
    streams(&sim, &daemon, options(&sim)).await;
    let held = sim.positions().iter().filter(|row| row.is_open_option()).count();
    let queries = Queries::new(&DatabaseConfig::parse(&database.url).unwrap(), 1).unwrap();
    until("all that is held has values", PATIENCE, async || {
        let rows = queries.positions().await.unwrap();
        (rows.len() == held && rows.iter().all(|row| row.latest.is_some())).then_some(())
    })
    .await;
    assert!(cross_broker::from_database(&database).await.is_empty());
    stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    sim.shutdown().await;
}
