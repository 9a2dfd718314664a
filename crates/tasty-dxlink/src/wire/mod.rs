//! Bytes to typed messages and back. No I/O and no clock; no allocation per event.
//!
//! Shapes and rules follow the public dxLink AsyncAPI document ("dxLink WebSocket"); where servers are known to differ
//! from it, the decoder takes what it can understand and counts the rest.

mod compact;
mod data;
mod event;
mod feed;
mod incoming;
mod layout;
mod outgoing;
mod value;

pub(crate) use event::EventKind;
#[cfg(test)]
pub(crate) use event::Numbers;
pub(crate) use feed::{Feed, Role, Row, SymbolId, Symbols, Tally};
pub(crate) use incoming::{AuthState, Defect, Message, read};
pub(crate) use outgoing::{Outgoing, Secret, SubscriptionChunk};

#[cfg(test)]
mod tests;
