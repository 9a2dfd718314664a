//! What decoding needs to know and where it puts what it finds.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use serde_json::value::RawValue;

use super::event::{EventKind, NumberField, Numbers};
use super::layout::{ChannelLayouts, Layout};

/// The most rows one message may hold. A message of the largest accepted size holds fewer unless its rows are shorter
/// than any real event; the limit bounds memory, not traffic.
pub(crate) const MAX_ROWS: usize = 1 << 18;

/// Room for rows that is kept between messages.
const KEPT_ROWS: usize = 1 << 14;

/// The number of a symbol within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SymbolId(u32);

impl SymbolId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a symbol names; decides which events about it make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Option,
    Underlying,
    /// Quoted like an underlying; nobody waits for it.
    Benchmark,
}

/// Streamer symbols and their numbers. A row is attributed without a `String`.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// What is subscribed gets in, never what a frame names: a fast hash will do.
    ids: FxHashMap<Box<str>, SymbolId>,
    all: Vec<(Box<str>, Role)>,
}

impl Symbols {
    /// The number of `text`, given on first sight; the first role stays.
    pub(crate) fn intern(&mut self, text: &str, role: Role) -> SymbolId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = SymbolId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push((text.into(), role));
        self.ids.insert(text.into(), id);
        id
    }

    pub(crate) fn find(&self, text: &str) -> Option<SymbolId> {
        self.ids.get(text).copied()
    }

    pub(crate) fn text(&self, id: SymbolId) -> &str {
        self.all.get(id.index()).map_or("", |(text, _)| text)
    }

    pub(crate) fn role(&self, id: SymbolId) -> Option<Role> {
        self.all.get(id.index()).map(|(_, role)| *role)
    }
}

/// One decoded event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) kind: EventKind,
    pub(crate) symbol: SymbolId,
    /// Milliseconds since the epoch; 0 when the server has none.
    pub(crate) time: i64,
    pub(crate) numbers: Numbers,
    /// The event's fields as one JSON object, only when asked for.
    pub(crate) payload: Option<Box<str>>,
}

/// What one message held that gave no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Events about symbols never subscribed, or of a type that makes no sense for their symbol.
    pub(crate) unknown_symbols: u64,
    /// Values of no known form; they read as unknown.
    pub(crate) odd_values: u64,
    /// Runs of events of types this client does not read.
    pub(crate) unknown_types: u64,
    /// Events that take a former event back (`REMOVE_EVENT`); they hold no values.
    pub(crate) removals: u64,
    /// Messages for channels that are not open.
    pub(crate) unknown_channels: u64,
}

/// The decoder's state: symbols, layouts per channel, and the rows of the message at hand.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) symbols: Symbols,
    pub(crate) channels: Vec<ChannelLayouts>,
    /// The doubles that a FEED_CONFIG has ever named, on whichever channel.
    pub(crate) negotiated: Vec<(EventKind, NumberField)>,
    pub(crate) rows: Vec<Row>,
    pub(crate) tally: Tally,
    pub(crate) keep_payload: bool,
}

impl Feed {
    /// Opens a channel with the layouts that will be asked for.
    pub(crate) fn open(&mut self, channel: u64) {
        self.close(channel);
        self.channels.push(ChannelLayouts::requested(channel));
    }

    /// Forgets a channel: data in flight for it is skipped.
    pub(crate) fn close(&mut self, channel: u64) {
        self.channels.retain(|layouts| layouts.number != channel);
    }

    /// Takes over the fields a FEED_CONFIG names; types it leaves out keep what they have. A field that is named no more is
    /// unknown from now on, which differs from one that never was. Returns how many entries could not be used.
    pub(crate) fn configure(&mut self, channel: u64, event_fields: &RawValue) -> u32 {
        let Some(layouts) = self.channels.iter_mut().find(|layouts| layouts.number == channel) else {
            return 0;
        };
        if event_fields.get() == "null" {
            return 0;
        }
        let Ok(by_type) = serde_json::from_str::<HashMap<String, &RawValue>>(event_fields.get()) else {
            return 1;
        };
        let mut unusable = 0;
        for (name, fields) in by_type {
            let Some(kind) = EventKind::from_name(&name) else { continue };
            let names: Vec<String> = serde_json::from_str(fields.get()).unwrap_or_default();
            match Layout::negotiated(names.iter().map(String::as_str)) {
                Some(mut layout) => {
                    layout.follow(self.negotiated.iter().filter(|(of, _)| *of == kind).map(|(_, field)| *field));
                    let new = layout.numbers().map(|field| (kind, field));
                    let new: Vec<_> = new.filter(|named| !self.negotiated.contains(named)).collect();
                    self.negotiated.extend(new);
                    layouts.set(kind, layout);
                }
                None => unusable += 1,
            }
        }
        unusable
    }

