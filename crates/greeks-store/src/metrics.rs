//! Names of the metrics this crate emits, and their meaning.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counter: rows of `greek_ticks` committed.
pub const ROWS_WRITTEN: &str = "greekd_rows_written_total";
/// Counter with label `reason` (`data_exception`, `integrity_constraint_violation`, `plpgsql_error`, `other`: classes of
/// SQLSTATE): records the database refused, kept in `ingest_quarantine`.
pub const ROWS_QUARANTINED: &str = "greekd_rows_quarantined_total";
/// Counter: rows stored without their `source_payload`, which the database would have refused.
pub const PAYLOADS_REFUSED: &str = "greekd_payloads_refused_total";
/// Histogram: records per commit.
pub const COMMIT_ROWS: &str = "greekd_commit_rows";
/// Histogram: duration of a transaction, from its first byte sent to its acknowledgement.
pub const COMMIT_SECONDS: &str = "greekd_commit_seconds";
/// Gauge: consecutive months from this one on that have their partition.
pub const PARTITIONS_READY: &str = "greekd_partitions_ready_months";
/// Gauge: rows in `greek_ticks_default`, whose month could not be made when they were stored; 0 when all is well.
pub const DEFAULT_PARTITION_ROWS: &str = "greekd_default_partition_rows";

/// Tells the installed recorder what the metrics mean.
pub fn describe() {
    describe_counter!(ROWS_WRITTEN, Unit::Count, "Rows of greek_ticks committed");
    describe_counter!(ROWS_QUARANTINED, Unit::Count, "Records the database refused, kept in ingest_quarantine");
    describe_counter!(
        PAYLOADS_REFUSED,
        Unit::Count,
        "Rows stored without their source_payload, which jsonb cannot hold"
    );
    describe_histogram!(COMMIT_ROWS, Unit::Count, "Records in a commit");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time from the first byte of a commit to its acknowledgement");
    describe_gauge!(PARTITIONS_READY, Unit::Count, "Consecutive months, from this one on, that have their partition");
    describe_gauge!(DEFAULT_PARTITION_ROWS, Unit::Count, "Rows whose month had no partition; 0 when all is well");
}
