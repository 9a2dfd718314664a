//! What the whole-product tests share: a private PostgreSQL, the greekd program, and waiting with a deadline.

pub mod cluster;
pub mod daemon;
pub mod expected;
pub mod scratch;
pub mod wait;
