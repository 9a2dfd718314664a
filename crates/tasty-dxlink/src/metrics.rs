//! Names of the metrics this crate emits, their meaning, and the counters of one source.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::wire::{Defect, EventKind, Tally};

/// Counts what was received: events by kind, `control` messages, and `account` messages of the account streamer. Labels: `source`, `kind`.
pub const MESSAGES_RECEIVED: &str = "greekd_messages_received_total";
/// Counts what could not be used, or not fully. Labels: `source`, `reason`.
pub const DECODE_ERRORS: &str = "greekd_decode_errors_total";
/// Counts connections to the account streamer that were lost or could not be made, under the reason
/// `account_streamer`; whoever runs sessions counts theirs under other reasons. Labels: `source`, `reason`.
pub const RECONNECTS: &str = "greekd_reconnects_total";
/// Subscriptions by state: `wanted`, `sent`, `silent`. Labels: `source`, `state`.
pub const SUBSCRIPTIONS: &str = "greekd_subscriptions";

/// Every `reason` of [`DECODE_ERRORS`].
const REASONS: [&str; 13] = [
    "malformed",
    "shape",
    "ragged_rows",
    "misaligned",
    "too_many_rows",
    "binary",
    "unknown_symbol",
    "odd_value",
    "unknown_type",
    "removal",
    "unknown_channel",
    "account_unknown_type",
    "account_malformed",
];

/// Tells the installed recorder what the metrics mean.
pub fn describe() {
    describe_counter!(MESSAGES_RECEIVED, Unit::Count, "What a source has sent, by kind");
    describe_counter!(DECODE_ERRORS, Unit::Count, "What a source has sent that could not be used, or not fully");
    describe_gauge!(SUBSCRIPTIONS, Unit::Count, "Instruments wanted, subscribed to, and of these heard or silent");
}

/// Handles, resolved once: recording is one atomic operation.
#[derive(Debug)]
pub(crate) struct Meter {
    source: String,
    greeks: Counter,
    quote: Counter,
    trade: Counter,
    control: Counter,
    account: Counter,
    account_losses: Counter,
    wanted: Gauge,
    sent: Gauge,
    silent: Gauge,
}

impl Meter {
    pub(crate) fn new(source: &str) -> Self {
        let received = |kind: &'static str| counter!(MESSAGES_RECEIVED, "source" => source.to_owned(), "kind" => kind);
        let subscriptions =
            |state: &'static str| gauge!(SUBSCRIPTIONS, "source" => source.to_owned(), "state" => state);
        let meter = Self {
            greeks: received(EventKind::Greeks.label()),
            quote: received(EventKind::Quote.label()),
            trade: received(EventKind::Trade.label()),
            control: received("control"),
            account: received("account"),
            account_losses: counter!(RECONNECTS, "source" => source.to_owned(), "reason" => "account_streamer"),
            wanted: subscriptions("wanted"),
            sent: subscriptions("sent"),
            silent: subscriptions("silent"),
            source: source.to_owned(),
        };
        // Of a counter that appears with its first count, Prometheus never sees the increase.
        REASONS.into_iter().for_each(|reason| meter.errors(reason, 0));
        meter
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

    /// A message of the account streamer, with what in it was of no known type or form.
    pub(crate) fn account(&self, unknown: u64, malformed: u64) {
        self.account.increment(1);
        for (reason, count) in [("account_unknown_type", unknown), ("account_malformed", malformed)] {
            if count > 0 {
                self.errors(reason, count);
            }
        }
    }

    pub(crate) fn account_lost(&self) {
        self.account_losses.increment(1);
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
