//! The life of one source: session, pause, session.

use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use greeks_model::{
    GapReason, QuoteSource, Retry, SessionEnd, SessionState, SourceContext, SourceError, SourceEvent, SourceId,
    SourceLink, SourceStatus, UnixNanos, with_causes,
};
use metrics::{Counter, Gauge};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::retry::{Attempts, Outcome};
use super::{ENDLESS, FirstOutcome, RetryPolicy};
use crate::metrics::{RECONNECTS_TOTAL, SOURCE_STATE};
use crate::pipeline::panic_text;

/// More text than this in a status helps nobody.
const LONGEST_ERROR: usize = 500;

/// Everything about a source but the source: that one is lent to its sessions.
pub(super) struct Runner {
    id: SourceId,
    link: SourceLink,
    policy: RetryPolicy,
    grace: Duration,
    first: watch::Sender<Option<FirstOutcome>>,
    retry_now: Arc<Notify>,
    /// Whether anybody wants the source to stream.
    wanted: Arc<watch::Sender<bool>>,
    /// When a source that was told to stop is out of time.
    stop_by: Option<Instant>,
    attempts: Attempts,
    random: fastrand::Rng,
    gauges: StateGauges,
    reconnects: Vec<(&'static str, Counter)>,
}

/// A session that is over.
struct Ended {
    outcome: Outcome,
    /// What happened, when it was no good order.
    error: Option<String>,
    /// The last moment up to which the stream was whole, when there was one.
    whole_until: Option<UnixNanos>,
    was_stable: bool,
    /// Whether the session was told to end.
    asked: bool,
}

/// The time between two sessions.
struct Pause {
    /// `None` until someone says so.
    until: Option<Instant>,
    /// What made it necessary.
    reason: &'static str,
}

impl Runner {
    pub(super) fn new(
        id: SourceId,
        link: SourceLink,
        policy: RetryPolicy,
        grace: Duration,
        first: watch::Sender<Option<FirstOutcome>>,
        retry_now: Arc<Notify>,
        wanted: Arc<watch::Sender<bool>>,
    ) -> Self {
        let reconnects = Outcome::LABELS.map(|reason| {
            let labels = [("source", id.to_string()), ("reason", reason.to_owned())];
            (reason, metrics::counter!(RECONNECTS_TOTAL, &labels))
        });
        let gauges = StateGauges::new(&id);
        gauges.show(&link.status.borrow().state);
        Self {
            id,
            link,
            policy: RetryPolicy { stable_after: policy.stable_after.min(ENDLESS), ..policy },
            grace: grace.min(ENDLESS),
            first,
            retry_now,
            wanted,
            stop_by: None,
            attempts: Attempts::default(),
            random: fastrand::Rng::new(),
            gauges,
            reconnects: reconnects.into(),
        }
    }

    /// Runs until the source is told to stop or nobody takes its events any more.
    pub(super) async fn run(mut self, mut source: Box<dyn QuoteSource>) {
        while self.until_wanted().await && self.begin().await {
            let ended = self.session(&mut *source).await;
            let whole_until = ended.whole_until;
            let asked = ended.asked || self.link.cancel.is_cancelled() || !self.is_wanted();
            let pause = if asked { None } else { Some(self.settle(ended)) };
            if asked {
                self.change(|status| status.state = SessionState::Disconnected { retry_at: None });
            }
            // After the state: there may be no room for the event for a long time.
            if let Some(since) = whole_until {
                let reason = if asked { GapReason::Stopped } else { GapReason::Disconnected };
                self.send(SourceEvent::Gap { since, reason }).await;
            }
            if let Some(pause) = pause
                && !self.wait(&pause).await
            {
                break;
            }
        }
        let gone = self.link.events.is_closed().then(|| "nobody takes the events any more".to_owned());
        self.change(|status| {
            status.state = SessionState::Disconnected { retry_at: None };
            status.last_error = gone.or(status.last_error.take());
        });
        self.note_first(FirstOutcome::Stopped);
    }

    fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits while the source is stopped on request. False when it is to stop for good.
    async fn until_wanted(&mut self) -> bool {
        if self.is_wanted() {
            return true;
        }
        tracing::info!(source = %self.id, "stopped on request");
        self.change(|status| {
            *status = SourceStatus { state: SessionState::Disconnected { retry_at: None }, ..SourceStatus::default() };
        });
        let mut wanted = self.wanted.subscribe();
        tokio::select! {
            biased;
            () = self.link.cancel.cancelled() => return false,
            () = self.link.events.closed() => return false,
            // The sender is ours: there is no error.
            _ = wanted.wait_for(|wanted| *wanted) => {}
        }
        tracing::info!(source = %self.id, "started on request");
        self.attempts.forget();
        true
    }

    /// Announces a new connection epoch. False when the source is to stop.
    async fn begin(&mut self) -> bool {
        if self.link.cancel.is_cancelled() {
            return false;
        }
        self.change(|status| status.state = SessionState::Connecting);
        self.send(SourceEvent::SessionStarted { at: self.link.clock.now() }).await
    }

    /// Sends an event as soon as there is room; gives up when the source is to stop and there is none in time, or when
    /// nobody listens.
    async fn send(&mut self, event: SourceEvent) -> bool {
        let (cancel, grace) = (self.link.cancel.clone(), self.grace);
        let stop_by = &mut self.stop_by;
        let out_of_time = async {
            cancel.cancelled().await;
            sleep_until(*stop_by.get_or_insert_with(|| Instant::now() + grace)).await;
        };
        tokio::select! {
            biased;
            sent = self.link.events.send(event) => sent.is_ok(),
            () = out_of_time => {
                tracing::warn!(source = %self.id, "no room for the last event of the source");
                false
            }
        }
    }

    /// Runs one session to its end and watches it meanwhile.
    async fn session(&mut self, source: &mut dyn QuoteSource) -> Ended {
        // Ends with the source, or alone when the source is stopped on request.
        let over = self.link.cancel.child_token();
        let cx = SourceContext::new(SourceLink { cancel: over.clone(), ..self.link.clone() });
        let mut wanted = self.wanted.subscribe();
        let mut out_of_time: Option<Instant> = None;
        let mut watched = self.link.status.subscribe();
        let mut stream = Stream::new(&self.link);
        let cancel = self.link.cancel.clone();
        // The call is made inside the guard: a source may panic before it has a future to give.
        let mut session = pin!(AssertUnwindSafe(async { source.run_session(&cx).await }).catch_unwind());
        let result = loop {
            let stable_at = stream.stable_at(self.policy.stable_after);
            tokio::select! {
                biased;
                () = cancel.cancelled(), if self.stop_by.is_none() => {
                    let by = *self.stop_by.insert(Instant::now() + self.grace);
                    out_of_time.get_or_insert(by);
                }
                _ = wanted.wait_for(|wanted| !*wanted), if !over.is_cancelled() => {
                    over.cancel();
                    out_of_time = Some(Instant::now() + self.grace);
                }
                Ok(()) = watched.changed() => {
                    let state = watched.borrow_and_update().state.clone();
                    self.gauges.show(&state);
                    if stream.note(&state, &self.link) {
                        note_first(&self.first, FirstOutcome::Streaming);
                    }
                }
                result = &mut session => break Some(result),
                () = sleep_until(stable_at.unwrap_or_else(Instant::now)), if stable_at.is_some() => {
                    if stream.judge_stable(&self.link) {
                        self.attempts.forget();
                        self.link.status.send_modify(|status| status.reconnect_attempt = 0);
                    }
                }
                () = sleep_until(out_of_time.unwrap_or_else(Instant::now)), if out_of_time.is_some() => break None,
            }
        };
        // Whatever was subscribed went with the connection.
        self.link.activity.set_subscriptions(0);
        // A source may stream and end between two looks at its state.
        let state = self.link.status.borrow().state.clone();
        if stream.note(&state, &self.link) {
            note_first(&self.first, FirstOutcome::Streaming);
        }
        Ended { asked: over.is_cancelled(), ..self.classify(result, &stream) }
    }

