//! Where the program can be asked over HTTP, and the recorder of its metrics.

use std::net::SocketAddr;

use greeks_server::{Server, ServerConfig, ServerError};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::exit::{Code, Failure, with_causes};
use crate::settings::{Listen, Settings};
use crate::{backlog, live};

/// From half a millisecond, which is good, to ten seconds, which is not.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const ROWS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

/// Listens, and does not serve yet.
pub(crate) struct Web {
    pub(crate) server: Server,
    pub(crate) metrics: Metrics,
    pub(crate) thread: ServerThread,
}

/// One thread for the server alone: however many clients there are and however much they read, those that stream and
/// store do not wait for them.
#[derive(Debug)]
pub(crate) struct ServerThread {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl ServerThread {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("http").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// For what is to run there.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        // What is not finished by now was given its time, and nothing may wait here.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What has been recorded.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Installs the recorder; to be called before anything counts.
    pub(crate) fn install() -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::new(Code::Runtime, format!("no metrics: {error}"));
        let buckets = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
        };
        let builder = buckets(PrometheusBuilder::new(), greeks_processor::metrics::EVENT_LATENCY_SECONDS, &SECONDS)
            .and_then(|builder| buckets(builder, greeks_store::metrics::COMMIT_SECONDS, &SECONDS))
            .and_then(|builder| buckets(builder, greeks_store::metrics::COMMIT_ROWS, &ROWS))
            .map_err(|error| refused(&error))?;
        let handle = builder.install_recorder().map_err(|error| refused(&error))?;
        let process = Collector::default();
        process.describe();
        greeks_processor::metrics::describe();
        greeks_store::metrics::describe();
        ibkr_stream::metrics::describe();
        tasty_dxlink::metrics::describe();
        backlog::describe();
        live::describe();
        Ok(Self { handle, process })
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Sorts what histograms have collected; to be called every few seconds, whether anybody reads them or not.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Web {
    /// Listens where the settings say; `None` where they say not to.
    ///
    /// # Errors
    /// [`Failure`] 69 when somebody else listens there, 78 when it must not be listened there.
    pub(crate) async fn bind(settings: &Settings, metrics: &Metrics) -> Result<Option<Self>, Failure> {
        let Listen::At(address) = settings.listen else { return Ok(None) };
        let mut config = ServerConfig::new(address);
        config.token.clone_from(&settings.http_token);
        config.hosts.clone_from(&settings.http_hosts);
        let failed = |error: &dyn std::fmt::Display| Failure::new(Code::Runtime, format!("no HTTP server: {error}"));
        let thread = ServerThread::start().map_err(|error| failed(&error))?;
        let server = thread.handle().spawn(Server::bind(config)).await.map_err(|error| failed(&error))?;
        let server = server.map_err(|error| refused(&error, address))?;
        let web = Self { server, metrics: metrics.clone(), thread };
        tracing::info!(url = web.url(), "serves the live book");
        Ok(Some(web))
    }

    /// Where a browser on this machine finds it.
    pub(crate) fn url(&self) -> String {
        let address = self.server.address();
        match address.ip().is_unspecified() {
            true => format!("http://localhost:{}/", address.port()),
            false => format!("http://{address}/"),
        }
    }
}

fn refused(error: &ServerError, address: SocketAddr) -> Failure {
    match error {
        ServerError::Occupied { .. } => Failure::new(Code::Unavailable, error)
            .remedy("it may be another greekd: stop it, or give another --listen (GREEKD_LISTEN), or off"),
        ServerError::NeedsToken { .. } => {
            Failure::new(Code::Config, error).remedy("set GREEKD_HTTP_TOKEN, or listen on 127.0.0.1")
        }
        ServerError::WeakToken { .. } => Failure::new(Code::Config, error).remedy("set a longer GREEKD_HTTP_TOKEN"),
        _ => Failure::new(Code::Unavailable, with_causes(error))
            .remedy(format!("{address} must be an address of this machine that may be listened on")),
    }
}
