//! broker-sim
