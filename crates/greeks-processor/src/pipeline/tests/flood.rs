//! A source that never stops talking, beside one that has little to say.

use super::*;

const CAPACITY: usize = 4_096;
/// How often the quiet source speaks.
const TIMES: usize = 200;
/// As many events of one source go before another is asked.
const TURN: usize = 64;

/// Fills the lane of the flood up whenever something is appended, so that it is never seen empty, and counts how many
/// rows of it go before each row of the quiet source. Counting instead of measuring time makes the test exact.
struct Flooded {
    option: InstrumentId,
    /// Dropped when the quiet source has spoken often enough: the pipeline then ends.
    senders: Option<(mpsc::Sender<SourceEvent>, mpsc::Sender<SourceEvent>)>,
    /// Rows of the flood since the quiet source spoke; `None` when it has nothing on its way.
    waiting: Option<usize>,
    waited: Arc<Mutex<Vec<usize>>>,
}

impl Flooded {
    fn speak(&mut self) {
        let Some((flood, quiet)) = &self.senders else { return };
        while flood.capacity() > 1 {
            flood.try_send(untimed(self.option, 0.5)).unwrap();
        }
        if self.waiting.is_none() {
            quiet.try_send(untimed(self.option, -0.5)).unwrap();
            self.waiting = Some(0);
        }
    }
}

impl SnapshotSink for Flooded {
    fn append(&mut self, records: &[Record]) -> Result<(), SinkError> {
        for (_, delta) in deltas(records) {
            // What follows the quiet source's row in a batch was there before it speaks again.
            match (delta > 0.0, self.waiting) {
                (true, Some(waiting)) => self.waiting = Some(waiting + 1),
                (true, None) => {}
                (false, waiting) => {
                    let mut waited = self.waited.lock().unwrap();
                    waited.push(waiting.unwrap());
                    self.waiting = None;
                    if waited.len() == TIMES {
                        self.senders = None;
                    }
                }
            }
        }
        self.speak();
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Without a time of the broker no two events are duplicates.
fn untimed(option: InstrumentId, delta: f64) -> SourceEvent {
    let mut update = QuoteUpdate::new(option, START);
    update.delta = Some(delta);
    SourceEvent::Quote { update, payload: None }
}

/// How many rows of the flood went before each of the quiet source's, and how many rows there were in all.
fn waits(max_batch: usize, of_its_own_lane: bool) -> (Vec<usize>, u64) {
    let mut bench = bench(&[]);
    let (flood, flooded) = mpsc::channel(CAPACITY);
    let (mut quiet, spoken) = mpsc::channel(CAPACITY);
    let source = |name| SourceId::new(name).unwrap();
    bench.inbox = Inbox::new(vec![(source("flood"), flooded), (source("quiet"), spoken)]);
    bench.senders = vec![flood.clone(), quiet.clone()];
    bench.holding(0);
    bench.holding(1);
    bench.senders.clear();
    bench.config.max_batch = max_batch;
    let waited = Arc::new(Mutex::new(Vec::new()));
    if !of_its_own_lane {
        quiet = flood.clone();
    }
    let (option, sink) = (bench.option, Arc::clone(&waited));
    let sink = Flooded { option, senders: Some((flood, quiet)), waiting: None, waited: sink };
    let total = Pipeline::spawn(bench.config, bench.inbox, Box::new(sink)).unwrap().join().unwrap();
    let waited = waited.lock().unwrap().clone();
    (waited, total.rows)
}

#[test]
fn a_flood_delays_another_source_by_one_turn_at_most() {
    for max_batch in [1, 7, TURN, 1_024] {
        let (waited, rows) = waits(max_batch, true);
        assert_eq!(waited.len(), TIMES);
        let longest = waited.iter().max().unwrap();
        assert!(*longest <= TURN, "batches of {max_batch}: {longest} rows of the flood went first");
        assert!(rows > CAPACITY as u64, "there was a flood: {rows} rows");
    }
    // The control: in one lane with the flood it waits for all that is there.
    let (waited, _) = waits(1_024, false);
    let shortest = waited.iter().skip(1).min().unwrap();
    assert!(*shortest > 40 * TURN, "{shortest}");
}
