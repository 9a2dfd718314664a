//! The gateway's cached list of positions, held against its uncached one.
//!
//! The cached list tells what each contract is, but may be old, and a row that moves between two pages while they are read
//! can be missed. The uncached list is short of words, but it is of now. Where they differ, the cached one is read anew;
//! where they then still differ, the uncached one is right about quantities. Where there is no uncached list, the cached
//! one is made anew for every reading but the first.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use greeks_model::AccountId;

use crate::Error;
use crate::rest::{PositionNow, PositionRow, Positions, Rest, Terms};
use crate::wire::Conid;

/// Compares the two lists of each account.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Differences that reading anew did not remove: they are not worth another reading as long as they stay the same.
    settled: Mutex<HashMap<AccountId, Vec<Difference>>>,
    /// Accounts whose uncached list could not be had: nothing tells whether their cached one is old.
    blind: Mutex<HashSet<AccountId>>,
}

/// A contract of which the two lists tell different quantities.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Difference {
    conid: Conid,
    /// `None`: not in the list.
    cached: Option<f64>,
    now: Option<f64>,
}

impl Comparison {
    /// The open option positions of one account.
    pub(super) async fn positions(&self, rest: &Rest, account: &AccountId) -> Result<Positions, Error> {
        if self.blind().contains(account) {
            invalidate(rest, account).await?;
        }
        let positions = rest.positions(account).await?;
        let Some(now) = uncached(rest, account).await? else {
            self.blind().insert(account.clone());
            return Ok(positions);
        };
        self.blind().remove(account);
        let differences = differences(&positions.rows, &now);
        if differences.is_empty() || self.is_settled(account, &differences) {
            return Ok(corrected(positions, now));
        }
        tracing::debug!(%account, count = differences.len(), "the list of positions is old and is read anew");
        invalidate(rest, account).await?;
        let positions = rest.positions(account).await?;
        let Some(now) = uncached(rest, account).await? else { return Ok(positions) };
        self.settle(account, self::differences(&positions.rows, &now));
        Ok(corrected(positions, now))
    }

    fn blind(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_settled(&self, account: &AccountId, differences: &[Difference]) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(account).is_some_and(|known| known == differences)
    }

    fn settle(&self, account: &AccountId, differences: Vec<Difference>) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), differences);
    }
}

/// Has the cached list made anew, if the gateway does that.
async fn invalidate(rest: &Rest, account: &AccountId) -> Result<(), Error> {
    match rest.invalidate(account).await {
        Err(error) if is_no_answer(&error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "the list of positions stays cached");
            Ok(())
        }
        outcome => outcome,
    }
}

/// The uncached list; `None` when it cannot be had, which costs nothing but the comparison.
async fn uncached(rest: &Rest, account: &AccountId) -> Result<Option<Vec<PositionNow>>, Error> {
    match rest.positions_now(account).await {
        Err(error) if is_no_answer(&error) => {
            tracing::debug!(%account, error = &error as &dyn std::error::Error, "positions are not compared");
            Ok(None)
        }
        outcome => outcome,
    }
}

/// Whether one call failed, and not the gateway or the session behind it.
fn is_no_answer(error: &Error) -> bool {
    matches!(
        error,
        Error::Status { .. }
            | Error::Body { .. }
            | Error::BodyTooLarge { .. }
            | Error::Transport { .. }
            | Error::Maintenance { .. }
    )
}

/// In the order of contracts. A quantity that cannot be read agrees with any.
fn differences(rows: &[PositionRow], now: &[PositionNow]) -> Vec<Difference> {
    let uncached: HashMap<Conid, f64> = now.iter().map(|row| (row.conid, row.quantity)).collect();
    let cached: HashMap<Conid, f64> = rows.iter().map(|row| (row.conid, row.quantity)).collect();
    let of_cached = rows.iter().map(|row| Difference {
        conid: row.conid,
        cached: Some(row.quantity),
        now: uncached.get(&row.conid).copied(),
    });
    let of_uncached = now.iter().filter(|row| row.quantity != 0.0 && !cached.contains_key(&row.conid));
    let of_uncached = of_uncached.map(|row| Difference { conid: row.conid, cached: None, now: Some(row.quantity) });
    let differs = |it: &Difference| it.cached != it.now && !it.cached.is_some_and(f64::is_nan);
    let mut all: Vec<Difference> = of_cached.chain(of_uncached).filter(differs).collect();
    all.sort_by_key(|it| it.conid);
    all
}

/// The cached list with the quantities of the uncached one, and with the contracts that only that one knows. A contract
/// that the uncached list does not name keeps what the cached one says: silence is no proof that it was closed.
fn corrected(mut positions: Positions, now: Vec<PositionNow>) -> Positions {
    let mut uncached: HashMap<Conid, PositionNow> = now.into_iter().map(|row| (row.conid, row)).collect();
    for row in &mut positions.rows {
        if let Some(now) = uncached.remove(&row.conid) {
            row.quantity = now.quantity;
        }
    }
    positions.rows.retain(|row| row.quantity != 0.0);
    let mut more: Vec<PositionNow> = uncached.into_values().filter(|row| row.quantity != 0.0).collect();
    more.sort_by_key(|row| row.conid);
    positions.rows.extend(more.into_iter().map(|row| PositionRow {
        conid: row.conid,
        description: row.description,
        terms: Terms { class: Some(row.class), ..Terms::default() },
        quantity: row.quantity,
    }));
    positions
}
