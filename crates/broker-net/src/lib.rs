//! What every client of a broker needs of the network, apart from the broker's own protocol.

pub mod handover;
pub mod outbound;
