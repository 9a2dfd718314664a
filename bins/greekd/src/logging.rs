//! Logs on stderr: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    let registry = tracing_subscriber::registry().with(filter).with(harmless());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let installed = if json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines.with_ansi(terminal && !log.plain)).try_init()
    };
    installed.map_err(|error| Failure::new(Code::Runtime, format!("cannot install the log: {error}")))
}

/// Whatever is asked for, not what holds secrets: at `trace` the websocket library writes out every request and message,
/// session cookies and tokens included, and at `debug` the database's every parameter, account numbers among them.
fn harmless() -> Targets {
    let cap = LevelFilter::INFO;
    Targets::new().with_default(LevelFilter::TRACE).with_targets([("tungstenite", cap), ("tokio_postgres", cap)])
}

/// Directives for our own crates, each after a comma.
fn ours(level: &str) -> String {
    OURS.map(|name| format!(",{name}={level}")).concat()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn subscriber(asked: &str) -> impl tracing::Subscriber {
        tracing_subscriber::registry()
            .with(EnvFilter::new(asked))
            .with(harmless())
            .with(tracing_subscriber::fmt::layer())
    }

    #[test]
    fn no_wish_makes_a_library_write_out_secrets() {
        for asked in [
            "trace",
            "tungstenite=trace",
            "trace,tungstenite::handshake::client=trace",
            "debug",
            "tokio_postgres=debug",
            "tokio_postgres::query=trace",
        ] {
            tracing::subscriber::with_default(subscriber(asked), || {
                assert!(!tracing::enabled!(target: "tungstenite::handshake::client", Level::TRACE), "{asked}");
                assert!(!tracing::enabled!(target: "tungstenite::protocol", Level::TRACE), "{asked}");
                assert!(!tracing::enabled!(target: "tokio_postgres::query", Level::DEBUG), "{asked}");
                assert_eq!(tracing::enabled!(target: "hyper", Level::TRACE), asked.starts_with("trace"), "{asked}");
            });
        }
        assert!(EnvFilter::try_new("a=b=c").is_err());
    }

    #[test]
    fn a_library_says_no_more_than_is_asked_for() {
        for (asked, heard) in [("warn", false), ("error", false), ("info", true), ("tokio_postgres=info", true)] {
            tracing::subscriber::with_default(subscriber(asked), || {
                assert_eq!(tracing::enabled!(target: "tokio_postgres::connection", Level::INFO), heard, "{asked}");
            });
        }
    }
}
