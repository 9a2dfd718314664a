//! IBKR's Client Portal gateway as a source of live option Greeks.
//!
//! [`IbkrSource`] opens the brokerage session of a gateway at which a person has logged in, reads the open option
//! positions of each account, and streams their Greeks, and quotes of what they are written on, over the gateway's
//! websocket. It implements [`QuoteSource`]: one call of `run_session` is one connection, and what a failed one means for
//! the next is in its error.
//!
//! [`QuoteSource`]: greeks_model::QuoteSource
//!
//! ```
//! use std::sync::Arc;
//! use ibkr_stream::tls::{self, MemoryPins};
//! use ibkr_stream::{DEFAULT_GATEWAY_URL, IbkrConfig, IbkrSource};
//!
//! // The gateway's certificate is signed by nobody: the first one is remembered, and no other accepted later.
//! let provider = Arc::new(rustls::crypto::ring::default_provider());
//! let tls = tls::pinned(provider, Arc::new(MemoryPins::default()))?;
//! let source = IbkrSource::new(IbkrConfig::new(DEFAULT_GATEWAY_URL), Arc::new(tls))?;
//! // Hand it to a supervisor, or call `run_session` with a `SourceContext` of your own.
//! # use greeks_model::QuoteSource;
//! assert_eq!(source.id().as_str(), "ibkr");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Three things fail apart, and each is told in its own words: the login, which a person makes with a browser and which
//! ends about once a day; the brokerage session, of which a user has one over all of IBKR's platforms; and the websocket.
//!
//! - Without a login each session is one call and asks for a person. Without a brokerage session one is asked for, once;
//!   it is taken away from another login only where [`IbkrConfig::compete`] allows it.
//! - Beside the stream the session is kept alive, and looked at, by a call a minute. No failure of the network ends that.
//! - Positions are polled, and read past IBKR's cache after an execution. An account that cannot be read keeps what it
//!   had; a position whose quantity or multiplier cannot be read is told with a quantity of NaN, so that it never reads as
//!   closed.
//! - A subscription lives for ten minutes at the gateway and ends without a word: each is sent again in time.
//! - Frames hold what has changed: a field that a frame leaves out is absent, one that is empty is unknown (NaN).
//! - Data that is delayed, or for which there is no permission, is told as a fault; data that is frozen is flagged only,
//!   since outside trading hours all data is.
//!
//! Facts about the wire come from IBKR's Web API reference, from the pages that ship with the gateway, and from frames
//! that users have published.

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
#[doc(hidden)]
pub mod frames;
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
