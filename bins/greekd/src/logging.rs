//! Logs on stderr: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::exit::{Code, Failure};
use crate::settings::{Log, LogFormat};

/// The crates of this workspace that say something.
const OURS: [&str; 7] =
    ["greekd", "ibkr_stream", "tasty_dxlink", "broker_net", "greeks_store", "greeks_processor", "broker_sim"];

/// Installs the subscriber. A `daemon` says what it does; other commands answer on stdout and log warnings only. What
/// other people's crates say is shown from warnings up.
pub(crate) fn init(log: &Log, verbose: u8, daemon: bool) -> Result<(), Failure> {
    let default = match verbose {
        0 if !daemon => "warn".into(),
        0 => format!("warn{}", ours("info")),
        1 => format!("info{}", ours("debug")),
        _ => "trace".into(),
    };
    let filter = EnvFilter::try_new(log.filter.as_deref().unwrap_or(&default)).map_err(|error| {
        Failure::new(Code::Config, format!("RUST_LOG is not valid: {error}"))
            .remedy("write it like info,greeks_store=debug")
    })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if json { builder.json().try_init() } else { builder.with_ansi(terminal && !log.plain).try_init() };
    installed.map_err(|error| Failure::new(Code::Runtime, format!("cannot install the log: {error}")))
}

/// Directives for our own crates, each after a comma.
fn ours(level: &str) -> String {
    OURS.map(|name| format!(",{name}={level}")).concat()
}
