//! tasty-dxlink
#![allow(dead_code)]
mod config;
mod contracts;
mod error;
mod metrics;
mod rest;
mod session;
mod wire;

pub use config::{PRODUCTION_API_URL, TastyConfig};
pub use error::Error;
