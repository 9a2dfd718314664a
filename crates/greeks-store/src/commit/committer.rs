//! The loop around the transaction: when to commit, what to do when it fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Batch, Clock, LogError, Record, Seq, SnapshotLog};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::bisect::Bisect;
use super::meter::Meter;
use super::pacer::{CommitPolicy, Pacer};
use super::retry::Retry;
use super::status::{Commit, CommitObserver, CommitterState, CommitterStatus};
use super::survey::LARGE;
use super::trouble::{OPEN_DEADLINE, WRITE_DEADLINE};
use super::writer::{Refusal, WriteError, Writer, Written};
use crate::database::DatabaseConfig;
use crate::failure::{Failure, chain};

/// What a committer works with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommitterConfig {
    /// Where the rows go.
    pub database: DatabaseConfig,
    /// Shown in `ingest_progress.instance`.
    pub instance: String,
    /// When to commit.
    pub policy: CommitPolicy,
    /// Whether an older schema, an empty one included, is brought up to date at every connection; otherwise it waits for
    /// somebody to do so. A newer one always does.
    pub migrate: bool,
    /// Whether it is the only writer of its database as long as it is connected, and stands by while another one is. What
    /// only stores records that nobody else has may share: the mark keeps each of them single all the same.
    pub exclusive: bool,
    /// How much of the time goes to the minutes of the book's past that are not stored yet: one in so many. Meanwhile no
    /// row is stored. An exclusive committer stores them, no other.
    pub minutes_share: u32,
}

impl CommitterConfig {
    /// The default policy, no migrations and no other writer, for the database; `instance` names the program and host.
    pub fn new(database: DatabaseConfig, instance: impl Into<String>) -> Self {
        let (instance, policy) = (instance.into(), CommitPolicy::default());
        Self { database, instance, policy, migrate: false, exclusive: true, minutes_share: 40 }
    }
}

