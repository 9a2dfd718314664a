//! The server as its clients see it: one program, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod api;
mod database;
mod guard;
mod limits;
mod openapi;
mod page;
mod stream;
mod support;
