//! FEED_DATA in both formats, and every legal way to write it.

use super::super::columns::{Column, write_value};
use crate::config::DataFormat;
use crate::market::{Event, Kind};
use crate::tasty::faults::{Escapes, FeedFaults};

/// How a message is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) escapes: Escapes,
    pub(crate) whole_numbers: bool,
    /// `data` first and `type` last; fields of FULL rows in changing order.
    pub(crate) shuffle_keys: bool,
    /// With an event type and fields that nobody knows.
    pub(crate) noisy: bool,
    /// The last row of a COMPACT message lacks its last value.
    pub(crate) short: bool,
}

impl Style {
    pub(crate) const fn of(faults: &FeedFaults) -> Self {
        Self {
            escapes: faults.escapes,
            whole_numbers: faults.whole_numbers,
            shuffle_keys: faults.shuffle_keys,
            noisy: false,
            short: false,
        }
    }
}

type Fields = [Vec<(&'static str, Column)>; 3];

/// One FEED_DATA with these rows and their symbols. Rows of a type that stand together become one array.
pub(super) fn message(
    channel: u64,
    format: DataFormat,
    fields: &Fields,
    rows: &[(Event, &str)],
    style: Style,
) -> Option<String> {
    let mut text = Vec::with_capacity(128 + rows.len() * 200);
    let head = format!("\"type\":\"FEED_DATA\",\"channel\":{channel}");
    text.push(b'{');
    if !style.shuffle_keys {
        text.extend_from_slice(head.as_bytes());
        text.push(b',');
    }
    text.extend_from_slice(b"\"data\":[");
    match format {
        DataFormat::Compact => compact(&mut text, fields, rows, style),
        DataFormat::Full => full(&mut text, fields, rows, style),
    }
    text.push(b']');
    if style.noisy {
        text.extend_from_slice(b",\"sideband\":{\"type\":\"KEEPALIVE\",\"data\":[[1],null]}");
    }
    if style.shuffle_keys {
        let tail = format!(",\"channel\":{channel},\"type\":\"FEED_DATA\"");
        text.extend_from_slice(tail.as_bytes());
    }
    text.push(b'}');
    String::from_utf8(text).ok()
}

fn columns(fields: &Fields, kind: Kind) -> &[(&'static str, Column)] {
    fields.get(kind as usize).map_or(&[], Vec::as_slice)
}

fn compact(text: &mut Vec<u8>, fields: &Fields, rows: &[(Event, &str)], style: Style) {
    if style.noisy {
        text.extend_from_slice(b"\"Weather\",[\"Weather\",\"SPX\",[1,2],{\"rain\":null},true]");
    }
    let mut current = None;
    for (place, (event, symbol)) in rows.iter().enumerate() {
        let kind = event.kind();
        if current == Some(kind) {
            text.push(b',');
        } else {
            if current.is_some() {
                text.push(b']');
            }
            if current.is_some() || style.noisy {
                text.push(b',');
            }
            text.extend_from_slice(format!("\"{}\",[", kind.name()).as_bytes());
            current = Some(kind);
        }
        let columns = columns(fields, kind);
        let left_out = usize::from(style.short && place + 1 == rows.len());
        for (place, (_, column)) in columns.iter().take(columns.len().saturating_sub(left_out)).enumerate() {
            if place > 0 {
                text.push(b',');
            }
            write_value(text, *column, event, symbol, style);
        }
    }
    if current.is_some() {
        text.push(b']');
    }
}

fn full(text: &mut Vec<u8>, fields: &Fields, rows: &[(Event, &str)], style: Style) {
    if style.noisy {
        text.extend_from_slice(b"{\"eventType\":\"Weather\",\"eventSymbol\":\"SPX\",\"rain\":{\"mm\":[1]}},");
    }
    for (row, (event, symbol)) in rows.iter().enumerate() {
        text.extend_from_slice(if row > 0 { b",{" } else { b"{" });
        if style.noisy {
            text.extend_from_slice(b"\"mood\":[\"calm\",{\"delta\":9}],");
        }
        let columns = columns(fields, event.kind());
        let turn = if style.shuffle_keys { row % columns.len().max(1) } else { 0 };
        for (place, (name, column)) in columns.iter().cycle().skip(turn).take(columns.len()).enumerate() {
            if place > 0 {
                text.push(b',');
            }
            text.extend_from_slice(format!("\"{name}\":").as_bytes());
            write_value(text, *column, event, symbol, style);
        }
        text.push(b'}');
    }
}
