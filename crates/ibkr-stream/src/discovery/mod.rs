//! Which options are held, and what contracts they are.

mod comparison;
mod identity;
mod inquiry;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use broker_net::text::clean;
use greeks_model::{AccountId, Contract, Decimal, SourceContext, Underlying, UnixNanos};

use crate::rest::{Accounts, Rest};
use crate::wire::Conid;
use crate::{Error, IbkrConfig};

use comparison::Comparison;
use identity::Identities;
use inquiry::Inquiry;

/// Complaints remembered, so that each is made once.
const MOST_REPORTS: usize = 10_000;

/// One option held in one account.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Holding {
    pub(crate) conid: Conid,
    pub(crate) contract: Contract,
    pub(crate) underlying: Underlying,
    /// `None`: the underlying's price cannot be asked for.
    pub(crate) underlying_conid: Option<Conid>,
    /// Contracts, negative when short; NaN when the gateway does not tell.
    pub(crate) quantity: f64,
    pub(crate) multiplier: Decimal,
}

/// What was learnt of one account.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) account: AccountId,
    pub(crate) result: Result<AccountHoldings, Error>,
}

/// The open options of one account.
#[derive(Debug)]
pub(crate) struct AccountHoldings {
    pub(crate) observed_at: UnixNanos,
    pub(crate) holdings: Vec<Holding>,
    /// Option positions that could not be understood.
    pub(crate) skipped: usize,
}

/// Whose positions are streamed.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) ids: Vec<AccountId>,
    pub(crate) shortfall: Shortfall,
}

/// Which accounts that were to be streamed are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shortfall {
    None,
    /// Sub-accounts of an advisor, which the gateway does not tell.
    NotTold,
    /// They are configured, and not among those of the login: closed, or just after a login.
    NotFound(Vec<AccountId>),
}

/// Finds positions and contracts by REST; remembers what contracts are.
#[derive(Debug)]
pub(crate) struct Discoverer {
    rest: Rest,
    identities: Identities,
    comparison: Comparison,
    /// Positions already complained about.
    reported: Mutex<HashSet<(String, String)>>,
}

impl Discoverer {
    pub(crate) fn new(rest: Rest) -> Self {
        Self { rest, identities: Identities::default(), comparison: Comparison::default(), reported: Mutex::default() }
    }

    pub(crate) const fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The accounts to stream: those configured, or all. One that is not there stops no other.
    pub(crate) async fn accounts(&self, config: &IbkrConfig) -> Result<Chosen, Error> {
        chosen(self.rest.portfolio_accounts().await?, config)
    }

    /// The same once they are said to have changed.
    pub(crate) async fn accounts_anew(&self, config: &IbkrConfig) -> Result<Chosen, Error> {
        chosen(self.rest.portfolio_accounts_anew().await?, config)
    }

    /// Reads the positions of one account.
    pub(crate) async fn look(self: Arc<Self>, account: AccountId, cx: SourceContext) -> Findings {
        let result = self.account(&account, &cx).await;
        Findings { account, result }
    }

    /// Reads the positions of one account past the gateway's cache, as after an execution.
    pub(crate) async fn look_afresh(self: Arc<Self>, account: AccountId, cx: SourceContext) -> Findings {
        let result = match self.rest.invalidate(&account).await {
            // Without it the cached list is compared with the uncached one, as at each look.
            Ok(()) | Err(Error::Status { .. } | Error::Body { .. }) => self.account(&account, &cx).await,
            Err(error) => Err(error),
        };
        Findings { account, result }
    }

    async fn account(&self, account: &AccountId, cx: &SourceContext) -> Result<AccountHoldings, Error> {
        let positions = self.comparison.positions(&self.rest, account).await?;
        let observed_at = cx.now();
        let mut skipped = positions.skipped.len();
        for (name, why) in &positions.skipped {
            self.report(name, why);
        }
        let mut holdings = Vec::with_capacity(positions.rows.len());
        let inquiry = Inquiry::new(&self.rest);
        self.identities.learn(&inquiry, &positions.rows).await?;
        for row in &positions.rows {
            let name = row.name();
            match self.identities.of(&inquiry, row).await? {
                Ok(found) => {
                    if found.multiplier.is_none() && !row.quantity.is_nan() {
                        skipped += 1;
                        self.report(&name, "no multiplier");
                    }
                    holdings.push(Holding {
                        conid: row.conid,
                        contract: found.contract,
                        underlying: found.underlying,
                        underlying_conid: found.underlying_conid,
                        // Without its multiplier a count of contracts says nothing; and it is not closed.
                        quantity: if found.multiplier.is_some() { row.quantity } else { f64::NAN },
                        multiplier: found.multiplier.unwrap_or_default(),
                    });
                }
                Err(fault) => {
                    skipped += 1;
                    self.report(&name, &fault.to_string());
                }
            }
        }
        Ok(AccountHoldings { observed_at, holdings, skipped })
    }

    /// Complains once for the life of the source.
    fn report(&self, name: &str, why: &str) {
        let name = clean(name, &[]);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < MOST_REPORTS && reported.insert((name.clone(), why.to_owned())) {
            tracing::warn!(position = name, why, "a position cannot be streamed as it is");
        }
    }
}

/// Of all accounts those that are configured, or all.
fn chosen(all: Accounts, config: &IbkrConfig) -> Result<Chosen, Error> {
    if all.ids.is_empty() {
        return Err(Error::NoAccounts);
    }
    let Some(chosen) = &config.accounts else {
        let shortfall = if all.complete { Shortfall::None } else { Shortfall::NotTold };
        return Ok(Chosen { ids: all.ids, shortfall });
    };
    // Where not all are told, one that is not may exist: its positions will show.
    let (ids, missing): (Vec<_>, Vec<_>) =
        chosen.iter().cloned().partition(|account| !all.complete || all.ids.contains(account));
    if ids.is_empty() {
        return Err(Error::UnknownAccount { missing: masked(&missing), known: masked(&all.ids) });
    }
    let shortfall = if missing.is_empty() { Shortfall::None } else { Shortfall::NotFound(missing) };
    Ok(Chosen { ids, shortfall })
}

/// Accounts for people, who know them by their last digits.
pub(crate) fn masked(accounts: &[AccountId]) -> String {
    accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
