//! The end that the committer reads from.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use greeks_journal::{Handle, Incarnation, Next, State};
use greeks_model::{Batch, LogError, Record, RecordDecoder, Seq, SnapshotLog, Uuid};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use super::desk::{Desk, decode, unreadable};
use super::recent::Recent;

/// The reading end of a journal, of one incarnation. Dropping it stops nothing and loses nothing: what was not released is
/// there at the next start.
///
/// What was just accepted is handed out from memory, as long as the reader keeps up; some 4,000 rows are kept for that. Who
/// is further behind, or asks for the same again, has it from the segments, a batch at a time and no more than 8 MiB. Those
/// batches are read and decoded on tokio's threads for blocking work: a disk that takes its time must not hold up whoever
/// shares a worker. While one is on its way to the database the next is read.
///
/// Asked for what follows [`Seq::ZERO`], what an earlier run has left begins with the oldest record kept: what came before
/// was released because it was stored.
#[derive(Debug)]
pub struct JournalLog {
    handle: Handle,
    incarnation: Uuid,
    end: End,
    /// The oldest record there was at the start.
    first: u64,
    state: Work,
}

#[derive(Debug)]
enum End {
    /// Told of news by the one; finds the newest records in the other.
    Open(Arc<Notify>, Arc<Recent>),
    /// The number of the last record.
    At(u64),
}

/// A batch is read to its end even when nobody waits for it any more: the next call finds it.
#[derive(Debug)]
enum Work {
    Idle(Box<Desk>),
    Reading {
        after: u64,
        task: JoinHandle<(Box<Desk>, Result<(), LogError>)>,
    },
    /// The thread that had it is gone.
    Lost,
}

impl JournalLog {
    pub(super) fn living(handle: Handle, desk: Desk, arrived: Arc<Notify>, recent: Arc<Recent>) -> Self {
        let incarnation = desk.incarnation();
        Self { handle, incarnation, end: End::Open(arrived, recent), first: 1, state: Work::Idle(Box::new(desk)) }
    }

    pub(super) fn left(handle: Handle, desk: Desk, found: &Incarnation) -> Self {
        let end = End::At(found.last);
        Self { handle, incarnation: found.id, end, first: found.first, state: Work::Idle(Box::new(desk)) }
    }

    /// Shows every record from `first` on that can be read.
    pub(super) fn scan(&self, first: u64, visit: &mut dyn FnMut(&Record)) -> Result<(), LogError> {
        let mut cursor = self.handle.cursor(self.incarnation, first.saturating_sub(1)).map_err(unreadable)?;
        let mut decoder = RecordDecoder::new();
        loop {
            match cursor.read().map_err(unreadable)? {
                Next::Record { seq, bytes } => visit(&decode(&mut decoder, seq, bytes)?),
                Next::Gap(_) => {}
                _ => return Ok(()),
            }
        }
    }

    /// Waits until a record beyond `after` is there.
    async fn wait_beyond(&self, after: u64) -> Result<(), LogError> {
        let arrived = match &self.end {
            End::At(last) if after < *last => return Ok(()),
            End::At(_) => return Err(LogError::Closed),
            End::Open(arrived, _) => arrived,
        };
        loop {
            // News between this look and the wait below are kept as a permit: there is one reader.
            let progress = self.handle.progress();
            if progress.written > after {
                return Ok(());
            }
            if progress.state != State::Open {
                return Err(LogError::Closed);
            }
            arrived.notified().await;
        }
    }

    /// Waits for a read under way, then gives the desk. The failure of a read that was begun for something else is not told.
    async fn desk(&mut self, after: u64) -> Result<&mut Desk, LogError> {
        if let Some((asked, outcome)) = self.finish_reading().await
            && asked == after
        {
            outcome?;
        }
        match &mut self.state {
            Work::Idle(desk) => Ok(desk),
            _ => Err(LogError::Io(io::Error::other("the reader of the journal is gone"))),
        }
    }

    /// Waits for a read under way; gives what it was begun behind, and how it ended.
    async fn finish_reading(&mut self) -> Option<(u64, Result<(), LogError>)> {
        let Work::Reading { after, task } = &mut self.state else { return None };
        let after = *after;
        match task.await {
            Ok((desk, outcome)) => {
                self.state = Work::Idle(desk);
                Some((after, outcome))
            }
            Err(error) => {
                tracing::error!(%error, "reading the journal ended badly");
                self.state = Work::Lost;
                None
            }
        }
    }

    /// What the desk has of the records behind `after`. Behind a whole batch more usually wait on the disk: if so, they are
    /// read while this one is stored.
    async fn read(&mut self, after: u64, max: usize) -> Result<Option<Batch>, LogError> {
        let desk = self.desk(after).await?;
        let Some(batch) = desk.take(after, max) else { return Ok(None) };
        let last = batch.last().0;
        if desk.is_empty() && batch.records.len() >= max && self.is_on_disk_only(last + 1) {
            self.begin(last, max);
        }
        Ok(Some(batch))
    }

    /// Whether this record is there and has to be read back.
    fn is_on_disk_only(&self, number: u64) -> bool {
        match &self.end {
            End::At(last) => number <= *last,
            End::Open(_, recent) => number <= self.handle.progress().written && !recent.has(number),
        }
    }

    /// At most `max` of the records that follow `after`, if they are in memory.
    fn recent(&mut self, after: u64, max: usize) -> Option<Vec<Record>> {
        let End::Open(_, recent) = &self.end else { return None };
        let records = recent.take(after, max, self.handle.progress().written)?;
        if let (Work::Idle(desk), Some(last)) = (&mut self.state, records.last()) {
            desk.pass(after + records.len() as u64, last);
        }
        Some(records)
    }

    /// Has the desk read on.
    fn begin(&mut self, after: u64, max: usize) {
        self.state = match std::mem::replace(&mut self.state, Work::Lost) {
            Work::Idle(mut desk) => {
                let task = spawn_blocking(move || {
                    let outcome = desk.fill(after, max);
                    (desk, outcome)
                });
                Work::Reading { after, task }
            }
            other => other,
        };
    }
}

#[async_trait]
impl SnapshotLog for JournalLog {
    fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError> {
        let after = after.0.max(self.first - 1);
        if let Some(batch) = self.read(after, max).await? {
            return Ok(batch);
        }
        self.wait_beyond(after).await?;
        if let Some(records) = self.recent(after, max) {
            return Ok(Batch { first: Seq(after).plus(1), records });
        }
        self.begin(after, max);
        self.read(after, max).await?.ok_or_else(|| {
            let message = format!("record {} of the journal is said to be there and is not", after.saturating_add(1));
            LogError::Io(io::Error::new(io::ErrorKind::InvalidData, message))
        })
    }

    async fn release(&mut self, upto: Seq) -> Result<(), LogError> {
        // One segment is the one being written: it stays until nothing more is.
        let written_to = matches!(self.end, End::Open(..)) && self.handle.progress().state == State::Open;
        if written_to && self.handle.usage().segments <= 1 {
            return Ok(());
        }
        // What is read ahead is asked for next; should it have failed, that is told then.
        let _ = self.finish_reading().await;
        let Work::Idle(desk) = &self.state else { return Ok(()) };
        let upto = desk.may_go(upto.0);
        let (handle, incarnation) = (self.handle.clone(), self.incarnation);
        let released = spawn_blocking(move || handle.release(incarnation, upto)).await;
        released.map_err(|error| LogError::Io(io::Error::other(error)))?.map_err(unreadable)
    }
}
