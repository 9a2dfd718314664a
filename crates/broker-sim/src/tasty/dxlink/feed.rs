//! One FEED channel: its subscriptions, conflation, and the messages that carry its data.

mod encode;
mod trouble;

pub(super) use trouble::garbage;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::encode::Style;
use super::columns::{Column, negotiate};
use super::messages;
use crate::config::{ColumnOrder, DataFormat};
use crate::market::{Body, Event, Hub, Kind, Stamp, SymbolId};
use crate::tasty::faults::{FeedFaults, hits};

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
    /// The first half of this, then a reset.
    Cut(String),
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
    /// Data messages and Greeks rows so far, for what is wrong with every n-th.
    messages: u64,
    greeks: u64,
    rng: fastrand::Rng,
    pub(crate) conflated: u64,
}

#[derive(Debug)]
struct Setup {
    format: DataFormat,
    period: Duration,
    asked: [Option<Vec<String>>; 3],
    fields: [Vec<(&'static str, Column)>; 3],
    announced: [bool; 3],
    /// FEED_SETUP has been answered.
    answered: bool,
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
            messages: 0,
            greeks: 0,
            rng: fastrand::Rng::with_seed(channel),
            conflated: 0,
        }
    }

    pub(crate) const fn contract(&self) -> Contract {
        self.contract
    }

    pub(crate) const fn is_set_up(&self) -> bool {
        self.setup.is_some()
    }

    /// Takes FEED_SETUP and answers with FEED_CONFIG, unless that is to be late; the field lists follow when they are
    /// needed.
    pub(crate) fn set_up(
        &mut self,
        format: DataFormat,
        period: Duration,
        asked: &HashMap<String, Vec<String>>,
        order: ColumnOrder,
        late: bool,
    ) -> Option<String> {
        let asked = Kind::ALL.map(|kind| asked.get(kind.name()).cloned());
        let fields = settle(&asked, order);
        let setup = Setup { format, period, asked, fields, announced: [false; 3], answered: !late };
        let config = setup.config(self.channel, &[]);
        self.setup = Some(setup);
        (!late).then_some(config)
    }

    /// Takes other columns, and says so.
    pub(crate) fn reorder(&mut self, order: ColumnOrder, out: &mut Vec<Output>) {
        if let Some(setup) = self.setup.as_mut() {
            setup.fields = settle(&setup.asked, order);
            setup.announced = [true; 3];
            out.push(Output::Text(setup.config(self.channel, &Kind::ALL)));
        }
    }

    /// Takes another format, and may say so.
    pub(crate) fn switch(&mut self, format: DataFormat, announced: bool, out: &mut Vec<Output>) {
        if let Some(setup) = self.setup.as_mut() {
            setup.format = format;
            if announced {
                out.push(Output::Text(setup.config(self.channel, &[])));
            }
        }
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
    pub(crate) fn flush(&mut self, now: Instant, max_rows: usize, faults: &FeedFaults, out: &mut Vec<Output>) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.flushed = Some(now);
        let mut events = std::mem::take(&mut self.queue);
        for (kind, id) in std::mem::take(&mut self.changed) {
            let slot = self.subscriptions.get_mut(kind as usize).and_then(|slots| slots.get_mut(&id));
            events.extend(slot.and_then(|slot| slot.pending.take()));
        }
        if !faults.mute.is_empty() {
            events.retain(|event| self.name(event).is_none_or(|name| !faults.mute.contains(name)));
        }
        // Rows of a type stand together; the sort is stable, so a symbol's events keep their order.
        events.sort_by_key(|event| event.kind() as usize);
        if faults.mix_types {
            events = mixed(&events);
        }
        for rows in events.chunks(max_rows.max(1)) {
            self.write(rows.to_vec(), faults, out);
        }
    }

    /// One message of at least so many bytes, with new values for every symbol of Greeks that has one. What waits goes
    /// before it.
    pub(crate) fn burst(&mut self, bytes: usize, hub: &Hub, faults: &FeedFaults, out: &mut Vec<Output>) {
        self.flushed = None;
        self.flush(Instant::now(), usize::MAX, faults, out);
        let Some(slots) = self.subscriptions.get(Kind::Greeks as usize) else { return };
        let muted = |slot: &Slot| slot.name.as_deref().is_some_and(|name| faults.mute.contains(name));
        let known = slots.iter().filter(|(_, slot)| !muted(slot));
        let mut round: Vec<Event> = known.filter_map(|(id, _)| hub.last(*id, Kind::Greeks)).collect();
        // Rows are of about the same length: one round of all symbols tells how many rounds it takes.
        let size = self.encode(self.channel, &round, Style::of(faults)).map_or(0, |text| text.len());
        let rounds = if round.is_empty() { 0 } else { bytes / size.max(1) + bytes / size.max(1) / 20 + 2 };
        let mut rows = Vec::with_capacity(rounds * round.len());
        for _ in 0..rounds {
            for event in &mut round {
                let slot =
                    self.subscriptions.get_mut(Kind::Greeks as usize).and_then(|slots| slots.get_mut(&event.symbol));
                let Some(slot) = slot else { continue };
                slot.newest = slot.newest.max(event.stamp).next(event.stamp.time);
                event.stamp = slot.newest;
                if let Body::Greeks(values) = &mut event.body {
                    values.price += 0.001;
                }
                rows.push(*event);
            }
        }
        if !rows.is_empty() {
            self.write(rows, faults, out);
        }
    }

