//! What every client of a broker needs of the network, apart from the broker's own protocol.
//!
//! - [`http`]: calls at a pace, answers whole or not at all;
//! - [`ws`]: opening a websocket; [`outbound`]: the message that waits for it; [`handover`]: events on their way out;
//!   [`ending`]: how a stream broke; [`stall`]: when one that brings nothing is left;
//! - [`refresh`]: when to read the positions of which account;
//! - [`plain`]: JSON as servers write it, read fast;
//! - [`url`], [`tls`], [`json`], [`text`], [`bounds`]: small questions that come up everywhere.
//!
//! With the feature `testkit` there are small servers too, for the tests of a client.
//!
//! Nothing here knows a broker, reads the environment or spawns a task; what the crates of brokers have in common beyond
//! that is in `greeks-model`.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use broker_net::http::{Http, HttpConfig, HttpError};
//! use reqwest::{Method, Url};
//!
//! # fn tls() -> Arc<rustls::ClientConfig> {
//! #     let provider = Arc::new(rustls::crypto::ring::default_provider());
//! #     let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
//! #     Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HttpConfig {
//!     user_agent: "my-tool/1.0".into(),
//!     timeout: Duration::from_secs(15),
//!     connect_timeout: Duration::from_secs(5),
//!     spacing: Duration::from_millis(143),
//!     burst: 2,
//! };
//! let http = Http::new(&config, &tls())?;
//! // Port 9 of this machine: nobody listens, and the error says so.
//! let outcome = http.send(http.request(Method::GET, Url::parse("http://127.0.0.1:9/")?)).await;
//! assert!(matches!(outcome, Err(HttpError::Refused { .. })));
//! # Ok(())
//! # }
//! ```

pub mod bounds;
pub mod ending;
pub mod handover;
pub mod http;
pub mod json;
pub mod outbound;
pub mod plain;
pub mod refresh;
pub mod stall;
mod tcp;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod text;
pub mod tls;
pub mod url;
pub mod ws;
