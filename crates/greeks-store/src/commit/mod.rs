//! The committer: takes records from a log and stores them, exactly once.

mod bisect;
mod committer;
mod extras;
mod mark;
mod meter;
mod minutes;
mod pacer;
mod payload;
mod retry;
mod rows;
mod series;
mod session;
mod status;
mod survey;
mod touched;
mod trouble;
mod writer;

pub use committer::{CommitError, Committer, CommitterConfig};
pub use pacer::CommitPolicy;
pub use status::{Commit, CommitObserver, CommitterState, CommitterStatus};
