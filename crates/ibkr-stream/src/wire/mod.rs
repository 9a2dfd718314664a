//! Bytes to typed frames and texts back. No I/O and no clock; no allocation per market data frame.
//!
//! Shapes follow IBKR's "Web API v1, WebSockets" and the RealtimeSubscription page that ships with the gateway, and
//! frames that were recorded: their `topic` comes last, nearly all values are texts with decorations, and anything may be
//! missing.

mod conid;
mod control;
mod defect;
mod frame;
mod incoming;
mod number;
mod outgoing;
mod usual;

pub(crate) use conid::Conid;
pub(crate) use control::Status;
pub(crate) use defect::Defect;
pub(crate) use frame::{Availability, Frame};
pub(crate) use incoming::{Incoming, System, read};
pub(crate) use number::{Decorated, Mark};
pub(crate) use outgoing::{Outgoing, session_answer};

#[cfg(test)]
mod tests;
