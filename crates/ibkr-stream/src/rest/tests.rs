//! Answers of a small gateway.
