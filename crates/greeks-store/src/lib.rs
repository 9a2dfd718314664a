//! greeks-store
