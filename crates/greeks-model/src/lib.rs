//! greeks-model
