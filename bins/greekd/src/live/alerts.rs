//! What a person should know of now. Pure: what is observed in, what begins and ends out.

use std::collections::BTreeMap;
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_server::{Alert, AlertKind, Time};
use greeks_store::JournalFull;

/// A session that ends is mostly followed by the next within seconds.
const DOWN_AFTER: Duration = Duration::from_secs(10);
/// A source that has not streamed yet has a gateway to find, a session to open and positions to read.
const FIRST_AFTER: Duration = Duration::from_secs(30);
/// Share of the journal's quota at which the alert begins, and below which it ends.
const JOURNAL: (f64, f64) = (0.5, 0.4);

/// Everything alerts are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) sources: Vec<ObservedSource>,
    /// p95 and its limit, while the promise is broken.
    pub(crate) slo: Option<(Duration, Duration)>,
    /// Records that the database refused in the last day.
    pub(crate) quarantined: u64,
    /// Rows in the default partition.
    pub(crate) default_rows: u64,
    /// Of the journal's quota.
    pub(crate) journal_share: f64,
    /// Why the journal gives up new rows, if it does.
    pub(crate) journal_full: Option<JournalFull>,
}

#[derive(Clone, Debug)]
pub(crate) struct ObservedSource {
    pub(crate) name: String,
    pub(crate) streams: bool,
    /// Whether it has streamed before.
    pub(crate) has_streamed: bool,
    /// Whether it is to stream.
    pub(crate) wanted: bool,
    pub(crate) since: UnixNanos,
    pub(crate) reason: Option<String>,
    /// Positions without a row for too long although their market is open.
    pub(crate) overdue: u32,
}

/// The alerts that go on.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    active: BTreeMap<(&'static str, Option<String>), Alert>,
}

impl Alerts {
    /// Compares with what was observed before: returns the alerts that have begun, and those that have ended.
    pub(crate) fn look(&mut self, observed: &Observed, now: UnixNanos) -> Vec<Alert> {
        let mut found: Vec<(AlertKind, Option<String>, String)> = Vec::new();
        for source in &observed.sources {
            let name = Some(source.name.clone());
            let patience = if source.has_streamed { DOWN_AFTER } else { FIRST_AFTER };
            if source.wanted && !source.streams && now.saturating_since(source.since) >= patience {
                let reason = source.reason.as_deref().unwrap_or("no session could be opened yet");
                found.push((AlertKind::SourceDown, name.clone(), format!("{} does not stream: {reason}", source.name)));
            }
            if source.streams && source.overdue > 0 {
                let message = format!(
                    "{} positions at {} are without a new value although their market is open",
                    source.overdue, source.name
                );
                found.push((AlertKind::Stale, name, message));
            }
        }
        if let Some((p95, limit)) = observed.slo {
            let message = if p95 > limit {
                format!("rows take {p95:.1?} (p95) from receipt until they are durable; promised is {limit:?}")
            } else {
                format!("rows took longer than {limit:?} (p95) until they were durable; now it is {p95:.1?}")
            };
            found.push((AlertKind::SloBreach, None, message));
        }
        if observed.quarantined > 0 {
            let message = format!(
                "the database refused {} records in the last 24 hours; they are kept in ingest_quarantine",
                observed.quarantined
            );
            found.push((AlertKind::Quarantine, None, message));
        }
        if observed.default_rows > 0 {
            let message = format!(
                "{} rows are in the default partition: the partition of their month could not be made",
                observed.default_rows
            );
            found.push((AlertKind::DefaultPartition, None, message));
        }
        let goes_on = self.active.contains_key(&key(AlertKind::JournalHalfFull, None));
        if observed.journal_share > if goes_on { JOURNAL.1 } else { JOURNAL.0 } {
            let message = "the journal has used half of its quota: at its end new rows are given up".to_owned();
            found.push((AlertKind::JournalHalfFull, None, message));
        }
        if let Some(full) = observed.journal_full {
            let message = match full {
                JournalFull::Quota => {
                    "the journal has used up its quota: new rows are given up until the database has taken what waits"
                }
                _ => "the disk of the journal is full: new rows are given up until there is room in the data directory",
            };
            found.push((AlertKind::JournalFull, None, message.to_owned()));
        }
        self.replace(found, now)
    }

    /// The alerts that go on, in a steady order.
    pub(crate) fn active(&self) -> Vec<Alert> {
        self.active.values().cloned().collect()
    }

    /// How many of this kind go on.
    pub(crate) fn count(&self, kind: AlertKind) -> u32 {
        self.active.keys().map(|(name, _)| u32::from(*name == kind.as_str())).sum()
    }

