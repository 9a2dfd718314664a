//! The durable half of the data path: the committers that bring the journal to the database, one run after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use greeks_model::{Clock, Record, Seq, SnapshotLog, UnixNanos};
use greeks_store::{
    Commit, CommitError, CommitObserver, Committer, CommitterConfig, CommitterState, CommitterStatus, JournalLog,
    JournalMonitor, Leftover,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A database that takes longer to say that it is there is taken for one that is not.
const FIRST_WORD: Duration = Duration::from_secs(4);
/// A predecessor that was killed holds its lock for a moment.
const PREDECESSOR: Duration = Duration::from_secs(4);

/// Committers at work.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) view: DurableView,
    task: JoinHandle<Result<(), CommitError>>,
}

/// What can be seen of them.
#[derive(Clone, Debug)]
pub(crate) struct DurableView {
    pub(crate) status: watch::Receiver<CommitterStatus>,
    pub(crate) monitor: JournalMonitor,
    earlier: Arc<Earlier>,
    /// The incarnations that this process writes for: its sessions are named after them.
    own: Arc<[String]>,
}

/// What earlier runs have left and nobody has looked at yet: the database may have some of it.
#[derive(Debug)]
struct Earlier {
    records: AtomicU64,
    /// When the first row among them was received, in nanoseconds since 1970; 0 when that is not known.
    since: AtomicI64,
}

impl Earlier {
    fn new(records: u64, since: Option<UnixNanos>) -> Self {
        Self { records: AtomicU64::new(records), since: AtomicI64::new(since.map_or(0, UnixNanos::as_nanos)) }
    }

    /// So many are left after these: what follows was received no sooner.
    fn note(&self, left: u64, committed: &[Record]) {
        self.records.store(left, Ordering::Relaxed);
        let row = |record: &Record| if let Record::Snapshot(row) = record { Some(row.received_at) } else { None };
        if let Some(received_at) = committed.iter().rev().find_map(row) {
            self.since.store(received_at.as_nanos(), Ordering::Relaxed);
        }
    }

    fn since(&self) -> Option<UnixNanos> {
        let since = self.since.load(Ordering::Relaxed);
        (since > 0 && self.records.load(Ordering::Relaxed) > 0).then(|| UnixNanos::from_nanos(since))
    }
}

/// Whether this process may stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The database is there and takes our rows.
    Stored,
    /// It is not: rows wait in the journal.
    Journalled,
    /// Another greekd writes to it.
    Held(String),
}

impl Durable {
    /// Begins to store what earlier runs have left, the first row received at `since`, and then what `log` brings.
    pub(crate) fn start(
        config: CommitterConfig,
        (leftovers, since): (Vec<Leftover>, Option<UnixNanos>),
        log: JournalLog,
        monitor: JournalMonitor,
        observer: Box<dyn CommitObserver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let earlier = Arc::new(Earlier::new(leftovers.iter().map(count).sum(), since));
        let incarnations = leftovers.iter().map(|left| left.found.id).chain([log.incarnation()]);
        let own = incarnations.map(|id| id.to_string()).collect();
        let (sender, status) = watch::channel(CommitterStatus::default());
        let chain = Chain { config, clock, sender, rows_before: 0 };
        let task = tokio::spawn(chain.run(leftovers, log, observer, Arc::clone(&earlier)));
        Self { view: DurableView { status, monitor, earlier, own }, task }
    }

    /// Waits until `deadline` for everything to be stored. What is not stays in the journal.
    ///
    /// # Errors
    /// [`CommitError`] when the journal could not be read.
    pub(crate) async fn finish(mut self, deadline: Instant) -> Result<(), CommitError> {
        match timeout_at(deadline, &mut self.task).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::error!(%error, "the committer failed: what it had not stored stays in the journal");
                Ok(())
            }
            Err(_) => {
                self.task.abort();
                // Its connection and its hold on the journal end with it.
                drop(self.task.await);
                Ok(())
            }
        }
    }
}

impl DurableView {
    /// Accepted records that the database does not have yet.
    pub(crate) fn waiting(&self) -> u64 {
        let written = self.monitor.progress().written;
        written.saturating_sub(self.status.borrow().durable.0) + self.earlier.records.load(Ordering::Relaxed)
    }

    /// Since when records of earlier runs have waited at most, as long as there are any. What the database has of them
    /// counts too until it has said so.
    pub(crate) fn earlier_since(&self) -> Option<UnixNanos> {
        self.earlier.since()
    }

    /// Waits until the database has been found or not, or belongs to somebody else. A database that is being started, or its
    /// schema made by somebody else, gets a moment.
    pub(crate) async fn verdict(&self) -> Verdict {
        let mut status = self.status.clone();
        let (first_word, patience) = (Instant::now() + FIRST_WORD, Instant::now() + PREDECESSOR);
        loop {
            let (state, holder) = {
                let status = status.borrow_and_update();
                (status.state, status.last_error.clone())
            };
            let until = match state {
                CommitterState::Connected | CommitterState::Finished => return Verdict::Stored,
                CommitterState::Connecting | CommitterState::Retrying => first_word,
                CommitterState::Standby => patience,
                _ => return Verdict::Journalled,
            };
            let changed = timeout_at(until, status.changed()).await;
            match (changed, state) {
                (Ok(Ok(())), _) => {}
                (_, CommitterState::Standby) => return Verdict::Held(holder.unwrap_or_default()),
                _ => return Verdict::Journalled,
            }
        }
    }

