//! HTTP API, server-sent events and metrics over a live book of option Greeks.
//!
//! [`Server::bind`] listens, [`Server::run`] serves an [`Api`] until it is told to end. What is held comes from the live
//! book, what was stored from the database; the first goes on when the second is down. `/openapi.json` describes every
//! endpoint. `/` is the page: plain modules in `page/`, compiled into the program, which ask for what every client can ask
//! for. Its sums are the server's, and what others made of it is in `page/vendor/`, with checksums.
//!
//! A page of any site can make a browser talk to this machine. So requests must name this server in `Host`, pages of other
//! origins are refused, nothing is ever shared with them, and beyond loopback a token is needed. Every client is bounded in
//! time, bytes and number ([`Limits`]); one that reads a stream slowly gets fewer and larger events, and nothing waits for
//! it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use greeks_model::Clock;
//! use greeks_processor::book::LiveBook;
//! use greeks_server::{Api, Control, Server, ServerConfig, ServerError, StatusSource};
//! use greeks_store::Queries;
//! use tokio::sync::{broadcast, oneshot};
//!
//! # async fn serve(
//! #     book: Arc<LiveBook>,
//! #     queries: Queries,
//! #     status: Arc<dyn StatusSource>,
//! #     control: Arc<dyn Control>,
//! #     clock: Arc<dyn Clock>,
//! #     stopped: oneshot::Receiver<()>,
//! # ) -> Result<(), ServerError> {
//! let server = Server::bind(ServerConfig::new(([127, 0, 0, 1], 9850).into())).await?;
//! let alerts = broadcast::Sender::new(64);
//! let metrics = Arc::new(|| String::from("# rendered by whoever installed the recorder\n"));
//! let api = Api { book, queries, status, control, alerts, metrics, clock };
//! server.run(api, async { drop(stopped.await) }).await;
//! # Ok(())
//! # }
//! ```

mod api;
mod connection;
mod extract;
mod guard;
mod hub;
mod limits;
mod line;
mod openapi;
mod portfolio;
mod problem;
mod routes;
mod server;
mod status;
mod view;

pub use api::{Api, RenderMetrics};
pub use limits::Limits;
pub use problem::Component;
pub use server::{Server, ServerConfig, ServerError};
pub use status::{
    Alert, AlertKind, Control, ControlError, DatabaseDocument, DatabaseState, DurableMark, JournalDocument,
    LatencyDocument, MarketDocument, SourceDocument, SourceState, StatusDocument, StatusSource, Time,
};