    fn replace(&mut self, found: Vec<(AlertKind, Option<String>, String)>, now: UnixNanos) -> Vec<Alert> {
        let mut news = Vec::new();
        let mut before = std::mem::take(&mut self.active);
        for (kind, source, message) in found {
            let key = key(kind, source.clone());
            let mut alert = Alert { kind, source, message, since: Time(now), active: true };
            match before.remove(&key) {
                Some(known) => alert.since = known.since,
                None => news.push(alert.clone()),
            }
            self.active.insert(key, alert);
        }
        news.extend(before.into_values().map(|ended| Alert { active: false, ..ended }));
        news
    }
}

fn key(kind: AlertKind, source: Option<String>) -> (&'static str, Option<String>) {
    (kind.as_str(), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: i64) -> UnixNanos {
        UnixNanos::from_millis(at * 1_000)
    }

    fn source(streams: bool, since: i64) -> ObservedSource {
        ObservedSource {
            name: "ibkr".into(),
            streams,
            has_streamed: true,
            wanted: true,
            since: second(since),
            reason: Some("connection reset".into()),
            overdue: 0,
        }
    }

    fn told(alerts: &mut Alerts, observed: &Observed, at: i64) -> Vec<(&'static str, bool)> {
        alerts.look(observed, second(at)).iter().map(|alert| (alert.kind.as_str(), alert.active)).collect()
    }

    fn of(source: ObservedSource) -> Observed {
        Observed { sources: vec![source], ..Observed::default() }
    }

    #[test]
    fn a_source_is_down_after_a_while_and_told_once() {
        let mut alerts = Alerts::default();
        assert_eq!(told(&mut alerts, &of(source(true, 0)), 5), []);
        assert_eq!(told(&mut alerts, &of(source(false, 10)), 19), []);
        assert_eq!(told(&mut alerts, &of(source(false, 10)), 20), [("source_down", true)]);
        assert_eq!(told(&mut alerts, &of(source(false, 10)), 21), []);
        let alert = &alerts.active()[0];
        assert_eq!(alert.message, "ibkr does not stream: connection reset");
        assert_eq!((alert.source.as_deref(), alert.since), (Some("ibkr"), Time(second(20))));
        assert_eq!(told(&mut alerts, &of(source(true, 30)), 30), [("source_down", false)]);
        assert_eq!(alerts.active(), []);
    }

    #[test]
    fn who_was_stopped_on_request_and_who_has_just_begun_is_no_alarm() {
        let mut alerts = Alerts::default();
        let stopped = ObservedSource { wanted: false, ..source(false, 0) };
        assert_eq!(told(&mut alerts, &of(stopped), 3_600), []);
        let beginning = ObservedSource { has_streamed: false, ..source(false, 3_600) };
        assert_eq!(told(&mut alerts, &of(beginning.clone()), 3_629), []);
        assert_eq!(told(&mut alerts, &of(beginning), 3_630), [("source_down", true)]);
    }

    #[test]
    fn every_other_alert_begins_and_ends() {
        let quiet = Observed::default;
        let stale = of(ObservedSource { overdue: 3, ..source(true, 0) });
        let cases = [
            ("stale", stale),
            ("slo_breach", Observed { slo: Some((Duration::from_secs(1), Duration::from_millis(500))), ..quiet() }),
            ("quarantine", Observed { quarantined: 1, ..quiet() }),
            ("default_partition", Observed { default_rows: 2, ..quiet() }),
            ("journal_half_full", Observed { journal_share: 0.51, ..quiet() }),
            // Of a small part of the quota: it is the disk that is full.
            ("journal_full", Observed { journal_share: 0.1, journal_full: Some(JournalFull::Disk), ..quiet() }),
            ("journal_full", Observed { journal_full: Some(JournalFull::Quota), ..quiet() }),
        ];
        for (expected, observed) in cases {
            let mut alerts = Alerts::default();
            assert_eq!(told(&mut alerts, &observed, 1), [(expected, true)]);
            assert_eq!(told(&mut alerts, &observed, 2), []);
            assert_eq!(told(&mut alerts, &quiet(), 3), [(expected, false)]);
        }
    }

    #[test]
    fn a_journal_at_the_edge_does_not_flap() {
        let mut alerts = Alerts::default();
        let at = |share| Observed { journal_share: share, ..Observed::default() };
        assert_eq!(told(&mut alerts, &at(0.51), 1), [("journal_half_full", true)]);
        assert_eq!(told(&mut alerts, &at(0.49), 2), []);
        assert_eq!(told(&mut alerts, &at(0.51), 3), []);
        assert_eq!(told(&mut alerts, &at(0.39), 4), [("journal_half_full", false)]);
        assert_eq!(told(&mut alerts, &at(0.49), 5), []);
    }
}
