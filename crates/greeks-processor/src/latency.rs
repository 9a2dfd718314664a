//! How long rows take from receipt to the acknowledged commit: a histogram for the metrics and the percentiles of the
//! last minute.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greeks_model::{Record, SourceId, UnixNanos};
use hdrhistogram::Histogram;

use crate::metrics::{EVENT_LATENCY_SECONDS, RECEIVE_TO_DURABLE};

const SLOT_NANOS: i64 = 5_000_000_000;
/// One minute of slots; the newest is still filling, so the window is 55 to 60 seconds long.
const SLOTS: usize = 12;
/// Values above are counted as this.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// Two significant digits: percentiles are right to 1 %, and a slot takes 13 KB.
const DIGITS: u8 = 2;

/// Percentiles of the last minute; all zero when nothing was recorded in it. Right to 1 %, at most one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Rows in the window.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 % took no longer.
    pub p95: Duration,
    /// 99 % took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Collects the time from receipt to durable. Shared between the committer that records and those who read; memory is
/// bounded by the number of sources.
#[derive(Default)]
pub struct Latency {
    sources: Mutex<Vec<Lane>>,
    /// Only the percentiles: somebody else keeps the histogram of the metrics.
    unmetered: bool,
}

struct Lane {
    source: SourceId,
    histogram: Option<metrics::Histogram>,
    window: Window,
}

impl Latency {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing recorded yet, and nothing will be but the percentiles.
    pub(crate) fn unmetered() -> Self {
        Self { unmetered: true, ..Self::default() }
    }

    /// Records one row of `source`: its frame was received at the first time, its commit acknowledged at the second.
    pub fn record(&self, source: &SourceId, received_at: UnixNanos, committed_at: UnixNanos) {
        self.record_rows([(source, received_at)], committed_at);
    }

    /// Records the rows among the records of one commit.
    pub fn record_commit(&self, records: &[Record], committed_at: UnixNanos) {
        let rows = records.iter().filter_map(|record| match record {
            Record::Snapshot(row) => Some((&row.series.broker, row.received_at)),
            _ => None,
        });
        self.record_rows(rows, committed_at);
    }

    fn record_rows<'a>(&self, rows: impl IntoIterator<Item = (&'a SourceId, UnixNanos)>, committed_at: UnixNanos) {
        let mut lanes = self.lock();
        for (source, received_at) in rows {
            let took = committed_at.saturating_since(received_at);
            if let Some(lane) = lane(&mut lanes, source, !self.unmetered) {
                lane.histogram.iter().for_each(|histogram| histogram.record(took.as_secs_f64()));
                lane.window.record(took, committed_at);
            }
        }
    }

    /// The last minute of all sources together.
    #[must_use]
    pub fn percentiles(&self, now: UnixNanos) -> Percentiles {
        merged(self.lock().iter(), now)
    }

    /// The last minute of one source.
    #[must_use]
    pub fn percentiles_of(&self, source: &SourceId, now: UnixNanos) -> Percentiles {
        merged(self.lock().iter().filter(|lane| lane.source == *source), now)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|lane| &lane.source)).finish()
    }
}

fn lane<'a>(lanes: &'a mut Vec<Lane>, source: &SourceId, metered: bool) -> Option<&'a mut Lane> {
    let place = lanes.iter().position(|lane| lane.source == *source);
    if place.is_none() {
        let labels = [("source", source.to_string()), ("stage", RECEIVE_TO_DURABLE.to_owned())];
        let histogram = metered.then(|| metrics::histogram!(EVENT_LATENCY_SECONDS, &labels));
        lanes.push(Lane { source: source.clone(), histogram, window: Window::new()? });
    }
    match place {
        Some(place) => lanes.get_mut(place),
        None => lanes.last_mut(),
    }
}

fn merged<'a>(lanes: impl Iterator<Item = &'a Lane>, now: UnixNanos) -> Percentiles {
    let Some(mut sum) = histogram() else { return Percentiles::default() };
    for slot in lanes.flat_map(|lane| lane.window.fresh(now)) {
        // Same bounds on both sides: nothing can be out of range.
        if let Err(error) = sum.add(slot) {
            tracing::error!(error = &error as &dyn std::error::Error, "latency slots differ in their bounds");
        }
    }
    if sum.is_empty() {
        return Percentiles::default();
    }
    let at = |quantile| Duration::from_micros(sum.value_at_quantile(quantile));
    Percentiles { count: sum.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(sum.max()) }
}

/// A ring of slots of five seconds each.
struct Window {
    slots: Vec<Histogram<u32>>,
    /// The number of the newest slot, in slots since 1970.
    newest: i64,
}

impl Window {
    fn new() -> Option<Self> {
        let slots = (0..SLOTS).map(|_| histogram()).collect::<Option<_>>()?;
        Some(Self { slots, newest: i64::MIN })
    }

