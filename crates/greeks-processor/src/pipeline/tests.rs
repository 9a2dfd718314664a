//! The thread with scripted channels and sinks.

mod flood;
mod full;

use std::sync::Mutex;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use greeks_model::testkit::{ManualClock, MemorySink};
use greeks_model::{
    AccountId, Decimal, GapReason, Instrument, InstrumentId, Position, PositionSnapshot, QuoteUpdate, SourceEvent,
    SourceId, Underlying, UnixNanos,
};
use tokio::sync::mpsc;

use super::*;
use crate::recorder::Recorded;

const START: UnixNanos = UnixNanos::from_millis(1_795_170_400_000);

struct Bench {
    config: PipelineConfig,
    clock: Arc<ManualClock>,
    senders: Vec<mpsc::Sender<SourceEvent>>,
    inbox: Inbox,
    option: InstrumentId,
    underlying: InstrumentId,
}

fn bench(sources: &[&str]) -> Bench {
    let instruments = Arc::new(InstrumentTable::new());
    let option = instruments.intern(&Instrument::Option("SPXW  261124P06650000".parse().unwrap()));
    let underlying = instruments.intern(&Instrument::Underlying(Underlying::new("SPX")));
    let clock = Arc::new(ManualClock::at(START));
    let config = PipelineConfig::new(instruments, Arc::clone(&clock) as Arc<dyn Clock>);
    let channels = sources.iter().map(|name| {
        let (sender, receiver) = mpsc::channel(64);
        (sender, (SourceId::new(name).unwrap(), receiver))
    });
    let (senders, lanes) = channels.unzip();
    Bench { config, clock, senders, inbox: Inbox::new(lanes), option, underlying }
}

impl Bench {
    fn holding(&self, number: usize) {
        let (instrument, underlying) = (self.option, self.underlying);
        let position = Position { instrument, underlying, quantity: 1.0, multiplier: Decimal::ONE_HUNDRED };
        let account_id = AccountId::new("A1").unwrap();
        let positions = PositionSnapshot { account_id, observed_at: START, positions: vec![position] };
        self.senders[number].try_send(SourceEvent::Positions(positions)).unwrap();
    }

    fn quote(&self, number: usize, delta: f64) {
        self.senders[number].try_send(quote(self.option, delta)).unwrap();
    }
}

/// A quote received 250 ms after the broker's time, 500 ms before the clock's.
fn quote(option: InstrumentId, delta: f64) -> SourceEvent {
    let mut update = QuoteUpdate::new(option, UnixNanos::from_nanos(START.as_nanos() - 500_000_000));
    update.event_time = Some(UnixNanos::from_nanos(START.as_nanos() - 750_000_000));
    update.delta = Some(delta);
    SourceEvent::Quote { update, payload: None }
}

fn deltas(records: &[Record]) -> Vec<(String, f64)> {
    let row = |record: &Record| match record {
        Record::Snapshot(row) => Some((row.series.broker.to_string(), row.delta.unwrap())),
        _ => None,
    };
    records.iter().filter_map(row).collect()
}

