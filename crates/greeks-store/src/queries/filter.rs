//! Which rows are asked for.

use std::fmt;
use std::str::FromStr;

use greeks_model::UnixNanos;

/// Which rows; what is `None` or empty does not restrict. The default is the newest 100 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotFilter {
    /// The broker.
    pub broker: Option<String>,
    /// The account, as the broker writes it.
    pub account_id: Option<String>,
    /// The contract.
    pub contract_key: Option<String>,
    /// The underlying.
    pub underlying: Option<String>,
    /// `event_time` from this on.
    pub from: Option<UnixNanos>,
    /// `event_time` before this.
    pub to: Option<UnixNanos>,
    /// At most so many rows, 1 to [`SnapshotFilter::MAX_LIMIT`].
    pub limit: u32,
    /// Go on after this row, as told by [`crate::SnapshotPage::next`].
    pub cursor: Option<Cursor>,
}

impl SnapshotFilter {
    /// The most rows of one page.
    pub const MAX_LIMIT: u32 = 10_000;

    /// Whether only some series are asked for.
    pub(super) fn restricts_series(&self) -> bool {
        self.broker.is_some() || self.account_id.is_some() || self.contract_key.is_some() || self.underlying.is_some()
    }
}

impl Default for SnapshotFilter {
    fn default() -> Self {
        Self {
            broker: None,
            account_id: None,
            contract_key: None,
            underlying: None,
            from: None,
            to: None,
            limit: 100,
            cursor: None,
        }
    }
}

/// A place in the order newest first; opaque text outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) event_time_micros: i64,
    pub(super) seq: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.event_time_micros, self.seq)
    }
}

/// Not a cursor that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of an earlier page")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (time, seq) = text.split_once('.').ok_or(InvalidCursor)?;
        Ok(Self {
            event_time_micros: time.parse().map_err(|_| InvalidCursor)?,
            seq: seq.parse().map_err(|_| InvalidCursor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        let cursor = Cursor { event_time_micros: -5, seq: (3 << 40) + 9 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "1.2.3", "a.2", "1.", "1.99999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
