//! greeks-processor
