//! Points in time as the data path carries them.

use std::fmt;
use std::time::Duration;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(i64);

impl UnixNanos {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From microseconds since the epoch; beyond the years 1677 to 2262 the nearest representable time.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// From milliseconds since the epoch; beyond the years 1677 to 2262 the nearest representable time.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole microseconds since the epoch, rounded down: the resolution of PostgreSQL.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time from `earlier` to `self`, zero when `self` is the earlier one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = self.0.saturating_sub(earlier.0);
        if nanos <= 0 { Duration::ZERO } else { Duration::from_nanos(nanos.unsigned_abs()) }
    }

    /// `self` moved forward by `by`, at most to the end of the range.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// As a UTC timestamp of `jiff`.
    #[must_use]
    pub fn to_timestamp(self) -> jiff::Timestamp {
        // Every i64 of nanoseconds lies inside jiff's range of years -9999 to 9999.
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// From a timestamp of `jiff`; beyond the years 1677 to 2262 the nearest representable time.
    #[must_use]
    pub fn from_timestamp(timestamp: jiff::Timestamp) -> Self {
        let nanos = timestamp.as_nanosecond();
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_timestamp().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_round_down_and_saturate() {
        assert_eq!(UnixNanos::from_nanos(-1).as_micros(), -1);
        assert_eq!(UnixNanos::from_nanos(1_999).as_micros(), 1);
        assert_eq!(UnixNanos::from_millis(i64::MAX), UnixNanos::from_nanos(i64::MAX));
        assert_eq!(UnixNanos::from_millis(1_517_864_400_000).to_string(), "2018-02-05T21:00:00Z");
        for nanos in [i64::MIN, -1, 0, 1, i64::MAX] {
            let time = UnixNanos::from_nanos(nanos);
            assert_eq!(UnixNanos::from_timestamp(time.to_timestamp()), time);
        }
    }

    #[test]
    fn difference_is_never_negative() {
        let (early, late) = (UnixNanos::from_millis(5), UnixNanos::from_millis(7));
        assert_eq!(late.saturating_since(early), Duration::from_millis(2));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(early.saturating_add(Duration::from_millis(2)), late);
    }
}
