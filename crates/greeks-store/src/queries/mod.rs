//! Reading what is stored.

mod check;
mod filter;
mod gaps;
mod pool;
mod positions;
mod row;
mod snapshots;

pub use check::{DatabaseCheck, PartitionInfo};
pub use filter::{Cursor, InvalidCursor, SnapshotFilter};
pub use gaps::{GapFilter, GapRow};
pub use pool::{Queries, QueryError};
pub use positions::{BrokerSide, CrossBrokerRow, LatestValues, PositionRow};
pub use row::SnapshotRow;
pub use snapshots::SnapshotPage;
