//! Months of UTC, by which `greek_ticks` is partitioned.

use std::fmt;
use std::str::FromStr;

use greeks_model::UnixNanos;
use jiff::civil::Date;

const PREFIX: &str = "greek_ticks_";

/// A month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since January of year 0.
    number: i32,
}

impl Month {
    /// The month that holds `at`.
    pub fn of(at: UnixNanos) -> Self {
        Self::of_day(at.to_timestamp().to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    /// `by` months later.
    #[must_use]
    pub fn plus(self, by: i32) -> Self {
        Self { number: self.number.saturating_add(by) }
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.number.div_euclid(12)
    }

    /// The month of this day.
    pub(crate) fn of_day(day: Date) -> Self {
        Self { number: i32::from(day.year()) * 12 + i32::from(day.month()) - 1 }
    }

    /// 1 to 12.
    pub fn month(self) -> i32 {
        self.number.rem_euclid(12) + 1
    }

    /// The partition's name: `greek_ticks_2026_11`.
    pub fn partition(self) -> String {
        format!("{PREFIX}{:04}_{:02}", self.year(), self.month())
    }

    /// Its first day, as SQL takes a date.
    pub(crate) fn first_day(self) -> String {
        format!("{self}-01")
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.month())
    }
}

/// Not a month like `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a month like 2026-11")]
pub struct InvalidMonth;

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        let (year, month): (i32, i32) =
            (year.parse().map_err(|_| InvalidMonth)?, month.parse().map_err(|_| InvalidMonth)?);
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) {
            return Err(InvalidMonth);
        }
        Ok(Self { number: year * 12 + month - 1 })
    }
}

/// The month of the partition with this name.
pub(crate) fn month_of_partition(name: &str) -> Option<Month> {
    name.strip_prefix(PREFIX)?.replace('_', "-").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        // 2018-02-28T23:59:59.999999999Z and the next nanosecond.
        let last = UnixNanos::from_nanos(1_519_862_399_999_999_999);
        assert_eq!(Month::of(last).partition(), "greek_ticks_2018_02");
        let first = UnixNanos::from_nanos(last.as_nanos() + 1);
        assert_eq!(Month::of(first).partition(), "greek_ticks_2018_03");
        assert_eq!(Month::of(UnixNanos::from_nanos(-1)).to_string(), "1969-12");
    }

    #[test]
    fn years_end_in_december() {
        let november: Month = "2026-11".parse().unwrap();
        assert_eq!(november.plus(1).first_day(), "2026-12-01");
        assert_eq!(november.plus(2).to_string(), "2027-01");
        assert_eq!(november.plus(-11).to_string(), "2025-12");
        assert_eq!(month_of_partition(&november.partition()), Some(november));
    }

    #[test]
    fn other_names_are_no_months() {
        for name in ["greek_ticks_default", "greek_ticks_2026_13", "greek_ticks_2026", "other_2026_01", "greek_ticks_"]
        {
            assert_eq!(month_of_partition(name), None, "{name}");
        }
    }
}
