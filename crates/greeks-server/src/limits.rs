//! How much and how long: what a client may take of the server.

use std::time::Duration;

/// Bounds of the server; the defaults are meant for one machine and its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// For the whole head of a request, from its first byte, or from the connection's begin for the first one.
    pub head: Duration,
    /// For the whole body of a request.
    pub body: Duration,
    /// The largest body, in bytes; larger ones are answered with 413.
    pub body_bytes: usize,
    /// For a connection between two requests.
    pub idle: Duration,
    /// For a client that takes nothing of what is sent to it.
    pub stall: Duration,
    /// For the database to answer a question; 503 after that.
    pub query: Duration,
    /// Connections open at a time. Beyond it the oldest one without a request gives way; when all are busy, the new one
    /// is answered with 503.
    pub connections: usize,
    /// Streams open at a time; more are answered with 429, so that there are connections left for other requests.
    pub streams: usize,
    /// For requests under way once the server is to end.
    pub drain: Duration,
    /// Changes of the book are gathered this long before they go out to streams.
    pub tick: Duration,
    /// Between two pings of a stream.
    pub ping: Duration,
    /// The kernel's send buffer of a connection, in bytes: what a client that does not read can be behind by.
    pub send_buffer: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            body_bytes: 64 * 1024,
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            query: Duration::from_secs(10),
            connections: 512,
            streams: 256,
            drain: Duration::from_secs(5),
            tick: Duration::from_millis(250),
            ping: Duration::from_secs(10),
            send_buffer: 128 * 1024,
        }
    }
}
