//! From what brokers say to what is stored: normalises and dedupes quotes, supervises their sources, measures latency.
//!
//! Nothing here knows a broker or a database. Sources are anything that implements [`QuoteSource`]; what is accepted
//! goes to a [`SnapshotSink`].
//!
//! - [`Supervisor`]: one task per source; sessions, retries, states. One source's failure never touches another.
//! - [`Inbox`]: merges the bounded channels of all sources, so that a flood at one does not queue before another.
//! - [`Pipeline`]: the thread that takes events from the inbox, normalises them and appends the records to the sink.
//! - [`Normaliser`]: the rules by which events become records. Pure, and usable without the rest.
//! - [`book::LiveBook`]: the latest row of every position and sums over them, for whoever shows the book live.
//! - [`calendar::MarketCalendar`]: when option markets are open.
//! - [`Latency`] and [`Slo`]: how long rows take until they are durable, and whether that is as promised.
//!
//! To stop, stop the supervisor: its sources end, their channels close, the pipeline takes what is left and closes the
//! sink.
//!
//! ```
//! use std::time::Duration;
//!
//! use greeks_model::testkit::{MemorySink, ScriptedSource, Step};
//! use greeks_model::{
//!     AccountId, Decimal, Instrument, Position, PositionSnapshot, QuoteUpdate, SessionState, SourceEvent, SourceId,
//!     Underlying,
//! };
//! use greeks_processor::{FirstOutcome, Pipeline, PipelineConfig, Supervisor, SupervisorConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = SupervisorConfig::default();
//! let (instruments, clock) = (config.instruments.clone(), config.clock.clone());
//!
//! // A source that says what it holds and quotes it once; a real one speaks to a broker.
//! let option = instruments.intern(&Instrument::Option("SPXW  261124P06650000".parse()?));
//! let underlying = instruments.intern(&Instrument::Underlying(Underlying::new("SPX")));
//! let held = Position { instrument: option, underlying, quantity: -3.0, multiplier: Decimal::ONE_HUNDRED };
//! let positions = PositionSnapshot {
//!     account_id: AccountId::new("5WT00001")?,
//!     observed_at: clock.now(),
//!     positions: vec![held],
//! };
//! let mut update = QuoteUpdate::new(option, clock.now());
//! update.delta = Some(-0.25);
//! let session = vec![
//!     Step::State(SessionState::Connected),
//!     Step::Send(SourceEvent::Positions(positions)),
//!     Step::Send(SourceEvent::Quote { update, payload: None }),
//!     Step::UntilCancelled,
//! ];
//! let source = ScriptedSource::new(SourceId::new("scripted")?, [session]);
//!
//! let mut supervisor = Supervisor::new(config);
//! let source = supervisor.spawn(Box::new(source), 1_024)?;
//! let sink = MemorySink::new();
//! let work = PipelineConfig::new(instruments, clock);
//! let mut pipeline = Pipeline::spawn(work, supervisor.take_inbox(), Box::new(sink.clone()))?;
//! assert_eq!(source.first_outcome().await, FirstOutcome::Streaming);
//!
//! assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
//! pipeline.ended().await;
//! assert_eq!(pipeline.join()?.rows, 1);
//! assert!(sink.is_closed());
//! # Ok(())
//! # }
//! ```
//!
//! [`QuoteSource`]: greeks_model::QuoteSource
//! [`SnapshotSink`]: greeks_model::SnapshotSink

mod supervisor;

mod inbox;
mod pipeline;

mod normalise;

pub mod book;
pub mod calendar;

mod latency;
mod slo;

mod backoff;
mod clock;
mod clock_step;
pub mod metrics;
#[cfg(test)]
mod recorder;

pub use backoff::Backoff;
pub use clock::SystemClock;
pub use inbox::Inbox;
pub use latency::{Latency, Percentiles};
pub use normalise::{Counts, Normaliser, PricingInputs};
pub use pipeline::{AcceptedHook, Pipeline, PipelineConfig, PipelineError, PipelineStats, ReferenceHook};
pub use slo::{Slo, SloConfig, SloEvent};
pub use supervisor::{DuplicateSource, FirstOutcome, Probes, RetryPolicy, SourceHandle, Supervisor, SupervisorConfig};
