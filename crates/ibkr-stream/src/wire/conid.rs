//! The number IBKR gives a contract.

use std::fmt;

use broker_net::plain::Cursor;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A contract's number at IBKR, positive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Conid(i64);

impl Conid {
    /// `None` for zero and less, which no contract has.
    pub(crate) const fn new(number: i64) -> Option<Self> {
        if number > 0 { Some(Self(number)) } else { None }
    }

    /// From `265598` or, with the exchange it is routed to, `265598@NYSE`.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut cursor = Cursor::new(text.trim_ascii());
        let number = cursor.integer()?;
        matches!(cursor.peek(), None | Some(b'@')).then(|| Self::new(number)).flatten()
    }

    #[cfg(test)]
    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Conid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Conid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number or a number in quotes: IBKR writes both, `portfolio2` for instance the latter.
impl<'de> Deserialize<'de> for Conid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Conid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a contract")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Conid, E> {
                Conid::new(number).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Conid, E> {
                let conid = i64::try_from(number).ok().and_then(Conid::new);
                conid.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Conid, E> {
                Conid::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_numbers_with_or_without_an_exchange() {
        assert_eq!(Conid::from_text("265598").map(Conid::get), Some(265_598));
        assert_eq!(Conid::from_text(" 265598@NYSE ").map(Conid::get), Some(265_598));
        for text in ["", "@NYSE", "0", "007", "-1", "+1", "1.0", "AAPL", "99999999999999999999"] {
            assert_eq!(Conid::from_text(text), None, "{text}");
        }
        assert_eq!((Conid::new(0), Conid::new(-5)), (None, None));
    }

    #[test]
    fn reads_from_a_json_number_and_from_text() {
        for json in ["265598", "\"265598\"", "\"265598@SMART\""] {
            assert_eq!(serde_json::from_str::<Conid>(json).unwrap().get(), 265_598, "{json}");
        }
        for json in ["0", "-1", "1.5", "null", "\"\"", "[1]", "18446744073709551615"] {
            assert!(serde_json::from_str::<Conid>(json).is_err(), "{json}");
        }
    }
}
