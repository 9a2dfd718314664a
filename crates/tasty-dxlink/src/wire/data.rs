//! The `data` of FEED_DATA, in one pass and without allocation per event.
//!
//! COMPACT: `["Greeks",[v,v,v,...],"Quote",[v,v,...]]`, type names each followed by one flat array of rows. FULL: an
//! array of objects. Which of the two is told by the elements themselves, since servers have switched format in the
//! middle of a session; several types per message are legal (dxLink AsyncAPI, FeedData).

use std::fmt;
use std::mem;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{Column, EventKind};
use super::feed::{MAX_ROWS, Role, Row, Symbols, Tally};
use super::incoming::Defect;
use super::layout::{ChannelLayouts, Layout};
use super::value::{Cell, Draft, SymbolSeen, TypeSeen};

/// `REMOVE_EVENT` of dxFeed's event flags. The others (`TX_PENDING` and the snapshot marks) say how events belong
/// together; each such event still holds a value that the broker sent.
const REMOVE_EVENT: i64 = 2;

/// Where rows go while one message is read.
pub(crate) struct Reader<'a> {
    pub(crate) layouts: &'a ChannelLayouts,
    pub(crate) symbols: &'a Symbols,
    pub(crate) rows: &'a mut Vec<Row>,
    pub(crate) tally: &'a mut Tally,
    pub(crate) defect: &'a mut Option<Defect>,
    pub(crate) keep_payload: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element_seed(Element(self))? {
            let known = match element {
                Seen::Event => continue,
                Seen::TypeName(kind) => kind,
            };
            let values = match known {
                Some(kind) => seq.next_element_seed(Rows { reader: self, kind })?,
                None => {
                    self.tally.unknown_types += 1;
                    seq.next_element::<IgnoredAny>()?.map(|_| ())
                }
            };
            if values.is_none() {
                return Err(self.broken(Defect::Shape));
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn broken<E: Error>(&mut self, defect: Defect) -> E {
        *self.defect = Some(defect);
        E::custom(defect.label())
    }

    /// An error of a value that was read again from its text.
    fn inner<E: Error>(&mut self, error: &serde_json::Error) -> E {
        self.defect.get_or_insert(Defect::of(error));
        E::custom("unreadable value")
    }

    /// Takes a finished event, or counts why it gives no row.
    pub(super) fn finish<E: Error>(
        &mut self,
        kind: EventKind,
        mut draft: Draft,
        payload: Option<Box<str>>,
    ) -> Result<(), E> {
        self.tally.odd_values += u64::from(draft.odd_values);
        let symbol = match draft.symbol {
            SymbolSeen::Known(symbol) => symbol,
            SymbolSeen::Other => {
                self.tally.unknown_symbols += 1;
                return Ok(());
            }
            SymbolSeen::No => return Err(self.broken(Defect::Misaligned)),
        };
        if kind == EventKind::Greeks && self.symbols.role(symbol) != Some(Role::Option) {
            self.tally.unknown_symbols += 1;
            return Ok(());
        }
        if draft.event_flags & REMOVE_EVENT != 0 {
            self.tally.removals += 1;
            return Ok(());
        }
        if self.rows.len() >= MAX_ROWS {
            return Err(self.broken(Defect::TooManyRows));
        }
        for field in self.layouts.of(kind).lost() {
            draft.numbers.field_mut(*field).get_or_insert(f64::NAN);
        }
        self.rows.push(Row { kind, symbol, time: draft.time, numbers: draft.numbers, payload });
        Ok(())
    }
}

/// An element of `data`.
enum Seen {
    TypeName(Option<EventKind>),
    Event,
}

struct Element<'r, 'a>(&'r mut Reader<'a>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        if self.0.keep_payload {
            // The text of an event is needed beside its values; a type name is read again from its text.
            let raw = <&RawValue>::deserialize(deserializer)?;
            if raw.get().starts_with('{') {
                let event = Event { reader: &mut *self.0, payload: Some(raw.get()) };
                return reread(raw.get(), event).map_err(|error| self.0.inner(&error)).map(|()| Seen::Event);
            }
            let name = Element(&mut *self.0);
            return reread(raw.get(), name).map_err(|error| self.0.inner(&error));
        }
        deserializer.deserialize_any(self)
    }
}

