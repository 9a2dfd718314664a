//! A sink without room, and a clock that is set.

use greeks_model::Flags;

use super::*;

/// Has room for so many more rows; everything else fits always.
struct Narrow {
    kept: MemorySink,
    room: Arc<Mutex<usize>>,
}

impl SnapshotSink for Narrow {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let mut room = self.room.lock().unwrap();
        let mut given_up = Vec::new();
        for (place, record) in records.iter().enumerate() {
            if matches!(record, Record::Snapshot(_)) {
                if *room == 0 {
                    given_up.push(place);
                    continue;
                }
                *room -= 1;
            }
            self.kept.append(std::slice::from_ref(record))?;
        }
        if given_up.is_empty() { Ok(()) } else { Err(SinkError::Full { given_up }) }
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Box::new(self.kept).close()
    }
}

#[test]
fn what_a_full_sink_gives_up_is_counted_unseen_and_forgotten() {
    let mut bench = bench(&["a", "b"]);
    let (sink, recorded, room) = (MemorySink::new(), Recorded::default(), Arc::new(Mutex::new(2)));
    bench.holding(0);
    bench.holding(1);
    for delta in [0.1, 0.2, 0.3, 0.4] {
        bench.quote(0, delta);
    }
    let observed = Arc::new(Mutex::new(Vec::new()));
    let (seen, widen) = (Arc::clone(&observed), Arc::clone(&room));
    bench.config.accepted = Some(Box::new(move |records| {
        seen.lock().unwrap().extend_from_slice(records);
        // After the first batch, in which two rows found no room.
        *widen.lock().unwrap() = 100;
    }));
    bench.config.max_batch = 6;
    // The same value as the last one given up: a duplicate of nothing.
    bench.quote(0, 0.4);
    bench.quote(0, 0.4);
    bench.senders.clear();
    let narrow = Narrow { kept: sink.clone(), room };
    let pipeline = recorded.while_recording(|| Pipeline::spawn(bench.config, bench.inbox, Box::new(narrow)).unwrap());
    let total = pipeline.join().unwrap();

    let records = sink.records();
    assert!(sink.is_closed());
    assert_eq!(*observed.lock().unwrap(), records, "nobody is told of what was given up");
    assert_eq!(deltas(&records).into_iter().map(|(_, delta)| delta).collect::<Vec<_>>(), [0.1, 0.2, 0.4]);
    let flags = |record: &Record| match record {
        Record::Snapshot(row) => Some(row.flags.contains(Flags::FIRST_AFTER_CONNECT)),
        _ => None,
    };
    assert_eq!(records.iter().filter_map(flags).collect::<Vec<_>>(), [true, false, true], "the first after a break");
    assert_eq!((total.rows, total.given_up, total.duplicates), (5, 2, 1));
    assert_eq!(recorded.get(r#"greekd_rows_given_up_total{source="a"}"#), Some(2.0));
    assert_eq!(recorded.get(r#"greekd_rows_given_up_total{source="b"}"#), Some(0.0));
}

/// A clock whose two hands are set apart from each other.
#[derive(Debug)]
struct TwoHands {
    wall: ManualClock,
    elapsed: Mutex<Duration>,
}

impl Clock for TwoHands {
    fn now(&self) -> UnixNanos {
        self.wall.now()
    }

    fn elapsed(&self) -> Option<Duration> {
        Some(*self.elapsed.lock().unwrap())
    }
}

#[tokio::test]
async fn a_clock_that_is_set_is_a_stated_stretch_for_every_source() {
    let mut bench = bench(&["a", "b"]);
    let clock = Arc::new(TwoHands { wall: ManualClock::at(START), elapsed: Mutex::default() });
    bench.config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let (seen, mut was_seen) = mpsc::channel(16);
    bench.config.accepted = Some(Box::new(move |records| seen.try_send(records.to_vec()).unwrap()));
    let recorded = Recorded::default();
    let (config, inbox) = (bench.config, bench.inbox);
    let pipeline = recorded.while_recording(|| Pipeline::spawn(config, inbox, Box::new(MemorySink::new())).unwrap());
    let silence = SourceEvent::Gap { since: START, reason: GapReason::Silence };
    bench.senders[0].send(silence.clone()).await.unwrap();
    assert_eq!(was_seen.recv().await.unwrap().len(), 1);
    // An hour back, while three seconds passed.
    clock.wall.set(UnixNanos::from_millis(START.as_millis() - 3_597_000));
    *clock.elapsed.lock().unwrap() += Duration::from_secs(3);
    bench.senders[1].send(silence).await.unwrap();
    let records = was_seen.recv().await.unwrap();
    let step = |name: &str| {
        let (from, to) = (START.as_millis() - 3_597_000, START.as_millis() + 3_000);
        let (source, from) = (SourceId::new(name).unwrap(), UnixNanos::from_millis(from));
        let to = Some(UnixNanos::from_millis(to));
        Record::Gap(GapRecord { source, from, to, reason: GapReason::ClockStep, count: None })
    };
    assert_eq!(records[..2], [step("a"), step("b")]);
    assert_eq!(records.len(), 3);
    bench.senders.clear();
    pipeline.join().unwrap();
    for name in ["a", "b"] {
        assert_eq!(recorded.get(&format!(r#"greekd_gaps_total{{source="{name}",reason="clock_step"}}"#)), Some(1.0));
    }
}
