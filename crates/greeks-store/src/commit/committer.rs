//! The loop around the transaction: when to commit, what to do when it fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Batch, Clock, LogError, Record, Seq, SnapshotLog};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::bisect::Bisect;
use super::pacer::{CommitPolicy, Pacer};
use super::retry::Retry;
use super::status::{Commit, CommitObserver, CommitterState, CommitterStatus};
use super::writer::{Refusal, WriteError, Writer, Written};
use crate::database::DatabaseConfig;
use crate::failure::{Failure, chain};
use crate::metrics::{COMMIT_ROWS, COMMIT_SECONDS, ROWS_QUARANTINED, ROWS_WRITTEN};

const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Longer than every time-out of the session, so that the server's own, better message comes first.
const WRITE_DEADLINE: Duration = Duration::from_secs(90);
const KEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
const KEEP_AGAIN: Duration = Duration::from_secs(3600);

/// What a committer works with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommitterConfig {
    /// Where the rows go; its schema must be migrated.
    pub database: DatabaseConfig,
    /// Shown in `ingest_progress.instance`.
    pub instance: String,
    /// When to commit.
    pub policy: CommitPolicy,
}

impl CommitterConfig {
    /// The default policy, for the database; `instance` names the program and host.
    pub fn new(database: DatabaseConfig, instance: impl Into<String>) -> Self {
        Self { database, instance: instance.into(), policy: CommitPolicy::default() }
    }
}

/// Stores what a log holds, in order, each record once, over lost connections, restarts of the server and refused rows.
pub struct Committer {
    config: CommitterConfig,
    log: Box<dyn SnapshotLog>,
    observer: Box<dyn CommitObserver>,
    clock: Arc<dyn Clock>,
    status: watch::Sender<CommitterStatus>,
    writer: Option<Writer>,
    /// Everything up to here is acknowledged to the log and the observer.
    durable: Seq,
    /// The mark that was found at the first connection.
    began: Option<Seq>,
    pacer: Pacer,
    bisect: Bisect,
    /// The next record alone was refused: it goes to quarantine.
    refusal: Option<Refusal>,
    retry: Retry,
    keep_at: Instant,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("config", &self.config)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// The committer cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
}

impl Committer {
    /// A committer and what it tells about itself.
    pub fn new(
        config: CommitterConfig,
        log: Box<dyn SnapshotLog>,
        observer: Box<dyn CommitObserver>,
        clock: Arc<dyn Clock>,
    ) -> (Self, watch::Receiver<CommitterStatus>) {
        let (status, watched) = watch::channel(CommitterStatus::default());
        let pacer = Pacer::new(&config.policy, Instant::now());
        let committer = Self {
            config,
            log,
            observer,
            clock,
            status,
            writer: None,
            durable: Seq::ZERO,
            began: None,
            pacer,
            bisect: Bisect::new(),
            refusal: None,
            retry: Retry::default(),
            keep_at: Instant::now(),
        };
        (committer, watched)
    }