    /// Drops the rows of the last message, and the room for them when it was an unusual one.
    pub(crate) fn clear_rows(&mut self) {
        self.rows.clear();
        if self.rows.capacity() > KEPT_ROWS {
            self.rows.shrink_to(KEPT_ROWS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::super::tests::{bits, configure, feed};
    use super::*;

    /// A FEED_CONFIG that lists the symbol and these fields of Greeks.
    fn list(feed: &mut Feed, channel: u64, fields: &str) {
        let text = format!(
            r#"{{"type":"FEED_CONFIG","channel":{channel},"eventFields":{{"Greeks":["eventSymbol"{fields}]}}}}"#
        );
        assert_eq!(configure(feed, &text), 0);
    }

    /// The delta, gamma and vega of the one row in `data`, by each reader.
    fn read_row(feed: &mut Feed, channel: u64, data: &str) -> [Option<u64>; 3] {
        let usual = format!(r#"{{"type":"FEED_DATA","channel":{channel},"data":{data}}}"#);
        let turned = format!(r#"{{"data":{data},"channel":{channel},"type":"FEED_DATA"}}"#);
        let mut all = Vec::new();
        for (text, keep_payload) in [(&usual, false), (&usual, true), (&turned, false)] {
            feed.clear_rows();
            feed.keep_payload = keep_payload;
            read(text, feed).unwrap();
            let [(_, _, _, numbers)] = &bits(&feed.rows)[..] else { panic!("{:?}", feed.rows) };
            all.push([numbers[2], numbers[3], numbers[6]]);
        }
        feed.keep_payload = false;
        assert!(all.iter().all(|numbers| *numbers == all[0]), "{all:?}");
        all[0]
    }

    #[test]
    fn a_field_that_is_listed_no_more_is_unknown_and_one_that_never_was_is_absent() {
        const UNKNOWN: Option<u64> = Some(u64::MAX);
        let known = |value: f64| Some(value.to_bits());
        let mut feed = feed();
        list(&mut feed, 1, r#","delta","gamma""#);
        let compact = read_row(&mut feed, 1, r#"["Greeks",[".A",0.5,0.25]]"#);
        assert_eq!(compact, [known(0.5), known(0.25), None]);
        list(&mut feed, 1, r#","delta""#);
        let compact = read_row(&mut feed, 1, r#"["Greeks",[".A",0.5]]"#);
        assert_eq!(compact, [known(0.5), UNKNOWN, None]);
        let full = read_row(&mut feed, 1, r#"[{"eventType":"Greeks","eventSymbol":".A","delta":0.5}]"#);
        assert_eq!(full, [known(0.5), UNKNOWN, None]);
        // As unlisted as before, and there all the same.
        let full = read_row(&mut feed, 1, r#"[{"eventType":"Greeks","eventSymbol":".A","delta":0.5,"gamma":0.75}]"#);
        assert_eq!(full, [known(0.5), known(0.75), None]);
        // The channel closes and opens again under another number.
        feed.close(1);
        feed.open(5);
        list(&mut feed, 5, r#","vega""#);
        assert_eq!(read_row(&mut feed, 5, r#"["Greeks",[".A",0.125]]"#), [UNKNOWN, UNKNOWN, known(0.125)]);
        list(&mut feed, 5, r#","vega","gamma","delta""#);
        let again = read_row(&mut feed, 5, r#"["Greeks",[".A",0.125,0.25,0.5]]"#);
        assert_eq!(again, [known(0.5), known(0.25), known(0.125)]);
    }
}
