//! The journal between brokers and database: nothing accepted is lost while the database is away, full journals count what
//! they give up, and one greekd writes to a database.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use broker_sim::{MarketConfig, SimConfig, SimulatedMarket, TastySim};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::{Daemon, Ended, tail};
use greekd_tests::expected;
use greekd_tests::http::{address, json, oldest_waits};
use greekd_tests::process::resident_bytes;
use greekd_tests::scratch::scratch;
use greekd_tests::tasty::{PATIENCE, environment, rows, settle, stop_and_compare};
use greekd_tests::wait::until;

fn config(rate: f64) -> SimConfig {
    let market = SimulatedMarket { rate, ..SimulatedMarket::default() };
    SimConfig { market: MarketConfig::Simulated(market), ..SimConfig::simulated(1) }
}

/// `greekd ARGS` in this directory, with this broker and database and more settings.
fn start(args: &[&str], directory: &Path, sim: &TastySim, url: &str, more: &[(&str, &str)]) -> Daemon {
    let brokers = environment(sim);
    let mut all: Vec<(&str, &str)> = brokers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.push(("DATABASE_URL", url));
    all.extend(more);
    Daemon::start_in(directory, args, &all)
}

async fn streams(sim: &TastySim, events: u64, daemon: &Daemon) {
    let sent = sim.stats().greeks_sent + events;
    let streamed = sim.wait_until(PATIENCE, move |stats| stats.greeks_sent >= sent).await;
    streamed.unwrap_or_else(|error| panic!("{error}\n{}", tail(&daemon.stderr())));
}

fn says(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

fn succeeded(ended: &Ended) {
    assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));
}

/// A database that is down at the start is no reason to exit, and none to lose anything once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_at_the_start_gets_every_row_later() {
    let mut cluster = Cluster::start().await;
    let url = cluster.database("later").await.url;
    let sim = TastySim::start(config(500.0)).await.unwrap();
    let directory = scratch();
    let mut daemon = None;
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            let started = start(&["run"], directory.path(), &sim, &url, &[]);
            streams(&sim, 1_000, &started).await;
            assert!(says(&started.stderr(), "rows are kept in the journal"), "{}", tail(&started.stderr()));
            daemon = Some(started);
        })
        .await;
    let daemon = daemon.unwrap();
    let database = cluster.connect("later").await;
    sim.control().pause().await.unwrap();
    let stored = stop_and_compare(&sim, &sim.positions(), &database, daemon).await;
    assert!(stored >= 1_000);
    sim.shutdown().await;
}

/// What an orderly stop has left open ends with the first values of the next run, even if the database comes long after them.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_late_learns_when_the_last_stop_has_ended() {
    let mut cluster = Cluster::start().await;
    let url = cluster.database("late").await.url;
    let sim = TastySim::start(config(500.0)).await.unwrap();
    let directory = scratch();
    let first = start(&["run"], directory.path(), &sim, &url, &[]);
    streams(&sim, 200, &first).await;
    succeeded(&first.stop().await);
    let mut daemon = None;
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            let started = start(&["run"], directory.path(), &sim, &url, &[]);
            let waits = async || says(&started.stderr(), "rows are kept in the journal").then_some(());
            until("it streams without a database", PATIENCE, waits).await;
            streams(&sim, 500, &started).await;
            daemon = Some(started);
        })
        .await;
    let daemon = daemon.unwrap();
    let database = cluster.connect("late").await;
    let sql = "SELECT gap_from::text, gap_to::text FROM ingest_gaps WHERE reason = 'stopped' AND gap_to IS NOT NULL";
    let ended = async || database.client.query_opt(sql, &[]).await.unwrap();
    let gap = until("the stop has ended", PATIENCE, ended).await;
    let (from, to): (String, String) = (gap.get(0), gap.get(1));
    succeeded(&daemon.stop().await);
    let sql = "SELECT min(received_at)::text FROM greek_snapshots WHERE received_at > $1::text::timestamptz";
    let first_value: String = database.client.query_one(sql, &[&from]).await.unwrap().get(0);
    assert_eq!(to, first_value);
    let sql = "SELECT count(*) FROM ingest_gaps WHERE gap_to IS NULL";
    assert_eq!(database.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1, "the second stop's alone");
    sim.shutdown().await;
}