    fn record(&mut self, took: Duration, at: UnixNanos) {
        let number = slot_number(at);
        // A clock set back by more than the window makes what is in it meaningless; by less, the newest slot will do.
        if number > self.newest || number < oldest(self.newest) {
            self.turn_to(number);
        }
        let newest = self.newest;
        if let Some(slot) = self.slots.get_mut(place(newest)) {
            slot.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Empties the slots passed over on the way to `number` and makes it the newest.
    fn turn_to(&mut self, number: i64) {
        if number < self.newest || oldest(number) > self.newest {
            self.slots.iter_mut().for_each(Histogram::reset);
        } else {
            for passed in self.newest + 1..=number {
                if let Some(slot) = self.slots.get_mut(place(passed)) {
                    slot.reset();
                }
            }
        }
        self.newest = number;
    }

    /// The slots that are not older than a minute at `now`.
    fn fresh(&self, now: UnixNanos) -> impl Iterator<Item = &Histogram<u32>> {
        let first = oldest(slot_number(now)).max(oldest(self.newest));
        (first..=self.newest).filter_map(|number| self.slots.get(place(number)))
    }
}

fn slot_number(at: UnixNanos) -> i64 {
    at.as_nanos().div_euclid(SLOT_NANOS)
}

/// The oldest slot of the window whose newest is `newest`.
const fn oldest(newest: i64) -> i64 {
    newest.saturating_sub(SLOTS as i64 - 1)
}

fn place(number: i64) -> usize {
    usize::try_from(number.rem_euclid(SLOTS as i64)).unwrap_or(0)
}

fn histogram() -> Option<Histogram<u32>> {
    // The bounds are constants that the crate accepts.
    Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use greeks_model::{AccountId, Decimal, GapReason, GapRecord, GreekSnapshot, Series};

    use super::*;
    use crate::recorder::Recorded;

    const NOW: i64 = 1_795_170_400_000;

    fn at(millis: i64) -> UnixNanos {
        UnixNanos::from_millis(NOW + millis)
    }

    fn source(name: &str) -> SourceId {
        SourceId::new(name).unwrap()
    }

    /// Within the 1 % the histogram promises.
    fn close(actual: Duration, millis: f64) -> bool {
        (actual.as_secs_f64() * 1_000.0 / millis - 1.0).abs() <= 0.01
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let latency = Latency::new();
        for millis in 1..=1_000 {
            latency.record(&source("a"), at(-millis), at(0));
        }
        let all = latency.percentiles(at(1));
        assert_eq!(all.count, 1_000);
        assert!(close(all.p50, 500.0) && close(all.p95, 950.0), "{all:?}");
        assert!(close(all.p99, 990.0) && close(all.max, 1_000.0), "{all:?}");
        assert_eq!(Latency::new().percentiles(at(0)), Percentiles::default());
    }

    #[test]
    fn sources_are_counted_apart_and_together() {
        let latency = Latency::new();
        for (name, millis) in [("a", -100), ("b", -300), ("b", -300)] {
            latency.record(&source(name), at(millis), at(0));
        }
        let [a, b] = ["a", "b"].map(|name| latency.percentiles_of(&source(name), at(0)));
        assert!(a.count == 1 && close(a.p95, 100.0), "{a:?}");
        assert!(b.count == 2 && close(b.p50, 300.0), "{b:?}");
        assert_eq!(latency.percentiles(at(0)).count, 3);
        assert_eq!(latency.percentiles_of(&source("c"), at(0)), Percentiles::default());
    }

    #[test]
    fn the_window_is_a_minute() {
        let latency = Latency::new();
        let count = |now| latency.percentiles(at(now)).count;
        for second in 0..200 {
            latency.record(&source("a"), at(second * 1_000), at(second * 1_000));
        }
        assert_eq!(count(199_999), 60);
        assert_eq!(count(209_999), 50);
        assert_eq!(count(254_999), 5);
        assert_eq!(count(255_000), 0);
        latency.record(&source("a"), at(600_000), at(600_000));
        assert_eq!(count(600_000), 1, "slots are emptied before they are used again");
    }

    #[test]
    fn steps_of_the_clock_lose_no_more_than_the_window() {
        let latency = Latency::new();
        latency.record(&source("a"), at(0), at(0));
        latency.record(&source("a"), at(-10_000), at(-10_000));
        assert_eq!(latency.percentiles(at(0)).count, 2, "a small step back stays in the window");
        latency.record(&source("a"), at(-3_600_000), at(-3_600_000));
        assert_eq!(latency.percentiles(at(-3_600_000)).count, 1, "a large one begins a new window");
        for extreme in [i64::MIN, i64::MAX] {
            latency.record(&source("a"), UnixNanos::from_nanos(i64::MIN), UnixNanos::from_nanos(extreme));
            assert_eq!(latency.percentiles(UnixNanos::from_nanos(extreme)).count, 1);
        }
    }

    #[test]
    fn rows_that_seem_committed_before_they_came_took_no_time() {
        let latency = Latency::new();
        latency.record(&source("a"), at(5), at(0));
        assert_eq!(latency.percentiles(at(0)), Percentiles { count: 1, ..Percentiles::default() });
    }

    #[test]
    fn the_rows_of_a_commit_feed_the_histogram_in_seconds() {
        let series = Series {
            broker: source("a"),
            account_id: AccountId::new("A1").unwrap(),
            contract: "SPXW  261124P06650000".parse().unwrap(),
            underlying: "SPX".into(),
            multiplier: Decimal::ONE_HUNDRED,
        };
        let series = Arc::new(series);
        let row = |millis| Record::Snapshot(GreekSnapshot::new(Arc::clone(&series), at(-9_000), at(millis), 1.0));
        let (source, from, to) = (source("a"), at(-9_000), None);
        let gap = Record::Gap(GapRecord { source, from, to, reason: GapReason::Silence, count: None });
        let recorded = Recorded::default();
        let latency = Latency::new();
        recorded.while_recording(|| latency.record_commit(&[row(-500), gap, row(-250)], at(0)));
        let name = r#"greekd_event_latency_seconds{source="a",stage="receive_to_durable"}"#;
        assert_eq!(recorded.get(name), Some(2.0));
        assert_eq!(recorded.get(&format!("sum:{name}")), Some(0.75));
        assert_eq!(latency.percentiles(at(0)).count, 2);
    }
}
