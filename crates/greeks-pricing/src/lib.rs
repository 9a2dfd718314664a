//! greeks-pricing