    /// Resolves when this process is the one that writes. That the database cannot be asked is no sign of it.
    pub(crate) async fn taken_over(&self) {
        let mut status = self.status.clone();
        let ours = |state| matches!(state, CommitterState::Connected | CommitterState::Finished);
        // An error means that the committer has ended, which others notice.
        drop(status.wait_for(|status| ours(status.state)).await);
    }

    /// Resolves when another greekd writes to the database, and not a session that ours have left; says who.
    pub(crate) async fn superseded(&self) -> String {
        let mut status = self.status.clone();
        let taken = |status: &CommitterStatus| {
            let holder = status.last_error.as_deref().unwrap_or_default();
            status.state == CommitterState::Standby && !self.own.iter().any(|own| holder.contains(own.as_str()))
        };
        loop {
            let held = status.wait_for(&taken).await;
            let Ok(holder) = held.map(|status| status.last_error.clone().unwrap_or_default()) else {
                return std::future::pending().await;
            };
            let freed = status.wait_for(|status| !taken(status));
            if tokio::time::timeout(PREDECESSOR, freed).await.is_err() {
                return holder;
            }
        }
    }

    /// Resolves when the last committer has ended, however it did.
    pub(crate) async fn ended(&self) {
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

/// How many records an earlier run has left.
const fn count(left: &Leftover) -> u64 {
    left.found.last - left.found.first + 1
}

/// One committer after the other, seen from outside as one.
struct Chain {
    config: CommitterConfig,
    clock: Arc<dyn Clock>,
    sender: watch::Sender<CommitterStatus>,
    /// Rows stored by those that have ended.
    rows_before: u64,
}

impl Chain {
    async fn run(
        mut self,
        leftovers: Vec<Leftover>,
        log: JournalLog,
        observer: Box<dyn CommitObserver>,
        earlier: Arc<Earlier>,
    ) -> Result<(), CommitError> {
        let mut behind = earlier.records.load(Ordering::Relaxed);
        for left in leftovers {
            behind -= count(&left);
            let Leftover { found, log, .. } = left;
            let (noting, last) = (Arc::clone(&earlier), found.last);
            let observer = Box::new(move |commit: Commit<'_>| {
                noting.note(behind + last - commit.upto.0.min(last), commit.records);
            });
            let (committer, status) =
                Committer::new(self.config.clone(), Box::new(log), observer, Arc::clone(&self.clock));
            match self.follow(committer, status, false).await {
                Ok(_) => tracing::info!(incarnation = %found.id, "everything an earlier run has left is stored"),
                // Its files stay. What comes now must not wait for a disk to be mended.
                Err(error) => {
                    let error = crate::exit::with_causes(&error);
                    tracing::error!(incarnation = %found.id, error, "what an earlier run has left cannot be read and is kept");
                }
            }
            earlier.records.store(behind, Ordering::Relaxed);
        }
        let (committer, status) = Committer::new(self.config.clone(), Box::new(log), observer, Arc::clone(&self.clock));
        self.follow(committer, status, true).await.map(drop)
    }

    /// Runs a committer and hands on what it says of itself.
    async fn follow(
        &mut self,
        committer: Committer,
        mut status: watch::Receiver<CommitterStatus>,
        living: bool,
    ) -> Result<Seq, CommitError> {
        let run = committer.run();
        tokio::pin!(run);
        loop {
            tokio::select! {
                biased;
                ended = &mut run => {
                    self.hand_on(&status.borrow(), living);
                    self.rows_before = self.sender.borrow().rows_written;
                    return ended;
                }
                Ok(()) = status.changed() => self.hand_on(&status.borrow_and_update(), living),
            }
        }
    }

    fn hand_on(&self, status: &CommitterStatus, living: bool) {
        let mut status = status.clone();
        status.rows_written += self.rows_before;
        if !living {
            // Its numbers are those of another run, and its end is not that of the data path.
            status.durable = Seq::ZERO;
            if matches!(status.state, CommitterState::Finished | CommitterState::Stopped) {
                status.state = CommitterState::Connected;
            }
        }
        self.sender.send_replace(status);
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::GapReason;

    use super::*;
    use crate::memory::tests as memory;

    fn row(received: i64) -> Record {
        Record::Snapshot(memory::row("ibkr", received, 0.1))
    }

    fn gap() -> Record {
        Record::Gap(memory::gap("ibkr", 9_000, None, GapReason::Disconnected))
    }

    /// After each commit of what earlier runs have left: how many remain, and since when they have waited at most.
    #[test]
    fn what_earlier_runs_left_falls_with_every_commit() {
        let earlier = Earlier::new(10, Some(UnixNanos::from_nanos(1_000)));
        assert_eq!(earlier.since(), Some(UnixNanos::from_nanos(1_000)));
        for (left, committed, since) in [
            (7, vec![row(1_000), row(2_000), gap()], Some(2_000)),
            // A gap says nothing of when it was received.
            (6, vec![gap()], Some(2_000)),
            (2, vec![row(2_500), row(3_000)], Some(3_000)),
            (0, vec![row(3_500)], None),
        ] {
            earlier.note(left, &committed);
            assert_eq!(earlier.records.load(Ordering::Relaxed), left);
            assert_eq!(earlier.since(), since.map(UnixNanos::from_nanos), "{left} left");
        }
        assert_eq!(Earlier::new(3, None).since(), None, "of what cannot be read it is not known");
    }
}
