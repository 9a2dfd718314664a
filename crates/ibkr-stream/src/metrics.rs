//! Names of the metrics this crate emits, and the counters of one source.
