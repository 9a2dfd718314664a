//! The names that readers meet: numbers of lines, groupings, buckets, reasons.

use std::fmt;
use std::str::FromStr;

/// The number of a line: stable for the life of the process and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub(super) u64);

impl LineId {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By what lines are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// One group for each underlying.
    Underlying,
    /// Days to expiry in New York's date: the six buckets of [`ExpiryBucket`].
    Expiry,
    /// One group for each account.
    Account,
    /// One group for each broker.
    Broker,
}

impl GroupBy {
    /// Every grouping.
    pub const ALL: [Self; 4] = [Self::Underlying, Self::Expiry, Self::Account, Self::Broker];

    /// The name used in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underlying => "underlying",
            Self::Expiry => "expiry",
            Self::Account => "account",
            Self::Broker => "broker",
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grouping is one of underlying, expiry, account, broker")]
pub struct UnknownGrouping;

impl FromStr for GroupBy {
    type Err = UnknownGrouping;

    fn from_str(text: &str) -> Result<Self, UnknownGrouping> {
        Self::ALL.into_iter().find(|group_by| group_by.as_str() == text).ok_or(UnknownGrouping)
    }
}

/// A range of days to expiry. What has expired and is still held counts as expiring today, until the broker closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpiryBucket {
    /// Today.
    Today,
    /// 1 to 7 days.
    Week,
    /// 8 to 21 days.
    ThreeWeeks,
    /// 22 to 45 days.
    SixWeeks,
    /// 46 to 90 days.
    Quarter,
    /// More than 90 days.
    Later,
}

impl ExpiryBucket {
    /// Every bucket, the nearest first.
    pub const ALL: [Self; 6] = [Self::Today, Self::Week, Self::ThreeWeeks, Self::SixWeeks, Self::Quarter, Self::Later];

    /// The bucket of a number of days to expiry, negative when it is past.
    #[must_use]
    pub const fn of(days: i32) -> Self {
        match days {
            ..=0 => Self::Today,
            1..=7 => Self::Week,
            8..=21 => Self::ThreeWeeks,
            22..=45 => Self::SixWeeks,
            46..=90 => Self::Quarter,
            91.. => Self::Later,
        }
    }

    /// The name used as the key of a group.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Today => "0",
            Self::Week => "1-7",
            Self::ThreeWeeks => "8-21",
            Self::SixWeeks => "22-45",
            Self::Quarter => "46-90",
            Self::Later => ">90",
        }
    }
}

/// Why the values of a line are not those of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// Its source does not stream.
    SourceDown,
    /// Its market has been open for longer than the limit, and no row came in that time.
    Old,
}

impl StaleReason {
    /// The name used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceDown => "source_down",
            Self::Old => "old",
        }
    }
}

/// Why an open line is missing from sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// No row has come yet: it is in no sum.
    NoRow,
    /// Its delta is unknown: it is in no sum of deltas.
    NoDelta,
    /// The price of its underlying is unknown: it is in no sum of delta or gamma money.
    NoUnderlyingPrice,
    /// The beta of its underlying is unknown: it is in no beta-weighted sum.
    NoBeta,
    /// Gamma, theta or vega is unknown, or a product is beyond what a double can hold: it is missing from that sum.
    NoOtherGreek,
}

impl Missing {
    /// The name used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRow => "no_row",
            Self::NoDelta => "no_delta",
            Self::NoUnderlyingPrice => "no_underlying_price",
            Self::NoBeta => "no_beta",
            Self::NoOtherGreek => "no_other_greek",
        }
    }
}
