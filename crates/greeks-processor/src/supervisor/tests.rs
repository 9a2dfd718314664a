//! Scripted sources under paused time.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock};

use async_trait::async_trait;
use greeks_model::testkit::{ManualClock, ScriptedSource, Step};
use greeks_model::{GapReason, SessionEnd, SessionState, SourceContext, SourceError, SourceEvent, UnixNanos};

use super::*;
use crate::recorder::Recorded;

const START: UnixNanos = UnixNanos::from_millis(1_795_170_400_000);

fn id(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

fn config() -> SupervisorConfig {
    SupervisorConfig { clock: Arc::new(ManualClock::at(START)), ..SupervisorConfig::default() }
}

/// The events a supervised source sends, read as the pipeline would but without its thread: time stays paused.
fn events(supervisor: &mut Supervisor) -> mpsc::Receiver<SourceEvent> {
    supervisor.lanes.pop().unwrap().1
}

fn started() -> SourceEvent {
    SourceEvent::SessionStarted { at: START }
}

fn gap(reason: GapReason) -> SourceEvent {
    SourceEvent::Gap { since: START, reason }
}

fn failing(retry: Retry) -> Step {
    Step::End(Err(SourceError::new(retry, "planted")))
}

async fn state(handle: &SourceHandle, wanted: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
    handle.status().clone().wait_for(wanted).await.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_streamed_leaves_a_gap_and_the_next_begins_a_new_epoch() {
    let mut supervisor = Supervisor::new(config());
    let marker = SourceEvent::Gap { since: UnixNanos::EPOCH, reason: GapReason::Silence };
    let streaming = vec![Step::State(SessionState::Connected), Step::Send(marker.clone()), failing(Retry::Backoff)];
    let refused = vec![failing(Retry::Backoff)];
    let source = ScriptedSource::new(id("a"), [streaming, refused]);
    let handle = supervisor.spawn(Box::new(source), 1).unwrap();
    let mut events = events(&mut supervisor);
    let mut next = async || events.recv().await.unwrap();
    assert_eq!(next().await, started());
    assert_eq!(next().await, marker);
    assert_eq!(next().await, gap(GapReason::Disconnected));
    // The second session never streamed: no gap follows it.
    assert_eq!(next().await, started());
    assert_eq!(next().await, started());
    assert_eq!(handle.first_outcome().await, FirstOutcome::Streaming);
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    assert_eq!(events.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_source_stops_and_starts_on_request_and_its_neighbour_goes_on() {
    let streaming = || vec![Step::State(SessionState::Connected), Step::UntilCancelled];
    let mut supervisor = Supervisor::new(config());
    let neighbour = supervisor.spawn(Box::new(ScriptedSource::new(id("b"), [streaming()])), 8).unwrap();
    let source = ScriptedSource::new(id("a"), [streaming(), streaming(), streaming()]);
    let handle = supervisor.spawn(Box::new(source), 8).unwrap();
    let mut events = events(&mut supervisor);
    for _ in 0..2 {
        state(&handle, |status| status.state == SessionState::Connected).await;
        handle.stop();
        let stopped = state(&handle, |status| matches!(status.state, SessionState::Disconnected { .. })).await;
        assert_eq!((stopped.state, stopped.last_error), (SessionState::Disconnected { retry_at: None }, None));
        assert!(!handle.is_wanted());
        assert_eq!([events.recv().await, events.recv().await], [Some(started()), Some(gap(GapReason::Stopped))]);
        // Nothing begins by itself, however long one waits.
        assert!(tokio::time::timeout(Duration::from_secs(86_400), events.recv()).await.is_err());
        handle.start();
    }
    let status = state(&handle, |status| status.state == SessionState::Connected).await;
    assert_eq!(status.last_error, None);
    // Stopped and started before anybody looked: the session is another all the same, at once.
    handle.stop();
    handle.start();
    assert_eq!(neighbour.status().borrow().state, SessionState::Connected);
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    assert_eq!(events.recv().await, Some(started()));
}

/// A stop on request ends the wait for another attempt, too, and the end of the process ends the stop.
#[tokio::test(start_paused = true)]
async fn a_source_that_waits_can_be_stopped() {
    let mut supervisor = Supervisor::new(config());
    let refused = vec![failing(Retry::After(Duration::from_secs(1_800)))];
    let source =
        ScriptedSource::new(id("a"), [refused, vec![Step::State(SessionState::Connected), Step::UntilCancelled]]);
    let handle = supervisor.spawn(Box::new(source), 8).unwrap();
    state(&handle, |status| matches!(status.state, SessionState::Disconnected { retry_at: Some(_) })).await;
    handle.stop();
    let stopped = SourceStatus { state: SessionState::Disconnected { retry_at: None }, ..SourceStatus::default() };
    state(&handle, |status| *status == stopped).await;
    handle.start();
    state(&handle, |status| status.state == SessionState::Connected).await;
    handle.stop();
    state(&handle, |status| *status == stopped).await;
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_gap_begins_at_the_last_sign_of_life() {
    #[derive(Debug)]
    struct Alive(SourceId);

    #[async_trait]
    impl QuoteSource for Alive {
        fn id(&self) -> &SourceId {
            &self.0
        }

        async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
            // No state is announced: a message is sign enough.
            cx.activity().message(START.saturating_add(Duration::from_secs(5)));
            cx.activity().heartbeat(START.saturating_add(Duration::from_secs(7)));
            cx.cancelled().await;
            Ok(SessionEnd::Cancelled)
        }
    }

    let mut supervisor = Supervisor::new(config());
    supervisor.spawn(Box::new(Alive(id("a"))), 8).unwrap();
    let mut events = events(&mut supervisor);
    assert_eq!(events.recv().await, Some(started()));
    tokio::task::yield_now().await;
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    let since = START.saturating_add(Duration::from_secs(7));
    assert_eq!(events.recv().await, Some(SourceEvent::Gap { since, reason: GapReason::Stopped }));
    assert_eq!(events.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_source_is_restarted_and_never_touches_its_neighbour() {
    let recorded = Recorded::default();
    let mut supervisor = Supervisor::new(config());
    let panics = (0..5).map(|_| vec![Step::State(SessionState::Connected), Step::Panic("secret token".into())]);
    let healthy =
        ScriptedSource::new(id("healthy"), [vec![Step::State(SessionState::Connected), Step::UntilCancelled]]);
    let (bad, good) = recorded.while_recording(|| {
        let bad = supervisor.spawn(Box::new(ScriptedSource::new(id("bad"), panics)), 64).unwrap();
        (bad, supervisor.spawn(Box::new(healthy), 64).unwrap())
    });
    let mut healthy_events = events(&mut supervisor);
    let mut bad_events = events(&mut supervisor);
    // After its five panics the script waits to be stopped.
    let status = state(&bad, |status| status.reconnect_attempt == 5 && status.state == SessionState::Connecting).await;
    assert_eq!(status.last_error.as_deref(), Some("the session panicked: a bug, described in the log"));
    assert_eq!(bad.first_outcome().await, FirstOutcome::Streaming);
    assert_eq!(good.first_outcome().await, FirstOutcome::Streaming);
    let state_of_good = good.status().borrow().clone();
    let undisturbed = SourceStatus { state: SessionState::Connected, reconnect_attempt: 0, last_error: None };
    assert_eq!(state_of_good, undisturbed);
    let gauge = |source, state| recorded.get(&format!(r#"greekd_source_state{{source="{source}",state="{state}"}}"#));
    assert_eq!((gauge("healthy", "connected"), gauge("healthy", "connecting")), (Some(1.0), Some(0.0)));
    assert_eq!((gauge("bad", "connected"), gauge("bad", "connecting")), (Some(0.0), Some(1.0)));
    assert_eq!(recorded.get(r#"greekd_reconnects_total{source="bad",reason="panic"}"#), Some(5.0));
    assert_eq!(recorded.get(r#"greekd_reconnects_total{source="healthy",reason="panic"}"#), Some(0.0));
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    assert_eq!(healthy_events.recv().await, Some(started()));
    assert_eq!(healthy_events.recv().await, Some(gap(GapReason::Stopped)));
    assert_eq!(healthy_events.recv().await, None);
    let mut all = Vec::new();
    while let Some(event) = bad_events.recv().await {
        all.push(event);
    }
    assert_eq!(all.iter().filter(|event| **event == gap(GapReason::Disconnected)).count(), 5);
    assert_eq!(all.iter().filter(|event| **event == started()).count(), 6);
    assert_eq!(gauge("healthy", "disconnected"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_events_nobody_takes_does_not_hold_up_another() {
    let mut supervisor = Supervisor::new(config());
    let flood = (0..100).map(|_| Step::Send(started())).collect::<Vec<_>>();
    supervisor.spawn(Box::new(ScriptedSource::new(id("full"), [flood])), 1).unwrap();
    let quick = ScriptedSource::new(id("quick"), [vec![Step::Send(gap(GapReason::Silence)), Step::UntilCancelled]]);
    supervisor.spawn(Box::new(quick), 1).unwrap();
    let mut quick_events = events(&mut supervisor);
    assert_eq!(quick_events.recv().await, Some(started()));
    assert_eq!(quick_events.recv().await, Some(gap(GapReason::Silence)));
    let begin = Instant::now();
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    assert!(begin.elapsed() <= Duration::from_secs(4), "a full channel does not keep a source from stopping");
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_stop_the_retries_and_say_so() {
    let mut supervisor = Supervisor::new(config());
    let refuse = || vec![failing(Retry::Operator(OperatorReason::CredentialsRejected))];
    let source = ScriptedSource::new(
        id("a"),
        [refuse(), refuse(), refuse(), vec![Step::State(SessionState::Connected), Step::UntilCancelled]],
    );
    let handle = supervisor.spawn(Box::new(source), 64).unwrap();
    let mut events = events(&mut supervisor);
    let first = handle.first_outcome().await;
    assert!(first.is_refused(), "{first:?}");
    let status =
        state(&handle, |status| matches!(status.state, SessionState::Disconnected { retry_at: Some(_) })).await;
    assert_eq!(status.last_error.as_deref(), Some("credentials_rejected: planted"));
    let retry_at = Some(START.saturating_add(Duration::from_secs(900)));
    assert_eq!(status.state, SessionState::Disconnected { retry_at });
    // One session in a quarter of an hour ..
    assert_eq!(events.recv().await, Some(started()));
    tokio::time::sleep(Duration::from_secs(899)).await;
    assert!(events.try_recv().is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(events.try_recv(), Ok(started()));
    // .. unless someone says that it is worth a try.
    handle.retry_now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(events.try_recv(), Ok(started()));
    handle.retry_now();
    state(&handle, |status| status.state == SessionState::Connected).await;
    // While a session runs the word has no effect, now or later.
    handle.retry_now();
    assert_eq!(events.try_recv(), Ok(started()));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(events.try_recv().is_err());
    assert!(handle.first_outcome().await.is_refused(), "the first outcome stays the first");
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_first_session_can_end_in_every_way() {
    let endings = [
        (vec![Step::State(SessionState::Connected), Step::UntilCancelled], FirstOutcome::Streaming),
        (
            vec![Step::State(SessionState::Degraded { reason: "slow".into() }), Step::UntilCancelled],
            FirstOutcome::Streaming,
        ),
        (vec![Step::End(Ok(SessionEnd::Closed))], FirstOutcome::Ended),
        (vec![failing(Retry::Backoff)], FirstOutcome::Failed { retry: Retry::Backoff, message: "planted".into() }),
        (vec![Step::Panic("planted".into())], FirstOutcome::Panicked),
        (vec![Step::State(SessionState::Connected), failing(Retry::Backoff)], FirstOutcome::Streaming),
    ];
    for (script, expected) in endings {
        let mut supervisor = Supervisor::new(config());
        let handle = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), [script])), 64).unwrap();
        let _events = events(&mut supervisor);
        assert_eq!(handle.first_outcome().await, expected);
        assert!(!expected.is_refused());
    }
    let mut supervisor = Supervisor::new(config());
    let handle = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), [])), 64).unwrap();
    let _events = events(&mut supervisor);
    tokio::task::yield_now().await;
    supervisor.stop(Duration::from_secs(10)).await;
    assert_eq!(handle.first_outcome().await, FirstOutcome::Stopped);
}

/// Streams for as long as each session is given, with a message at the start of it when it is told to. Notes when each
/// session began and ended, and the attempts that its status spoke of at the beginning.
#[derive(Clone, Debug)]
struct Timed {
    id: SourceId,
    sessions: Arc<Mutex<VecDeque<(u64, bool)>>>,
    status: Arc<OnceLock<watch::Receiver<SourceStatus>>>,
    begun: Arc<Mutex<Vec<(Instant, u32)>>>,
    ended: Arc<Mutex<Vec<Instant>>>,
}

impl Timed {
    fn new(sessions: &[(u64, bool)]) -> Self {
        let sessions = Arc::new(Mutex::new(sessions.iter().copied().collect()));
        Self { id: id("a"), sessions, status: Arc::default(), begun: Arc::default(), ended: Arc::default() }
    }
}

#[async_trait]
impl QuoteSource for Timed {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
        let attempt = self.status.get().map_or(0, |status| status.borrow().reconnect_attempt);
        self.begun.lock().unwrap().push((Instant::now(), attempt));
        let session = self.sessions.lock().unwrap().pop_front();
        let Some((seconds, message)) = session else {
            cx.cancelled().await;
            return Ok(SessionEnd::Cancelled);
        };
        cx.set_state(SessionState::Connected)?;
        if message {
            cx.activity().message(cx.now());
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.ended.lock().unwrap().push(Instant::now());
        Err(SourceError::new(Retry::Backoff, "planted"))
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_minute_of_real_data_resets_the_backoff() {
    let mut supervisor = Supervisor::new(config());
    let source = Timed::new(&[(59, true), (59, true), (61, true), (1, true), (300, false)]);
    let handle = supervisor.spawn(Box::new(source.clone()), 64).unwrap();
    source.status.set(handle.status().clone()).unwrap();
    let _events = events(&mut supervisor);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let (begun, ended) = (source.begun.lock().unwrap().clone(), source.ended.lock().unwrap().clone());
    let attempts: Vec<_> = begun.iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 1, 2, 3]);
    let pauses = begun.iter().skip(1).zip(&ended).map(|((begun, _), ended)| begun.duration_since(*ended));
    let immediate: Vec<_> = pauses.map(|pause| pause < Duration::from_millis(100)).collect();
    assert_eq!(immediate, [false, false, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_forgotten_while_a_stable_session_still_runs() {
    let mut supervisor = Supervisor::new(config());
    let source = Timed::new(&[(1, true), (100, true)]);
    let handle = supervisor.spawn(Box::new(source), 64).unwrap();
    let _events = events(&mut supervisor);
    let again = state(&handle, |s| s.state == SessionState::Connected && s.reconnect_attempt == 1).await;
    assert_eq!(again.last_error.as_deref(), Some("planted"));
    let begin = Instant::now();
    let stable = state(&handle, |s| s.reconnect_attempt == 0).await;
    assert_eq!((stable.state, begin.elapsed().as_secs()), (SessionState::Connected, 60));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_end_when_told_to_is_dropped() {
    #[derive(Debug)]
    struct Deaf(SourceId);

    #[async_trait]
    impl QuoteSource for Deaf {
        fn id(&self) -> &SourceId {
            &self.0
        }

        async fn run_session(&mut self, cx: &SourceContext) -> Result<SessionEnd, SourceError> {
            cx.set_state(SessionState::Connected)?;
            std::future::pending().await
        }
    }

    let mut supervisor = Supervisor::new(config());
    let handle = supervisor.spawn(Box::new(Deaf(id("a"))), 64).unwrap();
    let mut received = events(&mut supervisor);
    handle.first_outcome().await;
    let begin = Instant::now();
    assert_eq!(supervisor.stop(Duration::from_secs(10)).await, []);
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!(handle.status().borrow().state, SessionState::Disconnected { retry_at: None });
    assert_eq!(received.recv().await, Some(started()));
    assert_eq!(received.recv().await, Some(gap(GapReason::Stopped)));

    // With less time than grace it is aborted and named.
    let mut supervisor = Supervisor::new(config());
    let handle = supervisor.spawn(Box::new(Deaf(id("b"))), 64).unwrap();
    let _received = events(&mut supervisor);
    handle.first_outcome().await;
    let begin = Instant::now();
    assert_eq!(supervisor.stop(Duration::from_secs(1)).await, [id("b")]);
    assert_eq!(begin.elapsed().as_secs(), 1);
    let ended = |status: &SourceStatus| status.state == SessionState::Disconnected { retry_at: None };
    assert_eq!(state(&handle, ended).await.last_error.as_deref(), Some("the source was aborted"));
}

#[tokio::test(start_paused = true)]
async fn durations_may_be_endless() {
    let retry = RetryPolicy {
        stable_after: Duration::MAX,
        longest_asked: Duration::MAX,
        probes: Probes { login_required: Some(Duration::MAX), ..Probes::default() },
        ..RetryPolicy::default()
    };
    for wait in [Retry::After(Duration::MAX), Retry::Operator(OperatorReason::LoginRequired)] {
        let mut supervisor = Supervisor::new(SupervisorConfig { retry, grace: Duration::MAX, ..config() });
        let streaming = vec![Step::State(SessionState::Connected), failing(wait)];
        let source = ScriptedSource::new(id("a"), [streaming, vec![Step::UntilCancelled]]);
        let handle = supervisor.spawn(Box::new(source), 8).unwrap();
        let _events = events(&mut supervisor);
        state(&handle, |status| status.last_error.is_some()).await;
        handle.retry_now();
        state(&handle, |status| status.state == SessionState::Connecting).await;
        assert_eq!(supervisor.stop(Duration::MAX).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_ends_when_nobody_takes_its_events() {
    let mut supervisor = Supervisor::new(config());
    let sessions = [vec![Step::State(SessionState::Connected), failing(Retry::After(Duration::from_secs(600)))]];
    let handle = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), sessions)), 64).unwrap();
    let received = events(&mut supervisor);
    state(&handle, |status| matches!(status.state, SessionState::Disconnected { retry_at: Some(_) })).await;
    let begin = Instant::now();
    drop(received);
    let status = state(&handle, |status| status.state == SessionState::Disconnected { retry_at: None }).await;
    assert_eq!(status.last_error.as_deref(), Some("nobody takes the events any more"));
    assert_eq!(begin.elapsed().as_secs(), 0, "it does not wait for its next attempt to find out");
}

#[tokio::test]
async fn a_name_can_be_taken_once() {
    let mut supervisor = Supervisor::new(config());
    supervisor.spawn(Box::new(ScriptedSource::new(id("a"), [])), 1).unwrap();
    let again = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), [])), 1);
    assert_eq!(again.unwrap_err(), DuplicateSource { source_id: id("a") });
    let inbox = supervisor.take_inbox();
    assert_eq!(inbox.sources().collect::<Vec<_>>(), [&id("a")]);
    assert_eq!(supervisor.take_inbox().sources().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_with_their_causes_and_not_without_end() {
    #[derive(Debug, thiserror::Error)]
    #[error("the login was not answered")]
    struct Outer(#[source] std::io::Error);

    let mut supervisor = Supervisor::new(config());
    let cause = Outer(std::io::Error::other("connection reset"));
    let long = "ü".repeat(10_000);
    let sessions = [
        vec![Step::End(Err(SourceError::new(Retry::After(Duration::from_secs(60)), cause)))],
        vec![Step::End(Err(SourceError::new(Retry::After(Duration::from_secs(60)), long)))],
    ];
    let handle = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), sessions)), 64).unwrap();
    let _events = events(&mut supervisor);
    let error = async |attempt| state(&handle, |s| s.reconnect_attempt == attempt).await.last_error.unwrap();
    assert_eq!(error(1).await, "the login was not answered: connection reset");
    let long = error(2).await;
    assert_eq!((long.chars().count(), long.ends_with("ü..")), (502, true));
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told_even_when_there_is_no_room_for_the_gap() {
    let mut supervisor = Supervisor::new(config());
    let sessions = [vec![Step::State(SessionState::Connected), Step::Send(started()), failing(Retry::Backoff)]];
    let handle = supervisor.spawn(Box::new(ScriptedSource::new(id("a"), sessions)), 2).unwrap();
    let mut events = events(&mut supervisor);
    // Two events fill the channel: the gap has to wait, and with it the next session.
    state(&handle, |status| matches!(status.state, SessionState::Disconnected { retry_at: Some(_) })).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(matches!(handle.status().borrow().state, SessionState::Disconnected { .. }));
    assert_eq!(events.recv().await, Some(started()));
    assert_eq!(events.recv().await, Some(started()));
    assert_eq!(events.recv().await, Some(gap(GapReason::Disconnected)));
    assert_eq!(events.recv().await, Some(started()));
}
