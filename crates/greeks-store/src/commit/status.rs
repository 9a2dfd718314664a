//! What a committer tells about itself.

use std::time::Duration;

use greeks_model::{Record, Seq, UnixNanos};

/// How a committer is doing; changes through a `watch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitterStatus {
    /// What it is doing.
    pub state: CommitterState,
    /// Why it is not connected, or was not last; without values and secrets.
    pub last_error: Option<String>,
    /// Every record up to this one is stored, by this run or an earlier one. It goes back when the database does, as after
    /// a failover to a server that lacked the last commits: what follows is then stored once more.
    pub durable: Seq,
    /// Rows of `greek_ticks` stored by this committer; those that the database has lost and was given again count twice.
    pub rows_written: u64,
    /// Records the database refused, kept in `ingest_quarantine`.
    pub quarantined: u64,
    /// Rows stored without their `source_payload`, which the database would have refused.
    pub payloads_refused: u64,
    /// When the last commit was acknowledged.
    pub last_commit_at: Option<UnixNanos>,
}

/// What a committer is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitterState {
    /// On the way to the database for the first time.
    #[default]
    Connecting,
    /// Connected.
    Connected,
    /// The database failed in a way that may pass; it tries again within seconds.
    Retrying,
    /// The server is out of disk or memory; it tries again every 5 s at first, then every minute.
    Full,
    /// The database failed in a way that needs a person; it tries again every minute.
    NeedsOperator,
    /// Another program writes to this database; nothing is written until it ends. So it is for a moment, too, when the
    /// session of a writer that was killed or given up has not ended yet.
    Standby,
    /// The log has ended and everything is stored.
    Finished,
    /// The committer was dropped, or its log cannot be read: nothing more is stored.
    Stopped,
}

/// One acknowledged commit.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Commit<'a> {
    /// What was stored, in order; a refused record is among them.
    pub records: &'a [Record],
    /// The number of the last of them.
    pub upto: Seq,
    /// When the acknowledgement came.
    pub at: UnixNanos,
    /// How long the transaction took; zero when it was found committed after a lost connection.
    pub took: Duration,
}

/// Learns of every commit of this run, in order and each record once, even where the database lost it and was given it again;
/// of what an earlier run has stored of the same log, nothing. Called on the committer's task: it must not block.
pub trait CommitObserver: Send {
    /// The records are durable.
    fn committed(&mut self, commit: Commit<'_>);
}

/// Nobody wants to know.
impl CommitObserver for () {
    fn committed(&mut self, _: Commit<'_>) {}
}

impl<F: FnMut(Commit<'_>) + Send> CommitObserver for F {
    fn committed(&mut self, commit: Commit<'_>) {
        self(commit);
    }
}