    /// Runs until the log has ended and everything in it is stored; returns the number of the last record, or of the last
    /// that the database has, should the log have lost some. While the
    /// database is away it tries again and again: the log is what bounds the wait, or the caller by dropping the future.
    ///
    /// # Errors
    /// [`CommitError`] when the log cannot be read. Failures of the database are no errors: see [`CommitterStatus`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. A transaction under way is stored as a whole or not at all; the log
    /// keeps what was not acknowledged.
    pub async fn run(mut self) -> Result<Seq, CommitError> {
        loop {
            self.connect().await;
            match self.gather().await {
                Ok(Some(batch)) => self.store(&batch).await?,
                Ok(None) => {}
                Err(LogError::Closed) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.finish().await;
        Ok(self.durable)
    }

    /// At the first connection: what an earlier run has stored of this log is not read, sent and told once more. The mark may
    /// be beyond the end of the log, when a power cut took what the database has.
    async fn begin(&mut self) -> Result<(), LogError> {
        let (None, Some(writer)) = (self.began, &self.writer) else { return Ok(()) };
        let mark = writer.stored();
        self.began = Some(mark);
        if mark == Seq::ZERO {
            return Ok(());
        }
        tracing::info!(%mark, "an earlier run has stored records of this log: going on behind them");
        self.durable = mark;
        self.status.send_modify(|status| status.durable = mark);
        self.log.release(mark).await
    }

    /// Waits for records and then as long as the policy says. `None` when there was something else to do.
    async fn gather(&mut self) -> Result<Option<Batch>, LogError> {
        let policy = self.config.policy;
        let max = policy.max_records.max(1);
        self.begin().await?;
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let first = tokio::select! {
            biased;
            batch = self.log.next(self.durable, max) => batch,
            () = writer.closed() => {
                self.lost("the database closed the connection");
                return Ok(None);
            }
            () = tokio::time::sleep_until(self.keep_at) => {
                self.keep_partitions().await;
                return Ok(None);
            }
        };
        let mut batch = match first {
            // The mark is older than what the log has let go; what that means is said when the batch is stored.
            Err(LogError::Released { first, .. })
                if self.began == Some(self.durable) && first > self.durable.plus(1) =>
            {
                self.durable = Seq(first.0 - 1);
                return Ok(None);
            }
            other => other?,
        };
        let arrived = Instant::now();
        if self.pacer.take(arrived) {
            return Ok(Some(batch));
        }
        let until = self.pacer.next_token(arrived).min(arrived + policy.max_delay);
        while batch.records.len() < policy.max_waiting.min(max) {
            match timeout_at(until, self.log.next(batch.last(), max - batch.records.len())).await {
                Ok(Ok(more)) => batch.records.extend(more.records),
                // Told again once these are stored.
                Ok(Err(LogError::Closed)) => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    self.pacer.take(Instant::now());
                    break;
                }
            }
        }
        Ok(Some(batch))
    }

    /// Stores a batch, however long it takes.
    async fn store(&mut self, batch: &Batch) -> Result<(), CommitError> {
        loop {
            let done = usize::try_from((self.durable.0 + 1).saturating_sub(batch.first.0)).unwrap_or(usize::MAX);
            let rest = batch.records.get(done..).unwrap_or_default();
            let chunk = rest.get(..self.bisect.limit().min(rest.len())).unwrap_or(rest);
            if chunk.is_empty() {
                return Ok(());
            }
            self.connect().await;
            self.store_chunk(batch.first.plus(done as u64), chunk).await?;
        }
    }

    /// One transaction; afterwards the records are acknowledged, or it is set what to do differently.
    async fn store_chunk(&mut self, first: Seq, chunk: &[Record]) -> Result<(), CommitError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        // What an earlier transaction of unknown outcome did store.
        let already = writer.stored().0.saturating_sub(first.0.saturating_sub(1));
        if already > 0 {
            let known = usize::try_from(already).unwrap_or(usize::MAX).min(chunk.len());
            let known = chunk.get(..known).unwrap_or(chunk);
            tracing::info!(records = known.len(), "found stored already");
            self.bisect.stored(known.len());
            self.refusal = None;
            return self.acknowledge(first, known, Duration::ZERO).await;
        }
        if writer.stored().plus(1) < first {
            tracing::error!(
                database = writer.stored().0,
                acknowledged = first.0 - 1,
                "the database has lost records it had acknowledged, as after a restore from a backup"
            );
        }
        let begin = Instant::now();
        let refusal = self.refusal.clone();
        let written = timeout(WRITE_DEADLINE, writer.write(first, chunk, refusal.as_ref()))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        let took = begin.elapsed();
        match written {
            Ok(Written::Stored { ticks }) => {
                self.retry.stored();
                self.refusal = None;
                match refusal {
                    None => self.bisect.stored(chunk.len()),
                    Some(refusal) => self.note_quarantined(&refusal),
                }
                self.count(ticks, chunk.len(), took);
                self.acknowledge(first, chunk, took).await
            }
            Ok(Written::Moved) => Ok(()),
            Err(error) => {
                self.failed(&error, chunk.len()).await;
                Ok(())
            }
        }
    }

