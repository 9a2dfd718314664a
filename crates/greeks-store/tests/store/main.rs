//! What needs no program of its own: one program, so that it is linked once and starts one server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/book.rs"]
mod book;
#[path = "../support/mod.rs"]
mod support;

mod analysts;
mod committer;
mod exactly_once;
mod failover;
mod health;
mod history;
mod journal_exactly_once;
mod journal_full;
mod journal_log;
mod migrate;
mod paging;
mod partitions;
mod poison;
mod policy;
mod portfolio;
mod positions;
mod queries;
mod recount;
mod resume;
mod roles;
mod servers;
mod standby;
mod stored_minutes;
mod trades;
mod zombie;
