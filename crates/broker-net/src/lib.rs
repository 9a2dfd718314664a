//! What every client of a broker needs of the network, apart from the broker's own protocol.

pub mod handover;
pub mod http;
pub mod json;
pub mod outbound;
pub mod refresh;
pub mod text;
pub mod tls;
pub mod url;
pub mod ws;