    /// One data message, with everything that is wrong around it.
    fn write(&mut self, mut rows: Vec<Event>, faults: &FeedFaults, out: &mut Vec<Output>) {
        self.messages += 1;
        self.announce(&rows, out);
        self.reconfigure(&rows, faults, out);
        for event in &mut rows {
            if let Body::Greeks(values) = &mut event.body {
                self.greeks += 1;
                for substitute in faults.substitutes.iter().filter(|one| hits(Some(one.every), self.greeks)) {
                    substitute.figure.set(values, substitute.value);
                }
            }
        }
        let mut style = Style::of(faults);
        if hits(faults.garbage_every, self.messages) {
            let turn = usize::try_from(self.messages).unwrap_or(0);
            let turn = faults.garbage_every.map_or(turn, |every| turn / every.get() as usize);
            out.push(Output::Text(trouble::garbage(self.channel, turn)));
        }
        let compact = self.setup.as_ref().is_some_and(|setup| setup.format == DataFormat::Compact);
        if compact && hits(faults.ragged_every, self.messages) {
            let ragged = self.encode(self.channel, &trouble::poisoned(&rows), Style { short: true, ..style });
            out.extend(ragged.map(Output::Text));
        }
        if hits(faults.noise_every, self.messages) {
            out.extend(trouble::noise(self.channel).map(Output::Text));
            let foreign = self.encode(trouble::NOBODYS_CHANNEL, &trouble::poisoned(&rows), style);
            out.extend(foreign.map(Output::Text));
            style.noisy = true;
        }
        if let Some(text) = self.encode(self.channel, &rows, style) {
            out.push(Output::Data(DataMessage { text, events: rows }));
        }
    }

    /// FEED_CONFIG with the field list of each type, once, before its first data.
    fn announce(&mut self, rows: &[Event], out: &mut Vec<Output>) {
        let Some(setup) = self.setup.as_mut() else { return };
        if !std::mem::replace(&mut setup.answered, true) {
            out.push(Output::Text(setup.config(self.channel, &[])));
        }
        for kind in Kind::ALL {
            let due = rows.iter().any(|event| event.kind() == kind);
            if let Some(announced) = setup.announced.get_mut(kind as usize).filter(|announced| due && !**announced) {
                *announced = true;
                out.push(Output::Text(setup.config(self.channel, &[kind])));
            }
        }
    }

    /// Other columns and another format, as often as asked for.
    fn reconfigure(&mut self, rows: &[Event], faults: &FeedFaults, out: &mut Vec<Output>) {
        let Some(setup) = self.setup.as_mut() else { return };
        if hits(faults.reorder_every, self.messages) {
            for kind in Kind::ALL.into_iter().filter(|kind| rows.iter().any(|event| event.kind() == *kind)) {
                if let Some(fields) = setup.fields.get_mut(kind as usize) {
                    self.rng.shuffle(fields);
                }
                out.push(Output::Text(setup.config(self.channel, &[kind])));
            }
            out.push(Output::Text(setup.config(self.channel, &[])));
        }
        if hits(faults.switch_format_every, self.messages) {
            let format = match setup.format {
                DataFormat::Compact => DataFormat::Full,
                DataFormat::Full => DataFormat::Compact,
            };
            self.switch(format, faults.announce_switch, out);
        }
    }

    fn name(&self, event: &Event) -> Option<&str> {
        self.subscriptions.get(event.kind() as usize)?.get(&event.symbol)?.name.as_deref()
    }

    fn encode(&self, channel: u64, rows: &[Event], style: Style) -> Option<String> {
        let setup = self.setup.as_ref()?;
        let rows: Option<Vec<_>> = rows.iter().map(|event| Some((*event, self.name(event)?))).collect();
        encode::message(channel, setup.format, &setup.fields, &rows?, style)
    }
}

impl Setup {
    /// FEED_CONFIG with the field lists of these types.
    fn config(&self, channel: u64, kinds: &[Kind]) -> String {
        let names = |kind: &Kind| {
            let fields = self.fields.get(*kind as usize)?;
            Some((kind.name(), fields.iter().map(|(name, _)| *name).collect()))
        };
        let fields: Vec<_> = kinds.iter().filter_map(names).collect();
        messages::feed_config(channel, self.format.name(), self.period.as_secs_f64(), &fields)
    }
}

fn settle(asked: &[Option<Vec<String>>; 3], order: ColumnOrder) -> [Vec<(&'static str, Column)>; 3] {
    Kind::ALL.map(|kind| negotiate(kind, asked.get(kind as usize).and_then(Option::as_deref), order))
}

/// Alternates between the types, a few rows of each at a time.
fn mixed(events: &[Event]) -> Vec<Event> {
    let mut kinds: Vec<_> = events.chunk_by(|a, b| a.kind() == b.kind()).map(<[Event]>::iter).collect();
    let mut mixed = Vec::with_capacity(events.len());
    while mixed.len() < events.len() {
        for kind in &mut kinds {
            mixed.extend(kind.by_ref().take(2));
        }
    }
    mixed
}
