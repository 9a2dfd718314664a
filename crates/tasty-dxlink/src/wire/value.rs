//! One value of an event: what the wire may hold where a number, a time or a symbol is due.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::event::{Column, EventKind, Numbers};
use super::feed::{SymbolId, Symbols};
use super::incoming::Defect;

/// An event while its values are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) event_type: TypeSeen,
    pub(crate) symbol: SymbolSeen,
    /// Milliseconds since the epoch; 0 when the server has none.
    pub(crate) time: i64,
    pub(crate) event_flags: i64,
    pub(crate) numbers: Numbers,
    /// Values that were of no known form; they read as unknown.
    pub(crate) odd_values: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeSeen {
    No,
    Known(EventKind),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolSeen {
    No,
    Known(SymbolId),
    Other,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            event_type: TypeSeen::No,
            symbol: SymbolSeen::No,
            time: 0,
            event_flags: 0,
            numbers: Numbers::default(),
            odd_values: 0,
        }
    }
}

/// Reads one value into its place in a [`Draft`].
pub(crate) struct Cell<'a> {
    pub(crate) column: Column,
    pub(crate) draft: &'a mut Draft,
    pub(crate) symbols: &'a Symbols,
    pub(crate) defect: &'a mut Option<Defect>,
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.column {
            Column::Unused => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl Cell<'_> {
    fn number(self, value: f64) {
        match self.column {
            Column::Number(field) => *self.draft.numbers.field_mut(field) = Some(value),
            // A whole number may be written as 1.7e12.
            Column::Time => self.draft.time = whole(value).unwrap_or_default(),
            Column::EventFlags => self.draft.event_flags = whole(value).unwrap_or_default(),
            Column::EventType | Column::EventSymbol | Column::Unused => {}
        }
    }

    fn integer(self, value: i64) {
        match self.column {
            Column::Time => self.draft.time = value,
            Column::EventFlags => self.draft.event_flags = value,
            _ => self.number(value as f64),
        }
    }

    /// A value of a form that cannot be this field: unknown, unless the row loses its identity by it.
    fn odd<E: Error>(self) -> Result<(), E> {
        self.draft.odd_values = self.draft.odd_values.saturating_add(1);
        self.absent()
    }

    fn absent<E: Error>(self) -> Result<(), E> {
        match self.column {
            Column::EventSymbol => self.misaligned(),
            Column::Number(field) => {
                *self.draft.numbers.field_mut(field) = Some(f64::NAN);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where a symbol is due stands something else: the row is not what its layout says.
    fn misaligned<E: Error>(self) -> Result<(), E> {
        *self.defect = Some(Defect::Misaligned);
        Err(E::custom("misaligned row"))
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of an event")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.column {
            Column::EventSymbol => {
                self.draft.symbol = self.symbols.find(text).map_or(SymbolSeen::Other, SymbolSeen::Known);
            }
            Column::EventType => {
                self.draft.event_type = EventKind::from_name(text).map_or(TypeSeen::Other, TypeSeen::Known);
            }
            Column::Number(_) => match double_from_text(text) {
                Some(value) => self.number(value),
                None => return self.odd(),
            },
            Column::Time | Column::EventFlags => match text.parse() {
                Ok(value) => self.integer(value),
                Err(_) => return self.odd(),
            },
            Column::Unused => {}
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if self.column == Column::EventSymbol {
            return self.misaligned();
        }
        self.number(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        if self.column == Column::EventSymbol {
            return self.misaligned();
        }
        self.integer(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.absent()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.odd()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.odd()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.odd()
    }
}

/// The specification's three words for doubles that JSON cannot write, and, leniently, a number in quotes.
fn double_from_text(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// A double that holds a whole number exactly.
// Within 2^53 every whole double converts to i64 without loss.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_in_quotes_are_read() {
        assert!(double_from_text("NaN").is_some_and(f64::is_nan));
        assert_eq!(double_from_text("Infinity"), Some(f64::INFINITY));
        assert_eq!(double_from_text("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(double_from_text("0.25"), Some(0.25));
        assert_eq!(double_from_text("n/a"), None);
    }

    #[test]
    fn whole_numbers_only() {
        assert_eq!(whole(1.7e12), Some(1_700_000_000_000));
        assert_eq!(whole(1.5), None);
        assert_eq!(whole(1e300), None);
        assert_eq!(whole(f64::NAN), None);
    }
}
