//! The clock of New York.

use greeks_model::UnixNanos;
use greeks_model::jiff::civil::{Date, DateTime};
use greeks_model::jiff::tz::TimeZone;

/// The rules of daylight saving time, written out so that no machine needs a time zone database for them.
#[derive(Clone, Debug)]
pub(super) struct NewYork {
    /// From the first Sunday of April to the last of October.
    until_2006: TimeZone,
    /// From the second Sunday of March to the first of November.
    from_2007: TimeZone,
}

impl NewYork {
    pub(super) fn new() -> Self {
        let zone = |rule| TimeZone::posix(rule).unwrap_or(TimeZone::UTC);
        Self { until_2006: zone("EST5EDT,M4.1.0,M10.5.0"), from_2007: zone("EST5EDT,M3.2.0,M11.1.0") }
    }

    /// What the clock shows.
    pub(super) fn reading(&self, at: UnixNanos) -> DateTime {
        let at = at.to_timestamp();
        let reading = self.from_2007.to_datetime(at);
        // The rules agree around the turn of the year.
        if reading.year() < 2007 { self.until_2006.to_datetime(at) } else { reading }
    }

    /// When the clock shows `reading`; `None` outside of the range of times.
    pub(super) fn instant(&self, reading: DateTime) -> Option<UnixNanos> {
        let zone = if reading.year() < 2007 { &self.until_2006 } else { &self.from_2007 };
        let at = UnixNanos::from_timestamp(zone.to_timestamp(reading).ok()?);
        (at.as_nanos() != i64::MAX && at.as_nanos() != i64::MIN).then_some(at)
    }

    /// The date there.
    pub(super) fn date(&self, at: UnixNanos) -> Date {
        self.reading(at).date()
    }
}
