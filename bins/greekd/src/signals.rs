//! SIGTERM and SIGINT: the first asks for a graceful stop, the second stops at once.

use crate::exit::{Code, Failure};

/// Resolves at each signal that asks to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
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
                hangup: signal(SignalKind::hangup()).map_err(refuse)?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one. SIGHUP is none: it is going to mean "read the settings again", and must not end a daemon
    /// whose terminal was closed.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP has no effect in this version: restart to read changed settings");
                }
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `stopping` to its end, unless another signal comes first: then the process ends at once, without waiting for
    /// anything. (A private server is told by the system that its parent is gone, and ends in good order.)
    pub(crate) async fn or_at_once<T>(&mut self, stopping: impl Future<Output = T>) -> T {
        tokio::select! {
            done = stopping => done,
            () = self.next() => std::process::exit(Code::CutShort as i32),
        }
    }
}
