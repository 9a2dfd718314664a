//! Names of the metrics this crate emits, and the counters of one source.

use metrics::{Counter, Gauge, counter, gauge};

use crate::wire::{Defect, EventKind, Tally};

/// Counts what was received: events by kind, and `control` messages. Labels: `source`, `kind`.
pub const MESSAGES_RECEIVED: &str = "greekd_messages_received_total";
/// Counts what could not be used, or not fully. Labels: `source`, `reason`.
pub const DECODE_ERRORS: &str = "greekd_decode_errors_total";
/// Subscriptions by state: `wanted`, `sent`, `silent`. Labels: `source`, `state`.
pub const SUBSCRIPTIONS: &str = "greekd_subscriptions";

/// Handles, resolved once: recording is one atomic operation.
#[derive(Debug)]
pub(crate) struct Meter {
    source: String,
    greeks: Counter,
    quote: Counter,
    trade: Counter,
    control: Counter,
    wanted: Gauge,
    sent: Gauge,
    silent: Gauge,
}

impl Meter {
    pub(crate) fn new(source: &str) -> Self {
        let received = |kind: &'static str| counter!(MESSAGES_RECEIVED, "source" => source.to_owned(), "kind" => kind);
        let subscriptions =
            |state: &'static str| gauge!(SUBSCRIPTIONS, "source" => source.to_owned(), "state" => state);
        Self {
            greeks: received(EventKind::Greeks.label()),
            quote: received(EventKind::Quote.label()),
            trade: received(EventKind::Trade.label()),
            control: received("control"),
            wanted: subscriptions("wanted"),
            sent: subscriptions("sent"),
            silent: subscriptions("silent"),
            source: source.to_owned(),
        }
    }

    pub(crate) fn events(&self, kind: EventKind, count: u64) {
        match kind {
            EventKind::Greeks => self.greeks.increment(count),
            EventKind::Quote => self.quote.increment(count),
            EventKind::Trade => self.trade.increment(count),
        }
    }

    pub(crate) fn control(&self) {
        self.control.increment(1);
    }

    pub(crate) fn dropped(&self, defect: Defect) {
        self.errors(defect.label(), 1);
    }

    pub(crate) fn tally(&self, tally: Tally) {
        for (reason, count) in [
            ("unknown_symbol", tally.unknown_symbols),
            ("odd_value", tally.odd_values),
            ("unknown_type", tally.unknown_types),
            ("removal", tally.removals),
            ("unknown_channel", tally.unknown_channels),
        ] {
            if count > 0 {
                self.errors(reason, count);
            }
        }
    }

    pub(crate) fn errors(&self, reason: &'static str, count: u64) {
        counter!(DECODE_ERRORS, "source" => self.source.clone(), "reason" => reason).increment(count);
    }

    pub(crate) fn subscriptions(&self, wanted: usize, sent: usize, silent: usize) {
        self.wanted.set(wanted as f64);
        self.sent.set(sent as f64);
        self.silent.set(silent as f64);
    }
}
