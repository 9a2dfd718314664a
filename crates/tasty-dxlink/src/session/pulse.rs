//! Whether a channel that has brought events still does.
//!
//! KEEPALIVE belongs to the connection, not to a channel: a feed that has stopped looks like a market that rests. What
//! tells them apart is to ask. The first event after a subscription is the last known one, at any hour, so one symbol that
//! has had an event is taken off the channel and put on it again. A channel that does not answer to that is dead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use greeks_model::UnixNanos;

use super::subscriptions::{Item, Subscriptions};
use crate::wire::{Row, SymbolId};

/// Between the removal of the symbol and its return: long enough for the server to have let go of it.
const PAUSE: Duration = Duration::from_secs(1);

/// How far the question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Not asked.
    None,
    /// The removal of this waits to be sent.
    Leaving(Item),
    Away {
        item: Item,
        back_at: Instant,
    },
    /// The return of this waits to be sent.
    Returning(Item),
    Asked {
        item: Item,
        due: Instant,
    },
}

impl Probe {
    const fn item(self) -> Option<Item> {
        match self {
            Self::None => None,
            Self::Leaving(item) | Self::Away { item, .. } | Self::Returning(item) | Self::Asked { item, .. } => {
                Some(item)
            }
        }
    }
}

/// The events of a channel, as far as they tell whether it lives.
#[derive(Clone, Copy, Debug)]
struct Beat {
    first: Instant,
    /// The last one that did not answer a question.
    flow: Instant,
    last: Instant,
    last_at: UnixNanos,
    last_item: Item,
}

/// The watch over one channel. One without any event is not judged: nothing may be known of what is subscribed there.
#[derive(Debug)]
pub(super) struct Pulse {
    quiet_after: Duration,
    answer_within: Duration,
    /// Which kinds of events each symbol has had, as bits, by [`SymbolId`].
    heard: Vec<u8>,
    beat: Option<Beat>,
    probe: Probe,
    /// When to ask, if nothing comes before.
    ask_at: Instant,
    /// Whether this side did not read at the last look.
    paused: bool,
}

impl Pulse {
    pub(super) const fn new(quiet_after: Duration, answer_within: Duration, now: Instant) -> Self {
        Self {
            quiet_after,
            answer_within,
            heard: Vec::new(),
            beat: None,
            probe: Probe::None,
            ask_at: now,
            paused: false,
        }
    }

    /// Takes the rows of one message.
    pub(super) fn rows(&mut self, rows: &[Row], now: Instant, at: UnixNanos, subscriptions: &mut Subscriptions) {
        let Some(last) = rows.last() else { return };
        for row in rows {
            let index = row.symbol.index();
            if self.heard.len() <= index {
                self.heard.resize(index + 1, 0);
            }
            if let Some(kinds) = self.heard.get_mut(index) {
                *kinds |= row.kind.bit();
            }
        }
        let answers = matches!(self.probe, Probe::Asked { .. });
        let former = self.beat.map_or((now, now), |beat| (beat.first, if answers { beat.flow } else { now }));
        let (first, flow) = former;
        self.beat = Some(Beat { first, flow, last: now, last_at: at, last_item: (last.kind, last.symbol) });
        self.rest(now, subscriptions);
    }

    /// Does what is due; gives for how long nothing has come when the channel has not answered.
    pub(super) fn tick(&mut self, now: Instant, reading: bool, subscriptions: &mut Subscriptions) -> Option<Duration> {
        let beat = self.beat?;
        // Events may wait unread: the server gets its whole time again.
        if !reading || self.paused {
            self.ask_at = now + self.quiet_after;
            if let Probe::Asked { due, .. } = &mut self.probe {
                *due = now + self.answer_within;
            }
        }
        self.paused = !reading;
        match self.probe {
            Probe::None if now >= self.ask_at => {
                match self.known(beat.last_item, subscriptions) {
                    Some(item) => {
                        self.probe = Probe::Leaving(item);
                        subscriptions.withhold(Some(item));
                    }
                    // Nothing that must answer is subscribed.
                    None => self.ask_at = now + PAUSE,
                }
                None
            }
            Probe::Away { item, back_at } if now >= back_at => {
                self.probe = Probe::Returning(item);
                subscriptions.withhold(None);
                None
            }
            Probe::Asked { due, .. } if now >= due => Some(now.saturating_duration_since(beat.last)),
            _ => None,
        }
    }

    /// A message with changes of subscriptions has gone out.
    pub(super) fn sent(&mut self, now: Instant, subscriptions: &Subscriptions) {
        match self.probe {
            Probe::Leaving(item) if !subscriptions.sent().contains(&item) => {
                self.probe = Probe::Away { item, back_at: now + PAUSE };
            }
            Probe::Returning(item) if subscriptions.sent().contains(&item) => {
                self.probe = Probe::Asked { item, due: now + self.answer_within };
            }
            _ => {}
        }
    }

    /// Something else is wanted: a symbol that is not any more, or has expired since it was heard, owes no answer.
    pub(super) fn wanted(&mut self, now: Instant, subscriptions: &mut Subscriptions, expired: &BTreeSet<SymbolId>) {
        for symbol in expired {
            if let Some(kinds) = self.heard.get_mut(symbol.index()) {
                *kinds = 0;
            }
        }
        if self.probe.item().is_some_and(|item| !subscriptions.wants(item) || expired.contains(&item.1)) {
            subscriptions.withhold(None);
            (self.probe, self.ask_at) = (Probe::None, now);
        }
    }

    /// The channel is gone, and with it what was asked there.
    pub(super) fn forget(&mut self, subscriptions: &mut Subscriptions) {
        subscriptions.withhold(None);
        (self.beat, self.probe) = (None, Probe::None);
        self.heard.clear();
    }

    /// When [`Pulse::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.beat?;
        match self.probe {
            Probe::None => Some(self.ask_at),
            Probe::Away { back_at, .. } => Some(back_at),
            Probe::Asked { due, .. } => Some(due),
            Probe::Leaving(_) | Probe::Returning(_) => None,
        }
    }

    /// When the last event came, by the wall clock.
    pub(super) fn last_at(&self) -> Option<UnixNanos> {
        self.beat.map(|beat| beat.last_at)
    }

    /// From the first event to the last that did not answer a question.
    pub(super) fn came_for(&self) -> Duration {
        self.beat.map_or(Duration::ZERO, |beat| beat.flow.saturating_duration_since(beat.first))
    }

    fn rest(&mut self, now: Instant, subscriptions: &mut Subscriptions) {
        self.ask_at = now + self.quiet_after;
        if self.probe != Probe::None {
            self.probe = Probe::None;
            subscriptions.withhold(None);
        }
    }

    /// Something subscribed whose last event is known: best the latest one.
    fn known(&self, latest: Item, subscriptions: &Subscriptions) -> Option<Item> {
        let is_heard = |(kind, symbol): Item| self.heard.get(symbol.index()).is_some_and(|it| it & kind.bit() != 0);
        let mut known = std::iter::once(latest).chain(subscriptions.sent().iter().copied());
        known.find(|item| is_heard(*item) && subscriptions.wants(*item) && subscriptions.sent().contains(item))
    }
}
