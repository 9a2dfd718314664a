//! A bounded log in memory: records survive a database outage as long as there is room, and nothing survives the
//! process. When it is full the writer waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use greeks_model::{Batch, LogError, Record, Seq, SinkError, SnapshotLog, SnapshotSink, Uuid};
use tokio::sync::Notify;

/// Makes both ends of a log that keeps at most `capacity` records that are not released, under a new incarnation.
///
/// ```
/// use greeks_model::{Seq, SnapshotLog, SnapshotSink};
///
/// let (mut sink, log) = greeks_store::memory_log(10_000);
/// sink.append(&[]).unwrap();
/// assert_ne!(log.incarnation(), greeks_store::memory_log(1).1.incarnation());
/// ```
pub fn memory_log(capacity: usize) -> (MemoryLogWriter, MemoryLog) {
    let shared = Arc::new(Shared { state: Mutex::default(), room: Condvar::new(), arrived: Notify::new(), capacity });
    (MemoryLogWriter(Arc::clone(&shared)), MemoryLog { incarnation: Uuid::new_v4(), shared })
}

/// The writing end. Dropping it closes the log.
#[derive(Debug)]
pub struct MemoryLogWriter(Arc<Shared>);

/// The reading end. Dropping it makes every append fail, one that waits for room included.
#[derive(Debug)]
pub struct MemoryLog {
    incarnation: Uuid,
    shared: Arc<Shared>,
}

/// Ends the wait of a writer from outside.
#[derive(Debug, Clone)]
pub struct MemoryLogAbort(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
    arrived: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Numbered from `released + 1`.
    records: VecDeque<Record>,
    released: u64,
    /// No record follows.
    closed: bool,
    /// No record is accepted.
    refused: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self) {
        self.lock().refused = true;
        self.room.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

impl MemoryLogWriter {
    /// A handle that makes a waiting append return [`SinkError::Closed`], so that a shutdown cannot hang on a full log.
    pub fn abort_handle(&self) -> MemoryLogAbort {
        MemoryLogAbort(Arc::clone(&self.0))
    }
}

impl MemoryLogAbort {
    /// Accepts no more records; what was accepted can still be read.
    pub fn abort(&self) {
        self.0.refuse();
    }
}

impl SnapshotSink for MemoryLogWriter {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let mut state = self.0.lock();
        // More than fits at all is taken once the log is empty: otherwise it would wait for ever.
        while !state.refused && !state.records.is_empty() && state.records.len() + records.len() > self.0.capacity {
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.refused {
            return Err(SinkError::Closed);
        }
        state.records.extend(records.iter().cloned());
        drop(state);
        self.0.arrived.notify_one();
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(()) // Dropping it is all.
    }
}

impl Drop for MemoryLogWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl MemoryLog {
    /// How many records are kept.
    pub fn len(&self) -> usize {
        self.shared.lock().records.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What follows `after` right now; `None` when nothing does yet.
    fn take(&self, after: Seq, max: usize) -> Result<Option<Batch>, LogError> {
        let state = self.shared.lock();
        let Some(skipped) = after.0.checked_sub(state.released) else {
            return Err(LogError::Released { asked: after.plus(1), first: Seq(state.released).plus(1) });
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let records: Vec<Record> = state.records.iter().skip(skipped).take(max.max(1)).cloned().collect();
        match (records.is_empty(), state.closed) {
            (false, _) => Ok(Some(Batch { first: after.plus(1), records })),
            (true, true) => Err(LogError::Closed),
            (true, false) => Ok(None),
        }
    }
}

#[async_trait]
impl SnapshotLog for MemoryLog {
    fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError> {
        loop {
            if let Some(batch) = self.take(after, max)? {
                return Ok(batch);
            }
            // One reader: a wake-up between the look and here is kept as a permit.
            self.shared.arrived.notified().await;
        }
    }

    async fn release(&mut self, upto: Seq) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        let held = u64::try_from(state.records.len()).unwrap_or(u64::MAX);
        let count = upto.0.saturating_sub(state.released).min(held);
        state.records.drain(..usize::try_from(count).unwrap_or(usize::MAX));
        state.released += count;
        drop(state);
        self.shared.room.notify_all();
        Ok(())
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.shared.refuse();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use greeks_model::{ShedRecord, SourceId, UnixNanos};

    use super::*;

    fn record(count: u64) -> Record {
        let at = UnixNanos::EPOCH;
        Record::Shed(ShedRecord { source: SourceId::new("test").unwrap(), from: at, to: at, count })
    }

    fn counts(batch: &Batch) -> Vec<u64> {
        let count = |record: &Record| match record {
            Record::Shed(shed) => shed.count,
            other => panic!("{other:?}"),
        };
        batch.records.iter().map(count).collect()
    }

    #[tokio::test]
    async fn hands_out_again_until_released() {
        let (mut sink, mut log) = memory_log(10);
        sink.append(&[record(1), record(2), record(3)]).unwrap();
        for _ in 0..2 {
            let batch = log.next(Seq::ZERO, 2).await.unwrap();
            assert_eq!((batch.first, counts(&batch)), (Seq(1), vec![1, 2]));
        }
        log.release(Seq(2)).await.unwrap();
        assert_eq!(counts(&log.next(Seq(2), 9).await.unwrap()), [3]);
        assert!(matches!(log.next(Seq(1), 9).await, Err(LogError::Released { asked: Seq(2), first: Seq(3) })));
        sink.append(&[record(4)]).unwrap();
        Box::new(sink).close().unwrap();
        assert_eq!(counts(&log.next(Seq(3), 9).await.unwrap()), [4], "what was accepted is readable after the close");
        assert!(matches!(log.next(Seq(4), 9).await, Err(LogError::Closed)));
        log.release(Seq(99)).await.unwrap();
        assert!(log.is_empty());
    }

    #[tokio::test]
    async fn a_full_log_holds_the_writer_until_there_is_room() {
        let (mut sink, mut log) = memory_log(2);
        sink.append(&[record(1), record(2)]).unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let outcome = sink.append(&[record(3)]);
            done.send(()).unwrap();
            outcome
        });
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
        log.release(Seq(1)).await.unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(counts(&log.next(Seq(1), 9).await.unwrap()), [2, 3]);
    }

    #[test]
    fn neither_an_abort_nor_a_vanished_reader_leaves_the_writer_hanging() {
        let (mut sink, log) = memory_log(1);
        let abort = sink.abort_handle();
        sink.append(&[record(1)]).unwrap();
        let writer = std::thread::spawn(move || sink.append(&[record(2)]));
        abort.abort();
        assert!(matches!(writer.join().unwrap(), Err(SinkError::Closed)));
        assert_eq!(log.len(), 1, "what was accepted stays");

        let (mut sink, log) = memory_log(1);
        sink.append(&[record(1), record(2)]).unwrap();
        let writer = std::thread::spawn(move || sink.append(&[record(3)]));
        drop(log);
        assert!(matches!(writer.join().unwrap(), Err(SinkError::Closed)));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let (mut sink, mut log) = memory_log(4);
        let reader = tokio::spawn(async move { log.next(Seq::ZERO, 9).await.map(|batch| counts(&batch)) });
        tokio::task::yield_now().await;
        sink.append(&[record(7)]).unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), [7]);
    }
}