/// A stop without a database takes less than ten seconds and costs nothing: the next start stores what waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_database_leaves_everything_to_the_next_start() {
    let mut cluster = Cluster::start().await;
    let url = cluster.database("next").await.url;
    let sim = TastySim::start(config(500.0)).await.unwrap();
    let directory = scratch();
    let daemon = start(&["run"], directory.path(), &sim, &url, &[]);
    streams(&sim, 200, &daemon).await;
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            streams(&sim, 1_000, &daemon).await;
            settle(&sim).await;
            let begin = Instant::now();
            let ended = daemon.stop().await;
            let took = begin.elapsed();
            succeeded(&ended);
            assert!(says(&ended.stderr, "the next start stores them"), "{}", tail(&ended.stderr));
            assert!(took < Duration::from_secs(10), "{took:?}");
            println!("stopped within {took:?}");
            let inspected = start(&["journal", "inspect"], directory.path(), &sim, &url, &[]).wait(PATIENCE).await;
            succeeded(&inspected);
            let told: u64 = inspected.stdout[1].split_whitespace().nth(4).unwrap().parse().unwrap();
            assert!(told >= 1_000, "{inspected:?}");
        })
        .await;
    let database = cluster.connect("next").await;
    let wanted = expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions());
    let daemon = start(&["run"], directory.path(), &sim, &url, &[]);
    let total = wanted.values().map(Vec::len).sum::<usize>();
    until("the rest is stored", PATIENCE, async || (rows(&database).await >= total as i64).then_some(())).await;
    succeeded(&daemon.stop().await);
    assert_eq!(expected::difference(&wanted, &expected::from_database(&database.client).await), None);
    // An orderly end with everything stored leaves nothing behind.
    let inspected = start(&["journal", "inspect"], directory.path(), &sim, &url, &[]).wait(PATIENCE).await;
    assert!(says(&inspected.stdout, "nothing waits"), "{inspected:?}");
    sim.shutdown().await;
}

/// An outage of as many rows as minutes of a busy market give, in seconds: memory does not grow with what waits, and what
/// waits is stored sooner than it came.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_no_memory_and_is_made_up_for() {
    const ROWS: u64 = 120_000;
    let mut cluster = Cluster::start().await;
    let url = cluster.database("outage").await.url;
    let sim = TastySim::start(config(20_000.0)).await.unwrap();
    let directory = scratch();
    let daemon = start(&["run"], directory.path(), &sim, &url, &[]);
    // The allocator keeps what bursts have needed: normal is what a busy market makes of it.
    streams(&sim, 40_000, &daemon).await;
    let resident = || resident_bytes(daemon.pid()).unwrap();
    let normal = resident();
    let (most, mut lasted) = (Cell::new(normal), Duration::ZERO);
    let look = || most.set(most.get().max(resident()));
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            let begin = Instant::now();
            let end = sim.stats().greeks_sent + ROWS;
            until("the market has gone on", PATIENCE, async || {
                look();
                (sim.stats().greeks_sent >= end).then_some(())
            })
            .await;
            settle(&sim).await;
            lasted = begin.elapsed();
        })
        .await;
    let begin = Instant::now();
    let database = cluster.connect("outage").await;
    let wanted = expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions());
    let total = wanted.values().map(Vec::len).sum::<usize>() as i64;
    until("everything is stored", PATIENCE, async || {
        look();
        (rows(&database).await >= total).then_some(())
    })
    .await;
    let grown = (most.get() - normal) / f64::from(1 << 20);
    println!("{ROWS} rows in {lasted:?} without a database: {grown:.1} MiB more; stored within {:?}", begin.elapsed());
    succeeded(&daemon.stop().await);
    assert_eq!(expected::difference(&wanted, &expected::from_database(&database.client).await), None);
    assert!(grown < 10.0, "{grown} MiB");
    sim.shutdown().await;
}

/// At its quota the journal gives up the newest rows, and exactly those are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_counts_to_the_row_what_it_gives_up() {
    gives_up_exactly(scratch().path(), "1MiB").await;
}

/// The same where the quota is more than the disk has.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_newest_rows_and_counts_them() {
    let directory = scratch();
    let disk = directory.path().join("greekd-data");
    std::fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "none"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("not tested: this account may not mount a small disk");
        return;
    }
    let outcome = tokio::spawn({
        let directory = directory.path().to_owned();
        async move { gives_up_exactly(&directory, "8MiB").await }
    });
    let outcome = outcome.await;
    assert!(std::process::Command::new("umount").arg("-l").arg(&disk).status().unwrap().success());
    outcome.unwrap();
}

