//! tastytrade as a source of live option Greeks.
//!
//! [`TastySource`] signs in with an OAuth grant, reads the open option positions of each account, and streams their
//! Greeks, and quotes of what they are written on, over DXLink. It implements [`QuoteSource`]: one call of
//! `run_session` is one connection, and what a failed one means for the next is in its error.
//!
//! [`QuoteSource`]: greeks_model::QuoteSource
//!
//! ```
//! use std::sync::Arc;
//! use tasty_dxlink::{TastyConfig, TastySource};
//!
//! # fn tls() -> Arc<rustls::ClientConfig> {
//! #     let provider = Arc::new(rustls::crypto::ring::default_provider());
//! #     let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
//! #     Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
//! # }
//! let mut config = TastyConfig::new("refresh token".into(), "client secret".into());
//! config.user_agent = "my-tool/1.0".into();
//! let source = TastySource::new(config, tls())?;
//! // Hand it to a supervisor, or call `run_session` with a `SourceContext` of your own.
//! # use greeks_model::QuoteSource;
//! assert_eq!(source.id().as_str(), "tastytrade");
//! # Ok::<(), tasty_dxlink::Error>(())
//! ```
//!
//! Positions are followed by the account streamer, whose messages say when to read an account again, and by a poll: what
//! the REST API says is what counts. While the API is away a new session streams what was held last, with the quote token
//! of the session before as long as that lives.
//!
//! - A position whose quantity or multiplier cannot be read is told with a quantity of NaN, so that it never reads as
//!   closed; one whose symbol cannot be read is left out, counted and logged once.
//! - Events that take a former one back (`REMOVE_EVENT`) hold no values and are counted; `TX_PENDING` and the snapshot
//!   marks are not looked at, since each event holds a value that the broker sent.
//! - DXLink events are whole: a negotiated field that a message leaves out is unknown (NaN), one that was never
//!   negotiated is absent.
//!
//! Facts about the wire come from the dxLink AsyncAPI document, dxFeed's symbology guide and API reference, and
//! tastytrade's developer pages.

mod account;
mod betas;
mod book;
mod check;
mod conditions;
mod config;
mod contracts;
mod discovery;
mod driver;
mod error;
mod exchanges;
#[doc(hidden)]
pub mod frames;
pub mod metrics;
mod probe;
mod resolver;
mod rest;
mod session;
mod source;
mod wire;

pub use check::{CheckReport, Outcome, Tried, check};
pub use config::{PRODUCTION_API_URL, PRODUCTION_STREAMER_URL, TastyConfig};
pub use error::Error;
/// Re-exported because it appears in [`TastyConfig`].
pub use secrecy::SecretString;
pub use source::TastySource;
