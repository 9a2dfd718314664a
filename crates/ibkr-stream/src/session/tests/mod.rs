//! The session's rules, one at a time. Time is passed in.
