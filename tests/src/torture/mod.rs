//! The fault harness: greekd is killed, its database crashes, connections are cut, and whatever was accepted has to be in
//! the database once, bit for bit.
//!
//! A session plays *episodes*, several at a time. An episode is a chain of runs of greekd on one directory and one
//! database; each run is ended by a fault drawn from the seed, often in the middle of recovering from the one before. Then
//! a judge in a process of its own compares three things: the ledger, which greekd writes right after it has accepted a
//! row; what the broker's double has sent; and the database.
//!
//! What is *lost* and *duplicated* is counted against the ledger. Rows that were sent and never accepted are lost with the
//! process that was to receive them: that is allowed only inside a gap that the database states.

pub mod episode;
pub mod fault;
pub mod judging;
pub mod lane;
pub mod options;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod records;
pub mod session;
pub mod totals;

/// What can go wrong in the harness itself is for a person to read.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
