//! One FEED channel: its subscriptions, conflation, and the messages that carry its data.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::columns::{Column, negotiate, write_value};
use super::messages;
use crate::config::DxLinkConfig;
use crate::market::{Event, Hub, Kind, Stamp, SymbolId};

/// How events of one symbol replace each other (dxLink AsyncAPI, `FeedContract`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contract {
    /// Picked by event type: for Greeks, Quote and Trade that is [`Contract::Ticker`].
    Auto,
    /// The last value counts.
    Ticker,
    /// Each event counts.
    Stream,
}

impl Contract {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "AUTO" => Some(Self::Auto),
            "TICKER" => Some(Self::Ticker),
            "STREAM" => Some(Self::Stream),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Compact,
    Full,
}

impl Format {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Compact => "COMPACT",
            Self::Full => "FULL",
        }
    }
}

/// One message of data, with the events that it carries.
#[derive(Debug)]
pub(crate) struct DataMessage {
    pub(crate) text: String,
    pub(crate) events: Vec<Event>,
}

/// What a channel wants sent.
#[derive(Debug)]
pub(crate) enum Output {
    Text(String),
    Data(DataMessage),
}

/// A channel after CHANNEL_OPENED.
#[derive(Debug)]
pub(crate) struct Feed {
    channel: u64,
    contract: Contract,
    setup: Option<Setup>,
    subscriptions: [HashMap<SymbolId, Slot>; 3],
    /// Types without data here, and symbols the market has never heard of: legal, and silent.
    silent: HashSet<(String, String)>,
    /// Symbols with a pending value, in the order in which they became so.
    changed: Vec<(Kind, SymbolId)>,
    /// Events that must not be conflated.
    queue: Vec<Event>,
    /// Data that has not to wait is due since then.
    opened: Instant,
    flushed: Option<Instant>,
    pub(crate) conflated: u64,
}