    fn classify(&self, result: Option<std::thread::Result<Result<SessionEnd, SourceError>>>, stream: &Stream) -> Ended {
        let (outcome, error) = match result {
            Some(Ok(Ok(_))) => (Outcome::Closed, None),
            Some(Ok(Err(error))) => {
                let text = told(&*error.cause);
                let text = match &error.retry {
                    Retry::Operator(reason) => format!("{}: {text}", reason.as_str()),
                    _ => text,
                };
                (Outcome::Failed(error.retry), Some(text))
            }
            Some(Err(panic)) => {
                // What a panic says may hold anything: it goes to the log, not into the status that others read.
                tracing::error!(source = %self.id, panic = panic_text(&*panic), "the session panicked");
                (Outcome::Panicked, Some("the session panicked: a bug, described in the log".to_owned()))
            }
            None => {
                tracing::warn!(source = %self.id, grace = ?self.grace, "the session did not end and was dropped");
                (Outcome::Closed, None)
            }
        };
        self.note_first(match &outcome {
            Outcome::Closed if self.link.cancel.is_cancelled() || !self.is_wanted() => FirstOutcome::Stopped,
            Outcome::Closed => FirstOutcome::Ended,
            Outcome::Failed(retry) => {
                FirstOutcome::Failed { retry: retry.clone(), message: error.clone().unwrap_or_default() }
            }
            Outcome::Panicked => FirstOutcome::Panicked,
        });
        let (whole_until, was_stable) = (stream.whole_until(&self.link), stream.is_stable());
        Ended { outcome, error, whole_until, was_stable, asked: false }
    }

    /// Says how the session ended, and decides when the next is due.
    fn settle(&mut self, ended: Ended) -> Pause {
        let reason = ended.outcome.label();
        let delay = self.attempts.next(&self.policy, &ended.outcome, ended.was_stable, &mut self.random);
        let delay = delay.map(|delay| delay.min(ENDLESS));
        let error = ended.error.unwrap_or_else(|| "the session was closed in good order".to_owned());
        // A source that waits for a person fails alike every few seconds: once is enough in the log.
        if self.link.status.borrow().last_error.as_ref() == Some(&error) {
            tracing::debug!(source = %self.id, reason, error, retry_in = ?delay, "session ended as before");
        } else {
            tracing::warn!(source = %self.id, reason, error, retry_in = ?delay, "session ended");
        }
        let retry_at = delay.map(|delay| self.link.clock.now().saturating_add(delay));
        let attempt = self.attempts.count;
        self.change(|status| {
            *status = SourceStatus {
                state: SessionState::Disconnected { retry_at },
                reconnect_attempt: attempt,
                last_error: Some(error),
            };
        });
        Pause { until: delay.map(|delay| Instant::now() + delay), reason }
    }

    /// Waits until the next session is due, or the source is stopped on request. False when it is to stop for good.
    async fn wait(&self, pause: &Pause) -> bool {
        let mut wanted = self.wanted.subscribe();
        let due = async {
            match pause.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.link.cancel.cancelled() => return false,
            () = self.link.events.closed() => return false,
            _ = wanted.wait_for(|wanted| !*wanted) => return true,
            () = self.retry_now.notified() => {}
            () = due => {}
        }
        if let Some((_, counter)) = self.reconnects.iter().find(|(label, _)| *label == pause.reason) {
            counter.increment(1);
        }
        true
    }

    fn change(&self, change: impl FnOnce(&mut SourceStatus)) {
        self.link.status.send_modify(change);
        self.gauges.show(&self.link.status.borrow().state);
    }

