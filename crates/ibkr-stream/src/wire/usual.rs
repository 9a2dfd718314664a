//! Flat frames as the gateway writes them, market data above all: no blanks, no escapes, and values that are texts or
//! integers.
//!
//! Whatever deviates, be it broken or only unusual, is left as a whole to the reader of all JSON, to which
//! what is read here would be the same.

use broker_net::plain::Cursor;

use super::frame::Frame;
use super::incoming::{Cell, Draft, Incoming, Key, finish};
use super::number::Decorated;

/// What a frame says; `None` when it is not of this kind, and `frame` is of no use then.
pub(super) fn read(text: &str, frame: &mut Frame) -> Option<Incoming> {
    let mut cursor = Cursor::new(text);
    let mut draft = Draft::default();
    cursor.pass_byte(b'{')?;
    loop {
        let key = Key::from_name(cursor.text()?);
        cursor.pass_byte(b':')?;
        let is_text = cursor.peek()? == b'"';
        match key {
            Key::Args | Key::Error | Key::Message | Key::Success | Key::Heartbeat => return None,
            Key::Other if is_text => {
                cursor.text()?;
            }
            Key::Other => cursor.pass_number()?,
            _ => {
                let cell = Cell { key, draft: &mut draft, frame };
                let number = if let Key::Number(_) = key { Decorated::pass_usual(&mut cursor) } else { None };
                match number {
                    Some(number) => cell.number(Some(number)),
                    None if is_text => cell.text(cursor.text()?),
                    None => cell.integer(cursor.integer()?),
                }
            }
        }
        if cursor.pass_byte(b',').is_none() {
            break;
        }
    }
    cursor.pass_byte(b'}')?;
    cursor.is_at_end().then(|| finish(&draft, frame, text))
}

#[cfg(test)]
mod tests;
