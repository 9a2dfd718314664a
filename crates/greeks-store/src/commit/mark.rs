//! What a committer makes of the mark that the database has: at the first connection, and when it has gone back.

use greeks_model::{GapReason, GapRecord, LogError, Record, Seq, SourceId};
use tokio::time::timeout;

use super::bisect::Bisect;
use super::committer::{CommitError, Committer};
use super::trouble::WRITE_DEADLINE;
use super::writer::{WriteError, Writer};
use crate::failure::{Failure, chain};
use crate::journal_log::{JOURNAL, moment};

impl Committer {
    /// At the first connection: what an earlier run has stored of this log is not read, sent and told once more. The mark may
    /// be beyond the end of the log, when a power cut took what the database has.
    pub(super) async fn begin(&mut self) -> Result<(), LogError> {
        let (None, Some(writer)) = (self.found, &self.writer) else { return Ok(()) };
        let mark = writer.stored();
        self.found = Some(mark);
        if mark == Seq::ZERO {
            return Ok(());
        }
        tracing::info!(%mark, "an earlier run has stored records of this log: going on behind them");
        (self.durable, self.told) = (mark, mark);
        self.status.send_modify(|status| status.durable = mark);
        self.log.release(mark).await
    }

    /// Goes back to where the database is, should that be before what it has acknowledged: after a failover to a server that
    /// lacked the last commits, or a restore. The log has most often kept what is missing, since it lets go of whole
    /// segments only. `true` when the next records to store are others than before.
    pub(super) fn follow_mark(&mut self) -> bool {
        let Some(writer) = &self.writer else { return false };
        let mark = writer.stored().max(self.gone);
        if mark >= self.durable {
            return false;
        }
        tracing::error!(
            database = writer.stored().0,
            acknowledged = self.durable.0,
            "the database has lost records it had acknowledged, as after a failover: those that are kept are stored again"
        );
        (self.durable, self.found) = (mark, Some(mark));
        // What was found out about the next records is about others.
        (self.bisect, self.refusal) = (Bisect::new(), None);
        self.status.send_modify(|status| status.durable = mark);
        true
    }

    /// Moves the mark to before `first`, over records that neither the database nor the log has any more, and states them
    /// as a gap.
    pub(super) async fn pass_over(&mut self, first: Seq, next: &[Record]) -> Result<(), CommitError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let records = first.0 - 1 - writer.stored().0;
        tracing::error!(
            database = writer.stored().0,
            log = first.0,
            records,
            "records are lost: the database does not have them, as after a restore from a backup, and the log has let them go"
        );
        let gap = lost(writer, records, next);
        let passed = timeout(WRITE_DEADLINE, writer.pass_over(Seq(first.0 - 1), gap.as_ref()))
            .await
            .unwrap_or(Err(WriteError::Deadline(WRITE_DEADLINE.as_secs())));
        if let Err(error) = passed {
            // No record is at fault.
            let kind = match error.failure() {
                Failure::Data => Failure::Operator,
                kind => kind.without_data(),
            };
            self.unproven = true;
            self.retry_after(kind, &chain(&error));
        }
        Ok(())
    }
}

/// The statement that so many records are lost: whose they were is not known, and that they came between the last commit
/// and the next record. Of a database that has never had any of this log, nothing is stated: another one may have them.
fn lost(writer: &Writer, count: u64, next: &[Record]) -> Option<GapRecord> {
    let (source, to) = (SourceId::new(JOURNAL).ok()?, next.iter().find_map(moment)?);
    let from = writer.stored_at()?.min(to);
    Some(GapRecord { source, from, to: Some(to), reason: GapReason::Corrupt, count: Some(count) })
}
