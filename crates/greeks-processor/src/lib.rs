//! greeks-processor

mod backoff;
mod clock;
mod inbox;
mod latency;
pub mod metrics;
mod normalise;
mod pipeline;
#[cfg(test)]
mod recorder;
mod slo;
mod supervisor;

pub use backoff::Backoff;
pub use clock::SystemClock;
pub use inbox::Inbox;
pub use latency::{Latency, Percentiles};
pub use normalise::{Counts, Normaliser};
pub use pipeline::{AcceptedHook, Pipeline, PipelineConfig, PipelineError, PipelineStats};
pub use slo::{Slo, SloConfig, SloEvent};
pub use supervisor::{DuplicateSource, FirstOutcome, Probes, RetryPolicy, SourceHandle, Supervisor, SupervisorConfig};
