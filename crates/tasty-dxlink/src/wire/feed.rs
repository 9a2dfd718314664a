//! What decoding needs to know and where it puts what it finds.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use serde_json::value::RawValue;

use super::event::{EventKind, Numbers};
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

    /// Takes over the fields a FEED_CONFIG names; types it leaves out keep what they have. Returns how many entries
    /// could not be used.
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
                Some(layout) => layouts.set(kind, layout),
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
