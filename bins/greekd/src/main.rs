//! greekd: streams the Greeks of every open option position into PostgreSQL.
//!
//! This program wires the libraries of the workspace together. It is the only place that reads the environment,
//! installs the log and decides exit codes.

mod cli;
mod exit;
mod logging;
mod settings;
mod tls;

fn main() {}
