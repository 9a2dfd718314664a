//! The days on which the stock and option exchanges of New York and Chicago rest, and those that end early.
//!
//! By rule: NYSE Rule 7.2, which Cboe follows. The one rule with an exception is that of a holiday on a Saturday, which
//! is kept on the Friday before unless that ends a year: New Year's Day on a Saturday is not kept at all.

use greeks_model::jiff::civil::{Date, Weekday};

/// What kind of day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Day {
    /// Trading to the usual hour.
    Full,
    /// Trading until 13:00.
    Half,
    /// A holiday on which futures trade until early afternoon.
    Holiday,
    /// A holiday on which futures rest too, or a closure out of the ordinary.
    Closed,
    /// Saturday or Sunday.
    Weekend,
}

/// Closures that no rule foretold: year, month, day.
const ONE_OFF_CLOSURES: [(i16, i8, i8); 10] = [
    (2001, 9, 11), // the attacks of that day
    (2001, 9, 12),
    (2001, 9, 13),
    (2001, 9, 14),
    (2004, 6, 11),  // mourning for Reagan
    (2007, 1, 2),   // mourning for Ford
    (2012, 10, 29), // hurricane Sandy
    (2012, 10, 30),
    (2018, 12, 5), // mourning for Bush
    (2025, 1, 9),  // mourning for Carter
];

/// Early ends that no rule foretold.
const ONE_OFF_HALF_DAYS: [(i16, i8, i8); 2] = [(2002, 7, 5), (2003, 12, 26)];

/// What kind of day `date` is by rule and table.
pub(super) fn day(date: Date) -> Day {
    let ymd = (date.year(), date.month(), date.day());
    if matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday) {
        Day::Weekend
    } else if ONE_OFF_CLOSURES.contains(&ymd) || rests_everywhere(date) {
        Day::Closed
    } else if is_other_holiday(date) {
        Day::Holiday
    } else if ONE_OFF_HALF_DAYS.contains(&ymd) || is_half(date) {
        Day::Half
    } else {
        Day::Full
    }
}

fn rests_everywhere(date: Date) -> bool {
    is_new_year(date) || is_kept(date, 12, 25) || Some(date) == good_friday(date.year())
}

fn is_new_year(date: Date) -> bool {
    let first = date.first_of_year();
    first.weekday() != Weekday::Saturday && is_kept(date, 1, 1)
}

fn is_other_holiday(date: Date) -> bool {
    let (year, month) = (date.year(), date.month());
    match month {
        1 => is_nth(date, 3, Weekday::Monday),
        2 => is_nth(date, 3, Weekday::Monday),
        5 => is_nth(date, -1, Weekday::Monday),
        6 => year >= 2022 && is_kept(date, 6, 19),
        7 => is_kept(date, 7, 4),
        9 => is_nth(date, 1, Weekday::Monday),
        11 => is_nth(date, 4, Weekday::Thursday),
        _ => false,
    }
}

/// The day after Thanksgiving, and the working days before Independence Day and Christmas. Until 2012 the day before
/// Independence Day on a Thursday was a whole one.
fn is_half(date: Date) -> bool {
    let before_friday =
        matches!(date.weekday(), Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday);
    match (date.month(), date.day()) {
        (7, 3) => before_friday && (date.weekday() != Weekday::Wednesday || date.year() >= 2013),
        (11, _) => date.yesterday().is_ok_and(|thanksgiving| is_nth(thanksgiving, 4, Weekday::Thursday)),
        (12, 24) => before_friday,
        _ => false,
    }
}

/// Whether the holiday of this month and day is kept on `date`: on a Saturday the day before, on a Sunday the day after.
fn is_kept(date: Date, month: i8, day: i8) -> bool {
    let Ok(holiday) = Date::new(date.year(), month, day) else { return false };
    let kept = match holiday.weekday() {
        Weekday::Saturday => holiday.yesterday(),
        Weekday::Sunday => holiday.tomorrow(),
        _ => Ok(holiday),
    };
    kept.is_ok_and(|kept| kept == date)
}

fn is_nth(date: Date, nth: i8, weekday: Weekday) -> bool {
    date.nth_weekday_of_month(nth, weekday).is_ok_and(|found| found == date)
}

