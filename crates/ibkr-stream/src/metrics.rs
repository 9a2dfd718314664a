//! Names of the metrics this crate emits, and the counters of one source.

use metrics::{Counter, Gauge, counter, gauge};

use crate::session::{Counts, Received, Tally};

/// Counts what was received, by kind: `market_data`, `heartbeat`, `control`. Labels: `source`, `kind`.
pub const MESSAGES_RECEIVED: &str = "greekd_messages_received_total";
/// Counts what could not be used, or not fully. Labels: `source`, `reason`.
pub const DECODE_ERRORS: &str = "greekd_decode_errors_total";
/// Subscriptions by state: `wanted`, `sent`, `live`, `silent`. Labels: `source`, `state`.
pub const SUBSCRIPTIONS: &str = "greekd_subscriptions";

/// Handles, resolved once: recording is one atomic operation.
#[derive(Debug)]
pub(crate) struct Meter {
    source: String,
    market_data: Counter,
    heartbeat: Counter,
    control: Counter,
    wanted: Gauge,
    sent: Gauge,
    live: Gauge,
    silent: Gauge,
}

impl Meter {
    pub(crate) fn new(source: &str) -> Self {
        let received = |kind: &'static str| counter!(MESSAGES_RECEIVED, "source" => source.to_owned(), "kind" => kind);
        let subscriptions =
            |state: &'static str| gauge!(SUBSCRIPTIONS, "source" => source.to_owned(), "state" => state);
        Self {
            market_data: received("market_data"),
            heartbeat: received("heartbeat"),
            control: received("control"),
            wanted: subscriptions("wanted"),
            sent: subscriptions("sent"),
            live: subscriptions("live"),
            silent: subscriptions("silent"),
            source: source.to_owned(),
        }
    }

    pub(crate) fn received(&self, received: Received) {
        match received {
            Received::Data => self.market_data.increment(1),
            Received::Heartbeat => self.heartbeat.increment(1),
            Received::Control => self.control.increment(1),
            Received::Dropped(defect) => self.errors(defect.label(), 1),
        }
    }

    pub(crate) fn tally(&self, tally: Tally) {
        for (reason, count) in [
            ("odd_value", tally.odd_values),
            ("unknown_contract", tally.unknown_contracts),
            ("unknown_topic", tally.unknown_topics),
            ("error_frame", tally.errors),
        ] {
            if count > 0 {
                self.errors(reason, count);
            }
        }
    }

    pub(crate) fn errors(&self, reason: &'static str, count: u64) {
        counter!(DECODE_ERRORS, "source" => self.source.clone(), "reason" => reason).increment(count);
    }

    pub(crate) fn subscriptions(&self, counts: Counts) {
        self.wanted.set(counts.wanted as f64);
        self.sent.set(counts.sent as f64);
        self.live.set(counts.live as f64);
        self.silent.set(counts.silent as f64);
    }
}
