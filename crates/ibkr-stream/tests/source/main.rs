//! The source as a program sees it, against a gateway that is scripted: one program, so that it is linked once.
#![allow(clippy::expect_used, clippy::let_underscore_must_use, clippy::panic, clippy::unwrap_used)]

mod check;
mod failures_login;
mod failures_stream;
mod fake;
mod metrics;
mod session;
mod tls;
