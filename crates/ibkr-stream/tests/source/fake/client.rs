//! The source under test.

use std::sync::Arc;

use broker_net::testkit::no_trust;
use greeks_model::testkit::{self, ContextEnds};
use greeks_model::{
    PositionSnapshot, QuoteSource, QuoteUpdate, Retry, SessionEnd, SessionState, SourceError, SourceEvent,
};
use ibkr_stream::{IbkrConfig, IbkrSource};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// A source under test and the ends of its context.
pub(crate) struct Client {
    pub(crate) ends: ContextEnds,
    cx: greeks_model::SourceContext,
    source: Option<IbkrSource>,
    running: Option<JoinHandle<(IbkrSource, Result<SessionEnd, SourceError>)>>,
}

impl Client {
    pub(crate) fn new(config: IbkrConfig) -> Self {
        Self::with(config, 256, no_trust())
    }

    pub(crate) fn with(config: IbkrConfig, capacity: usize, tls: Arc<rustls::ClientConfig>) -> Self {
        let (cx, ends) = testkit::context(capacity, false);
        Self { ends, cx, source: Some(IbkrSource::new(config, tls).unwrap()), running: None }
    }

    /// A client whose session runs.
    pub(crate) fn started(config: IbkrConfig) -> Self {
        let mut client = Self::new(config);
        client.start();
        client
    }

    /// Begins a session.
    pub(crate) fn start(&mut self) {
        let mut source = self.source.take().unwrap();
        let cx = self.cx.clone();
        self.running = Some(tokio::spawn(async move {
            let result = source.run_session(&cx).await;
            (source, result)
        }));
    }

    /// Waits for the end of the session.
    pub(crate) async fn end(&mut self) -> Result<SessionEnd, SourceError> {
        let (source, result) = timeout(PATIENCE, self.running.take().unwrap()).await.expect("no end").unwrap();
        self.source = Some(source);
        result
    }

    /// Waits for the failure of the session; checks that it tells no secret. Gives its retry and its text.
    pub(crate) async fn failure(&mut self) -> (Retry, String) {
        let error = self.end().await.unwrap_err();
        let text = format!("{error} {error:?} {}", error.cause);
        assert!(!text.contains("canary") && !text.contains("U0000"), "{text}");
        let text = format!("{:?}", self.source);
        assert!(text.contains("IbkrSource") && !text.contains("canary") && !text.contains("U0000"), "{text}");
        (error.retry, error.cause.to_string())
    }

    /// Runs one session that fails.
    pub(crate) async fn fail(&mut self) -> (Retry, String) {
        self.start();
        self.failure().await
    }

    /// Stops the session, which ends in good order.
    pub(crate) async fn stop(mut self) {
        self.ends.cancel.cancel();
        assert_eq!(self.end().await.unwrap(), SessionEnd::Cancelled);
    }

    pub(crate) async fn event(&mut self) -> SourceEvent {
        timeout(PATIENCE, self.ends.events.recv()).await.expect("no event").expect("closed")
    }

    /// The next message about an instrument.
    pub(crate) async fn quote(&mut self) -> QuoteUpdate {
        loop {
            if let SourceEvent::Quote { update, .. } = self.event().await {
                return update;
            }
        }
    }

    /// The next positions.
    pub(crate) async fn positions(&mut self) -> PositionSnapshot {
        loop {
            if let SourceEvent::Positions(snapshot) = self.event().await {
                return snapshot;
            }
        }
    }

    /// The next message with this delta.
    pub(crate) async fn delta(&mut self, delta: f64) -> QuoteUpdate {
        loop {
            let update = self.quote().await;
            if update.delta == Some(delta) {
                return update;
            }
        }
    }

    /// The next gap.
    pub(crate) async fn gap(&mut self) -> (greeks_model::UnixNanos, greeks_model::GapReason) {
        loop {
            if let SourceEvent::Gap { since, reason } = self.event().await {
                return (since, reason);
            }
        }
    }

    /// All gaps told so far.
    pub(crate) fn gaps(&mut self) -> Vec<greeks_model::GapReason> {
        let events = std::iter::from_fn(|| self.ends.events.try_recv().ok());
        let reasons = events.filter_map(|event| match event {
            SourceEvent::Gap { reason, .. } => Some(reason),
            _ => None,
        });
        reasons.collect()
    }

    pub(crate) async fn connected(&mut self) {
        self.state(|state| *state == SessionState::Connected).await;
    }

    /// Waits for the stream to stand, in order or not.
    pub(crate) async fn streams(&mut self) {
        self.state(|state| matches!(state, SessionState::Connected | SessionState::Degraded { .. })).await;
    }

    /// Waits for a fault that is told with these words.
    pub(crate) async fn degraded(&mut self, words: &str) {
        self.state(|state| matches!(state, SessionState::Degraded { reason } if reason.contains(words))).await;
    }

    async fn state(&mut self, wanted: impl Fn(&SessionState) -> bool) {
        let reached = timeout(PATIENCE, self.ends.status.wait_for(|status| wanted(&status.state))).await.is_ok();
        assert!(reached, "still {:?}", self.ends.status.borrow().state);
    }
}
