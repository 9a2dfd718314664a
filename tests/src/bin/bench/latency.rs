//! The rounds of `bench latency`.

use std::time::Duration;

use greekd_tests::cluster::Cluster;

use crate::Result;
use crate::baseline::Baseline;
use crate::floor::Floor;
use crate::machine;
use crate::options::LatencyOptions;
use crate::product::{self, Load};
use crate::report::{self, Turn};

/// Before and after each turn of greekd, so that both meet the same machine; hundreds of commits even on a busy disk.
const FLOOR: Duration = Duration::from_secs(1);

/// Measures everything in turns and prints what came out.
pub(crate) async fn run(options: &LatencyOptions) -> Result<()> {
    // Built before anything is measured.
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let mut floor = Floor::new(&cluster).await?;
    let baseline = match &options.baseline {
        Some(directory) => Some(Baseline::prepare(directory, &cluster).await?),
        None => None,
    };
    // New files and a new server are slower than they will be.
    floor.measure(FLOOR).await?;
    let load_before = machine::load();

    let mut turns = Vec::new();
    for round in 1..=options.rounds {
        for &rate in &options.rates {
            let load = Load::new(rate, options.seconds_at(rate));
            let mut commits = floor.measure(FLOOR).await?;
            let greekd = product::measure(&cluster.database(&format!("greekd_{rate}_{round}")).await, load).await?;
            commits.extend(floor.measure(FLOOR).await?);
            let baseline = match &baseline {
                Some(baseline) => Some(baseline.measure(load).await?),
                None => None,
            };
            let turn = Turn { rate, floor: commits, greekd, baseline };
            println!("round {round}, {}", report::progress(&turn));
            turns.push(turn);
        }
    }
    println!("\n{}", machine::line(&cluster, load_before).await?);
    println!("\n{}", report::render(&turns, options));
    Ok(())
}