    async fn acknowledge(&mut self, first: Seq, records: &[Record], took: Duration) -> Result<(), CommitError> {
        let upto = first.plus((records.len() as u64).saturating_sub(1));
        let at = self.clock.now();
        self.durable = upto;
        self.status.send_modify(|status| {
            status.durable = upto;
            status.last_commit_at = Some(at);
        });
        self.observer.committed(Commit { records, upto, at, took });
        self.log.release(upto).await?;
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)]
    fn count(&self, ticks: u64, records: usize, took: Duration) {
        metrics::counter!(ROWS_WRITTEN).increment(ticks);
        metrics::histogram!(COMMIT_ROWS).record(records as f64);
        metrics::histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
        self.status.send_modify(|status| status.rows_written += ticks);
    }

    fn note_quarantined(&mut self, refusal: &Refusal) {
        self.bisect.quarantined();
        let reason = refusal.sqlstate.clone();
        tracing::error!(
            sqlstate = reason,
            message = refusal.message,
            "record refused by the database: kept in quarantine"
        );
        metrics::counter!(ROWS_QUARANTINED, "reason" => reason).increment(1);
        self.status.send_modify(|status| status.quarantined += 1);
    }

    /// Decides what to do differently. But for refused data the connection is given up: whether its transaction was
    /// committed is what the next one finds out from the mark.
    async fn failed(&mut self, error: &WriteError, tried: usize) {
        let kind = error.failure();
        if kind == Failure::Data && self.refusal.is_none() {
            if let Some(writer) = &self.writer
                && !writer.roll_back().await
            {
                self.writer = None;
            }
            tracing::debug!(records = tried, error = chain(error), "refused: looking for the record");
            if self.bisect.refused(tried) {
                self.refusal = Some(error.refusal());
                if self.bisect.too_many() {
                    self.retry_after(Failure::Operator, "too many records in a row are refused");
                }
            }
            return;
        }
        // A record that cannot even be kept in quarantine.
        let kind = if kind == Failure::Data { Failure::Operator } else { kind };
        self.retry_after(kind, &chain(error));
    }

    fn lost(&mut self, reason: &str) {
        self.retry_after(Failure::Transient, reason);
    }

    fn retry_after(&mut self, kind: Failure, reason: &str) {
        self.writer = None;
        self.retry.failed(kind);
        let state = match kind {
            Failure::Operator => CommitterState::NeedsOperator,
            Failure::Transient | Failure::Data => CommitterState::Retrying,
        };
        let mut news = false;
        self.status.send_modify(|status| {
            news = status.state != state || status.last_error.as_deref() != Some(reason);
            status.state = state;
            status.last_error = Some(reason.to_owned());
        });
        // An outage of hours is one line, not one every five seconds.
        if news {
            tracing::warn!(reason, retry_in = ?self.retry.wait(), "database not available");
        } else {
            tracing::debug!(reason, retry_in = ?self.retry.wait(), "database still not available");
        }
    }

    /// Another session is the writer: waits for its end.
    fn stand_by(&mut self, error: &WriteError) {
        let reason = chain(error);
        if self.retry.held(Instant::now()) {
            tracing::warn!(reason, "standing by until it ends");
        }
        self.status.send_modify(|status| {
            status.state = CommitterState::Standby;
            status.last_error = Some(reason);
        });
    }

    /// Connects unless connected, as often as it takes.
    async fn connect(&mut self) {
        while self.writer.is_none() {
            sleep(self.retry.wait()).await;
            let CommitterConfig { database, instance, .. } = &self.config;
            let opening = Writer::open(database, self.log.incarnation(), instance, self.durable);
            match timeout(OPEN_DEADLINE, opening).await.unwrap_or(Err(WriteError::Deadline(OPEN_DEADLINE.as_secs()))) {
                Ok(writer) => {
                    self.writer = Some(writer);
                    self.retry.connected();
                    let before = self.status.borrow().state;
                    if before != CommitterState::Connected {
                        tracing::info!(database = %self.config.database.address(), "database connected");
                    }
                    self.status.send_modify(|status| status.state = CommitterState::Connected);
                    if self.keep_at <= Instant::now() {
                        self.keep_partitions().await;
                    }
                }
                Err(error @ WriteError::Held { .. }) => self.stand_by(&error),
                // Data cannot be at fault where none was sent.
                Err(error) => self.retry_after(
                    if error.failure() == Failure::Operator { Failure::Operator } else { Failure::Transient },
                    &chain(&error),
                ),
            }
        }
    }

    async fn keep_partitions(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let kept = timeout(WRITE_DEADLINE, writer.keep_partitions(self.clock.now()))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        match kept {
            Ok(complete) => self.keep_at = Instant::now() + if complete { KEEP_EVERY } else { KEEP_AGAIN },
            Err(error) => self.retry_after(Failure::Transient, &chain(&error)),
        }
    }

    /// Everything is stored: says so, once, because it does not matter much.
    async fn finish(&mut self) {
        if let Some(writer) = &self.writer {
            match timeout(OPEN_DEADLINE, writer.finish()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "end of the incarnation not noted"),
                Err(_) => tracing::warn!("end of the incarnation not noted in time"),
            }
        }
        self.status.send_modify(|status| status.state = CommitterState::Finished);
    }
}
