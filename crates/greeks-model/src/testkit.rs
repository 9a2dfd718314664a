//! Stand-ins for both ends of the data path, for tests of programs that use the traits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Batch, Clock, InstrumentTable, LogError, QuoteSource, Record, Seq, SessionEnd, SessionState, SinkError,
    SnapshotLog, SnapshotSink, SourceActivity, SourceContext, SourceError, SourceEvent, SourceId, SourceLink,
    SourceStatus, UnixNanos,
};

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at `now`.
    #[must_use]
    pub const fn at(now: UnixNanos) -> Self {
        Self(AtomicI64::new(now.as_nanos()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }

    /// Sets the clock.
    pub fn set(&self, now: UnixNanos) {
        self.0.store(now.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The other ends of a [`SourceContext`] made by [`context`].
#[derive(Debug)]
pub struct ContextEnds {
    /// What the source sent.
    pub events: mpsc::Receiver<SourceEvent>,
    /// What the source said of its state.
    pub status: watch::Receiver<SourceStatus>,
    /// What the source counted.
    pub activity: Arc<SourceActivity>,
    /// Stops the source.
    pub cancel: CancellationToken,
    /// The numbers of its instruments.
    pub instruments: Arc<InstrumentTable>,
    /// Its clock, at 2026-01-01T00:00:00Z.
    pub clock: Arc<ManualClock>,
}

/// A context in state [`SessionState::Connecting`] with a channel of `capacity` events, and its other ends.
#[must_use]
pub fn context(capacity: usize, keep_payload: bool) -> (SourceContext, ContextEnds) {
    let (events, received) = mpsc::channel(capacity);
    let (status, watched) = watch::channel(SourceStatus { state: SessionState::Connecting, ..SourceStatus::default() });
    let activity = Arc::new(SourceActivity::default());
    let cancel = CancellationToken::new();
    let instruments = Arc::new(InstrumentTable::new());
    let clock = Arc::new(ManualClock::at(UnixNanos::from_millis(1_767_225_600_000)));
    let link = SourceLink {
        events,
        status,
        activity: Arc::clone(&activity),
        cancel: cancel.clone(),
        instruments: Arc::clone(&instruments),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        keep_payload,
    };
    let ends = ContextEnds { events: received, status: watched, activity, cancel, instruments, clock };
    (SourceContext::new(link), ends)
}

/// One thing a [`ScriptedSource`] does.
#[derive(Debug)]
pub enum Step {
    /// Announce a state.
    State(SessionState),
    /// Send an event.
    Send(SourceEvent),
    /// Wait until the source is told to stop, then end the session as cancelled.
    UntilCancelled,
    /// Panic with this text.
    Panic(String),
    /// End the session.
    End(Result<SessionEnd, SourceError>),
}

/// A source that plays one list of steps per session; after the last list it waits to be stopped.
#[derive(Debug)]
pub struct ScriptedSource {
    id: SourceId,
    sessions: VecDeque<Vec<Step>>,
}

impl ScriptedSource {
    /// A source called `id` that plays `sessions`.
    #[must_use]
    pub fn new(id: SourceId, sessions: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self { id, sessions: sessions.into_iter().collect() }
    }
}

#[async_trait]
impl QuoteSource for ScriptedSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    // A scripted panic is what this source is for.
    #[allow(clippy::panic)]
    async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
        let steps = self.sessions.pop_front().unwrap_or_else(|| vec![Step::UntilCancelled]);
        for step in steps {
            match step {
                Step::State(state) => cx.set_state(state)?,
                Step::Send(event) => {
                    tokio::select! {
                        biased;
                        () = cx.cancelled() => return Ok(SessionEnd::Cancelled),
                        sent = cx.events().send(event) => if sent.is_err() { return Ok(SessionEnd::Cancelled) },
                    }
                }
                Step::UntilCancelled => {
                    cx.cancelled().await;
                    return Ok(SessionEnd::Cancelled);
                }
                Step::Panic(text) => panic!("{text}"),
                Step::End(end) => return end,
            }
        }
        Ok(SessionEnd::Closed)
    }
}

/// A sink that keeps what it is given; clones share the records.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    state: Arc<Mutex<SinkState>>,
}

#[derive(Debug, Default)]
struct SinkState {
    records: Vec<Record>,
    closed: bool,
    refuse: bool,
}

impl MemorySink {
    /// An empty sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was accepted so far.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Whether the sink was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Makes every later append fail, or succeed again.
    pub fn refuse(&self, refuse: bool) {
        self.lock().refuse = refuse;
    }

    fn lock(&self) -> MutexGuard<'_, SinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotSink for MemorySink {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let mut state = self.lock();
        if state.closed {
            return Err(SinkError::Closed);
        }
        if state.refuse {
            return Err(SinkError::Io(std::io::Error::other("told to refuse")));
        }
        state.records.extend_from_slice(records);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        self.lock().closed = true;
        Ok(())
    }
}