/// Reads a value again from its text.
fn reread<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, serde_json::Error> {
    serde_json::Deserializer::from_str(text).deserialize_any(visitor)
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event type or an event")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Seen, E> {
        Ok(Seen::TypeName(EventKind::from_name(name)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Seen, A::Error> {
        Event { reader: self.0, payload: None }.visit_map(map).map(|()| Seen::Event)
    }
}

/// One event of FULL format. Its type may stand anywhere among its fields.
struct Event<'r, 'a, 'p> {
    reader: &'r mut Reader<'a>,
    payload: Option<&'p str>,
}

impl<'de> Visitor<'de> for Event<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, payload } = self;
        let mut draft = Draft::new();
        while let Some(column) = map.next_key_seed(FieldName)? {
            let symbols = reader.symbols;
            map.next_value_seed(Cell { column, draft: &mut draft, symbols, defect: reader.defect })?;
        }
        match draft.event_type {
            TypeSeen::Known(kind) => {
                // Empty fields are left out of FULL events: what was negotiated and is not here is unknown.
                for field in reader.layouts.of(kind).numbers() {
                    draft.numbers.field_mut(field).get_or_insert(f64::NAN);
                }
                reader.finish(kind, draft, payload.map(Into::into))
            }
            TypeSeen::Other => {
                reader.tally.unknown_types += 1;
                Ok(())
            }
            TypeSeen::No => Err(reader.broken(Defect::Shape)),
        }
    }
}

/// The name of a field.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Column;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Column, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Column;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Column, E> {
        Ok(Column::from_name(name))
    }
}

/// The flat array of rows of one type.
struct Rows<'r, 'a> {
    reader: &'r mut Reader<'a>,
    kind: EventKind,
}

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat array of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { reader, kind } = self;
        let layout = reader.layouts.of(kind);
        let mut text = String::new();
        loop {
            let mut draft = Draft::new();
            let whole = if reader.keep_payload {
                read_row_with_text(&mut seq, layout, &mut draft, reader, &mut text)?
            } else {
                read_row(&mut seq, layout, &mut draft, reader)?
            };
            match whole {
                Extent::End => return Ok(()),
                // Values left over: the rows are not as wide as agreed, and no value can be trusted.
                Extent::Part => return Err(reader.broken(Defect::RaggedRows)),
                Extent::Row => {}
            }
            if !matches!(draft.event_type, TypeSeen::No) && draft.event_type != TypeSeen::Known(kind) {
                return Err(reader.broken(Defect::Misaligned));
            }
            let payload = reader.keep_payload.then(|| mem::take(&mut text).into_boxed_str());
            reader.finish(kind, draft, payload)?;
        }
    }
}

/// How much of a row was there.
enum Extent {
    Row,
    Part,
    End,
}

fn read_row<'de, A: SeqAccess<'de>>(
    seq: &mut A,
    layout: &Layout,
    draft: &mut Draft,
    reader: &mut Reader<'_>,
) -> Result<Extent, A::Error> {
    for (i, named) in layout.columns().iter().enumerate() {
        let cell = Cell { column: named.column, draft, symbols: reader.symbols, defect: reader.defect };
        if seq.next_element_seed(cell)?.is_none() {
            return Ok(if i == 0 { Extent::End } else { Extent::Part });
        }
    }
    Ok(Extent::Row)
}

/// As [`read_row`], keeping the text of each value under its name.
fn read_row_with_text<'de, A: SeqAccess<'de>>(
    seq: &mut A,
    layout: &Layout,
    draft: &mut Draft,
    reader: &mut Reader<'_>,
    text: &mut String,
) -> Result<Extent, A::Error> {
    text.clear();
    for (i, named) in layout.columns().iter().enumerate() {
        let Some(raw) = seq.next_element::<&RawValue>()? else {
            return Ok(if i == 0 { Extent::End } else { Extent::Part });
        };
        text.push(if i == 0 { '{' } else { ',' });
        text.push_str(&named.key);
        text.push_str(raw.get());
        let cell = Cell { column: named.column, draft, symbols: reader.symbols, defect: reader.defect };
        let mut json = serde_json::Deserializer::from_str(raw.get());
        cell.deserialize(&mut json).map_err(|error| reader.inner(&error))?;
    }
    text.push('}');
    Ok(Extent::Row)
}