    fn note_first(&self, outcome: FirstOutcome) {
        note_first(&self.first, outcome);
    }
}

impl Drop for Runner {
    /// What is said of a source whose task was aborted must not be that it streams.
    fn drop(&mut self) {
        let ended = SessionState::Disconnected { retry_at: None };
        if self.link.status.borrow().state != ended {
            self.link.activity.set_subscriptions(0);
            self.change(|status| {
                status.state = ended;
                status.last_error = Some("the source was aborted".to_owned());
            });
        }
    }
}

fn note_first(first: &watch::Sender<Option<FirstOutcome>>, outcome: FirstOutcome) {
    first.send_if_modified(|known| {
        let is_first = known.is_none();
        if is_first {
            *known = Some(outcome);
        }
        is_first
    });
}

/// An error with its causes, cut where it becomes too long.
fn told(error: &(dyn StdError + 'static)) -> String {
    let text = with_causes(error);
    match text.char_indices().nth(LONGEST_ERROR) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "..",
        None => text,
    }
}

/// Whether and since when a session streams, and what for.
struct Stream {
    /// Since when, by the clock that timers use and by the one that people use.
    since: Option<(Instant, UnixNanos)>,
    /// The signs of life before the session.
    before: Signs,
    stable: bool,
    judged_at: Option<Instant>,
}

#[derive(PartialEq)]
struct Signs {
    messages: u64,
    last_heartbeat: Option<UnixNanos>,
}

impl Signs {
    fn of(link: &SourceLink) -> Self {
        Self { messages: link.activity.messages(), last_heartbeat: link.activity.last_heartbeat() }
    }
}

impl Stream {
    fn new(link: &SourceLink) -> Self {
        Self { since: None, before: Signs::of(link), stable: false, judged_at: None }
    }

    /// Takes note of a state; true when the session is seen to stream for the first time.
    fn note(&mut self, state: &SessionState, link: &SourceLink) -> bool {
        let streams = matches!(state, SessionState::Connected | SessionState::Degraded { .. });
        let begins = self.since.is_none() && (streams || link.activity.messages() != self.before.messages);
        if begins {
            self.since = Some((Instant::now(), link.clock.now()));
        }
        begins
    }

    /// When to judge whether the session is stable; `None` when there is no need.
    fn stable_at(&self, stable_after: Duration) -> Option<Instant> {
        let (since, _) = self.since.filter(|_| !self.stable)?;
        let again = self.judged_at.map(|judged| judged + Duration::from_secs(1));
        Some(again.unwrap_or(since + stable_after))
    }

    /// Stable is a session that has streamed long enough and has shown a sign of life: a connection alone is not.
    fn judge_stable(&mut self, link: &SourceLink) -> bool {
        self.judged_at = Some(Instant::now());
        self.stable = Signs::of(link) != self.before;
        self.stable
    }

    const fn is_stable(&self) -> bool {
        self.stable
    }

    /// The last sign of life, or the beginning of the stream when there was none since; `None` when it never streamed.
    fn whole_until(&self, link: &SourceLink) -> Option<UnixNanos> {
        let (_, began) = self.since?;
        let signs = [link.activity.last_message(), link.activity.last_heartbeat()];
        Some(signs.into_iter().flatten().fold(began, UnixNanos::max))
    }
}

/// One gauge per state, one of them 1.
struct StateGauges(Vec<(&'static str, Gauge)>);

impl StateGauges {
    fn new(source: &SourceId) -> Self {
        let gauge = |state: &'static str| {
            let labels = [("source", source.to_string()), ("state", state.to_owned())];
            (state, metrics::gauge!(SOURCE_STATE, &labels))
        };
        Self(SessionState::NAMES.map(gauge).into())
    }

    fn show(&self, state: &SessionState) {
        for (name, gauge) in &self.0 {
            gauge.set(if *name == state.as_str() { 1.0 } else { 0.0 });
        }
    }
}
