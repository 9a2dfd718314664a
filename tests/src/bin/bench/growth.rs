//! `bench growth`: what an event costs in a small book and in a large one, and in an empty database and in a full one.

use greekd_tests::cluster::Cluster;
use greeks_store::{DatabaseConfig, migrate};
use jiff::{Timestamp, ToSpan};

use crate::options::GrowthOptions;
use crate::product::{self, Load, Sample};
use crate::stats::{Spread, short};
use crate::{Result, machine, reads, report};

/// Series of the rows that are there already.
const SERIES: u32 = 500;
/// Contracts of the book that streams into a full database.
const BOOK: usize = 400;

/// Measures in turns and prints what came out.
pub(crate) async fn run(options: &GrowthOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let load_before = machine::load();
    let load = |positions: usize| Load { positions, without_first: true, ..Load::new(options.rate, options.seconds) };
    let mut lines: Vec<(String, Vec<Sample>)> =
        options.positions.iter().map(|positions| (format!("{positions} contracts"), Vec::new())).collect();
    for round in 1..=options.rounds {
        for (positions, (name, samples)) in options.positions.iter().zip(&mut lines) {
            let database = cluster.database(&format!("book_{positions}_{round}")).await;
            let sample = product::measure(&database, load(*positions as usize)).await?;
            println!("round {round}, {name}: {}", line(&sample));
            samples.push(sample);
        }
    }
    if options.rows > 0 {
        let full = cluster.database("full").await;
        migrate(&DatabaseConfig::parse(&full.url)?).await?;
        reads::fill(&full, options.rows, SERIES, Timestamp::now() - 1.hour()).await?;
        let (mut into_empty, mut into_full) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            let empty = cluster.database(&format!("empty_{round}")).await;
            for (name, database, samples) in [("empty", &empty, &mut into_empty), ("full", &full, &mut into_full)] {
                let sample = product::measure(database, load(BOOK)).await?;
                println!("round {round}, {name}: {}", line(&sample));
                samples.push(sample);
            }
        }
        lines.push((format!("{BOOK} contracts, no row stored"), into_empty));
        lines.push((format!("{BOOK} contracts, {} rows stored", options.rows), into_full));
    }
    println!("\n{}", machine::line(&cluster, load_before).await?);
    println!(
        "{} events/s; CPU in seconds for 100,000 events, without those of the start; start: until it streams; the p95 \
         without first values is from the stamp of the source to the transaction\n",
        options.rate
    );
    print!("{}", table(&lines));
    Ok(())
}

fn line(sample: &Sample) -> String {
    let known = |figure: Option<f64>| figure.map_or_else(|| "-".into(), short);
    format!(
        "CPU {} + {}, p95 {} ms, {} without first values, start {} s",
        known(sample.client_cpu),
        known(sample.server_cpu),
        short(sample.p95),
        known(sample.due_p95),
        short(sample.started)
    )
}

/// A line for each book, ratios against the first of them.
fn table(lines: &[(String, Vec<Sample>)]) -> String {
    type Column = (&'static str, fn(&Sample) -> Option<f64>);
    let columns: [Column; 7] = [
        ("CPU", |sample| sample.client_cpu),
        ("server CPU", |sample| sample.server_cpu),
        ("both", |sample| Some(sample.client_cpu? + sample.server_cpu?)),
        ("p95 ms", |sample| Some(sample.p95)),
        ("p95 ms without first values", |sample| sample.due_p95),
        ("MiB", |sample| Some(sample.resident / 1_048_576.0)),
        ("start s", |sample| Some(sample.started)),
    ];
    let mut cells = vec![vec![String::new()]];
    cells[0].extend(lines.iter().map(|(name, _)| name.clone()));
    for (name, figure) in columns {
        let mut column = vec![name.to_owned()];
        column.extend(lines.iter().map(|(_, samples)| {
            Spread::of(samples.iter().filter_map(figure)).map_or_else(|| "-".into(), |spread| spread.to_string())
        }));
        cells.push(column);
    }
    report::markdown(&cells)
}
