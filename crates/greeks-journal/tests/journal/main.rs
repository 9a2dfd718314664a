//! The journal from outside, and over a disk that breaks: one program, so that it is linked once.
// A test says what it expected by panicking; helpers of tests are not inside a test function.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, clippy::print_stderr)]

mod support;

mod crash;
mod damage;
mod directory;
mod faults;
mod golden;
mod model;
mod quota;
