//! Prints the live Greeks of every open option position at tastytrade, with no database: what a trading tool that
//! embeds `tasty-dxlink` and `greeks-processor` looks like.
//!
//! ```sh
//! cargo run --example tastytrade_greeks                                    # some rows from a double, in ten seconds
//! TASTYTRADE_REFRESH_TOKEN=.. TASTYTRADE_CLIENT_SECRET=.. \
//!     cargo run --example tastytrade_greeks -- live                        # your account, until Ctrl-C
//! ```
// An example prints, and reads what its user has set.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker_sim::{SimConfig, TastySim};
use greeks_model::{Record, SinkError, SnapshotSink};
use greeks_processor::{FirstOutcome, Pipeline, PipelineConfig, Supervisor, SupervisorConfig};
use secrecy::SecretString;
use tasty_dxlink::{TastyConfig, TastySource};
use tokio::sync::mpsc;

/// A store of our own: prints rows and counts them. A real one would write them somewhere; it is called on the pipeline
/// thread with whatever has gathered, and the pipeline waits for it.
struct Printer {
    rows: mpsc::Sender<()>,
}

impl SnapshotSink for Printer {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let show = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.4}"));
        for record in records {
            let Record::Snapshot(row) = record else { continue };
            println!(
                "{}  {:<24} x {:>5}  delta {:>8}  gamma {:>8}  theta {:>9}  vega {:>8}  underlying {:>10}",
                row.event_time,
                row.series.contract.to_string(),
                row.quantity,
                show(row.delta),
                show(row.gamma),
                show(row.theta),
                show(row.vega),
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
    let live = std::env::args().nth(1).as_deref() == Some("live");
    // Kept until the end: dropping it stops the double.
    let double = if live { None } else { Some(TastySim::start(SimConfig::simulated(1)).await?) };
    let source = TastySource::new(config(double.as_ref())?, tls()?)?;

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

fn config(double: Option<&TastySim>) -> anyhow::Result<TastyConfig> {
    let Some(double) = double else {
        let variable = |name: &str| std::env::var(name).map(SecretString::from).context(format!("set {name}"));
        return Ok(TastyConfig::new(variable("TASTYTRADE_REFRESH_TOKEN")?, variable("TASTYTRADE_CLIENT_SECRET")?));
    };
    let credentials = double.credentials();
    let mut config = TastyConfig::new(credentials.refresh_token.into(), credentials.client_secret.into());
    config.api_url = double.api_url();
    Ok(config)
}

/// The authorities that the system trusts.
fn tls() -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
