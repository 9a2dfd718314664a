//! What a fill asks for: reads of positions past IBKR's cache, and once more when the fill does not show.

use std::collections::BTreeMap;
use std::time::Duration;

use greeks_model::{AccountId, Position, PositionSnapshot};
use tokio::time::Instant;

/// Reads after an execution at most: the cache lags behind, and most accounts have nothing to show.
const LOOKS: u8 = 2;

/// Accounts in which an execution is looked for. A message of an execution does not have to name its account.
#[derive(Debug)]
pub(super) struct Executions {
    recheck: Duration,
    /// What each account held when it was last read.
    held: BTreeMap<AccountId, Vec<Position>>,
    sought: BTreeMap<AccountId, Search>,
}

#[derive(Debug)]
struct Search {
    looks_left: u8,
    /// When to look again.
    again_at: Option<Instant>,
    /// An execution came during the read, which may be too old to show it.
    renewed: bool,
}

impl Executions {
    pub(super) const fn new(recheck: Duration) -> Self {
        Self { recheck, held: BTreeMap::new(), sought: BTreeMap::new() }
    }

    /// Something was executed, in one of these accounts.
    pub(super) fn heard<'a>(&mut self, accounts: impl IntoIterator<Item = &'a AccountId>) {
        for account in accounts {
            self.sought.insert(account.clone(), Search { looks_left: LOOKS, again_at: None, renewed: true });
        }
    }

    /// A read of `account` begins: whether it has to go past the cache.
    pub(super) fn begin(&mut self, account: &AccountId) -> bool {
        let Some(search) = self.sought.get_mut(account) else { return false };
        search.renewed = false;
        search.again_at = None;
        true
    }

    /// A read has ended well.
    pub(super) fn read(&mut self, snapshot: &PositionSnapshot, now: Instant) {
        let account = &snapshot.account_id;
        let former = self.held.insert(account.clone(), snapshot.positions.clone());
        let changed = former.as_ref() != Some(&snapshot.positions);
        let Some(search) = self.sought.get_mut(account).filter(|search| !search.renewed) else { return };
        search.looks_left = search.looks_left.saturating_sub(1);
        if changed || search.looks_left == 0 {
            self.sought.remove(account);
        } else {
            search.again_at = Some(now + self.recheck);
        }
    }

    /// An account to look at again now, each once.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<AccountId> {
        let due = |search: &Search| search.again_at.is_some_and(|at| now >= at);
        let (account, search) = self.sought.iter_mut().find(|(_, search)| due(search))?;
        search.again_at = None;
        Some(account.clone())
    }

    /// When [`Executions::take_due`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sought.values().filter_map(|search| search.again_at).min()
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::{Decimal, Instrument, InstrumentTable, Underlying, UnixNanos};

    use super::*;

    const RECHECK: Duration = Duration::from_secs(3);

    fn account(number: usize) -> AccountId {
        AccountId::new(&format!("U000000{number}")).unwrap()
    }

    fn snapshot(number: usize, quantity: f64) -> PositionSnapshot {
        let instrument = InstrumentTable::new().intern(&Instrument::Underlying(Underlying::new("SPX")));
        let position = Position { instrument, underlying: instrument, quantity, multiplier: Decimal::ONE_HUNDRED };
        PositionSnapshot { account_id: account(number), observed_at: UnixNanos::EPOCH, positions: vec![position] }
    }

    fn executions() -> Executions {
        let mut executions = Executions::new(RECHECK);
        for number in [1, 2] {
            executions.read(&snapshot(number, 1.0), Instant::now());
        }
        executions
    }

    #[test]
    fn without_an_execution_the_cache_is_good_enough() {
        let mut executions = executions();
        assert!(!executions.begin(&account(1)));
        executions.read(&snapshot(1, 2.0), Instant::now());
        assert_eq!(executions.deadline(), None);
    }

    #[test]
    fn a_fill_that_shows_is_looked_for_once_and_one_that_does_not_twice() {
        let (mut executions, now) = (executions(), Instant::now());
        executions.heard(&[account(1), account(2)]);
        assert!(executions.begin(&account(1)) && executions.begin(&account(2)));
        executions.read(&snapshot(1, 2.0), now);
        executions.read(&snapshot(2, 1.0), now);
        assert!(!executions.begin(&account(1)), "it has shown");
        assert_eq!(executions.deadline(), Some(now + RECHECK));
        assert_eq!(executions.take_due(now + RECHECK - Duration::from_millis(1)), None);
        assert_eq!(executions.take_due(now + RECHECK), Some(account(2)));
        assert_eq!((executions.take_due(now + RECHECK), executions.deadline()), (None, None));
        assert!(executions.begin(&account(2)), "past the cache again");
        executions.read(&snapshot(2, 1.0), now + RECHECK);
        assert!(!executions.begin(&account(2)));
        assert_eq!(executions.deadline(), None);
    }

    #[test]
    fn an_execution_during_a_read_is_not_taken_for_seen() {
        let (mut executions, now) = (executions(), Instant::now());
        executions.heard(&[account(1)]);
        assert!(executions.begin(&account(1)));
        executions.heard(&[account(1)]);
        executions.read(&snapshot(1, 2.0), now);
        assert!(executions.begin(&account(1)), "the read may be older than the second fill");
        executions.read(&snapshot(1, 3.0), now);
        assert!(!executions.begin(&account(1)));
    }
}