#[test]
fn what_was_sent_is_accepted_observed_and_counted_and_the_sink_closed() {
    let mut bench = bench(&["a", "b"]);
    let (sink, recorded) = (MemorySink::new(), Recorded::default());
    for (number, delta) in [(0, 0.1), (1, 0.2)] {
        bench.holding(number);
        bench.quote(number, delta);
        bench.quote(number, delta);
    }
    bench.quote(1, 0.3);
    bench.senders[1].try_send(SourceEvent::Gap { since: START, reason: GapReason::Silence }).unwrap();
    bench.senders.clear();
    let observed = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&observed);
    bench.config.accepted = Some(Box::new(move |records| hook.lock().unwrap().extend_from_slice(records)));
    let pipeline =
        recorded.while_recording(|| Pipeline::spawn(bench.config, bench.inbox, Box::new(sink.clone())).unwrap());
    let stats = Arc::clone(pipeline.stats());
    let total = pipeline.join().unwrap();

    let records = sink.records();
    assert!(sink.is_closed());
    assert_eq!(*observed.lock().unwrap(), records);
    let rows = deltas(&records);
    assert_eq!(rows.iter().filter(|(source, _)| source == "a").count(), 1);
    assert_eq!(rows.iter().filter(|(s, _)| s == "b").map(|(_, d)| *d).collect::<Vec<_>>(), [0.2, 0.3]);
    assert_eq!((total.events, total.rows, total.duplicates, total.gaps), (8, 3, 2, 1));
    let a = stats.of(&SourceId::new("a").unwrap()).unwrap();
    assert_eq!((a.events, a.rows, a.duplicates, a.position_changes), (3, 1, 1, 1));

    assert_eq!(recorded.get("greekd_duplicates_suppressed_total"), Some(2.0));
    assert_eq!(recorded.get(r#"greekd_gaps_total{source="b",reason="silence"}"#), Some(1.0));
    assert_eq!(recorded.get(r#"greekd_gaps_total{source="a",reason="silence"}"#), Some(0.0));
    let latency = |prefix, stage| {
        recorded.get(&format!(r#"{prefix}greekd_event_latency_seconds{{source="b",stage="{stage}"}}"#)).unwrap()
    };
    assert_eq!((latency("", "receive_to_accepted"), latency("sum:", "receive_to_accepted")), (2.0, 1.0));
    // The first row after a connect says nothing about the way from the broker.
    assert_eq!((latency("", "source_to_receive"), latency("sum:", "source_to_receive")), (1.0, 0.25));
}

#[test]
fn what_sources_say_of_underlyings_goes_to_its_hook_and_gives_no_record() {
    let mut bench = bench(&["a", "b"]);
    let reference = |beta: f64| {
        let mut reference = Reference::new("SPX".into(), START);
        reference.beta = Some(beta);
        reference
    };
    for (number, beta) in [(1, 1.5), (1, 1.25)] {
        bench.senders[number].try_send(SourceEvent::Reference(reference(beta))).unwrap();
    }
    bench.senders.clear();
    let (sink, told) = (MemorySink::new(), Arc::new(Mutex::new(Vec::new())));
    let hook = Arc::clone(&told);
    bench.config.reference =
        Some(Box::new(move |source, reference| hook.lock().unwrap().push((source.to_string(), reference.clone()))));
    let total = Pipeline::spawn(bench.config, bench.inbox, Box::new(sink.clone())).unwrap().join().unwrap();
    assert_eq!(*told.lock().unwrap(), [("b".to_owned(), reference(1.5)), ("b".to_owned(), reference(1.25))]);
    assert_eq!((sink.records(), total.events, total.rows), (vec![], 2, 0));
}

#[test]
fn quotes_of_the_benchmark_are_told_as_references_with_its_price() {
    let mut bench = bench(&["a"]);
    bench.config.benchmark = Some("SPX".into());
    let quote = |instrument, last_price, bid_price: Option<f64>| {
        let mut update = QuoteUpdate::new(instrument, START);
        (update.last_price, update.bid_price, update.ask_price) =
            (last_price, bid_price, bid_price.map(|bid| bid + 1.0));
        SourceEvent::Quote { update, payload: None }
    };
    // A size or an option's own price is no price of it; the middle of the market is one, its last trade a better one.
    for event in [
        quote(bench.underlying, None, None),
        quote(bench.option, Some(7.0), None),
        quote(bench.underlying, None, Some(6_600.0)),
        quote(bench.underlying, Some(6_601.0), None),
    ] {
        bench.senders[0].try_send(event).unwrap();
    }
    bench.senders.clear();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    bench.config.reference = Some(Box::new(move |source, reference| {
        hook.lock().unwrap().push((
            source.to_string(),
            reference.underlying.to_string(),
            reference.price,
            reference.as_of,
        ));
    }));
    Pipeline::spawn(bench.config, bench.inbox, Box::new(MemorySink::new())).unwrap().join().unwrap();
    let spx = |price| ("a".to_owned(), "SPX".to_owned(), Some(price), START);
    assert_eq!(*told.lock().unwrap(), [spx(6_600.5), spx(6_601.0)]);
}

#[test]
fn seeds_and_open_gaps_reach_the_normaliser_of_their_source() {
    let first = bench(&["a"]);
    let sink = MemorySink::new();
    first.holding(0);
    first.quote(0, 0.1);
    drop(first.senders);
    Pipeline::spawn(first.config, first.inbox, Box::new(sink.clone())).unwrap().join().unwrap();
    let seed = sink.records().into_iter().find_map(|record| match record {
        Record::Snapshot(row) => Some(row),
        _ => None,
    });

    let mut second = bench(&["b", "a"]);
    let gap = GapRecord {
        source: SourceId::new("a").unwrap(),
        from: UnixNanos::from_millis(5),
        to: None,
        reason: GapReason::Stopped,
        count: None,
    };
    second.config.seeds.extend(seed);
    second.config.open_gaps.push(gap.clone());
    for number in [0, 1] {
        second.holding(number);
        second.quote(number, 0.1);
    }
    second.senders.clear();
    let sink = MemorySink::new();
    let recorded = Recorded::default();
    let pipeline = recorded.while_recording(|| Pipeline::spawn(second.config, second.inbox, Box::new(sink.clone())));
    let total = pipeline.unwrap().join().unwrap();
    assert_eq!((total.rows, total.duplicates), (1, 1));
    assert_eq!(deltas(&sink.records()), [("b".to_owned(), 0.1)]);
    let closed: Vec<_> = sink.records().into_iter().filter(|record| matches!(record, Record::Gap(_))).collect();
    let received_at = UnixNanos::from_nanos(START.as_nanos() - 500_000_000);
    assert_eq!(closed, [Record::Gap(GapRecord { to: Some(received_at), ..gap })]);
    assert_eq!(recorded.get(r#"greekd_gaps_total{source="a",reason="stopped"}"#), Some(0.0), "closed, not opened");
}

#[tokio::test]
async fn a_gap_learnt_of_late_ends_with_the_first_values_and_needs_no_further_event() {
    let mut bench = bench(&["a", "b"]);
    let (seen, mut was_seen) = mpsc::channel(16);
    bench.config.accepted = Some(Box::new(move |records| seen.try_send(records.to_vec()).unwrap()));
    let gap = |name: &str| GapRecord {
        source: SourceId::new(name).unwrap(),
        from: UnixNanos::from_millis(5),
        to: None,
        reason: GapReason::Stopped,
        count: None,
    };
    bench.holding(0);
    bench.quote(0, 0.1);
    let (option, senders) = (bench.option, std::mem::take(&mut bench.senders));
    let pipeline = Pipeline::spawn(bench.config, bench.inbox, Box::new(MemorySink::new())).unwrap();
    assert_eq!(was_seen.recv().await.unwrap().len(), 2);
    let mut second = quote(option, 0.2);
    if let SourceEvent::Quote { update, .. } = &mut second {
        update.received_at = START;
    }
    senders[0].send(second).await.unwrap();
    assert_eq!(was_seen.recv().await.unwrap().len(), 1);
    pipeline.resume_gaps(vec![gap("a"), gap("b"), gap("c")]);
    let first = UnixNanos::from_nanos(START.as_nanos() - 500_000_000);
    let told = tokio::time::timeout(Duration::from_secs(10), was_seen.recv()).await;
    assert_eq!(told.unwrap().unwrap(), [Record::Gap(GapRecord { to: Some(first), ..gap("a") })]);
    // The other source has sent nothing yet.
    senders[1].send(quote(option, 0.3)).await.unwrap();
    assert_eq!(was_seen.recv().await.unwrap(), [Record::Gap(GapRecord { to: Some(first), ..gap("b") })]);
    drop(senders);
    pipeline.join().unwrap();
}

#[tokio::test]
async fn a_sink_that_refuses_ends_the_pipeline_and_closes_the_sources_channels() {
    let bench = bench(&["a"]);
    let sink = MemorySink::new();
    sink.refuse(true);
    let mut pipeline = Pipeline::spawn(bench.config, bench.inbox, Box::new(sink.clone())).unwrap();
    let sender = bench.senders.into_iter().next().unwrap();
    sender.send(SourceEvent::Gap { since: START, reason: GapReason::Silence }).await.unwrap();
    pipeline.ended().await;
    pipeline.ended().await;
    let stats = Arc::clone(pipeline.stats());
    assert!(matches!(pipeline.join(), Err(PipelineError::Sink(SinkError::Io(_)))));
    assert!(sender.is_closed() && sink.is_closed());
    assert_eq!(stats.total(), Counts::default(), "what was refused is not counted as accepted");
}

#[tokio::test]
async fn a_panic_is_reported_and_not_passed_on() {
    let mut bench = bench(&["a"]);
    bench.config.accepted = Some(Box::new(|_| panic!("planted")));
    let mut pipeline = Pipeline::spawn(bench.config, bench.inbox, Box::new(MemorySink::new())).unwrap();
    bench.senders[0].send(SourceEvent::Gap { since: START, reason: GapReason::Silence }).await.unwrap();
    pipeline.ended().await;
    match pipeline.join() {
        Err(PipelineError::Panicked { message }) => assert_eq!(message, "planted"),
        other => panic!("{other:?}"),
    }
}

/// Says that it was asked, then waits to be let go.
struct SlowSink {
    asked: std_mpsc::Sender<usize>,
    go: std_mpsc::Receiver<()>,
}

impl SnapshotSink for SlowSink {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        self.asked.send(records.len()).unwrap();
        self.go.recv_timeout(Duration::from_secs(10)).map_err(|_| SinkError::Closed)
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn what_gathers_while_the_sink_is_busy_is_appended_together() {
    let bench = bench(&["a"]);
    let ((asked, was_asked), (go, wait)) = (std_mpsc::channel(), std_mpsc::channel());
    bench.holding(0);
    let pipeline = Pipeline::spawn(bench.config, bench.inbox, Box::new(SlowSink { asked, go: wait })).unwrap();
    assert_eq!(was_asked.recv().unwrap(), 1);
    for i in 0..10 {
        bench.senders[0].blocking_send(quote(bench.option, f64::from(i))).unwrap();
    }
    drop(bench.senders);
    go.send(()).unwrap();
    assert_eq!(was_asked.recv().unwrap(), 10);
    go.send(()).unwrap();
    assert_eq!(pipeline.join().unwrap().rows, 10);
    drop(bench.clock);
}
