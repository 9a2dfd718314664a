//! Neither broker can hurt the other: while one is killed, silent, floods garbage or is slow to accept, the other's rows
//! are all there, as fast as before.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use broker_sim::{
    ConnectionFaults, Disconnect, IbkrSim, IbkrSimConfig, IbkrSocketFaults, MarketConfig, Mischief, Pace, SimConfig,
    SimMarket, SimulatedMarket, TastySim,
};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::tasty::PATIENCE;
use greekd_tests::wait::until;
use greekd_tests::{ibkr, tasty};

/// How long each state of things is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// Frames of garbage a second.
const FLOOD: f64 = 10_000.0;
/// From the acceptance of a connection to its first byte.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Broker {
    Ibkr,
    Tastytrade,
}

impl Broker {
    const fn name(self) -> &'static str {
        match self {
            Self::Ibkr => "ibkr",
            Self::Tastytrade => "tastytrade",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Silent,
    Garbage,
    SlowToAccept,
}

struct Brokers {
    ibkr: IbkrSim,
    tastytrade: TastySim,
}

impl Brokers {
    async fn start() -> (SimMarket, Self) {
        let market = MarketConfig::Simulated(SimulatedMarket { rate: 1_000.0, ..SimulatedMarket::default() });
        let market = SimMarket::start(market).await.unwrap();
        let tastytrade = TastySim::start_on(&market, SimConfig::simulated(1)).await.unwrap();
        let mut config = IbkrSimConfig::simulated(1);
        config.customer.positions = 15;
        config.pace = Pace::EveryEvent;
        let ibkr = IbkrSim::start_on(&market, config).await.unwrap();
        (market, Self { ibkr, tastytrade })
    }

    async fn streaming(&self, daemon: &Daemon) {
        let lost = |error| panic!("{error}\n{}", tail(&daemon.stderr()));
        self.ibkr.wait_until(PATIENCE, |stats| stats.streaming >= 25).await.map(|_| ()).unwrap_or_else(lost);
        self.tastytrade.wait_until(PATIENCE, |stats| stats.streaming == 1).await.map(|_| ()).unwrap_or_else(lost);
    }

    async fn begin(&self, broker: Broker, fault: Fault) {
        match broker {
            Broker::Ibkr => {
                let control = self.ibkr.control();
                match fault {
                    Fault::Killed => control.take_down().await.unwrap(),
                    Fault::Silent => control.change_faults(|faults| faults.socket.silent = true),
                    Fault::Garbage => control.change_faults(|faults| faults.socket.garbage = FLOOD),
                    Fault::SlowToAccept => {
                        control.change_faults(|faults| faults.socket.slow_accept = SLOW);
                        control.disconnect_all(Disconnect::Abrupt).await.unwrap();
                    }
                }
            }
            Broker::Tastytrade => {
                let control = self.tastytrade.control();
                match fault {
                    Fault::Killed => {
                        control.refuse_connections(true);
                        control.disconnect_all(Disconnect::Abrupt).await.unwrap();
                    }
                    Fault::Silent => assert_eq!(control.inflict(Mischief::Silence).await.unwrap(), 1),
                    Fault::Garbage => control.change_faults(|faults| faults.connection.garbage = FLOOD),
                    Fault::SlowToAccept => {
                        control.change_faults(|faults| faults.connection.slow_accept = SLOW);
                        control.disconnect_all(Disconnect::Abrupt).await.unwrap();
                    }
                }
            }
        }
    }

    async fn end(&self, broker: Broker, fault: Fault) {
        match broker {
            Broker::Ibkr => {
                let control = self.ibkr.control();
                control.change_faults(|faults| faults.socket = IbkrSocketFaults::default());
                if matches!(fault, Fault::Killed) {
                    control.bring_up().await.unwrap();
                }
            }
            Broker::Tastytrade => {
                let control = self.tastytrade.control();
                control.refuse_connections(false);
                control.change_faults(|faults| faults.connection = ConnectionFaults::default());
                if matches!(fault, Fault::Silent) {
                    // A silence that was ordered lasts as long as its connection.
                    control.disconnect_all(Disconnect::Abrupt).await.unwrap();
                }
            }
        }
    }

