//! `bench throughput`: what the whole program makes durable per second when more comes than it can store, beside a plain
//! COPY of the same rows.

use std::io::Cursor;
use std::pin::pin;
use std::time::Instant;

use futures_util::{SinkExt, TryStreamExt};
use greekd_tests::cluster::{Cluster, Database};
use greeks_store::{DatabaseConfig, migrate};

use crate::baseline::Baseline;
use crate::floor::COLUMNS;
use crate::options::{MOST_RATE, ThroughputOptions};
use crate::product::{self, Load};
use crate::stats::{Spread, short};
use crate::{Result, machine};

/// What the Python design is offered for long enough; it is far from keeping up with it.
const PYTHON_RATE: f64 = 20_000.0;
const PYTHON_SECONDS: u32 = 5;

/// Measures in turns and prints what came out. The first turn offers more than can be stored; each later one as much as a
/// plain COPY took just before, so that a program without any cost of its own would keep up.
pub(crate) async fn run(options: &ThroughputOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let baseline = match &options.baseline {
        Some(directory) => Some(Baseline::prepare(directory, &cluster).await?),
        None => None,
    };
    let load_before = machine::load();
    let turn = async |name: &str, rate: f64| {
        let database = cluster.database(&format!("daemon_{name}")).await;
        let sample = product::measure(&database, Load::new(rate, options.seconds)).await?;
        let copied = copy(&cluster, &format!("copy_{name}"), &database).await?;
        println!(
            "{name}: {} rows/s durable of {} sent, COPY {} rows/s; the oldest waited for {} s at most",
            short(sample.rows_per_second),
            short(sample.events_per_second),
            short(copied),
            short(sample.oldest)
        );
        Result::Ok((sample, copied))
    };
    let (overload, mut copied) = turn("overload", options.rate).await?;
    let (mut greekd, mut plain, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut python, mut times) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let sample;
        (sample, copied) = turn(&format!("round_{round}"), copied.min(MOST_RATE)).await?;
        if let Some(baseline) = &baseline {
            let stored = baseline.measure(Load::new(PYTHON_RATE, PYTHON_SECONDS)).await?.rows_per_second;
            python.push(stored);
            times.push(sample.rows_per_second / stored);
        }
        greekd.push(sample.rows_per_second);
        plain.push(copied);
        shares.push(100.0 * sample.rows_per_second / copied);
    }
    println!("\n{}", machine::line(&cluster, load_before).await?);
    println!("\n| figure | median (min..max) of {} rounds | target |\n|---|---:|---:|", options.rounds);
    let line = |name: &str, figures: Vec<f64>, target: &str| {
        let spread = Spread::of(figures).map_or_else(|| "-".into(), |spread| spread.to_string());
        println!("| {name} | {spread} | {target} |");
    };
    line("rows/s from the socket to the commit, whole program", greekd, "");
    line("rows/s of a plain COPY BINARY of the same rows", plain, "");
    line("the first in % of the second", shares, "> 70");
    line("rows/s of the Python design", python, "");
    line("times the Python design", times, "> 10");
    let offered = short(overload.events_per_second);
    println!("| rows/s under {offered} events/s, more than can be stored | {} | |", short(overload.rows_per_second));
    println!("| seconds that the oldest record waited at most meanwhile | {} | |", short(overload.oldest));
    Ok(())
}

/// Rows per second of a COPY of all rows of `from` into the same schema, over one connection, in one transaction.
async fn copy(cluster: &Cluster, name: &str, from: &Database) -> Result<f64> {
    let sql = format!("COPY (SELECT {COLUMNS} FROM greek_ticks ORDER BY seq) TO STDOUT (FORMAT binary)");
    let parts: Vec<_> = from.client.copy_out(&sql).await?.try_collect().await?;
    let into = cluster.database(name).await;
    migrate(&DatabaseConfig::parse(&into.url)?).await?;
    let months = "SELECT greekd_make_partition(month::date) FROM \
                  generate_series(date_trunc('month', now()), now() + interval '1 month', interval '1 month') month";
    into.client.batch_execute(months).await?;
    let begin = Instant::now();
    let copy = into.client.copy_in(&format!("COPY greek_ticks ({COLUMNS}) FROM STDIN (FORMAT binary)")).await?;
    let mut copy = pin!(copy);
    for part in parts {
        copy.feed(Cursor::new(part)).await?;
    }
    let rows = copy.finish().await?;
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let rows = rows as f64;
    Ok(rows / begin.elapsed().as_secs_f64())
}
