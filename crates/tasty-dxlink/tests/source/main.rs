//! The source as a program sees it, against servers that are scripted: one program, so that it is linked once.
#![allow(clippy::expect_used, clippy::let_underscore_must_use, clippy::panic, clippy::unwrap_used)]

mod account;
mod accounts;
mod api;
mod check;
mod credentials;
mod failures;
mod fake;
mod outages;
mod session;
mod symbols;
mod tls;
