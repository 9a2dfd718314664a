//! Everything but the pace: one program, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../gateway/mod.rs"]
mod gateway;

mod chain;
mod faults;
mod ibkr_faults;
mod ibkr_rest;
mod ibkr_sessions;
mod ibkr_stream;
mod ibkr_strictness;
mod rest;
mod shared_market;
mod stream;
mod streamer;
mod strictness;
