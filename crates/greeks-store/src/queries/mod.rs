//! Reading what is stored.

mod check;
mod filter;
mod gaps;
mod health;
mod history;
mod new_trade;
mod pool;
mod positions;
mod row;
mod snapshots;
mod trades;

pub use check::{DatabaseCheck, PartitionInfo};
pub use filter::{Cursor, InvalidCursor, SnapshotFilter};
pub use gaps::{GapFilter, GapRow};
pub use history::{History, HistoryFilter, HistoryPoint, InvalidHistory, InvalidMetric, Metric};
pub use new_trade::{InvalidTrade, NewTrade};
pub use pool::{Queries, QueryError};
pub use positions::{BrokerSide, CrossBrokerRow, LatestValues, PositionRow};
pub use row::SnapshotRow;
pub use snapshots::SnapshotPage;
pub use trades::{Trade, TradeCursor, TradeFilter, TradePage};
