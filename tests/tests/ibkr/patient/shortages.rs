//! What a gateway does not give: market data lines, permissions, answers.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use broker_sim::{IbkrMischief, IbkrSim, IbkrSimConfig};
use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::{Daemon, Ended, tail};
use greekd_tests::ibkr::{contracts, environment, options, said, says, streams};
use greekd_tests::scene::{Scene, config, fault};
use greekd_tests::tasty::PATIENCE;
use greekd_tests::wait::until;

/// What IBKR does not give is told with its count, and costs the others nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_counted_and_the_rest_streams() {
    let cluster = Cluster::start().await;
    tokio::join!(
        lines_run_out(&cluster, None),
        lines_run_out(&cluster, Some("20")),
        a_permission_is_missing(&cluster),
        no_calls_are_wanted(&cluster),
        checks_tell_it(&cluster),
    );
}

/// The gateway has 20 lines; greekd knows it or finds out.
async fn lines_run_out(cluster: &Cluster, known: Option<&str>) {
    let mut config = config(20);
    config.protocol.lines = 20;
    let setting = known.map(|lines| ("IBKR_MARKET_DATA_LINES", lines));
    let name = if known.is_some() { "lines_known" } else { "lines_unknown" };
    let scene = Scene::start_with(cluster, name, config, setting.as_slice()).await;
    let Scene { sim, daemon, .. } = &scene;
    let missing = contracts(&sim.positions()) - 20;
    assert!(missing > 10);
    let taken = sim.wait_until(PATIENCE, |stats| stats.lines == 20 && stats.streaming >= 8).await;
    taken.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", sim.stats(), tail(&daemon.stderr())));
    let words =
        if known.is_some() { "contract(s) are not streamed: no market data line is left" } else { "give no data" };
    let reason = until("the count is told", PATIENCE, async || {
        let reason = fault(daemon).filter(|reason| reason.contains(words))?;
        let counts = reason.split(|c: char| !c.is_ascii_digit()).filter_map(|count| count.parse::<u64>().ok());
        (counts.sum::<u64>() == missing).then_some(reason)
    })
    .await;
    let stats = sim.stats();
    assert_eq!((stats.lines, stats.connections), (20, 1), "{stats:?}");
    assert_eq!(stats.over_budget > 0, known.is_none(), "{stats:?}");
    let known = if known.is_some() { "known" } else { "unknown" };
    println!("20 lines, {known}: {} options stream, {reason}", stats.streaming);
    scene.ends_exactly().await;
}

async fn a_permission_is_missing(cluster: &Cluster) {
    let sim = IbkrSim::start(config(4)).await.unwrap();
    let held = sim.positions().into_iter().find(|position| position.is_open_option()).unwrap();
    sim.control().change_faults(|faults| {
        faults.data.not_permitted.insert(held.conid);
    });
    let scene = Scene::connect(cluster, "permission", sim, &[]).await;
    let Scene { sim, daemon, .. } = &scene;
    streams(sim, daemon, options(sim) - 1).await;
    says(daemon, "no market data permission for 1 option(s): subscribe to it at IBKR").await;
    assert!(said(daemon, "streams, with a fault") == 1, "{}", daemon.stderr().join("\n"));
    scene.ends_exactly().await;
}

/// Whoever calls too often is shut out for minutes: not one call more is made, and the stream goes on.
async fn no_calls_are_wanted(cluster: &Cluster) {
    let scene = Scene::start(cluster, "penalty", config(4)).await;
    let Scene { sim, daemon, .. } = &scene;
    scene.streams().await;
    // As long as nothing is missing, nothing is told.
    says(daemon, "\"streams\"").await;
    assert_eq!(fault(daemon), None);
    sim.control().penalty(Duration::from_secs(600));
    // Something to call for.
    assert_eq!(sim.control().inflict(IbkrMischief::Accounts).await.unwrap(), 1);
    until("it is told", PATIENCE, async || {
        let reason = fault(daemon)?;
        reason.contains("the gateway limits the rate of calls: positions are not read for a while").then_some(())
    })
    .await;
    let (frames, requests) = (sim.stats().greek_frames, sim.requests().len());
    sim.wait_until(PATIENCE, move |stats| stats.greek_frames > frames + 500).await.unwrap();
    assert_eq!((sim.requests().len(), sim.stats().connections), (requests, 1), "{:?}", sim.requests());
    println!("shut out: {} calls were refused, and none was made after them", sim.stats().too_many);
    assert_eq!(scene.ends_exactly().await.len(), 1);
}

/// Those of the many things `greekd check` finds that others do not test.
async fn checks_tell_it(cluster: &Cluster) {
    let database = cluster.database("checks").await;
    let check = async |config: IbkrSimConfig, unpermitted: bool| {
        let sim = IbkrSim::start(config).await.unwrap();
        if unpermitted {
            let all: Vec<i64> = sim.positions().iter().map(|position| position.conid).collect();
            sim.control().change_faults(|faults| faults.data.not_permitted.extend(all));
        }
        let settings = environment(&sim);
        let mut settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.push(("DATABASE_URL", &database.url));
        let ended: Ended = Daemon::start(&["check"], &settings).wait(PATIENCE).await;
        assert_eq!(sim.violations(), []);
        sim.shutdown().await;
        ended
    };
    let (healthy, unpermitted, empty) =
        tokio::join!(check(config(4), false), check(config(4), true), check(config(0), false));
    for (ended, code, words) in [
        (healthy, 0, ["option positions: 8,", "market data: live"]),
        (unpermitted, 78, ["option positions: 8,", "market data: no permission: subscribe at IBKR"]),
        (empty, 0, ["option positions: 0,", "market data: not tried"]),
    ] {
        let said = ended.stdout.join("\n");
        assert!(words.iter().all(|words| said.contains(words)), "{said}\n{}", ended.stderr.join("\n"));
        assert_eq!(ended.status.code(), Some(code), "{said}");
    }
}