/// Stores what a log holds, in order, each record once, over lost connections, restarts of the server and refused rows.
pub struct Committer {
    pub(super) config: CommitterConfig,
    pub(super) log: Box<dyn SnapshotLog>,
    observer: Box<dyn CommitObserver>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: watch::Sender<CommitterStatus>,
    pub(super) writer: Option<Writer>,
    /// Everything up to here is in the database, or the log does not have it any more. Acknowledged to the log.
    pub(super) durable: Seq,
    /// The mark that was found at the first connection, or later when it had gone back.
    pub(super) found: Option<Seq>,
    /// Up to here the log has let go of records that the database does not have: there is no going back behind it.
    pub(super) gone: Seq,
    /// Everything up to here was told to the observer, or by an earlier run to its own.
    pub(super) told: Seq,
    pacer: Pacer,
    pub(super) bisect: Bisect,
    /// The next record alone was refused: it goes to quarantine.
    pub(super) refusal: Option<Refusal>,
    pub(super) retry: Retry,
    /// The last failure was one of writing: that a connection can be made does not mean that it is over.
    pub(super) unproven: bool,
    pub(super) keep_at: Instant,
    pub(super) minutes_at: Instant,
    pub(super) meter: Meter,
    /// When it was said last that payloads are refused.
    pub(super) payloads_told: Option<Instant>,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("config", &self.config)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// Whoever watches learns of an end that nobody tells of otherwise: the task was aborted, or has panicked.
impl Drop for Committer {
    fn drop(&mut self) {
        self.status.send_if_modified(|status| {
            let goes_on = status.state != CommitterState::Finished;
            if goes_on {
                status.state = CommitterState::Stopped;
            }
            goes_on
        });
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
            found: None,
            gone: Seq::ZERO,
            told: Seq::ZERO,
            pacer,
            bisect: Bisect::new(),
            refusal: None,
            retry: Retry::default(),
            unproven: false,
            keep_at: Instant::now(),
            minutes_at: Instant::now(),
            meter: Meter::new(),
            payloads_told: None,
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
    /// Dropping the future closes the connection and sets [`CommitterState::Stopped`]. A transaction under way is stored as a whole or not at all; the log
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

    /// Waits for records and then as long as the policy says. `None` when there was something else to do.
    async fn gather(&mut self) -> Result<Option<Batch>, LogError> {
        let policy = self.config.policy;
        let max = policy.max_records.max(1);
        self.begin().await?;
        self.follow_mark();
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let first = tokio::select! {
            biased;
            // First, however many records wait.
            () = tokio::time::sleep_until(self.minutes_at), if self.config.exclusive => {
                self.store_minutes().await;
                return Ok(None);
            }
            batch = self.log.next(self.durable, max) => batch,
            () = writer.closed() => {
                self.retry_after(Failure::Transient, "the database closed the connection");
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
                if self.found == Some(self.durable) && first > self.durable.plus(1) =>
            {
                (self.durable, self.gone) = (Seq(first.0 - 1), Seq(first.0 - 1));
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
        let mut surveyed = batch.records.len() < LARGE;
        loop {
            let done = usize::try_from((self.durable.0 + 1).saturating_sub(batch.first.0)).unwrap_or(usize::MAX);
            let rest = batch.records.get(done..).unwrap_or_default();
            let chunk = rest.get(..self.bisect.limit().min(rest.len())).unwrap_or(rest);
            if chunk.is_empty() {
                return Ok(());
            }
            self.connect().await;
            // The log still has what comes before, and it is stored before this.
            if self.follow_mark() {
                return Ok(());
            }
            let first = batch.first.plus(done as u64);
            self.store_chunk(first, chunk).await?;
            if self.refusal.is_some() && !surveyed {
                surveyed = self.survey(batch.records.len(), first, rest).await;
            }
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
            self.well();
            return self.acknowledge(first, known, Duration::ZERO).await;
        }
        if writer.stored().plus(1) < first {
            return self.pass_over(first, chunk).await;
        }
        let begin = Instant::now();
        let refusal = self.refusal.clone();
        let written = timeout(WRITE_DEADLINE, writer.write(first, chunk, refusal.as_ref()))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        let took = begin.elapsed();
        match written {
            Ok(Written::Stored { ticks, payloads_refused }) => {
                fail_point!("db.after_commit");
                self.retry.stored();
                self.well();
                self.refusal = None;
                match refusal {
                    None => self.bisect.stored(chunk.len()),
                    // All that was wrong with it was its payload.
                    Some(_) if ticks > 0 => self.bisect.stored(chunk.len()),
                    Some(refusal) => self.note_quarantined(&refusal),
                }
                self.note_payloads(payloads_refused);
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

    /// The records are stored: the log may let them go, and the observer learns of those it has not been told of.
    async fn acknowledge(&mut self, first: Seq, records: &[Record], took: Duration) -> Result<(), CommitError> {
        let upto = first.plus((records.len() as u64).saturating_sub(1));
        let at = self.clock.now();
        self.durable = upto;
        self.status.send_modify(|status| {
            status.durable = upto;
            status.last_commit_at = Some(at);
        });
        let told = usize::try_from((self.told.0 + 1).saturating_sub(first.0)).unwrap_or(usize::MAX);
        if let Some(records) = records.get(told..).filter(|records| !records.is_empty()) {
            self.told = upto;
            self.observer.committed(Commit { records, upto, at, took });
        }
        fail_point!("db.before_release");
        self.log.release(upto).await?;
        fail_point!("db.after_release");
        Ok(())
    }

    fn count(&self, ticks: u64, records: usize, took: Duration) {
        self.meter.committed(ticks, records, took);
        self.status.send_modify(|status| status.rows_written += ticks);
    }

    /// Everything is stored: nothing need be kept. Says so, once, because it does not matter much.
    async fn finish(&mut self) {
        if let Err(error) = self.log.release(self.durable).await {
            tracing::warn!(error = chain(&error), "the log keeps records that are stored");
        }
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
