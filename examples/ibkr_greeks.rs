//! Prints the live Greeks of every open option position at IBKR, with no database: what a trading tool that embeds
//! `ibkr-stream` and `greeks-processor` looks like.
//!
//! ```sh
//! cargo run --example ibkr_greeks                                          # some rows from a double, in ten seconds
//! IBKR_GATEWAY_URL=https://localhost:5000/v1/api \
//!     cargo run --example ibkr_greeks                                      # your accounts, until Ctrl-C
//! ```
//!
//! A real Client Portal gateway has to run, and a person has to be logged in there.
// An example prints, and reads what its user has set.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker_sim::{IbkrSim, IbkrSimConfig};
use greeks_model::{Record, SinkError, SnapshotSink};
use greeks_processor::{FirstOutcome, Pipeline, PipelineConfig, Supervisor, SupervisorConfig};
use ibkr_stream::tls::{self, MemoryPins};
use ibkr_stream::{IbkrConfig, IbkrSource};
use tokio::sync::mpsc;

/// A store of our own: prints rows and counts them. A real one would write them somewhere; it is called on the pipeline
/// thread with whatever has gathered, and the pipeline waits for it.
struct Printer {
    rows: mpsc::Sender<()>,
}

impl SnapshotSink for Printer {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let show = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.5}"));
        for record in records {
            let Record::Snapshot(row) = record else { continue };
            println!(
                "{}  {:<24} x {:>5}  delta {:>8}  gamma {:>10}  theta {:>9}  vega {:>8}  IV {:>7}  underlying {:>10}",
                row.event_time,
                row.series.contract.to_string(),
                row.quantity,
                show(row.delta),
                show(row.gamma),
                show(row.theta),
                show(row.vega),
                show(row.implied_volatility),
                show(row.underlying_price),
            );
            if self.rows.blocking_send(()).is_err() {
                return Err(SinkError::Closed);
            }
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let gateway = std::env::var("IBKR_GATEWAY_URL").ok();
    let live = gateway.is_some();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The double is kept until the end: dropping it stops it.
    let (_double, config, tls) = if let Some(url) = gateway {
        // The gateway's certificate is signed by itself and expired: the first one it shows is trusted, and no other
        // while this program runs. A daemon keeps its pins in a file.
        (None, IbkrConfig::new(&url), tls::pinned(provider, Arc::new(MemoryPins::default()))?)
    } else {
        let double = IbkrSim::start(IbkrSimConfig::simulated(1)).await?;
        let fingerprint = double.fingerprint().context("the double has a certificate")?;
        let tls = tls::fingerprint(provider, fingerprint.parse()?)?;
        let config = IbkrConfig::new(&double.gateway_url());
        (Some(double), config, tls)
    };
    let source = IbkrSource::new(config, Arc::new(tls))?;

    let shared = SupervisorConfig::default();
    let pipeline = PipelineConfig::new(Arc::clone(&shared.instruments), Arc::clone(&shared.clock));
    let mut supervisor = Supervisor::new(shared);
    let source = supervisor.spawn(Box::new(source), 1_024)?;
    let (rows, mut printed) = mpsc::channel(64);
    let pipeline = Pipeline::spawn(pipeline, supervisor.take_inbox(), Box::new(Printer { rows }))?;

    if let FirstOutcome::Failed { message, .. } = source.first_outcome().await {
        anyhow::bail!(message);
    }
    let mut count = 0;
    while (live || count < 20) && printed.recv().await.is_some() {
        count += 1;
    }
    // What is on its way is of no interest any more: the sink says so, and the pipeline ends.
    drop(printed);
    supervisor.stop(Duration::from_secs(5)).await;
    drop(tokio::task::spawn_blocking(|| pipeline.join()).await?);
    Ok(())
}
