//! HTTP API, server-sent events and metrics over a live book of option Greeks.

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
