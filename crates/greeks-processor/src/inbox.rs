//! The channels of all sources, merged so that none queues behind another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use greeks_model::{SourceEvent, SourceId};
use tokio::sync::mpsc;

/// How many events one source may give before the next is asked.
const TURN: usize = 64;

/// Takes events from the bounded channels of all sources in turn. For a plain thread: waiting parks it.
pub struct Inbox {
    lanes: Vec<Lane>,
    /// Whose turn it is.
    next: usize,
    /// Where a turn is gathered before it is labelled.
    turn: Vec<SourceEvent>,
    /// Something else than events waits for the thread.
    nudged: Arc<AtomicBool>,
}

struct Lane {
    source: SourceId,
    events: mpsc::Receiver<SourceEvent>,
    ended: bool,
}

impl Inbox {
    /// Merges these channels; the place of a source in the list is its number in what
    /// [`recv_batch`](Self::recv_batch) gives.
    #[must_use]
    pub fn new(channels: Vec<(SourceId, mpsc::Receiver<SourceEvent>)>) -> Self {
        let lane = |(source, events)| Lane { source, events, ended: false };
        let lanes = channels.into_iter().map(lane).collect();
        Self { lanes, next: 0, turn: Vec::with_capacity(TURN), nudged: Arc::default() }
    }

    /// Set it and unpark the thread: [`recv_batch`](Self::recv_batch) then returns even without events.
    pub(crate) fn nudge(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.nudged)
    }

    /// The sources in the order of their numbers.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &SourceId> {
        self.lanes.iter().map(|lane| &lane.source)
    }

    /// Appends what waits to `out`, at most `max` events, each with the number of its source; blocks until there is
    /// something. Within a batch the sources take turns, and the next batch goes on where this one stopped, so a
    /// source with little to say waits for one turn of each other at most. Returns false, with nothing appended, when
    /// all senders are gone and all is taken.
    pub fn recv_batch(&mut self, out: &mut Vec<(usize, SourceEvent)>, max: usize) -> bool {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let before = out.len();
        loop {
            self.take_turns(&mut cx, out, before.saturating_add(max.max(1)));
            if out.len() > before || self.nudged.swap(false, Ordering::Acquire) {
                return true;
            }
            if self.lanes.iter().all(|lane| lane.ended) {
                return false;
            }
            // A wake-up since the lanes were asked makes this return at once.
            thread::park();
        }
    }

    /// Goes round until `out` has `full` events or no lane has any; lanes found empty will wake the thread.
    fn take_turns(&mut self, cx: &mut Context<'_>, out: &mut Vec<(usize, SourceEvent)>, full: usize) {
        let mut idle = 0;
        while idle < self.lanes.len() && out.len() < full {
            let number = self.next % self.lanes.len();
            self.next = number + 1;
            idle += 1;
            let Some(lane) = self.lanes.get_mut(number).filter(|lane| !lane.ended) else { continue };
            match lane.events.poll_recv_many(cx, &mut self.turn, TURN.min(full - out.len())) {
                Poll::Ready(0) => lane.ended = true,
                Poll::Ready(_) => {
                    out.extend(self.turn.drain(..).map(|event| (number, event)));
                    idle = 0;
                }
                Poll::Pending => {}
            }
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicUsize;

    use greeks_model::UnixNanos;

    use super::*;

    fn event(number: i64) -> SourceEvent {
        SourceEvent::SessionStarted { at: UnixNanos::from_nanos(number) }
    }

    fn number(event: &SourceEvent) -> i64 {
        match event {
            SourceEvent::SessionStarted { at } => at.as_nanos(),
            other => panic!("{other:?}"),
        }
    }

    fn inbox(capacities: &[usize]) -> (Vec<mpsc::Sender<SourceEvent>>, Inbox) {
        let channels = capacities.iter().enumerate().map(|(index, capacity)| {
            let (sender, receiver) = mpsc::channel(*capacity);
            (sender, (SourceId::new(&format!("s{index}")).unwrap(), receiver))
        });
        let (senders, lanes) = channels.unzip();
        (senders, Inbox::new(lanes))
    }

    #[test]
    fn a_flood_at_one_source_does_not_queue_before_another() {
        let (senders, mut inbox) = inbox(&[10_000, 10]);
        for i in 0..10_000 {
            senders[0].try_send(event(i)).unwrap();
        }
        senders[1].try_send(event(-1)).unwrap();
        let mut out = Vec::new();
        assert!(inbox.recv_batch(&mut out, 1_000));
        assert_eq!(out.len(), 1_000);
        let place = out.iter().position(|(source, _)| *source == 1).unwrap();
        assert!(place <= TURN, "waited for {place} events");
        // And again when it speaks in the middle of the flood, however small the batches are.
        for max in [1, 3, TURN, 500] {
            senders[1].try_send(event(-1)).unwrap();
            let mut waited = 0;
            'found: loop {
                out.clear();
                assert!(inbox.recv_batch(&mut out, max));
                for (source, _) in &out {
                    if *source == 1 {
                        break 'found;
                    }
                    waited += 1;
                }
            }
            assert!(waited <= TURN, "waited for {waited} events with batches of {max}");
        }
    }

    #[test]
    fn each_sources_order_is_kept_and_the_end_comes_when_all_have_closed() {
        let (senders, mut inbox) = inbox(&[8, 8, 8]);
        assert_eq!(inbox.sources().map(SourceId::as_str).collect::<Vec<_>>(), ["s0", "s1", "s2"]);
        let feeders: Vec<_> = senders
            .into_iter()
            .map(|sender| thread::spawn(move || (0..5_000).for_each(|i| sender.blocking_send(event(i)).unwrap())))
            .collect();
        let mut next = [0; 3];
        let mut out = Vec::new();
        while inbox.recv_batch(&mut out, 100) {
            assert!(!out.is_empty() && out.len() <= 100);
            for (source, event) in out.drain(..) {
                assert_eq!(number(&event), next[source]);
                next[source] += 1;
            }
        }
        assert_eq!(next, [5_000; 3]);
        assert!(!inbox.recv_batch(&mut out, 100) && out.is_empty());
        feeders.into_iter().for_each(|feeder| feeder.join().unwrap());
        assert!(!Inbox::new(Vec::new()).recv_batch(&mut out, 100));
    }

    /// Counts how often it is asked to wake: what `recv_batch` would be woken by.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_idle_inbox_sleeps_until_any_sender_speaks() {
        let (senders, mut inbox) = inbox(&[8, 8]);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut out = Vec::new();
        inbox.take_turns(&mut Context::from_waker(&waker), &mut out, 10);
        assert_eq!((out.len(), count.0.load(Ordering::SeqCst)), (0, 0), "nothing there: nobody is woken");
        for (expected, sender) in (1..).zip(&senders) {
            sender.try_send(event(0)).unwrap();
            assert_eq!(count.0.load(Ordering::SeqCst), expected, "each lane was asked and wakes");
        }
        inbox.take_turns(&mut Context::from_waker(&waker), &mut out, 10);
        assert_eq!(out.iter().map(|(source, _)| *source).collect::<HashSet<_>>().len(), 2);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
