//! How long to wait before the next try.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;

/// From the first to the last the delay doubles. There is no jitter and never more than 5 s: a database has one writer, so
/// there is no herd to scatter, one attempt in 5 s burdens no server, and what was received in an outage should be stored
/// soon after it.
const TRANSIENT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
const FULL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
const OPERATOR: Duration = Duration::from_secs(60);
/// Most often the session of a writer that was killed a moment ago.
const HELD: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// So long the end of such a session may take without a word about it.
const HELD_QUIETLY: Duration = Duration::from_secs(3);
/// Whoever has stood by lets the other one in again, should it only have lost its connection: longer than it waits between
/// two tries.
const YIELD: Duration = Duration::from_secs(6);

/// The delays, by what happened.
#[derive(Debug, Default)]
pub(super) struct Retry {
    wait: Duration,
    /// Of the last failure since something was stored.
    failed: Duration,
    held: Duration,
    held_since: Option<Instant>,
    told: bool,
    /// The other writer was gone when last looked at.
    yielded: bool,
}

impl Retry {
    /// Before the next connection.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Something failed.
    pub(super) fn failed(&mut self, kind: Failure) {
        self.failed = match kind {
            Failure::Operator => OPERATOR,
            Failure::Full => grow(self.failed, FULL),
            Failure::Transient | Failure::Internal | Failure::Data => grow(self.failed, TRANSIENT),
        };
        self.wait = self.failed;
    }

    /// Another session is the writer. `true` once, when that has lasted so long that a person should know.
    pub(super) fn held(&mut self, now: Instant) -> bool {
        self.held = grow(self.held, HELD);
        self.wait = self.held;
        self.yielded = false;
        let since = *self.held_since.get_or_insert(now);
        let tell = !self.told && now.saturating_duration_since(since) >= HELD_QUIETLY;
        self.told |= tell;
        tell
    }

    /// The other writer is gone. `true` when it is to be given the time to come back, once: it may have lost its connection
    /// only, and what it has accepted meanwhile should not be cut off by a takeover.
    pub(super) fn yields(&mut self) -> bool {
        let first = self.told && !self.yielded;
        if first {
            (self.yielded, self.wait) = (true, YIELD);
        }
        first
    }

    /// The connection is there; whether anything can be stored is another matter.
    pub(super) fn connected(&mut self) {
        *self = Self { wait: self.failed, failed: self.failed, ..Self::default() };
    }

    /// All is well.
    pub(super) fn stored(&mut self) {
        *self = Self::default();
    }
}

fn grow(last: Duration, (first, longest): (Duration, Duration)) -> Duration {
    (last * 2).clamp(first, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: &mut Retry, kind: Failure, times: usize) -> Vec<u128> {
        let mut next = || {
            retry.failed(kind);
            retry.wait().as_millis()
        };
        (0..times).map(|_| next()).collect()
    }

    #[test]
    fn the_first_retry_is_quick_and_the_last_ones_are_seconds_apart() {
        let mut retry = Retry::default();
        assert_eq!(retry.wait(), Duration::ZERO);
        assert_eq!(waits(&mut retry, Failure::Transient, 9), [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(&mut retry, Failure::Full, 5), [10_000, 20_000, 40_000, 60_000, 60_000]);
        assert_eq!(waits(&mut retry, Failure::Operator, 2), [60_000, 60_000]);
        assert_eq!(waits(&mut retry, Failure::Transient, 1), [5000]);
        retry.connected();
        assert_eq!(waits(&mut retry, Failure::Transient, 1), [5000], "a connection alone is no success");
        retry.stored();
        assert_eq!(waits(&mut retry, Failure::Transient, 1), [50]);
        assert_eq!(waits(&mut retry, Failure::Full, 1), [5000]);
    }

    #[test]
    fn another_writer_is_told_of_once_and_not_at_once() {
        let mut retry = Retry::default();
        waits(&mut retry, Failure::Transient, 3);
        let mut now = Instant::now();
        let (mut told, mut waited) = (Vec::new(), Duration::ZERO);
        for _ in 0..20 {
            if retry.held(now) {
                told.push(waited);
            }
            assert!((HELD.0..=HELD.1).contains(&retry.wait()));
            now += retry.wait();
            waited += retry.wait();
        }
        assert_eq!(told.len(), 1);
        assert!((HELD_QUIETLY..HELD_QUIETLY + HELD.1).contains(&told[0]), "{told:?}");
        retry.connected();
        assert_eq!(retry.wait(), Duration::from_millis(200), "as after the failure before");
        assert!(!retry.held(now), "the time is taken anew");
    }

    #[test]
    fn who_has_stood_by_lets_the_other_one_back_in_once() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert!(!retry.held(now) && !retry.yields(), "a writer that was killed a moment ago does not come back");
        assert!(retry.held(now + HELD_QUIETLY) && retry.yields());
        assert!(retry.wait() > TRANSIENT.1);
        assert!(!retry.yields(), "it did not come");
        retry.held(now + HELD_QUIETLY + YIELD);
        retry.failed(Failure::Transient);
        assert!(retry.yields(), "it came, and has gone again");
    }
}
