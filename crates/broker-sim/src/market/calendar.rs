//! Exchange time in New York, and the days on which options expire.

use greeks_model::{Future, MonthCode};
use jiff::civil::{Date, DateTime, Time, Weekday, time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Trading begins.
pub(crate) const OPEN: Time = time(9, 30, 0, 0);

/// Trading ends, and index options are settled.
pub(crate) const CLOSE: Time = time(16, 0, 0, 0);

/// The clock of New York under the rule in force since 2007. Written out, so that a machine without a time zone
/// database has it too.
pub(crate) fn new_york() -> TimeZone {
    TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap_or(TimeZone::UTC)
}

/// Milliseconds since 1970 UTC of a New York wall clock reading.
pub(crate) fn millis(zone: &TimeZone, reading: DateTime) -> i64 {
    zone.to_timestamp(reading).unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond()
}

/// The `n`-th `weekday` on or after `from`, counted from 0.
pub(crate) fn nth_weekday_from(from: Date, weekday: Weekday, n: i32) -> Date {
    let ahead = i32::from(from.weekday().until(weekday)) + 7 * n;
    from.saturating_add(ahead.days())
}

/// The third Friday of the `n`-th month counted from the month of `from`; months whose third Friday is not after `from`
/// are skipped.
pub(crate) fn third_friday(from: Date, n: i32) -> Date {
    let this = nth_weekday_from(from.first_of_month(), Weekday::Friday, 2);
    let skip = i32::from(this <= from);
    let month = from.first_of_month().saturating_add((n + skip).months());
    nth_weekday_from(month, Weekday::Friday, 2)
}

/// The `n`-th business day after `from`, counted from 0; holidays are not known here.
pub(crate) fn business_day(from: Date, n: i32) -> Date {
    let mut day = from;
    let mut left = n + 1;
    while left > 0 {
        day = day.saturating_add(1.day());
        left -= i32::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
    }
    day
}

/// The last business day before `from`.
pub(crate) fn business_day_before(from: Date) -> Date {
    let mut day = from.saturating_sub(1.day());
    while matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
        day = day.saturating_sub(1.day());
    }
    day
}

/// The quarterly future (March, June, September, December) that an option expiring on `day` is written on.
pub(crate) fn quarterly_future(product: &str, day: Date) -> Option<Future> {
    let month = day.first_of_month();
    (0..4).find_map(|ahead| {
        let month = month.saturating_add(ahead.months());
        let last_day = nth_weekday_from(month, Weekday::Friday, 2);
        let quarterly = month.month() % 3 == 0 && last_day >= day;
        let code = MonthCode::from_month(u8::try_from(month.month()).ok()?)?;
        quarterly.then(|| Future::new(product, code, u16::try_from(month.year()).ok()?).ok()).flatten()
    })
}

/// The last trading day of a quarterly future.
pub(crate) fn future_expiry(future: &Future) -> Option<Date> {
    let month = Date::new(i16::try_from(future.year()).ok()?, i8::try_from(future.month().month()).ok()?, 1).ok()?;
    Some(nth_weekday_from(month, Weekday::Friday, 2))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn new_york_knows_summer_and_winter() {
        let zone = new_york();
        assert_eq!(millis(&zone, date(2018, 2, 5).to_datetime(CLOSE)), 1_517_864_400_000);
        assert_eq!(millis(&zone, date(2026, 7, 1).to_datetime(CLOSE)) % 86_400_000, 20 * 3_600_000);
        assert_eq!(millis(&zone, date(2026, 11, 23).to_datetime(CLOSE)) % 86_400_000, 21 * 3_600_000);
    }

    #[test]
    fn expirations() {
        let monday = date(2026, 11, 23);
        assert_eq!(nth_weekday_from(monday, Weekday::Friday, 0), date(2026, 11, 27));
        assert_eq!(nth_weekday_from(monday, Weekday::Monday, 0), monday);
        assert_eq!(third_friday(monday, 0), date(2026, 12, 18));
        assert_eq!(third_friday(date(2026, 12, 18), 0), date(2027, 1, 15));
        assert_eq!(third_friday(date(2026, 12, 1), 1), date(2027, 1, 15));
        assert_eq!(business_day(date(2026, 11, 27), 0), date(2026, 11, 30));
        assert_eq!(business_day(monday, 5), date(2026, 12, 1));
        assert_eq!(business_day_before(monday), date(2026, 11, 20));
        assert_eq!(business_day_before(date(2026, 11, 24)), monday);
    }

    #[test]
    fn options_are_on_the_next_quarterly_future() {
        for (day, future) in [
            (date(2026, 11, 27), "/ESZ26"),
            (date(2026, 12, 18), "/ESZ26"),
            (date(2026, 12, 25), "/ESH27"),
            (date(2027, 1, 8), "/ESH27"),
        ] {
            assert_eq!(quarterly_future("ES", day).unwrap().to_string(), future, "{day}");
        }
        assert_eq!(future_expiry(&quarterly_future("6J", date(2026, 11, 6)).unwrap()), Some(date(2026, 12, 18)));
    }
}
