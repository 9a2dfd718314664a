//! IBKR's Client Portal gateway as a source of live option Greeks.
// Removed once the rooms are joined.
#![allow(dead_code, unused_imports)]

mod book;
mod brokerage;
mod check;
mod conditions;
mod config;
mod contracts;
mod dial;
mod discovery;
mod driver;
mod error;
pub mod metrics;
mod rest;
mod session;
mod source;
pub mod tls;
mod wire;

pub use check::{Brokerage, CheckReport, MarketData, check};
pub use config::{DEFAULT_GATEWAY_URL, IbkrConfig};
pub use error::Error;
pub use source::IbkrSource;
