//! FEED_DATA in COMPACT format as servers write it: these keys in this order, no blanks, no escapes, and in each column
//! a value of its usual kind.
//!
//! That is nearly all traffic. Whatever deviates, be it broken or only unusual, is left as a whole to the reader of all
//! JSON, to which what is read here would give the same rows.

use broker_net::plain::Cursor;

use super::data::Reader;
use super::event::{Column, EventKind};
use super::feed::{Feed, Symbols};
use super::layout::Layout;
use super::value::{Draft, SymbolSeen, TypeSeen};

/// Appends the rows of a message to those of `feed` and gives its channel; or changes nothing.
pub(super) fn read(text: &str, feed: &mut Feed) -> Option<u64> {
    if feed.keep_payload {
        return None;
    }
    let (rows, tally) = (feed.rows.len(), feed.tally);
    let channel = message(Cursor::new(text), feed);
    if channel.is_none() {
        feed.rows.truncate(rows);
        feed.tally = tally;
    }
    channel
}

fn message(mut cursor: Cursor<'_>, feed: &mut Feed) -> Option<u64> {
    cursor.pass(br#"{"type":"FEED_DATA","channel":"#)?;
    let channel = u64::try_from(cursor.integer()?).ok()?;
    cursor.pass(br#","data":["#)?;
    let Feed { symbols, channels, rows, tally, keep_payload, .. } = feed;
    let layouts = channels.iter().find(|layouts| layouts.number == channel)?;
    let mut defect = None;
    let mut reader = Reader { layouts, symbols, rows, tally, defect: &mut defect, keep_payload: *keep_payload };
    loop {
        let kind = EventKind::from_name(cursor.text()?)?;
        cursor.pass(b",[")?;
        rows_of(&mut cursor, kind, &mut reader)?;
        if cursor.pass_byte(b',').is_none() {
            break;
        }
    }
    cursor.pass(b"]}")?;
    cursor.is_at_end().then_some(channel)
}

/// The rows of one type and the bracket behind them.
fn rows_of(cursor: &mut Cursor<'_>, kind: EventKind, reader: &mut Reader<'_>) -> Option<()> {
    let layout = reader.layouts.of(kind);
    loop {
        let draft = row(cursor, kind, layout, reader.symbols)?;
        reader.finish::<serde_json::Error>(kind, draft, None).ok()?;
        if cursor.pass_byte(b',').is_none() {
            return cursor.pass_byte(b']');
        }
    }
}

fn row(cursor: &mut Cursor<'_>, kind: EventKind, layout: &Layout, symbols: &Symbols) -> Option<Draft> {
    let mut draft = Draft::new();
    for (i, named) in layout.columns().iter().enumerate() {
        if i > 0 {
            cursor.pass_byte(b',')?;
        }
        match named.column {
            Column::EventType => {
                draft.event_type = TypeSeen::Known(EventKind::from_name(cursor.text()?).filter(|it| *it == kind)?);
            }
            Column::EventSymbol => {
                draft.symbol = symbols.find(cursor.text()?).map_or(SymbolSeen::Other, SymbolSeen::Known);
            }
            Column::Time => draft.time = cursor.integer()?,
            Column::EventFlags => draft.event_flags = cursor.integer()?,
            Column::Number(field) => *draft.numbers.field_mut(field) = Some(double(cursor)?),
            Column::Unused => cursor.pass_number()?,
        }
    }
    Some(draft)
}

/// A number, or the word for an unknown one.
fn double(cursor: &mut Cursor<'_>) -> Option<f64> {
    match cursor.peek()? {
        b'"' => cursor.pass(br#""NaN""#).map(|()| f64::NAN),
        _ => cursor.double(),
    }
}

#[cfg(test)]
mod tests;
