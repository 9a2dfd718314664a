//! The server process and the thread that owns it.
//!
//! The parent-death signal of Linux fires when the *thread* that started the child ends, so that thread has to live as
//! long as the child: it waits for it. It waits without reaping, so that a signal can never hit a stranger that was
//! given the same pid.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::{oneshot, watch};

/// A running (or ended) server.
#[derive(Debug)]
pub(super) struct ServerProcess {
    pid: Pid,
    state: Arc<State>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

#[derive(Debug)]
struct State {
    running: Mutex<bool>,
    gone: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerProcess {
    /// Starts `command` on a thread of its own.
    pub(super) async fn spawn(command: Command) -> io::Result<Self> {
        let state = Arc::new(State { running: Mutex::new(true), gone: Condvar::new() });
        let (started, pid) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        let of_thread = Arc::clone(&state);
        std::thread::Builder::new()
            .name("postgres-owner".into())
            .spawn(move || own(command, started, &of_thread, &end))?;
        let pid = pid.await.map_err(|_| io::Error::other("the thread that starts the server ended"))??;
        Ok(Self { pid, state, ended })
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Exit status once the process has ended.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Follows the end of the process.
    pub(super) fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.ended.clone()
    }

    /// Sends a signal if the process still runs.
    pub(super) fn signal(&self, signal: Signal) {
        let running = self.state.lock();
        if *running && let Err(error) = kill_process(self.pid, signal) {
            tracing::warn!(%error, "signal to the private server not delivered");
        }
    }

    /// Waits for the end; `false` when the time is up.
    pub(super) async fn wait(&self, patience: Duration) -> bool {
        let mut ended = self.ended.clone();
        // An error means that the owner thread is gone, and with it the process.
        tokio::time::timeout(patience, ended.wait_for(Option::is_some)).await.is_ok()
    }

    /// As [`ServerProcess::wait`], for `Drop`.
    pub(super) fn wait_blocking(&self, patience: Duration) -> bool {
        let running = self.state.lock();
        let (running, _) = self
            .state
            .gone
            .wait_timeout_while(running, patience, |running| *running)
            .unwrap_or_else(PoisonError::into_inner);
        !*running
    }
}

fn own(
    mut command: Command,
    started: oneshot::Sender<io::Result<Pid>>,
    state: &State,
    end: &watch::Sender<Option<ExitStatus>>,
) {
    let spawned = command.spawn();
    // Holds descriptors (the log) that are the child's now.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            *state.lock() = false;
            drop(started.send(Err(error)));
            return;
        }
    };
    let pid = Pid::from_child(&child);
    // If the start was abandoned meanwhile nobody else will end this server.
    if started.send(Ok(pid)).is_err()
        && let Err(error) = kill_process(pid, Signal::INT)
    {
        tracing::warn!(%error, "abandoned server not stopped");
    }
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    let mut running = state.lock();
    let status = child.wait();
    *running = false;
    state.gone.notify_all();
    drop(running);
    end.send_replace(Some(status.unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_the_end_and_takes_no_signal_after_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]);
        let process = ServerProcess::spawn(command).await.unwrap();
        assert!(process.wait(Duration::from_secs(10)).await);
        assert_eq!(process.status().and_then(|status| status.code()), Some(3));
        process.signal(Signal::KILL);
        assert!(process.wait_blocking(Duration::ZERO));
    }

    #[tokio::test]
    async fn a_running_process_is_waited_for_no_longer_than_told() {
        let mut command = Command::new("/bin/sleep");
        command.arg("60");
        let process = ServerProcess::spawn(command).await.unwrap();
        assert!(!process.wait(Duration::from_millis(20)).await);
        assert!(!process.wait_blocking(Duration::from_millis(20)));
        process.signal(Signal::KILL);
        assert!(process.wait(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        assert!(ServerProcess::spawn(Command::new("/nonexistent/postgres")).await.is_err());
    }
}
