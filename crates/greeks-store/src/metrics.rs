//! Names of the metrics this crate emits.

/// Counter: rows of `greek_ticks` committed.
pub const ROWS_WRITTEN: &str = "greekd_rows_written_total";
/// Counter with label `reason`: records the database refused, kept in `ingest_quarantine`.
pub const ROWS_QUARANTINED: &str = "greekd_rows_quarantined_total";
/// Histogram: records per commit.
pub const COMMIT_ROWS: &str = "greekd_commit_rows";
/// Histogram: duration of a transaction, from its first byte sent to its acknowledgement.
pub const COMMIT_SECONDS: &str = "greekd_commit_seconds";
/// Gauge: consecutive months from this one on that have their partition.
pub const PARTITIONS_READY: &str = "greekd_partitions_ready_months";
/// Gauge: rows in `greek_ticks_default`, whose month could not be made when they were stored; 0 when all is well.
pub const DEFAULT_PARTITION_ROWS: &str = "greekd_default_partition_rows";
