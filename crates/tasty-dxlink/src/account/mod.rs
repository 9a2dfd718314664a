//! The account streamer: tells when positions may have changed.
//!
//! Its messages are full position and order objects, but none comes for what is held at the start, and some can be
//! missed. So they only say which account to read again: the REST API says what is held. Its connection has a life of
//! its own, and its end never ends a session (tastytrade, "Streaming Account Data").

mod backoff;
mod link;
mod session;
mod wire;

pub(crate) use link::{Link, LinkSettings, Signal};
