//! `bench live`: how soon the API answers while rows stream in, and what a crowd of clients does to the rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::http::{address, get};
use greekd_tests::process::resident_bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::options::LiveOptions;
use crate::stats::{percentile, short};
use crate::{Result, machine, product};

const PATIENCE: Duration = Duration::from_secs(300);
/// Streams that are read, and those that are not.
const READERS: usize = 180;
const SLEEPERS: usize = 20;
/// Sockets that send one byte a second and never a request.
const DRIPPERS: usize = 500;
/// The latency is that of a minute: what is asked at its end is of the time since its beginning.
const WINDOW: Duration = Duration::from_secs(65);
const MIB: f64 = 1_048_576.0;
/// Pause between two questions of one kind, so that asking is not itself the load.
const BETWEEN: Duration = Duration::from_millis(20);

/// Measures both parts in one run of greekd.
pub(crate) async fn run(options: &LiveOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let load_before = machine::load();
    let database = cluster.database("live").await;
    let (sim, daemon) = product::book(&database, options.positions, options.rate).await?;
    let at = address(&daemon).await;
    covered(&at, options.positions, &daemon).await?;

    println!("{} contracts, {} events/s", options.positions, options.rate);
    println!("\n| request | p50 ms | p99 ms | target |\n|---|---:|---:|---:|");
    let of_one = "/v1/greeks/latest?underlying=F";
    let lines = get(&at, of_one).await.json()["lines"].as_array().map_or(0, Vec::len);
    let (hundred, about) = about_a_hundred(&at).await.ok_or("no account has lines of an underlying")?;
    for (name, path, target) in [
        (format!("latest, {about} lines"), hundred.as_str(), "5"),
        (format!("latest, {lines} lines"), of_one, ""),
        ("portfolio by underlying".into(), "/v1/portfolio?group_by=underlying", "5"),
        ("status".into(), "/v1/streaming/status", "5"),
        ("newest 100 snapshots".into(), "/v1/greeks/snapshots?limit=100", "20"),
    ] {
        let times = ask(&at, path, options.questions).await?;
        let at = |quantile| percentile(&times, quantile).map_or_else(|| "-".into(), short);
        println!("| {name} | {} | {} | {target} |", at(0.5), at(0.99));
    }

    tokio::time::sleep(WINDOW).await;
    let (alone, resident) = (p95(&at).await?, resident_bytes(daemon.pid()).unwrap_or_default());
    let crowd = Crowd::come(&at).await?;
    tokio::time::sleep(WINDOW).await;
    let (together, grown) = (p95(&at).await?, resident_bytes(daemon.pid()).unwrap_or_default() - resident);
    let (bytes, cut) = crowd.leave().await;
    println!(
        "\n{READERS} streams read, {SLEEPERS} not read, {DRIPPERS} sockets dripping: p95 {} ms, {} ms without them ({}x); \
         resident {:.1} MiB more; {:.0} MiB delivered; drippers were cut off {cut} times",
        short(together),
        short(alone),
        short(together / alone),
        grown / MIB,
        bytes as f64 / MIB,
    );
    println!("{}", machine::line(&cluster, load_before).await?);
    let ended = daemon.stop().await;
    if !ended.status.success() {
        return Err(format!("greekd ended with {}\n{}", ended.status, tail(&ended.stderr)).into());
    }
    sim.shutdown().await;
    Ok(())
}

/// The question for the lines of an account on an underlying, those whose number is nearest to 100, and their number.
async fn about_a_hundred(at: &str) -> Option<(String, usize)> {
    let all = get(at, "/v1/greeks/latest").await.json();
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    for line in all["lines"].as_array()? {
        // Others would have to be escaped.
        let underlying =
            line["underlying"].as_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if let Some(key) = underlying.zip(line["account_id"].as_str()) {
            *counts.entry(key).or_default() += 1;
        }
    }
    let ((underlying, account), count) = counts.into_iter().min_by_key(|(_, count)| count.abs_diff(100))?;
    Some((format!("/v1/greeks/latest?underlying={underlying}&account_id={account}"), count))
}

/// Waits until nearly all positions have Greeks.
async fn covered(at: &str, positions: u32, daemon: &Daemon) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let total = get(at, "/v1/portfolio?group_by=broker").await.json()["total"]["covered"].as_u64();
        if total.is_some_and(|covered| covered as f64 >= 0.95 * f64::from(positions)) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("only {total:?} positions have Greeks\n{}", tail(&daemon.stderr())).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Milliseconds of so many answers, one after the other, each over a connection of its own.
async fn ask(at: &str, path: &str, questions: u32) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..questions {
        let begin = Instant::now();
        let answer = get(at, path).await;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        if answer.status != 200 {
            return Err(format!("{path}: {} {}", answer.status, answer.text).into());
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(times)
}

/// Received -> durable over the last minute, in ms.
async fn p95(at: &str) -> Result<f64> {
    let status = get(at, "/v1/streaming/status").await.json();
    status["receive_to_durable"]["p95"].as_f64().map(|seconds| seconds * 1e3).ok_or_else(|| "no row in a minute".into())
}

/// Clients of all kinds.
struct Crowd {
    clients: JoinSet<()>,
    bytes: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Crowd {
    async fn come(at: &str) -> Result<Self> {
        let mut crowd =
            Self { clients: JoinSet::new(), bytes: Arc::default(), cut: Arc::default(), over: Arc::default() };
        let request = format!("GET /v1/stream HTTP/1.1\r\nhost: {at}\r\n\r\n");
        for number in 0..READERS + SLEEPERS {
            let mut socket = TcpStream::connect(at).await?;
            socket.write_all(request.as_bytes()).await?;
            let (read, reads) = (Arc::clone(&crowd.bytes), number < READERS);
            crowd.clients.spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                if !reads {
                    return std::future::pending().await;
                }
                while let Ok(count) = socket.read(&mut bytes).await {
                    if count == 0 {
                        return;
                    }
                    // Counted, not looked at: to read is not what is measured.
                    read.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..DRIPPERS {
            let (at, cut, over) = (at.to_owned(), Arc::clone(&crowd.cut), Arc::clone(&crowd.over));
            crowd.clients.spawn(async move {
                while let Ok(mut socket) = TcpStream::connect(&at).await {
                    // As often as it is cut off it comes again.
                    while socket.write_all(b"G").await.is_ok() && !over.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    cut.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        Ok(crowd)
    }

    /// Bytes that were read, and how often drippers were cut off.
    async fn leave(mut self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        let counts = (self.bytes.load(Ordering::Relaxed), self.cut.load(Ordering::Relaxed));
        self.clients.shutdown().await;
        counts
    }
}
