//! When to read the positions of which account.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use greeks_model::AccountId;

/// Accounts read at one time; the calls are spaced besides.
const MOST_AT_ONCE: usize = 4;
/// Least time between the starts of two reads of one account: notices come in swarms.
const LEAST_GAP: Duration = Duration::from_millis(250);
/// Pause after a first failure; doubles with each in a row, up to the period.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// After a notice an account is read again so long after each read: what answers may be behind what gives notice.
const LOOKS_AGAIN: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(3)];

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The positions are known.
    Read,
    /// They are not.
    Failed,
    /// The API asks to be left alone for so long.
    Limited(Duration),
}

/// Reads of positions: periodic, sooner when a notice came. Of each account at most one is under way and one waits.
#[derive(Debug)]
pub struct Refresher {
    period: Duration,
    turns: BTreeMap<AccountId, Turn>,
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct Turn {
    due: Instant,
    started: Option<Instant>,
    running: bool,
    /// A notice came during the read, which may be too old to show what it tells.
    again: bool,
    /// Reads that a notice still asks for, after the one at once.
    looks_left: usize,
    failures: u32,
}

impl Refresher {
    /// Accounts that have just been read.
    #[must_use]
    pub fn new(accounts: &[AccountId], period: Duration, now: Instant) -> Self {
        let turn =
            || Turn { due: now + period, started: None, running: false, again: false, looks_left: 0, failures: 0 };
        let turns = accounts.iter().map(|account| (account.clone(), turn())).collect();
        Self { period, turns, held_until: None }
    }

    /// The positions of `account` have changed, whether the next read shows it yet or not.
    pub fn notice(&mut self, account: &AccountId, now: Instant) {
        if let Some(turn) = self.turns.get_mut(account) {
            turn.looks_left = LOOKS_AGAIN.len();
            turn.touch(now);
        }
    }

    /// The positions of `account` may have changed.
    pub fn touch(&mut self, account: &AccountId, now: Instant) {
        if let Some(turn) = self.turns.get_mut(account) {
            turn.touch(now);
        }
    }

    /// The positions of any account may have changed.
    pub fn touch_all(&mut self, now: Instant) {
        self.turns.values_mut().for_each(|turn| turn.touch(now));
    }

    /// The next account to read, if one is due. It counts as being read.
    pub fn start(&mut self, now: Instant) -> Option<AccountId> {
        if self.is_busy() || self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        let waiting = self.turns.iter_mut().filter(|(_, turn)| !turn.running && turn.due <= now);
        let (account, turn) = waiting.min_by_key(|(_, turn)| turn.due)?;
        turn.running = true;
        turn.again = false;
        turn.started = Some(now);
        Some(account.clone())
    }

    /// A read has ended.
    pub fn done(&mut self, account: &AccountId, outcome: Outcome, now: Instant) {
        let Some(turn) = self.turns.get_mut(account) else { return };
        turn.running = false;
        turn.due = now + self.period;
        match outcome {
            Outcome::Read => {
                turn.failures = 0;
                if turn.again {
                    turn.touch(now);
                } else if let Some(left) = turn.looks_left.checked_sub(1) {
                    turn.looks_left = left;
                    turn.due = turn.due.min(now + LOOKS_AGAIN.get(left).copied().unwrap_or_default());
                }
            }
            Outcome::Failed | Outcome::Limited(_) => {
                let pause = FIRST_RETRY.saturating_mul(1 << turn.failures.min(16)).min(self.period);
                turn.failures = turn.failures.saturating_add(1);
                turn.due = now + pause;
            }
        }
        if let Outcome::Limited(pause) = outcome {
            self.held_until = Some(self.held_until.map_or(now + pause, |until| until.max(now + pause)));
        }
    }

    /// When [`Refresher::start`] has something, unless a read ends before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_busy() {
            return None;
        }
        let due = self.turns.values().filter(|turn| !turn.running).map(|turn| turn.due).min()?;
        Some(self.held_until.map_or(due, |until| due.max(until)))
    }

    fn is_busy(&self) -> bool {
        self.turns.values().filter(|turn| turn.running).count() >= MOST_AT_ONCE
    }
}

