//! What a double of tastytrade counts.

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
    /// Messages of garbage that [`ConnectionFaults::garbage`](crate::ConnectionFaults::garbage) asked for.
    pub garbage: u64,
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
