//! Looks at the accounts of a small gateway.
