//! SIGTERM and SIGINT: the first asks for a graceful stop, the second stops at once.

use std::process::ExitCode;

use crate::exit::{Code, Failure};

/// The exit code of a run that was cut short by a second signal, as shells report one that SIGINT ended.
const CUT_SHORT: u8 = 130;

/// Resolves at each signal that asks to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn install() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let refuse = |error| Failure::new(Code::Runtime, format!("cannot listen for signals: {error}"));
            Ok(Self {
                term: signal(SignalKind::terminate()).map_err(refuse)?,
                interrupt: signal(SignalKind::interrupt()).map_err(refuse)?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `stopping` to its end, unless another signal comes first: then the process ends at once.
    pub(crate) async fn or_at_once<T>(&mut self, stopping: impl Future<Output = T>) -> Result<T, ExitCode> {
        tokio::select! {
            done = stopping => Ok(done),
            () = self.next() => Err(ExitCode::from(CUT_SHORT)),
        }
    }
}