impl Turn {
    fn touch(&mut self, now: Instant) {
        if self.running {
            self.again = true;
            return;
        }
        let earliest = self.started.map_or(now, |started| now.max(started + LEAST_GAP));
        self.due = self.due.min(earliest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn account(number: usize) -> AccountId {
        AccountId::new(&format!("5WT0000{number}")).unwrap()
    }

    fn refresher(count: usize) -> (Refresher, Instant) {
        let now = Instant::now();
        let accounts: Vec<AccountId> = (0..count).map(account).collect();
        (Refresher::new(&accounts, PERIOD, now), now)
    }

    #[test]
    fn without_notices_each_account_is_read_once_a_period() {
        let (mut refresher, mut now) = refresher(2);
        for _ in 0..3 {
            assert_eq!(refresher.deadline(), Some(now + PERIOD));
            assert_eq!(refresher.start(now + PERIOD - Duration::from_millis(1)), None);
            now += PERIOD;
            assert_eq!((refresher.start(now), refresher.start(now)), (Some(account(0)), Some(account(1))));
            assert_eq!((refresher.start(now), refresher.deadline()), (None, None));
            refresher.done(&account(0), Outcome::Read, now);
            refresher.done(&account(1), Outcome::Read, now);
        }
    }

    #[test]
    fn a_swarm_of_notices_is_one_read_under_way_and_one_waiting() {
        let (mut refresher, now) = refresher(1);
        for _ in 0..100 {
            refresher.touch(&account(0), now);
        }
        assert_eq!(refresher.deadline(), Some(now));
        assert_eq!((refresher.start(now), refresher.start(now)), (Some(account(0)), None));
        for _ in 0..100 {
            refresher.touch(&account(0), now);
            assert_eq!(refresher.start(now), None);
        }
        let ended = now + Duration::from_millis(50);
        refresher.done(&account(0), Outcome::Read, ended);
        assert_eq!(refresher.deadline(), Some(now + LEAST_GAP), "not at once");
        assert_eq!((refresher.start(ended), refresher.start(now + LEAST_GAP)), (None, Some(account(0))));
        refresher.done(&account(0), Outcome::Read, now + PERIOD);
        assert_eq!(refresher.deadline(), Some(now + PERIOD * 2));
        refresher.touch(&account(9), now);
        assert_eq!(refresher.deadline(), Some(now + PERIOD * 2), "a stranger");
    }

    #[test]
    fn after_a_notice_an_account_is_looked_at_three_times() {
        let (mut refresher, now) = refresher(1);
        let pauses = |refresher: &mut Refresher, mut now: Instant| {
            std::array::from_fn(|_| {
                assert_eq!(refresher.start(now), Some(account(0)));
                refresher.done(&account(0), Outcome::Read, now);
                let pause = refresher.deadline().unwrap() - now;
                now += pause;
                pause.as_secs()
            })
        };
        refresher.touch(&account(0), now);
        assert_eq!(pauses(&mut refresher, now), [60; 4], "nothing was noticed");
        let now = now + PERIOD * 4;
        refresher.notice(&account(0), now);
        assert_eq!(pauses(&mut refresher, now), [3, 10, 60, 60]);
    }

    #[test]
    fn failures_are_repeated_sooner_than_the_period_and_limits_kept() {
        let (mut refresher, mut now) = refresher(1);
        refresher.touch_all(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(refresher.start(now), Some(account(0)));
            refresher.done(&account(0), Outcome::Failed, now);
            let due = refresher.deadline().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(refresher.start(now), Some(account(0)));
        refresher.done(&account(0), Outcome::Limited(Duration::from_secs(300)), now);
        refresher.touch_all(now);
        assert_eq!(refresher.deadline(), Some(now + Duration::from_secs(300)));
        assert_eq!(refresher.start(now + Duration::from_secs(299)), None);
        assert_eq!(refresher.start(now + Duration::from_secs(300)), Some(account(0)));
    }

    #[test]
    fn few_accounts_are_read_at_one_time() {
        let (mut refresher, now) = refresher(6);
        refresher.touch_all(now);
        let first: Vec<_> = std::iter::from_fn(|| refresher.start(now)).collect();
        assert_eq!(first.len(), MOST_AT_ONCE);
        assert_eq!(refresher.deadline(), None);
        refresher.done(&first[0], Outcome::Read, now);
        assert_eq!(refresher.start(now), Some(account(4)));
    }
}
