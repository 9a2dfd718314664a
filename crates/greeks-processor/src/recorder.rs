//! A metrics recorder for tests: keeps the sums.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// What was recorded, by name and labels: counters and gauges by value, histograms by the number of samples under
/// their name and by their sum under `sum:` and their name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    values: Arc<Mutex<HashMap<String, Arc<Cell>>>>,
}

#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    fn update(&self, change: impl Fn(f64) -> f64) {
        let bits = |bits| Some(change(f64::from_bits(bits)).to_bits());
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, bits).unwrap();
    }
}

impl Recorded {
    /// Runs `body` with this recorder on the present thread.
    pub(crate) fn while_recording<T>(&self, body: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(self, body)
    }

    /// The value of `name{label="value",..}`, labels in the order they were given.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.values.lock().unwrap().get(name).map(|cell| f64::from_bits(cell.0.load(Ordering::SeqCst)))
    }

    fn cell(&self, prefix: &str, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let name = format!("{prefix}{}{labels}", key.name());
        Arc::clone(self.values.lock().unwrap().entry(name).or_default())
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.update(|old| old + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.update(|_| value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.update(|old| old + value);
    }

    fn decrement(&self, value: f64) {
        self.update(|old| old - value);
    }

    fn set(&self, value: f64) {
        self.update(|_| value);
    }
}

struct Samples {
    count: Arc<Cell>,
    sum: Arc<Cell>,
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.count.update(|old| old + 1.0);
        self.sum.update(|old| old + value);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell("", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell("", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Samples { count: self.cell("", key), sum: self.cell("sum:", key) }))
    }
}
