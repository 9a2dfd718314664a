//! Names of the metrics this crate emits, their meaning, and the counters of one source.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::session::{Counts, Received, Tally};

/// Counts what was received, by kind: `market_data`, `heartbeat`, `control`. Labels: `source`, `kind`.
pub const MESSAGES_RECEIVED: &str = "greekd_messages_received_total";
/// Counts what could not be used, or not fully. Labels: `source`, `reason`.
pub const DECODE_ERRORS: &str = "greekd_decode_errors_total";
/// Subscriptions by state: `wanted`, `sent`, `live`, `silent`. Labels: `source`, `state`.
pub const SUBSCRIPTIONS: &str = "greekd_subscriptions";

/// Every `reason` of [`DECODE_ERRORS`].
const REASONS: [&str; 6] = ["malformed", "shape", "odd_value", "unknown_contract", "unknown_topic", "error_frame"];

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
        let meter = Self {
            market_data: received("market_data"),
            heartbeat: received("heartbeat"),
            control: received("control"),
            wanted: subscriptions("wanted"),
            sent: subscriptions("sent"),
            live: subscriptions("live"),
            silent: subscriptions("silent"),
            source: source.to_owned(),
        };
        // Of a counter that appears with its first count, Prometheus never sees the increase.
        REASONS.into_iter().for_each(|reason| meter.errors(reason, 0));
        meter
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