    /// Frames of garbage sent so far.
    fn garbage(&self, broker: Broker) -> u64 {
        match broker {
            Broker::Ibkr => self.ibkr.stats().garbage,
            Broker::Tastytrade => self.tastytrade.stats().garbage,
        }
    }
}

/// The 95th percentile of received to stored, in milliseconds, and the number of rows, of what `broker` sends during the
/// next while.
async fn watch(database: &Database, broker: Broker) -> (f64, i64) {
    let now = || jiff::Timestamp::now().as_microsecond();
    let (from, ()) = (now(), tokio::time::sleep(WATCHED).await);
    let to = now();
    let name = broker.name();
    // What was received by then is stored a moment later.
    until("a later row is stored", PATIENCE, async || {
        let sql = "SELECT 1 FROM greek_ticks JOIN series USING (series_id)
                    WHERE broker = $1 AND (extract(epoch FROM received_at) * 1e6)::bigint > $2 LIMIT 1";
        database.client.query_opt(sql, &[&name, &to]).await.unwrap()
    })
    .await;
    let sql =
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM persisted_at - received_at) * 1000),
                      count(*)
                 FROM greek_ticks JOIN series USING (series_id)
                WHERE broker = $1 AND (extract(epoch FROM received_at) * 1e6)::bigint BETWEEN $2 AND $3";
    let row = database.client.query_one(sql, &[&name, &from, &to]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Disturbs one broker in every way and looks at the other; at the end compares all that the other sent.
async fn disturb(cluster: &Cluster, disturbed: Broker) {
    let other = if disturbed == Broker::Ibkr { Broker::Tastytrade } else { Broker::Ibkr };
    let database = cluster.database(&format!("disturbed_{}", disturbed.name())).await;
    let (market, brokers) = Brokers::start().await;
    let mut environment = tasty::environment(&brokers.tastytrade);
    environment.extend(ibkr::environment(&brokers.ibkr));
    let daemon = Daemon::run_with(&database, &environment);
    brokers.streaming(&daemon).await;

    let (mut before, rows) = watch(&database, other).await;
    for fault in [Fault::Killed, Fault::Silent, Fault::Garbage, Fault::SlowToAccept] {
        let garbage = brokers.garbage(disturbed);
        brokers.begin(disturbed, fault).await;
        let (mut during, rows_during) = watch(&database, other).await;
        if during > before * 2.0 {
            // A machine that was busy for a moment is not any more; what the fault does it still does.
            during = during.min(watch(&database, other).await.0);
        }
        let garbage = brokers.garbage(disturbed) - garbage;
        brokers.end(disturbed, fault).await;
        brokers.streaming(&daemon).await;
        let (after, _) = watch(&database, other).await;
        println!(
            "{} {fault:?}: p95 of {} {before:.1} ms before, {during:.1} ms during, {after:.1} ms after; {garbage} frames \
             of garbage",
            disturbed.name(),
            other.name()
        );
        assert!(during <= before.max(after) * 2.0, "{fault:?}: {before} ms, {during} ms, {after} ms");
        assert!(rows_during * 2 > rows, "{fault:?}: {rows_during} rows in a time that had {rows}");
        if matches!(fault, Fault::Garbage) {
            // Less on a machine that is too slow to make so much of it.
            assert!(garbage > 10_000, "{garbage} frames of garbage in {WATCHED:?}");
        }
        before = after;
    }
    let rows = match other {
        Broker::Ibkr => ibkr::stop_and_compare(&brokers.ibkr, &brokers.ibkr.positions(), &database, daemon).await,
        Broker::Tastytrade => {
            let positions = brokers.tastytrade.positions();
            tasty::stop_and_compare(&brokers.tastytrade, &positions, &database, daemon).await
        }
    };
    println!("{} disturbed four times: {rows} rows of {}, all stored once", disturbed.name(), other.name());
    brokers.ibkr.shutdown().await;
    brokers.tastytrade.shutdown().await;
    market.shutdown().await;
}

/// One after the other: each measures.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_in_trouble_does_not_touch_the_other() {
    let cluster = Cluster::start().await;
    disturb(&cluster, Broker::Ibkr).await;
    disturb(&cluster, Broker::Tastytrade).await;
}
