//! What the whole-product tests share: a private PostgreSQL, the greekd program, and waiting with a deadline.
// What fails here fails a test, and the message is for the person who reads it.
#![allow(clippy::expect_used, clippy::panic)]

pub mod both;
pub mod browser;
pub mod cluster;
pub mod cross_broker;
pub mod daemon;
pub mod dashboard;
pub mod expected;
pub mod frames;
pub mod http;
pub mod ibkr;
pub mod process;
pub mod promql;
pub mod scene;
pub mod scratch;
pub mod served;
pub mod tasty;
pub mod torture;
pub mod wait;