async fn gives_up_exactly(directory: &Path, quota: &str) {
    let mut cluster = Cluster::start().await;
    let url = cluster.database("full").await.url;
    let sim = TastySim::start(config(5_000.0)).await.unwrap();
    let mut daemon = None;
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            let started = start(&["run"], directory, &sim, &url, &[("GREEKD_JOURNAL_MAX_BYTES", quota)]);
            streams(&sim, 25_000, &started).await;
            assert!(says(&started.stderr(), "the journal is full"), "{}", tail(&started.stderr()));
            daemon = Some(started);
        })
        .await;
    let daemon = daemon.unwrap();
    let database = cluster.connect("full").await;
    until("there is room again", PATIENCE, async || says(&daemon.stderr(), "has room again").then_some(())).await;
    streams(&sim, 1_000, &daemon).await;
    settle(&sim).await;
    // A machine that is busy may not make up for an outage within the time that a stop has.
    let at = address(&daemon).await;
    until("nothing waits", PATIENCE, async || (oldest_waits(&at).await? == 0.0).then_some(())).await;
    let ended = daemon.stop().await;
    succeeded(&ended);
    assert!(!says(&ended.stderr, "records wait in the journal"), "{}", tail(&ended.stderr));
    let sql = "SELECT coalesce(sum(events), 0)::bigint, count(*) FROM ingest_gaps WHERE kind = 'shed'";
    let row = database.client.query_one(sql, &[]).await.unwrap();
    let (shed, statements): (i64, i64) = (row.get(0), row.get(1));
    let sent = expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions());
    let (sent, stored) = (sent.values().map(Vec::len).sum::<usize>() as i64, rows(&database).await);
    println!("{sent} rows sent = {stored} stored + {shed} given up, in {statements} stretches");
    assert!(shed > 1_000);
    assert_eq!(sent, stored + shed);
    sim.shutdown().await;
}

/// What was accepted before a kill -9 is stored after it, each row once, with the database away all the while.
#[tokio::test(flavor = "multi_thread")]
async fn rows_accepted_before_a_kill_are_stored_once_after_it() {
    let mut cluster = Cluster::start().await;
    let url = cluster.database("killed").await.url;
    let sim = TastySim::start(config(1_000.0)).await.unwrap();
    let directory = scratch();
    let (mut accepted, mut since) = (0, None);
    cluster
        .restart_after(async {
            until("the database is gone", PATIENCE, async || Cluster::is_gone(&url).await.then_some(())).await;
            for _ in 0..3 {
                let waited = since.map(|since: Instant| since.elapsed().as_secs_f64());
                let daemon = start(&["run"], directory.path(), &sim, &url, &[]);
                streams(&sim, 1_000, &daemon).await;
                since.get_or_insert_with(Instant::now);
                let at = address(&daemon).await;
                let said = async || oldest_waits(&at).await.filter(|waits| *waits > 0.0);
                let said = until("it says for how long records wait", PATIENCE, said).await;
                assert!(waited.is_none_or(|waited| said > waited), "{said} s, the first run's for {waited:?} s");
                daemon.signal("KILL");
                daemon.wait(PATIENCE).await;
            }
            let inspect = &["journal", "inspect", "-o", "json"];
            let inspected = start(inspect, directory.path(), &sim, &url, &[]).wait(PATIENCE).await;
            let contents: serde_json::Value = serde_json::from_str(&inspected.stdout.join("\n")).unwrap();
            let runs = contents["runs"].as_array().unwrap();
            assert_eq!(runs.len(), 3, "{contents}");
            accepted = runs.iter().map(|run| run["rows"].as_i64().unwrap()).sum();
        })
        .await;
    let database = cluster.connect("killed").await;
    // By hand: the journal belongs to nobody now. A second time there is nothing left to store.
    let journal = directory.path().join("greekd-data/journal");
    let replay = ["journal", "replay", journal.to_str().unwrap()];
    for times in [1, 2] {
        let replayed = start(&replay, directory.path(), &sim, &url, &[]).wait(PATIENCE).await;
        succeeded(&replayed);
        println!("{}", replayed.stdout.join("\n"));
        assert_eq!(rows(&database).await, accepted, "after {times} replays");
    }
    assert!(accepted > 2_000, "{accepted}");
    for (line, rows) in expected::from_database(&database.client).await {
        assert_eq!(rows.windows(2).find(|pair| pair[0] == pair[1]), None, "{line:?} holds a row twice");
    }
    let gaps = "SELECT count(*) FROM ingest_gaps WHERE reason = 'crashed'";
    assert_eq!(database.client.query_one(gaps, &[]).await.unwrap().get::<_, i64>(0), 2, "one for each restart");
    sim.shutdown().await;
}

async fn held_by_another(daemon: &Daemon) {
    until("it stands by", PATIENCE, async || says(&daemon.stderr(), "standing by").then_some(())).await;
}