/// Two days before Easter, by the Gregorian computus of Meeus, Jones and Butcher.
fn good_friday(year: i16) -> Option<Date> {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let g = (b - (b + 8) / 25 + 1) / 3;
    let h = (19 * a + b - b / 4 - g + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    let easter = Date::new(year, i8::try_from(n / 31).ok()?, i8::try_from(n % 31 + 1).ok()?).ok()?;
    easter.yesterday().ok()?.yesterday().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use greeks_model::jiff::civil::date;

    fn of_year(year: i16, wanted: impl Fn(Day) -> bool) -> Vec<(i8, i8)> {
        let days = date(year, 1, 1).series(greeks_model::jiff::ToSpan::day(1)).take_while(|d| d.year() == year);
        days.filter(|d| wanted(day(*d))).map(|d| (d.month(), d.day())).collect()
    }

    /// Months and days of a year.
    type Days = &'static [(i8, i8)];

    fn closed(year: i16) -> Vec<(i8, i8)> {
        of_year(year, |day| matches!(day, Day::Closed | Day::Holiday))
    }

    fn half(year: i16) -> Vec<(i8, i8)> {
        of_year(year, |day| day == Day::Half)
    }

    /// As the exchange has published them, year by year.
    #[test]
    fn published_years_agree() {
        let published: [(i16, Days, Days); 5] = [
            (
                2023,
                &[(1, 2), (1, 16), (2, 20), (4, 7), (5, 29), (6, 19), (7, 4), (9, 4), (11, 23), (12, 25)],
                &[(7, 3), (11, 24)],
            ),
            (
                2024,
                &[(1, 1), (1, 15), (2, 19), (3, 29), (5, 27), (6, 19), (7, 4), (9, 2), (11, 28), (12, 25)],
                &[(7, 3), (11, 29), (12, 24)],
            ),
            (
                2025,
                &[(1, 1), (1, 9), (1, 20), (2, 17), (4, 18), (5, 26), (6, 19), (7, 4), (9, 1), (11, 27), (12, 25)],
                &[(7, 3), (11, 28), (12, 24)],
            ),
            (
                2026,
                &[(1, 1), (1, 19), (2, 16), (4, 3), (5, 25), (6, 19), (7, 3), (9, 7), (11, 26), (12, 25)],
                &[(11, 27), (12, 24)],
            ),
            (
                2027,
                &[(1, 1), (1, 18), (2, 15), (3, 26), (5, 31), (6, 18), (7, 5), (9, 6), (11, 25), (12, 24)],
                &[(11, 26)],
            ),
        ];
        for (year, holidays, halves) in published {
            assert_eq!(closed(year), holidays, "{year}");
            assert_eq!(half(year), halves, "{year}");
        }
    }

    #[test]
    fn years_with_something_special() {
        // New Year's Day on a Saturday is not kept, at either end of the year; on a Sunday it is kept on Monday.
        assert_eq!(day(date(2021, 12, 31)), Day::Full);
        assert_eq!(day(date(2022, 1, 3)), Day::Full);
        assert_eq!(day(date(2010, 12, 31)), Day::Full);
        assert_eq!(day(date(2017, 1, 2)), Day::Closed);
        // Juneteenth is kept from 2022 on, then on a Monday.
        assert_eq!(day(date(2021, 6, 18)), Day::Full);
        assert_eq!(day(date(2022, 6, 20)), Day::Holiday);
        // Around Independence Day.
        assert_eq!(half(2002), [(7, 5), (11, 29), (12, 24)]);
        assert_eq!(half(2003), [(7, 3), (11, 28), (12, 24), (12, 26)]);
        assert_eq!(half(2013), [(7, 3), (11, 29), (12, 24)]);
        assert_eq!(half(2021), [(11, 26)]);
        // Out of the ordinary.
        assert_eq!(
            closed(2001),
            [
                (1, 1),
                (1, 15),
                (2, 19),
                (4, 13),
                (5, 28),
                (7, 4),
                (9, 3),
                (9, 11),
                (9, 12),
                (9, 13),
                (9, 14),
                (11, 22),
                (12, 25)
            ]
        );
        for (year, month, number) in ONE_OFF_CLOSURES {
            assert_eq!(day(date(year, month, number)), Day::Closed, "{year}-{month}-{number}");
        }
        assert_eq!(day(date(2018, 12, 4)), Day::Full);
    }

    #[test]
    fn easter_over_the_century() {
        for (year, month, number) in [
            (2000, 4, 21),
            (2008, 3, 21),
            (2011, 4, 22),
            (2016, 3, 25),
            (2019, 4, 19),
            (2038, 4, 23),
            (2049, 4, 16),
            (2076, 4, 17),
            (2100, 3, 26),
        ] {
            assert_eq!(good_friday(year), Some(date(year, month, number)));
        }
    }

    #[test]
    fn every_year_has_nine_to_eleven_holidays() {
        for year in 2000..=2100 {
            let ordinary = closed(year).len() - ONE_OFF_CLOSURES.iter().filter(|c| c.0 == year).count();
            let expected = 9 + usize::from(year >= 2022) - usize::from(date(year, 1, 1).weekday() == Weekday::Saturday);
            assert_eq!(ordinary, expected, "{year}");
        }
    }
}
