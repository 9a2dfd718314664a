//! The 21-character OSI symbol of equity and index options: root padded to 6, YYMMDD, C or P, strike x 1000 in 8 digits.

use std::fmt;

use crate::jiff::civil::Date;
use crate::{ContractError, Decimal, OptionType};

/// The longest root an OSI symbol can hold.
pub(crate) const ROOT_MAX: usize = 6;

/// What follows the root: date, type and strike.
pub(crate) const TAIL: usize = 15;
/// The largest strike an OSI symbol can hold, in thousandths.
const STRIKE_MAX_THOUSANDTHS: i64 = 99_999_999;

/// Checks that `root` is an OSI root: 1 to 6 capital letters and digits (adjusted options end in a digit, flexible ones
/// begin with one).
pub(crate) fn is_root(root: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    !root.is_empty() && root.len() <= ROOT_MAX && root.chars().all(allowed)
}

/// The strike in thousandths, when an OSI symbol can hold it.
pub(crate) fn strike_thousandths(strike: Decimal) -> Option<i64> {
    let thousandths = strike.checked_mul(Decimal::ONE_THOUSAND)?.normalize();
    let value = i64::try_from(thousandths.mantissa()).ok()?;
    (thousandths.scale() == 0 && (1..=STRIKE_MAX_THOUSANDTHS).contains(&value)).then_some(value)
}

/// Splits `YYMMDD`, `C` or `P`, and what follows.
pub(crate) fn split_tail(tail: &str) -> Option<(Date, OptionType, &str)> {
    let (date, rest) = tail.split_at_checked(6)?;
    let (letter, strike) = rest.split_at_checked(1)?;
    Some((parse_yymmdd(date)?, OptionType::from_letter(letter)?, strike))
}

/// Reads the 21 characters into root, expiration, type and strike.
pub(crate) fn parse(text: &str) -> Result<(&str, Date, OptionType, Decimal), ContractError> {
    let refuse = |reason| ContractError::new(text, reason);
    if text.len() != 21 || !text.is_ascii() {
        return Err(refuse("an OSI symbol has 21 characters: root padded to 6, YYMMDD, C or P, strike in 8 digits"));
    }
    let (root, tail) = text.split_at_checked(ROOT_MAX).ok_or_else(|| refuse("an OSI symbol has 21 characters"))?;
    let root = root.trim_end_matches(' ');
    if !is_root(root) {
        return Err(refuse("an OSI root is 1 to 6 capital letters and digits, padded on the right"));
    }
    let (expiration, option_type, strike) =
        split_tail(tail).ok_or_else(|| refuse("an OSI symbol has a date YYMMDD and C or P after its root"))?;
    if !strike.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("an OSI strike is 8 digits, in thousandths"));
    }
    let thousandths: i64 = strike.parse().map_err(|_| refuse("an OSI strike is 8 digits, in thousandths"))?;
    Ok((root, expiration, option_type, Decimal::new(thousandths, 3)))
}

/// Writes the 21 characters.
pub(crate) fn format(
    f: &mut fmt::Formatter<'_>,
    root: &str,
    expiration: Date,
    option_type: OptionType,
    strike: Decimal,
) -> fmt::Result {
    let thousandths = strike_thousandths(strike).ok_or(fmt::Error)?;
    write!(f, "{root:<6}{}{}{thousandths:08}", yymmdd(expiration), option_type.letter())
}

/// `YYMMDD` of a date in this century.
pub(crate) fn yymmdd(date: Date) -> impl fmt::Display {
    struct Yymmdd(Date);
    impl fmt::Display for Yymmdd {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:02}{:02}{:02}", self.0.year().rem_euclid(100), self.0.month(), self.0.day())
        }
    }
    Yymmdd(date)
}

fn parse_yymmdd(text: &str) -> Option<Date> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i32 = text.parse().ok()?;
    let year = i16::try_from(number / 10_000).ok()? + 2000;
    Date::new(year, i8::try_from(number / 100 % 100).ok()?, i8::try_from(number % 100).ok()?).ok()
}
