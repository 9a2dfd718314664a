//! tasty-dxlink
#![allow(dead_code)]
mod config;
mod error;
mod metrics;
mod session;
mod wire;

pub use config::{PRODUCTION_API_URL, TastyConfig};
pub use error::Error;
