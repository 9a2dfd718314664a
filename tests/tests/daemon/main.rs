//! greekd as a person runs it, beside doubles of the brokers: what needs no program of its own is one, so that it is linked
//! once.
// A test says what it expected by panicking; helpers of tests are not inside a test function.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

mod exit_codes;
mod faults;
mod journal;
mod ledger;
mod live;
mod positions;
