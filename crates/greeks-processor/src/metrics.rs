//! Names of the metrics this crate emits, and their meaning.
//!
//! They go through the `metrics` facade. Handles are taken when a part is made, not per event: install the recorder
//! before that.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Histogram, labels `source` and `stage` (`source_to_receive`, `receive_to_accepted`, `receive_to_durable`).
pub const EVENT_LATENCY_SECONDS: &str = "greekd_event_latency_seconds";
/// Gauge 0 or 1, labels `source` and `state`.
pub const SOURCE_STATE: &str = "greekd_source_state";
/// Counter, labels `source` and `reason`.
pub const RECONNECTS_TOTAL: &str = "greekd_reconnects_total";
/// Counter, labels `source` and `reason`.
pub const GAPS_TOTAL: &str = "greekd_gaps_total";
/// Counter.
pub const DUPLICATES_SUPPRESSED_TOTAL: &str = "greekd_duplicates_suppressed_total";
/// Counter, label `source`.
pub const ROWS_GIVEN_UP_TOTAL: &str = "greekd_rows_given_up_total";
/// Counter.
pub const SLO_BREACHES_TOTAL: &str = "greekd_slo_breaches_total";

/// Stage: from the broker's time of a value to its receipt.
pub const SOURCE_TO_RECEIVE: &str = "source_to_receive";
/// Stage: from receipt to acceptance by the sink.
pub const RECEIVE_TO_ACCEPTED: &str = "receive_to_accepted";
/// Stage: from receipt to the acknowledged commit.
pub const RECEIVE_TO_DURABLE: &str = "receive_to_durable";

/// Tells the installed recorder what the metrics mean.
pub fn describe() {
    describe_histogram!(EVENT_LATENCY_SECONDS, Unit::Seconds, "Time an event took, by stage");
    describe_gauge!(SOURCE_STATE, Unit::Count, "1 for the state the source is in, 0 for the others");
    describe_counter!(RECONNECTS_TOTAL, Unit::Count, "Sessions begun anew, by what made it necessary");
    describe_counter!(GAPS_TOTAL, Unit::Count, "Stretches that could not be received, by cause");
    describe_counter!(DUPLICATES_SUPPRESSED_TOTAL, Unit::Count, "Rows not stored because they were accepted before");
    describe_counter!(ROWS_GIVEN_UP_TOTAL, Unit::Count, "Rows received that nothing had room for");
    describe_counter!(SLO_BREACHES_TOTAL, Unit::Count, "Times the 95th percentile of latency rose above its limit");
}
