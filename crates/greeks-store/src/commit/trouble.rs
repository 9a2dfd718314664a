//! What a committer does when something is in its way: connect, wait, set a record aside.

use std::time::Duration;

use greeks_model::{Record, Seq};
use tokio::time::{Instant, sleep, timeout};

use super::committer::Committer;
use super::status::CommitterState;
use super::survey;
use super::writer::{Refusal, WriteError, Writer};
use crate::failure::{Failure, chain};
use crate::migrate::migrate;

pub(super) const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Longer than every time-out of the session, so that the server's own, better message comes first.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(90);
const KEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
const KEEP_AGAIN: Duration = Duration::from_secs(3600);
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Committer {
    /// Connects unless connected, as often as it takes.
    pub(super) async fn connect(&mut self) {
        while self.writer.is_none() {
            sleep(self.retry.wait()).await;
            let opening = Writer::open(&self.config, self.log.incarnation());
            match timeout(OPEN_DEADLINE, opening).await.unwrap_or(Err(WriteError::Deadline(OPEN_DEADLINE.as_secs()))) {
                Ok(writer) => {
                    if self.retry.yields() {
                        tracing::info!("the other writer is gone: taking over unless it comes back");
                        continue;
                    }
                    self.writer = Some(writer);
                    self.retry.connected();
                    if !self.unproven {
                        self.well();
                    }
                    if self.keep_at <= Instant::now() {
                        self.keep_partitions().await;
                    }
                }
                Err(error @ WriteError::Held { .. }) => self.stand_by(&error),
                Err(WriteError::Schema { found, known }) if self.config.migrate && found < known => {
                    self.migrate().await;
                }
                Err(error) => self.retry_after(error.failure().without_data(), &chain(&error)),
            }
        }
    }

    /// The database works.
    pub(super) fn well(&mut self) {
        self.unproven = false;
        if self.status.borrow().state == CommitterState::Connected {
            return;
        }
        tracing::info!(database = %self.config.database.address(), "database connected");
        self.status.send_modify(|status| status.state = CommitterState::Connected);
    }

    async fn migrate(&mut self) {
        match migrate(&self.config.database).await {
            Ok(migrated) if !migrated.applied.is_empty() => {}
            // Another program was faster.
            Ok(_) => self.retry_after(Failure::Transient, "the schema is being brought up to date"),
            Err(error) => self.retry_after(Failure::of_migration(&error), &chain(&error)),
        }
    }

    pub(super) async fn keep_partitions(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let kept = timeout(WRITE_DEADLINE, writer.keep_partitions(self.clock.now()))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        match kept {
            Ok(complete) => self.keep_at = Instant::now() + if complete { KEEP_EVERY } else { KEEP_AGAIN },
            Err(error) => self.retry_after(Failure::Transient, &chain(&error)),
        }
    }

    /// Stores minutes that have ended: the first of them once what waits at the start is stored.
    pub(super) async fn store_minutes(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let pause = timeout(WRITE_DEADLINE, writer.store_minutes(self.config.minutes_share))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        match pause {
            Ok(pause) => self.minutes_at = Instant::now() + pause,
            Err(error) => self.retry_after(Failure::Transient, &chain(&error)),
        }
    }

    /// Decides what to do differently. But for refused data the connection is given up: whether its transaction was
    /// committed is what the next one finds out from the mark.
    pub(super) async fn failed(&mut self, error: &WriteError, tried: usize) {
        self.unproven = true;
        if error.is_too_slow() {
            self.bisect.too_slow(tried);
        }
        let kind = match error.failure() {
            Failure::Internal if self.bisect.doubtful() => Failure::Data,
            kind => kind,
        };
        match kind {
            Failure::Data if self.refusal.is_none() => self.refused(error, tried).await,
            // A record that cannot even be kept in quarantine.
            Failure::Data => self.retry_after(Failure::Operator, &chain(error)),
            kind => self.retry_after(kind, &chain(error)),
        }
    }

    /// Looks for the record that is at fault, unless it is the database.
    async fn refused(&mut self, error: &WriteError, tried: usize) {
        if let Some(writer) = &self.writer
            && !writer.roll_back().await
        {
            self.writer = None;
        }
        tracing::debug!(records = tried, error = chain(error), "refused: looking for the record");
        match self.bisect.refused(tried) {
            false => {}
            true if self.bisect.too_many() => {
                let reason = format!("too many records in a row are refused; the last: {}", chain(error));
                self.retry_after(Failure::Operator, &reason);
            }
            true => self.refusal = Some(error.refusal()),
        }
    }

    /// Looks whether the refused record is one of a few of its batch, before it goes to quarantine. `true` when it is.
    pub(super) async fn survey(&mut self, batch: usize, first: Seq, rest: &[Record]) -> bool {
        let (Some(writer), Some(refusal)) = (&mut self.writer, &self.refusal) else { return false };
        let reason = match survey::most_refused(writer, batch, first, rest).await {
            Ok(false) => return true,
            Ok(true) => (
                Failure::Operator,
                format!("more than 1 % of {batch} records are refused, the first: {}", refusal.message),
            ),
            Err(error) => (error.failure().without_data(), chain(&error)),
        };
        self.refusal = None;
        self.retry_after(reason.0, &reason.1);
        false
    }

    pub(super) fn note_quarantined(&mut self, refusal: &Refusal) {
        self.bisect.quarantined();
        let reason = refusal.sqlstate.as_str();
        tracing::error!(
            sqlstate = reason,
            message = refusal.message,
            "record refused by the database: kept in quarantine"
        );
        self.meter.quarantined(reason);
        self.status.send_modify(|status| status.quarantined += 1);
    }

    /// So many rows went in without their payload. Whoever makes such payloads makes many: that is told once a minute.
    pub(super) fn note_payloads(&mut self, refused: u64) {
        if refused == 0 {
            return;
        }
        self.meter.payloads_refused(refused);
        self.status.send_modify(|status| status.payloads_refused += refused);
        let now = Instant::now();
        if self.payloads_told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.payloads_told = Some(now);
            let total = self.status.borrow().payloads_refused;
            tracing::warn!(total, "rows stored without their source_payload, which jsonb cannot hold");
        }
    }

    pub(super) fn retry_after(&mut self, kind: Failure, reason: &str) {
        self.writer = None;
        self.retry.failed(kind);
        let state = match kind {
            Failure::Operator => CommitterState::NeedsOperator,
            Failure::Full => CommitterState::Full,
            Failure::Transient | Failure::Internal | Failure::Data => CommitterState::Retrying,
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
}
