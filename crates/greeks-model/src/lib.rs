//! Vocabulary of live option Greeks, and the three traits that join brokers to stores.
//!
//! This crate knows no socket, file, SQL or clock. A broker crate turns its wire messages into [`SourceEvent`]s and
//! implements [`QuoteSource`]; a store takes [`Record`]s through [`SnapshotSink`] and reads them back, numbered,
//! through [`SnapshotLog`]. Whoever adds a broker or a store depends on this crate alone.
//!
//! Units are those of one unit of the contract: delta per 1.00 of the underlying, gamma per 1.00, theta per calendar
//! day, vega per 1 volatility point, rho per 1 % of rate, implied volatility as a fraction (0.25 is 25 %).
//!
//! ```
//! use greeks_model::{Contract, OptionType};
//!
//! let contract: Contract = "AAPL  261218C00232500".parse()?;
//! assert_eq!(contract.root(), "AAPL");
//! assert_eq!(contract.option_type(), OptionType::Call);
//! assert_eq!(contract.strike().to_string(), "232.5");
//! assert_eq!(contract.to_string(), "AAPL  261218C00232500");
//!
//! let on_future: Contract = "/6JZ26 261204P0.00665".parse()?;
//! assert_eq!(on_future.future().map(|f| f.product()), Some("6J"));
//! # Ok::<(), greeks_model::ContractError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod causes;
mod contract;
mod event;
mod flags;
mod future;
mod ids;
mod instrument;
mod osi;
mod record;
mod snapshot;
mod source;
mod status;
mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
mod time;
mod update;

pub use causes::with_causes;
pub use contract::{Contract, ContractError, OptionType};
pub use event::{GapReason, Position, PositionSnapshot, Reference, SourceEvent};
pub use flags::Flags;
pub use future::{Future, MonthCode};
pub use ids::{AccountId, InvalidId, SourceId};
pub use instrument::{Instrument, InstrumentId, InstrumentTable, Underlying};
pub use record::{BySeries, DecodeError, GapRecord, PositionsRecord, Record, RecordDecoder, RecordEncoder, ShedRecord};
pub use snapshot::{GreekSnapshot, Series};
pub use source::{Clock, OperatorReason, QuoteSource, Retry, SessionEnd, SourceContext, SourceError, SourceLink};
pub use status::{IllegalTransition, SessionState, SourceActivity, SourceStatus};
pub use store::{Batch, LogError, Seq, SinkError, SnapshotLog, SnapshotSink};
pub use time::UnixNanos;
pub use update::QuoteUpdate;

/// Re-exported for those who implement [`QuoteSource`].
pub use async_trait::async_trait;
/// Re-exported because they appear in public types.
pub use jiff;
/// Re-exported because it appears in public types.
pub use rust_decimal::Decimal;
/// Re-exported because it appears in public types.
pub use uuid::Uuid;
