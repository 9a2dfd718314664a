//! Futures, as far as options are written on them.

use std::fmt;

use crate::ContractError;
use crate::jiff::civil::Date;

/// A delivery month, written as its letter: F G H J K M N Q U V X Z for January to December.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonthCode(u8);

impl MonthCode {
    const LETTERS: [char; 12] = ['F', 'G', 'H', 'J', 'K', 'M', 'N', 'Q', 'U', 'V', 'X', 'Z'];

    /// From the exchanges' letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        let position = Self::LETTERS.iter().position(|l| *l == letter)?;
        Self::from_month(u8::try_from(position + 1).ok()?)
    }

    /// From the month, 1 to 12.
    #[must_use]
    pub const fn from_month(month: u8) -> Option<Self> {
        if month >= 1 && month <= 12 { Some(Self(month)) } else { None }
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.0
    }

    /// The exchanges' letter.
    #[must_use]
    pub fn letter(self) -> char {
        Self::LETTERS.get(usize::from(self.0) - 1).copied().unwrap_or('?')
    }
}

/// One future: exchange product code, delivery month and year. Its text form is the canonical symbol, `/ESZ26`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Future {
    product: Box<str>,
    month: MonthCode,
    year: u16,
}

impl Future {
    /// From the exchange's product code (`6E`, never a broker's alias such as `EUR`), month and full year.
    ///
    /// # Errors
    /// [`ContractError`] when the product is not 1 to 6 capital letters and digits, or the year not in 2000 to 2099.
    pub fn new(product: &str, month: MonthCode, year: u16) -> Result<Self, ContractError> {
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        if product.is_empty() || product.len() > 6 || !product.chars().all(allowed) {
            return Err(ContractError::new(product, "a product code is 1 to 6 capital letters and digits"));
        }
        if !(2000..=2099).contains(&year) {
            return Err(ContractError::new(product, "the year of a future lies in 2000 to 2099"));
        }
        Ok(Self { product: product.into(), month, year })
    }

    /// From an exchange symbol with a one- or two-digit year, with or without a leading slash: `ESZ6`, `/6EZ26`.
    ///
    /// Product codes may begin with or hold digits (`1EUZ6`, `D4AU5`), so the year and the month letter are taken from
    /// the end. One digit means the first year with that last digit which is not before `not_before`, for an option
    /// the year of its expiration.
    ///
    /// # Errors
    /// [`ContractError`] when the text has another shape.
    pub fn parse(text: &str, not_before: Date) -> Result<Self, ContractError> {
        let refuse = || ContractError::new(text, "a future is a product code, a month letter and one or two digits");
        let code = text.strip_prefix('/').unwrap_or(text);
        let (rest, last) = split_last(code).ok_or_else(refuse)?;
        let unit = digit(last).ok_or_else(refuse)?;
        let (rest, before) = split_last(rest).ok_or_else(refuse)?;
        let (product, letter, year) = match digit(before) {
            Some(ten) => {
                let (product, letter) = split_last(rest).ok_or_else(refuse)?;
                (product, letter, 2000 + ten * 10 + unit)
            }
            None => (rest, before, first_year_ending_in(unit, not_before)),
        };
        let month = MonthCode::from_letter(letter).ok_or_else(refuse)?;
        Self::new(product, month, year).map_err(|_| refuse())
    }

    /// The exchange's product code.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }

    /// The delivery month.
    #[must_use]
    pub const fn month(&self) -> MonthCode {
        self.month
    }

    /// The delivery year in full.
    #[must_use]
    pub const fn year(&self) -> u16 {
        self.year
    }
}

impl fmt::Display for Future {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}{}{:02}", self.product, self.month.letter(), self.year % 100)
    }
}

fn split_last(text: &str) -> Option<(&str, char)> {
    let mut chars = text.chars();
    let last = chars.next_back()?;
    Some((chars.as_str(), last))
}

fn digit(c: char) -> Option<u16> {
    c.to_digit(10).and_then(|d| u16::try_from(d).ok())
}

fn first_year_ending_in(unit: u16, not_before: Date) -> u16 {
    let start = u16::try_from(not_before.year()).unwrap_or(2000).max(2000);
    start + (10 + unit - start % 10) % 10
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jiff::civil::date;

    #[test]
    fn year_and_month_are_read_from_the_end() {
        let day = date(2026, 9, 18);
        for (text, product, letter, year) in [
            ("ESZ6", "ES", 'Z', 2026),
            ("/MNQZ26", "MNQ", 'Z', 2026),
            ("1EUZ6", "1EU", 'Z', 2026),
            ("6EZ6", "6E", 'Z', 2026),
            ("D4AU5", "D4A", 'U', 2035),
            ("E3AM6", "E3A", 'M', 2026),
            ("ZSF7", "ZS", 'F', 2027),
            ("10YX29", "10Y", 'X', 2029),
        ] {
            let future = Future::parse(text, day).unwrap();
            assert_eq!((future.product(), future.month().letter(), future.year()), (product, letter, year), "{text}");
        }
        assert_eq!(Future::parse("ESH0", date(2029, 12, 21)).unwrap().to_string(), "/ESH30");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "/", "6", "Z6", "26", "ESA6", "ES6", "ESZ", "esz6", "ES Z6", "ESZ126", "TOOLONGZ6", "ÉSZ6"] {
            assert!(Future::parse(text, date(2026, 1, 1)).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_symbol_reads_back(product in "[A-Z0-9]{1,6}", month in 1u8..=12, year in 2000u16..=2099) {
            let future = Future::new(&product, MonthCode::from_month(month).unwrap(), year).unwrap();
            prop_assert_eq!(Future::parse(&future.to_string(), date(2000, 1, 1)).unwrap(), future);
        }

        #[test]
        fn one_digit_year_is_never_before_and_within_ten(unit in 0u16..10, year in 2000i16..2089) {
            let found = first_year_ending_in(unit, date(year, 6, 1));
            let start = u16::try_from(year).unwrap();
            prop_assert!(found % 10 == unit && found >= start && found < start + 10);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,12}") {
            if let Ok(future) = Future::parse(&text, date(2026, 1, 1)) {
                prop_assert_eq!(Future::parse(&future.to_string(), date(2000, 1, 1)).unwrap(), future);
            }
        }
    }
}
