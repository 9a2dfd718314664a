//! What was accepted last for each contract in each account: tells duplicates, late rows and the first row of an epoch.

use std::collections::HashMap;
use std::mem;

use greeks_model::{AccountId, Flags, GreekSnapshot, InstrumentId, UnixNanos};

use super::quotes::Known;

/// Where a line is kept; stays valid for the life of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineId(usize);

/// One line per (account, contract), kept when the position is closed: it may be opened again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    lines: Vec<Line>,
    ids: HashMap<(AccountId, InstrumentId), LineId>,
}

/// So many rows of a line, beside the last one, are known again when they are late.
const EARLIER: usize = 4;

#[derive(Debug, Default)]
struct Line {
    /// What the last accepted row that was not late can be known by; `None` when the broker gave it no time: identical
    /// values without a time are two events.
    last: Option<Fingerprint>,
    /// Rows before it and late ones, in the order in which they came: each takes the place of the one longest there.
    earlier: [Option<Fingerprint>; EARLIER],
    next_place: usize,
    /// The greatest `event_time` accepted.
    newest: Option<UnixNanos>,
    /// The epoch of the last accepted row, 0 for one of an earlier process.
    epoch: u64,
}

/// What an event can be known by when it is sent again: its time and the values the source sent.
#[derive(Clone, Copy, Debug)]
struct Fingerprint {
    /// Microseconds, since that is what the database gives back when the memory is seeded from it.
    given_micros: i64,
    value_bits: [Option<u64>; 7],
    /// Of a stored row in which some Greeks are not the source's; which ones it does not say.
    partly_computed: bool,
}

/// How many of the values are Greeks; they come first, and nothing else is ever computed.
const GREEKS: usize = 5;

impl Fingerprint {
    fn of(row: &GreekSnapshot, given: Option<UnixNanos>) -> Option<Self> {
        let value_bits = row.broker_values().map(|value| value.map(f64::to_bits));
        let partly_computed = row.flags.contains(Flags::COMPUTED);
        given.map(|given| Self { given_micros: given.as_micros(), value_bits, partly_computed })
    }

    /// Whether a row with this fingerprint, made of the values in `known`, is the same event as this one. A Greek that
    /// the source has not sent says nothing against it where the stored one may have been computed.
    fn is_that_of(&self, row: &Self, known: &Known) -> bool {
        let values = self.value_bits.iter().zip(&row.value_bits).zip(&known.values).enumerate();
        let excused = |place: usize, sent: &Option<f64>| self.partly_computed && place < GREEKS && sent.is_none();
        self.given_micros == row.given_micros
            && values.into_iter().all(|(place, ((mine, its), sent))| mine == its || excused(place, sent))
    }
}

impl Memory {
    pub(super) fn line(&mut self, account: &AccountId, instrument: InstrumentId) -> LineId {
        *self.ids.entry((account.clone(), instrument)).or_insert_with(|| {
            self.lines.push(Line::default());
            LineId(self.lines.len() - 1)
        })
    }

    /// Takes over a row that was accepted by an earlier process.
    pub(super) fn seed(&mut self, line: LineId, row: &GreekSnapshot) {
        // The broker's own time is lost when it was substituted: such a row cannot be known again.
        let given = (!row.flags.contains(Flags::EVENT_TIME_SUBSTITUTED)).then_some(row.event_time);
        if let Some(line) = self.lines.get_mut(line.0) {
            line.remember(Fingerprint::of(row, given), row.event_time, 0);
        }
    }

    /// The row accepted last was given up after all: nothing is known of the line, and its next row begins anew.
    pub(super) fn forget(&mut self, line: LineId) {
        if let Some(line) = self.lines.get_mut(line.0) {
            (line.last, line.earlier, line.epoch) = (None, [None; EARLIER], 0);
        }
    }

    /// Decides whether `row`, made of the values in `known` and nothing computed, is accepted; if so, sets what follows
    /// from its place in the series and remembers it.
    pub(super) fn accept(
        &mut self,
        line: LineId,
        row: &mut GreekSnapshot,
        known: &Known,
        given: Option<UnixNanos>,
        epoch: u64,
    ) -> bool {
        let Some(line) = self.lines.get_mut(line.0) else { return false };
        let fingerprint = Fingerprint::of(row, given);
        let late = line.is_late(row.event_time);
        let alike = |earlier: &Fingerprint| fingerprint.is_some_and(|this| earlier.is_that_of(&this, known));
        // Values may come back at one and the same time: only what is older is sought among all that is remembered.
        let again = if late { line.earlier.iter().flatten().any(alike) } else { line.last.as_ref().is_some_and(alike) };
        if again {
            return false;
        }
        if late {
            row.flags |= Flags::LATE;
        }
        if line.epoch != epoch {
            row.flags |= Flags::FIRST_AFTER_CONNECT;
        }
        line.remember(fingerprint, row.event_time, epoch);
        true
    }
}

impl Line {
    fn is_late(&self, event_time: UnixNanos) -> bool {
        self.newest.is_some_and(|newest| event_time.as_micros() < newest.as_micros())
    }

    fn remember(&mut self, fingerprint: Option<Fingerprint>, event_time: UnixNanos, epoch: u64) {
        // A late row leaves the last one in its place: after a reconnect that may be told once more.
        let moved = if self.is_late(event_time) { fingerprint } else { mem::replace(&mut self.last, fingerprint) };
        if moved.is_some()
            && let Some(place) = self.earlier.get_mut(self.next_place)
        {
            *place = moved;
            self.next_place = (self.next_place + 1) % EARLIER;
        }
        self.newest = self.newest.max(Some(event_time));
        self.epoch = epoch;
    }
}
