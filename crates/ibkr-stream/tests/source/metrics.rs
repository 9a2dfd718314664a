//! What is counted, and under which names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::fake::*;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder};

/// Keeps every value under its name and labels.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Values {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn bits(&self, name: &str) -> u64 {
        let all = self.0.lock().unwrap();
        all.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", all.keys())).load(Ordering::SeqCst)
    }

    fn received(&self, kind: &str) -> u64 {
        self.bits(&format!("greekd_messages_received_total{{source=ibkr,kind={kind}}}"))
    }

    fn subscriptions(&self, state: &str) -> f64 {
        f64::from_bits(self.bits(&format!("greekd_subscriptions{{source=ibkr,state={state}}}")))
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn messages_and_subscriptions_are_counted_under_the_published_names() {
    let values = Values::default();
    let gateway = Gateway::start().await;
    let mut config = gateway.config();
    config.market_data_lines = Some(2);
    let mut client = with_local_recorder(&values, || Client::new(config));
    for reason in ["malformed", "shape", "odd_value", "unknown_contract", "unknown_topic", "error_frame"] {
        assert_eq!(values.bits(&format!("greekd_decode_errors_total{{source=ibkr,reason={reason}}}")), 0);
    }
    client.start();
    let mut wire = gateway.stream(&ALL[..2]).await;
    client.degraded("no market data line is left").await;
    wire.say(HEARTBEAT).await;
    wire.say(&delta_frame(SPY_CALL, 0.25)).await;
    client.delta(0.25).await;
    assert_eq!(["wanted", "sent", "live", "silent"].map(|state| values.subscriptions(state)), [3.0, 2.0, 2.0, 0.0]);
    assert_eq!((values.received("market_data"), values.received("heartbeat")), (3, 2));
    // system, act, three of the status.
    assert_eq!(values.received("control"), 5);
    client.stop().await;
}
