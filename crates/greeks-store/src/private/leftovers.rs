//! What a killed parent may have left: a running server, its backends, a stale `postmaster.pid`.
//!
//! Every process of a PostgreSQL server has the cluster as its working directory, whatever its title says, so that is
//! how they are found. A `postmaster.pid` whose process is gone is left to PostgreSQL, which also checks the shared
//! memory named in it; it is removed only where PostgreSQL would be misled, namely when the number now belongs to a
//! stranger or to a zombie (both usual in containers, where numbers are small and PID 1 may not reap).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

use super::PrivateError;
use super::layout::{Layout, PORT};

const FAST_STOP: Duration = Duration::from_secs(10);
const IMMEDIATE_STOP: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(10);

/// Stops what still runs on the cluster and removes lock files that would mislead a new server.
pub(super) async fn clear(layout: &Layout) -> Result<(), PrivateError> {
    let survivors = users_of(&layout.cluster);
    if !survivors.is_empty() {
        stop(&layout.cluster, &survivors).await?;
    }
    let pid_file = layout.cluster.join("postmaster.pid");
    if named_pid(&pid_file).is_some_and(is_taken) {
        remove(&pid_file)?;
    }
    let socket = layout.sockets.join(format!(".s.PGSQL.{PORT}"));
    let socket_lock = layout.sockets.join(format!(".s.PGSQL.{PORT}.lock"));
    if named_pid(&socket_lock).is_some_and(is_taken) {
        remove(&socket_lock)?;
        remove(&socket)?;
    }
    Ok(())
}

/// Ends an orphaned server: fast shutdown first, then the immediate one; lone backends are told one by one.
async fn stop(cluster: &Path, survivors: &[Pid]) -> Result<(), PrivateError> {
    let postmaster = named_pid(&cluster.join("postmaster.pid")).filter(|pid| survivors.contains(pid));
    tracing::warn!(
        processes = survivors.len(),
        orphan = postmaster.is_some(),
        "an earlier server still runs: stopping it"
    );
    for (signal, patience) in [(Signal::INT, FAST_STOP), (Signal::QUIT, IMMEDIATE_STOP)] {
        match postmaster {
            Some(postmaster) => send(postmaster, signal),
            // Without a postmaster SIGINT would only cancel a statement.
            None => users_of(cluster).into_iter().for_each(|pid| send(pid, Signal::TERM)),
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if users_of(cluster).is_empty() {
                return Ok(());
            }
            sleep(POLL).await;
        }
    }
    match users_of(cluster).first() {
        None => Ok(()),
        Some(pid) => {
            Err(PrivateError::StillRunning { pid: pid.as_raw_nonzero().get().unsigned_abs(), dir: cluster.to_owned() })
        }
    }
}

/// A process that ended between the look and the signal is what was wanted.
fn send(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(pid = pid.as_raw_nonzero().get(), %error, "signal not delivered");
    }
}

/// The processes named `postgres` that work in `cluster`; none where there is no `/proc`.
fn users_of(cluster: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let proc = entry.path();
            // A zombie has no working directory any more.
            let works_here = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == cluster);
            (works_here && is_postgres(&proc)).then_some(pid)
        })
        .collect()
}

fn is_postgres(proc: &Path) -> bool {
    fs::read_to_string(proc.join("comm")).is_ok_and(|name| matches!(name.trim(), "postgres" | "postmaster"))
}

/// Whether the number belongs to a process (a zombie included) that PostgreSQL would take for the old server.
fn is_taken(pid: Pid) -> bool {
    Path::new("/proc/self").exists() && test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

/// The pid in the first line of a lock file of PostgreSQL (a minus sign marks a stand-alone backend).
fn named_pid(path: &PathBuf) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    let number: i32 = text.lines().next()?.trim().trim_start_matches('-').parse().ok()?;
    Pid::from_raw(number)
}

fn remove(path: &Path) -> Result<(), PrivateError> {
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::warn!(file = %path.display(), "stale lock of an earlier server removed");
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PrivateError::io("remove", path)(error)),
    }
}