#[derive(Debug)]
struct Setup {
    format: Format,
    period: Duration,
    fields: [Vec<(&'static str, Column)>; 3],
    announced: [bool; 3],
}

#[derive(Debug, Default)]
struct Slot {
    /// Of the newest event that was taken up.
    newest: Stamp,
    pending: Option<Event>,
    name: Option<Arc<str>>,
}

impl Feed {
    pub(crate) fn new(channel: u64, contract: Contract) -> Self {
        Self {
            channel,
            contract,
            setup: None,
            subscriptions: Default::default(),
            silent: HashSet::new(),
            changed: Vec::new(),
            queue: Vec::new(),
            opened: Instant::now(),
            flushed: None,
            conflated: 0,
        }
    }

    pub(crate) const fn contract(&self) -> Contract {
        self.contract
    }

    pub(crate) const fn is_set_up(&self) -> bool {
        self.setup.is_some()
    }

    /// Takes FEED_SETUP and answers with FEED_CONFIG; the field lists follow when they are needed.
    pub(crate) fn set_up(
        &mut self,
        format: Format,
        period: Duration,
        asked: &HashMap<String, Vec<String>>,
        config: &DxLinkConfig,
    ) -> String {
        let fields = Kind::ALL.map(|kind| negotiate(kind, asked.get(kind.name()).map(Vec::as_slice), config.columns));
        self.setup = Some(Setup { format, period, fields, announced: [false; 3] });
        messages::feed_config(self.channel, format.name(), period.as_secs_f64(), None)
    }

    pub(crate) fn reset(&mut self) {
        self.subscriptions = Default::default();
        self.silent.clear();
        self.changed.clear();
        self.queue.clear();
    }

    /// Begins with the last known value of the symbol, if there is one.
    pub(crate) fn add(&mut self, kind: &str, symbol: &str, hub: &Hub) {
        let known = Kind::from_name(kind).and_then(|kind| Some((kind, hub.intern(symbol)?)));
        let Some((kind, id)) = known else {
            self.silent.insert((kind.to_owned(), symbol.to_owned()));
            return;
        };
        let Some(slots) = self.subscriptions.get_mut(kind as usize) else { return };
        slots.entry(id).or_insert_with(|| Slot { name: hub.name(id), ..Slot::default() });
        if let Some(event) = hub.last(id, kind) {
            self.offer(&event);
        }
    }

    pub(crate) fn remove(&mut self, kind: &str, symbol: &str, hub: &Hub) {
        let known = Kind::from_name(kind).and_then(|kind| Some((kind, hub.lookup(symbol)?)));
        if let Some((kind, id)) = known
            && let Some(slots) = self.subscriptions.get_mut(kind as usize)
        {
            slots.remove(&id);
            self.changed.retain(|(changed_kind, changed)| (*changed_kind, *changed) != (kind, id));
            self.queue.retain(|event| (event.kind(), event.symbol) != (kind, id));
        }
        self.silent.remove(&(kind.to_owned(), symbol.to_owned()));
    }

    /// Subscriptions of all types, the silent ones included.
    pub(crate) fn len(&self) -> usize {
        self.silent.len() + self.subscriptions.iter().map(HashMap::len).sum::<usize>()
    }

    pub(crate) fn greeks_subscribed(&self) -> usize {
        self.subscriptions.get(Kind::Greeks as usize).map_or(0, HashMap::len)
    }

    /// Takes an event up if the channel subscribes to it and has nothing newer.
    pub(crate) fn offer(&mut self, event: &Event) {
        let kind = event.kind();
        let Some(slot) = self.subscriptions.get_mut(kind as usize).and_then(|slots| slots.get_mut(&event.symbol))
        else {
            return;
        };
        if event.stamp <= slot.newest {
            return;
        }
        slot.newest = event.stamp;
        let each_counts =
            self.contract == Contract::Stream || self.setup.as_ref().is_some_and(|setup| setup.period.is_zero());
        if each_counts {
            self.queue.push(*event);
        } else if slot.pending.replace(*event).is_some() {
            self.conflated += 1;
        } else {
            self.changed.push((kind, event.symbol));
        }
    }

    /// After the bus has overrun this connection: the newest value of every symbol stands for what was missed.
    pub(crate) fn catch_up(&mut self, hub: &Hub) {
        let subscribed: Vec<(Kind, SymbolId)> = Kind::ALL
            .into_iter()
            .zip(&self.subscriptions)
            .flat_map(|(kind, slots)| slots.keys().map(move |id| (kind, *id)))
            .collect();
        for (kind, id) in subscribed {
            if let Some(event) = hub.last(id, kind) {
                self.offer(&event);
            }
        }
    }

    /// When the next data is due; `None` while there is nothing to send.
    pub(crate) fn due(&self) -> Option<Instant> {
        let setup = self.setup.as_ref()?;
        if self.queue.is_empty() && self.changed.is_empty() {
            return None;
        }
        Some(match self.flushed {
            Some(flushed) if self.contract != Contract::Stream => flushed + setup.period,
            _ => self.opened,
        })
    }

    /// Appends the messages that are due.
    pub(crate) fn flush(&mut self, now: Instant, max_rows: usize, out: &mut Vec<Output>) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.flushed = Some(now);
        let mut events = std::mem::take(&mut self.queue);
        for (kind, id) in std::mem::take(&mut self.changed) {
            let slot = self.subscriptions.get_mut(kind as usize).and_then(|slots| slots.get_mut(&id));
            events.extend(slot.and_then(|slot| slot.pending.take()));
        }
        // Rows of a type stand together; the sort is stable, so a symbol's events keep their order.
        events.sort_by_key(|event| event.kind() as usize);
        for rows in events.chunks(max_rows.max(1)) {
            self.announce(rows, out);
            if let Some(text) = self.encode(rows) {
                out.push(Output::Data(DataMessage { text, events: rows.to_vec() }));
            }
        }
    }

    /// FEED_CONFIG with the field list of each type, once, before its first data.
    fn announce(&mut self, rows: &[Event], out: &mut Vec<Output>) {
        let Some(setup) = self.setup.as_mut() else { return };
        for kind in Kind::ALL {
            let (Some(announced), Some(fields)) =
                (setup.announced.get_mut(kind as usize), setup.fields.get(kind as usize))
            else {
                continue;
            };
            if !*announced && rows.iter().any(|event| event.kind() == kind) {
                *announced = true;
                let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                let period = setup.period.as_secs_f64();
                let fields = Some((kind.name(), names.as_slice()));
                out.push(Output::Text(messages::feed_config(self.channel, setup.format.name(), period, fields)));
            }
        }
    }

    fn encode(&self, rows: &[Event]) -> Option<String> {
        let setup = self.setup.as_ref()?;
        let mut text = Vec::with_capacity(64 + rows.len() * 200);
        text.extend_from_slice(b"{\"type\":\"FEED_DATA\",\"channel\":");
        text.extend_from_slice(self.channel.to_string().as_bytes());
        text.extend_from_slice(b",\"data\":[");
        let mut current = None;
        for event in rows {
            let kind = event.kind();
            let symbol = self.subscriptions.get(kind as usize)?.get(&event.symbol)?.name.as_deref()?;
            let fields = setup.fields.get(kind as usize)?;
            let first_of_kind = current != Some(kind);
            match (setup.format, first_of_kind, current.is_none()) {
                (Format::Compact, true, first) => {
                    text.extend_from_slice(if first { b"\"" } else { b"],\"" });
                    text.extend_from_slice(kind.name().as_bytes());
                    text.extend_from_slice(b"\",[");
                }
                (Format::Compact, false, _) | (Format::Full, _, false) => text.push(b','),
                (Format::Full, _, true) => {}
            }
            current = Some(kind);
            if setup.format == Format::Full {
                text.push(b'{');
            }
            for (place, (name, column)) in fields.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                if setup.format == Format::Full {
                    text.push(b'"');
                    text.extend_from_slice(name.as_bytes());
                    text.extend_from_slice(b"\":");
                }
                write_value(&mut text, *column, event, symbol);
            }
            if setup.format == Format::Full {
                text.push(b'}');
            }
        }
        text.extend_from_slice(if setup.format == Format::Compact { b"]]}" } else { b"]}" });
        String::from_utf8(text).ok()
    }
}
