//! Events on their way out of a driver, through a queue that can be full.

use std::collections::VecDeque;
use std::time::Duration;

use greeks_model::SourceEvent;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

/// A queue that stays full for so long is worth telling.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long it is told after it was last seen.
const SLOW_FOR: Duration = Duration::from_secs(5);

/// Something that has events to give, such as the protocol's side of a session.
pub trait Producer {
    /// Whether [`Producer::next_event`] has something.
    fn has_events(&self) -> bool;

    /// The next event, in the order of receipt.
    fn next_event(&mut self) -> Option<SourceEvent>;
}

/// Nobody takes events any more: as good as a request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the events any more")]
pub struct Closed;

/// The way of events to a bounded queue: those of a [`Producer`], and before them those of the driver itself.
///
/// While [`Handover::has_events`] holds after [`Handover::hand_on`], the queue is full: the driver waits for room
/// beside its other duties and reads no socket, so that the other side is slowed down by TCP.
#[derive(Debug)]
pub struct Handover<'a> {
    queue: &'a Sender<SourceEvent>,
    /// Events that do not come from the producer.
    own: VecDeque<SourceEvent>,
    blocked_since: Option<Instant>,
    slow_until: Option<Instant>,
}

impl<'a> Handover<'a> {
    /// Nothing to hand on yet.
    #[must_use]
    pub const fn new(queue: &'a Sender<SourceEvent>) -> Self {
        Self { queue, own: VecDeque::new(), blocked_since: None, slow_until: None }
    }

    /// Adds events of the driver's own.
    pub fn extend(&mut self, events: impl IntoIterator<Item = SourceEvent>) {
        self.own.extend(events);
    }

    /// Whether events of the driver's own wait: no use in making more.
    #[must_use]
    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether anything waits.
    #[must_use]
    pub fn has_events(&self, producer: &impl Producer) -> bool {
        self.has_own() || producer.has_events()
    }

    /// The next event, for a driver that holds a permit of the queue.
    pub fn next_event(&mut self, producer: &mut impl Producer) -> Option<SourceEvent> {
        self.own.pop_front().or_else(|| producer.next_event())
    }

    /// Hands events on as long as there is room.
    ///
    /// # Errors
    /// [`Closed`] when nobody takes them any more.
    pub fn hand_on(&mut self, producer: &mut impl Producer) -> Result<(), Closed> {
        while self.has_events(producer) {
            match self.queue.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.next_event(producer) {
                        permit.send(event);
                    }
                }
                Err(TrySendError::Full(())) => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(TrySendError::Closed(())) => return Err(Closed),
            }
        }
        self.blocked_since = None;
        Ok(())
    }

    /// Whether the queue is, or was a moment ago, full for so long that a person should know. To be asked in each round
    /// of the driver.
    pub fn is_slow(&mut self, now: Instant) -> bool {
        if self.blocked_since.is_some_and(|since| now >= since + SLOW_AFTER) {
            self.slow_until = Some(now + SLOW_FOR);
        }
        self.slow_until = self.slow_until.filter(|until| now < *until);
        self.slow_until.is_some()
    }

    /// When [`Handover::is_slow`] may change by itself; in the past until it is asked.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.slow_until.or_else(|| self.blocked_since.map(|since| since + SLOW_AFTER))
    }

    /// Hands on what is left, within `limit`. False when some of it was lost: nobody took it.
    pub async fn drain(&mut self, producer: &mut impl Producer, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.has_events(producer) {
            let Ok(Ok(permit)) = timeout_at(deadline, self.queue.reserve()).await else { return false };
            if let Some(event) = self.next_event(producer) {
                permit.send(event);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::UnixNanos;
    use tokio::sync::mpsc;

    use super::*;

    /// Counts down to nothing.
    struct Countdown(i64);

    impl Producer for Countdown {
        fn has_events(&self) -> bool {
            self.0 > 0
        }

        fn next_event(&mut self) -> Option<SourceEvent> {
            let event = self.has_events().then(|| at(self.0))?;
            self.0 -= 1;
            Some(event)
        }
    }

    fn at(nanos: i64) -> SourceEvent {
        SourceEvent::SessionStarted { at: UnixNanos::from_nanos(nanos) }
    }

    #[tokio::test(start_paused = true)]
    async fn own_events_go_first_and_all_go_in_order() {
        let (queue, mut received) = mpsc::channel(3);
        let (mut handover, mut producer) = (Handover::new(&queue), Countdown(3));
        handover.extend([at(9), at(8)]);
        handover.hand_on(&mut producer).unwrap();
        assert!(handover.has_events(&producer) && !handover.has_own(), "there was room for three");
        let mut all: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
        assert!(handover.drain(&mut producer, SLOW_AFTER).await);
        all.extend(std::iter::from_fn(|| received.try_recv().ok()));
        assert_eq!(all, [at(9), at(8), at(3), at(2), at(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_stays_full_is_told_and_for_a_while_after() {
        let (queue, mut received) = mpsc::channel(1);
        let (mut handover, mut producer) = (Handover::new(&queue), Countdown(2));
        let begin = Instant::now();
        handover.hand_on(&mut producer).unwrap();
        assert_eq!(handover.deadline(), Some(begin + SLOW_AFTER));
        assert!(!handover.is_slow(begin + SLOW_AFTER - Duration::from_millis(1)));
        tokio::time::advance(SLOW_AFTER).await;
        assert!(handover.is_slow(Instant::now()));
        received.recv().await.unwrap();
        handover.hand_on(&mut producer).unwrap();
        assert!(!handover.has_events(&producer));
        let told_until = begin + SLOW_AFTER + SLOW_FOR;
        assert_eq!(handover.deadline(), Some(told_until));
        assert!(handover.is_slow(told_until - Duration::from_millis(1)) && !handover.is_slow(told_until));
        assert_eq!(handover.deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_is_gone_or_takes_nothing_ends_the_wait() {
        let (queue, received) = mpsc::channel(1);
        let (mut handover, mut producer) = (Handover::new(&queue), Countdown(3));
        let begin = Instant::now();
        assert!(!handover.drain(&mut producer, SLOW_AFTER).await);
        assert_eq!(begin.elapsed(), SLOW_AFTER);
        drop(received);
        assert_eq!(handover.hand_on(&mut producer), Err(Closed));
    }
}
