//! `bench memory`: what a large and busy book needs in memory, and whether it grows.

use std::time::{Duration, Instant};

use greekd_tests::cluster::Cluster;
use greekd_tests::daemon::tail;
use greekd_tests::http::{address, get};
use greekd_tests::process::resident_bytes;

use crate::options::MemoryOptions;
use crate::{Result, machine, product};

const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = 1_048_576.0;
/// What is promised.
const TARGET_MIB: f64 = 64.0;
/// Until every contract has had its first values and every buffer its size.
const WARM_UP: Duration = Duration::from_secs(30);

/// Streams and looks.
pub(crate) async fn run(options: &MemoryOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let load_before = machine::load();
    let database = cluster.database("memory").await;
    let (sim, daemon) = product::book(&database, options.positions, options.rate).await?;
    let streaming = sim.wait_until(PATIENCE, |stats| stats.streaming == 1).await;
    streaming.map_err(|error| format!("greekd does not stream: {error}\n{}", tail(&daemon.stderr())))?;
    tokio::time::sleep(WARM_UP).await;

    let (begin, sent_before) = (Instant::now(), sim.stats().greeks_sent);
    let end = begin + Duration::from_secs_f64(options.minutes * 60.0);
    let mut seen = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))).await;
        seen.push(resident_bytes(daemon.pid()).ok_or("greekd has ended")? / MIB);
    }
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let per_second = (sim.stats().greeks_sent - sent_before) as f64 / begin.elapsed().as_secs_f64();
    let at = address(&daemon).await;
    let total = &get(&at, "/v1/portfolio?group_by=broker").await.json()["total"];
    println!("{}", machine::line(&cluster, load_before).await?);
    println!("{} of {} contracts with Greeks, {per_second:.0} events/s sent", total["covered"], total["lines"]);
    let (early, late) = halves(&seen);
    println!("\n| figure | MiB | target |\n|---|---:|---:|");
    println!("| resident, most of {:.0} s | {:.1} | < {TARGET_MIB} |", begin.elapsed().as_secs_f64(), most(&seen));
    println!("| mean of the first half | {early:.1} | |\n| mean of the second half | {late:.1} | the same |");
    let ended = daemon.stop().await;
    if !ended.status.success() {
        return Err(format!("greekd ended with {}\n{}", ended.status, tail(&ended.stderr)).into());
    }
    sim.shutdown().await;
    Ok(())
}

fn most(seen: &[f64]) -> f64 {
    seen.iter().copied().fold(0.0, f64::max)
}

/// The mean of the first and of the second half.
fn halves(seen: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let (early, late) = seen.split_at(seen.len() / 2);
    (mean(early), mean(late))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_shows_between_the_halves() {
        assert_eq!(halves(&[1.0, 3.0, 5.0, 5.0]), (2.0, 5.0));
        assert_eq!(most(&[1.0, 3.0, 2.0]), 3.0);
    }
}
