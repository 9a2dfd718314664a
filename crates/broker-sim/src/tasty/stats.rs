//! Counters, and a way to wait for them.

use std::time::Duration;

use tokio::sync::watch;

use crate::SimError;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// REST requests answered.
    pub rest_requests: u64,
    /// Access tokens given out.
    pub access_tokens: u64,
    /// Quote tokens given out.
    pub quote_tokens: u64,
    /// Credentials and tokens refused, at REST and on the stream.
    pub refused: u64,
    /// DXLink connections accepted.
    pub connections: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Connections that are open and have been sent Greeks.
    pub streaming: u64,
    /// Symbols of Greeks subscribed now, over all connections.
    pub greeks_subscribed: u64,
    /// Greeks events that the market emitted; the values known at its opening are not counted.
    pub greeks_emitted: u64,
    /// Quote and trade events that the market emitted.
    pub underlying_emitted: u64,
    /// Messages sent on all connections.
    pub messages_sent: u64,
    /// Greeks rows sent on all connections.
    pub greeks_sent: u64,
    /// Quote and trade rows sent on all connections.
    pub underlying_sent: u64,
    /// Events replaced by a newer one of their symbol before they were sent; without those that a connection missed
    /// because it could not keep up at all.
    pub conflated: u64,
    /// Account streamer connections accepted.
    pub streamer_connections: u64,
    /// Account streamer connections that are open now.
    pub streamer_open: u64,
    /// Account streamer connections that are open and whose `connect` was accepted.
    pub streamer_connected: u64,
    /// Heartbeats that the account streamer accepted.
    pub streamer_heartbeats: u64,
    /// Messages that the account streamer sent, answers included.
    pub streamer_messages: u64,
    /// Whether the market has come to its end: a replay does.
    pub market_finished: bool,
}

/// Shared counters.
#[derive(Debug)]
pub(crate) struct Counters(watch::Sender<Stats>);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Stats::default()))
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Stats)) {
        self.0.send_modify(change);
    }

    pub(crate) fn get(&self) -> Stats {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self, limit: Duration, condition: impl FnMut(&Stats) -> bool) -> Result<Stats, SimError> {
        let mut receiver = self.0.subscribe();
        match tokio::time::timeout(limit, receiver.wait_for(condition)).await {
            Ok(Ok(stats)) => Ok(*stats),
            Ok(Err(_)) => Err(SimError::Stopped),
            Err(_) => Err(SimError::Timeout(limit)),
        }
    }
}
