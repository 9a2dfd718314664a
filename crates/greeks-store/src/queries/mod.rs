//! Reading what is stored.

mod check;
mod filter;
mod gaps;
mod pool;
mod row;
mod snapshots;

pub use check::{DatabaseCheck, PartitionInfo};
pub use filter::{Cursor, InvalidCursor, SnapshotFilter};
pub use pool::{Queries, QueryError};
pub use row::SnapshotRow;
pub use snapshots::SnapshotPage;