/// Of two greekd with one database the second waits, connected to no broker, and takes over when the first is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_greekd_stands_by_and_takes_over() {
    let cluster = Cluster::start().await;
    let database: Database = cluster.database("pair").await;
    let (one, two) = (TastySim::start(config(200.0)).await.unwrap(), TastySim::start(config(200.0)).await.unwrap());
    let (here, there) = (scratch(), scratch());
    let first = start(&["run"], here.path(), &one, &database.url, &[]);
    streams(&one, 200, &first).await;
    let second = start(&["run"], there.path(), &two, &database.url, &[]);
    held_by_another(&second).await;
    assert_eq!((two.stats().connections, two.requests().len()), (0, 0), "a broker was asked for something");
    let sources = json(&second, &address(&second).await, "/v1/streaming/status").await["sources"].take();
    assert_eq!(sources.as_array().map(Vec::len), Some(1), "{sources}");
    assert_eq!((&sources[0]["source"], &sources[0]["state"]), (&"tastytrade".into(), &"disconnected".into()));
    assert!(sources[0]["reason"].as_str().is_some_and(|reason| reason.contains("not begun")), "{sources}");
    settle(&one).await;
    first.signal("KILL");
    let begin = Instant::now();
    streams(&two, 200, &second).await;
    println!("the second streams {:?} after the first was killed", begin.elapsed());
    first.wait(PATIENCE).await;
    settle(&two).await;
    succeeded(&second.stop().await);
    // The first comes back and stores what it had accepted.
    let first = start(&["run"], here.path(), &one, &database.url, &[]);
    until("it has begun", PATIENCE, async || says(&first.stderr(), "database connected").then_some(())).await;
    let sims = [&one, &two];
    let wanted: usize = sims
        .iter()
        .map(|sim| expected::from_ledger(&sim.ledger().snapshot().entries, &sim.positions()))
        .map(|lines| lines.values().map(Vec::len).sum::<usize>())
        .sum();
    until("both have stored everything", PATIENCE, async || (rows(&database).await >= wanted as i64).then_some(()))
        .await;
    succeeded(&first.stop().await);
    assert_eq!(rows(&database).await, wanted as i64);
    for sim in [one, two] {
        sim.shutdown().await;
    }
}

/// A greekd that was asleep while another took over neither writes on nor stores what both may have received: it says so,
/// keeps its rows, and leaves the rest to a person.
#[tokio::test(flavor = "multi_thread")]
async fn a_greekd_that_lost_the_database_while_asleep_keeps_its_rows_and_ends() {
    let cluster = Cluster::start().await;
    let database: Database = cluster.database("asleep").await;
    let (one, two) = (TastySim::start(config(200.0)).await.unwrap(), TastySim::start(config(200.0)).await.unwrap());
    let (here, there) = (scratch(), scratch());
    let first = start(&["run"], here.path(), &one, &database.url, &[]);
    streams(&one, 200, &first).await;
    let second = start(&["run"], there.path(), &two, &database.url, &[]);
    held_by_another(&second).await;
    first.signal("STOP");
    let end =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'greekd writer%'";
    assert!(database.client.query_one(end, &[]).await.unwrap().get::<_, i64>(0) >= 1);
    streams(&two, 200, &second).await;
    settle(&two).await;
    let stored = until("the second has stored all", PATIENCE, async || {
        let wanted = expected::from_ledger(&two.ledger().snapshot().entries, &two.positions());
        let wanted = wanted.values().map(Vec::len).sum::<usize>() as i64;
        let stored = rows(&database).await;
        (stored > wanted).then_some(stored)
    });
    stored.await;
    first.signal("CONT");
    let ended = first.wait(PATIENCE).await;
    assert_eq!(ended.status.code(), Some(1), "{}", tail(&ended.stderr));
    assert!(says(&ended.stderr, "another greekd has taken over the database"), "{}", tail(&ended.stderr));
    succeeded(&second.stop().await);
    let before = rows(&database).await;
    // What was kept is stored when a person says so, and only once.
    let parked = here.path().join("greekd-data/journal.parked-1");
    let replay = ["journal", "replay", parked.to_str().unwrap()];
    let mut after = before;
    for _ in 0..2 {
        succeeded(&start(&replay, here.path(), &one, &database.url, &[]).wait(PATIENCE).await);
        let now = rows(&database).await;
        assert!(now > before && (after == before || after == now), "{before} rows, then {after}, then {now}");
        after = now;
    }
    println!("{before} rows without those of the sleeper, {after} with them");
    for sim in [one, two] {
        sim.shutdown().await;
    }
}
