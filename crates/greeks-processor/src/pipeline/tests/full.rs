//! A sink without room, and a clock that is set.

use greeks_model::Flags;

use super::*;

/// Has room for so many more rows; everything else fits always, or never while there is none.
struct Narrow {
    kept: MemorySink,
    room: Arc<Mutex<usize>>,
    reserve: bool,
}

impl SnapshotSink for Narrow {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        let mut room = self.room.lock().unwrap();
        let mut given_up = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let is_row = matches!(record, Record::Snapshot(_));
            if *room == 0 && (is_row || !self.reserve) {
                given_up.push(place);
                continue;
            }
            *room -= usize::from(is_row);
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
    let narrow = Narrow { kept: sink.clone(), room, reserve: true };
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

/// Sends `events` as one batch and waits until the sink has decided about it.
async fn batch(sender: &mpsc::Sender<SourceEvent>, settled: &mut mpsc::Receiver<()>, events: Vec<SourceEvent>) {
    let places = sender.reserve_many(events.len()).await.unwrap();
    places.zip(events).for_each(|(place, event)| place.send(event));
    let settled = tokio::time::timeout(Duration::from_secs(10), settled.recv()).await;
    settled.expect("the sink decides").unwrap();
}

#[tokio::test]
async fn positions_and_gaps_that_were_given_up_are_told_when_there_is_room() {
    let mut bench = bench(&["a"]);
    let (sink, room) = (MemorySink::new(), Arc::new(Mutex::new(0)));
    let (settle, mut settled) = mpsc::channel(16);
    bench.config.accepted = Some(Box::new(move |_| settle.try_send(()).unwrap()));
    let narrow = Narrow { kept: sink.clone(), room: Arc::clone(&room), reserve: false };
    let (instrument, underlying, option) = (bench.option, bench.underlying, bench.option);
    let pipeline = Pipeline::spawn(bench.config, bench.inbox, Box::new(narrow)).unwrap();
    let position = Position { instrument, underlying, quantity: 1.0, multiplier: Decimal::ONE_HUNDRED };
    let answer = |seconds: i64| {
        let observed_at = UnixNanos::from_millis(START.as_millis() + seconds * 1_000);
        let account_id = AccountId::new("A1").unwrap();
        SourceEvent::Positions(PositionSnapshot { account_id, observed_at, positions: vec![position] })
    };
    let silence = |since| SourceEvent::Gap { since, reason: GapReason::Silence };
    let sender = bench.senders.into_iter().next().unwrap();
    let from = UnixNanos::from_millis(START.as_millis() - 9_000);
    batch(&sender, &mut settled, vec![answer(0)]).await;
    batch(&sender, &mut settled, vec![silence(from)]).await;
    // The gap ends, and nobody can be told: its end is that of now, not of when there is room.
    batch(&sender, &mut settled, vec![quote(option, 0.1)]).await;
    assert_eq!(sink.records(), []);
    *room.lock().unwrap() = 100;
    batch(&sender, &mut settled, vec![answer(60)]).await;
    // Told once: an answer like the last one that was accepted says nothing.
    batch(&sender, &mut settled, vec![answer(120), quote(option, 0.2)]).await;
    *room.lock().unwrap() = 0;
    let later = UnixNanos::from_millis(START.as_millis() + 60_000);
    batch(&sender, &mut settled, vec![silence(later)]).await;
    *room.lock().unwrap() = 100;
    drop(sender);
    pipeline.join().unwrap();

    let told = |record: &Record| match record {
        Record::Positions(positions) => format!("positions {}", positions.observed_at.as_millis() - START.as_millis()),
        Record::Gap(gap) => {
            let millis = |at: UnixNanos| at.as_millis() - START.as_millis();
            format!("gap {} {:?}", millis(gap.from), gap.to.map(millis))
        }
        other => format!("row {:?}", deltas(std::slice::from_ref(other))[0].1),
    };
    let expected = ["positions 60000", "gap -9000 Some(-500)", "row 0.2", "gap 60000 None"];
    assert_eq!(sink.records().iter().map(told).collect::<Vec<_>>(), expected);
    assert!(sink.is_closed());
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