/// A log over a fixed list of records: ends with [`LogError::Closed`] after the last one.
#[derive(Debug)]
pub struct MemoryLog {
    incarnation: Uuid,
    records: Vec<Record>,
    released: Seq,
}

impl MemoryLog {
    /// A log of `records`, numbered from 1, under a new incarnation.
    #[must_use]
    pub fn new(records: Vec<Record>) -> Self {
        Self::resume(Uuid::new_v4(), records)
    }

    /// A log of `records`, numbered from 1, under a given incarnation: what a restarted reader finds.
    #[must_use]
    pub fn resume(incarnation: Uuid, records: Vec<Record>) -> Self {
        Self { incarnation, records, released: Seq::ZERO }
    }

    /// Everything up to this record was released.
    #[must_use]
    pub const fn released(&self) -> Seq {
        self.released
    }
}

#[async_trait]
impl SnapshotLog for MemoryLog {
    fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    async fn next(&mut self, after: Seq, max: usize) -> Result<Batch, LogError> {
        let start = usize::try_from(after.0).unwrap_or(usize::MAX);
        let rest = self.records.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return Err(LogError::Closed);
        }
        Ok(Batch { first: after.plus(1), records: rest.iter().take(max.max(1)).cloned().collect() })
    }

    async fn release(&mut self, upto: Seq) -> Result<(), LogError> {
        self.released = self.released.max(upto);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instrument, QuoteUpdate, Underlying};

    #[tokio::test]
    async fn scripted_source_plays_its_sessions_in_order() {
        let (cx, mut ends) = context(4, false);
        let id = cx.instrument(&Instrument::Underlying(Underlying::new("SPX")));
        let update = QuoteUpdate::new(id, cx.now());
        let quote = SourceEvent::Quote { update, payload: None };
        let mut source = ScriptedSource::new(
            SourceId::new("scripted").unwrap(),
            [
                vec![Step::State(SessionState::Connected), Step::Send(quote.clone())],
                vec![Step::State(SessionState::Connecting)],
            ],
        );
        assert_eq!(source.run_session(&cx).await.unwrap(), SessionEnd::Closed);
        assert_eq!(ends.events.recv().await, Some(quote));
        assert_eq!(ends.status.borrow().state, SessionState::Connected);
        // The second script asks for a transition that a running session does not have.
        assert!(source.run_session(&cx).await.is_err());
        assert_eq!(ends.status.borrow().state, SessionState::Connected);
        ends.cancel.cancel();
        assert_eq!(source.run_session(&cx).await.unwrap(), SessionEnd::Cancelled);
    }

    #[tokio::test]
    async fn memory_log_hands_out_until_closed() {
        let gap = Record::Gap(crate::GapRecord {
            source: SourceId::new("scripted").unwrap(),
            from: UnixNanos::EPOCH,
            to: None,
            reason: crate::GapReason::Stopped,
            count: None,
        });
        let mut log = MemoryLog::new(vec![gap; 3]);
        let batch = log.next(Seq::ZERO, 2).await.unwrap();
        assert_eq!((batch.first, batch.last(), batch.records.len()), (Seq(1), Seq(2), 2));
        assert_eq!(log.next(Seq(2), 2).await.unwrap().first, Seq(3));
        assert!(matches!(log.next(Seq(3), 2).await, Err(LogError::Closed)));
        log.release(Seq(3)).await.unwrap();
        assert_eq!(log.released(), Seq(3));
    }

    #[test]
    fn memory_sink_keeps_refuses_and_closes() {
        let sink = MemorySink::new();
        let mut handle: Box<dyn SnapshotSink> = Box::new(sink.clone());
        handle.append(&[]).unwrap();
        sink.refuse(true);
        assert!(handle.append(&[]).is_err());
        sink.refuse(false);
        handle.close().unwrap();
        assert!(sink.is_closed());
        assert!(matches!(sink.clone().append(&[]), Err(SinkError::Closed)));
    }
}
