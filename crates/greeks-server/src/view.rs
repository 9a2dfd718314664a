//! The live book as JSON.

use greeks_model::UnixNanos;
use greeks_processor::book::{self, LiveBook};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::line::{LineDocument, number};
use crate::portfolio::{AggregateDocument, PortfolioDocument};
use crate::status::{StatusDocument, Time};

/// By what lines are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// One group for each underlying.
    #[default]
    Underlying,
    /// Days to expiry: 0, 1-7, 8-21, 22-45, 46-90, >90.
    Expiry,
    /// One group for each account.
    Account,
    /// One group for each broker.
    Broker,
}

impl From<GroupBy> for book::GroupBy {
    fn from(group_by: GroupBy) -> Self {
        match group_by {
            GroupBy::Underlying => Self::Underlying,
            GroupBy::Expiry => Self::Expiry,
            GroupBy::Account => Self::Account,
            GroupBy::Broker => Self::Broker,
        }
    }
}

/// Data of a `snapshot`: the whole book. Forget everything before it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotEvent {
    /// The book's version: lines are at least as new.
    version: u64,
    /// The moment that ages and staleness are of.
    as_of: Time,
    /// All open lines.
    lines: Vec<LineDocument>,
    /// The sums.
    portfolio: PortfolioDocument,
    /// The status document.
    #[schema(value_type = StatusDocument)]
    status: Box<RawValue>,
}

/// Data of a `delta`: what has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeltaEvent {
    /// The book's version after it: lines are at least as new.
    version: u64,
    /// The book's version before it: that of the event before.
    since: u64,
    /// The moment that ages and staleness are of.
    as_of: Time,
    /// Open lines that have changed or are new, whole.
    lines: Vec<LineDocument>,
    /// Ids of lines that have been closed.
    closed: Vec<u64>,
    /// The sums of every group with open lines, grouped as the stream is.
    groups: Vec<AggregateDocument>,
    /// The sums over all lines.
    total: AggregateDocument,
}

/// The book had `version` before: what has changed meanwhile is told again by the next delta.
pub(crate) fn snapshot(
    book: &LiveBook,
    version: u64,
    group_by: GroupBy,
    status: &RawValue,
    now: UnixNanos,
) -> SnapshotEvent {
    SnapshotEvent {
        version,
        as_of: Time(now),
        lines: book.lines(&book::LineFilter::default(), now).iter().map(LineDocument::from).collect(),
        portfolio: PortfolioDocument::read(book, group_by, now),
        status: status.to_owned(),
    }
}

/// From `since` to `version`, which the book had before, as with [`snapshot`]. `None` when that cannot be told.
pub(crate) fn delta(
    book: &LiveBook,
    since: u64,
    version: u64,
    group_by: GroupBy,
    now: UnixNanos,
) -> Option<DeltaEvent> {
    let changes = book.changed_since(since, now);
    if !changes.complete {
        return None;
    }
    let portfolio = book.portfolio(group_by.into(), now);
    Some(DeltaEvent {
        version,
        since,
        as_of: Time(now),
        lines: changes.lines.iter().map(LineDocument::from).collect(),
        closed: changes.closed.iter().map(|id| id.get()).collect(),
        groups: portfolio.groups.iter().map(AggregateDocument::from).collect(),
        total: (&portfolio.total).into(),
    })
}

/// A length of time in seconds.
pub(crate) fn seconds(time: std::time::Duration) -> f64 {
    number_of_millis(time) / 1_000.0
}

/// Whole milliseconds are as exact as an age needs to be, and short as text.
fn number_of_millis(time: std::time::Duration) -> f64 {
    number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX).into())
}
