//! What is held, account by account, as last read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use greeks_model::{AccountId, Instrument, Position, PositionSnapshot, SourceContext, SourceEvent, Underlying};

use crate::Error;
use crate::betas::Betas;
use crate::discovery::{AccountHoldings, Findings, Holding};
use crate::session::Wanted;
use crate::wire::Role;

/// Holdings of all accounts. An account whose positions could not be read keeps those it had.
#[derive(Debug, Default)]
pub(crate) struct Book {
    accounts: BTreeMap<AccountId, Account>,
    /// What is subscribed besides, as long as anything is held.
    benchmarks: Vec<Wanted>,
    pub(crate) betas: Betas,
}

#[derive(Debug, Default)]
struct Account {
    wanted: Vec<Wanted>,
    /// The names under which betas of what is held are asked.
    beta_names: BTreeSet<String>,
    /// Options that no subscription can be made for.
    unresolved: usize,
    /// Positions that could not be understood.
    skipped: usize,
    /// Whether the last look at it failed.
    failed: bool,
}

/// What is wrong with the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BookFaults {
    pub(crate) failed_accounts: usize,
    pub(crate) not_streamed: usize,
}

impl Book {
    /// Has these stocks and funds subscribed besides, as long as anything is held.
    pub(crate) fn watch(&mut self, benchmarks: &[String], cx: &SourceContext) {
        let wanted = |symbol: &String| Wanted {
            symbol: symbol.clone(),
            role: Role::Benchmark,
            expired: false,
            instrument: cx.instrument(&Instrument::Underlying(Underlying::new(symbol))),
        };
        self.benchmarks = benchmarks.iter().map(wanted).collect();
    }

    /// Takes over what was found; gives an event for each account that could be read.
    ///
    /// # Errors
    /// [`Error::CredentialsRejected`], which the token service alone says: no other call will fare better. Everything else
    /// concerns one account.
    pub(crate) fn update(&mut self, findings: Vec<Findings>, cx: &SourceContext) -> Result<Vec<SourceEvent>, Error> {
        let mut events = Vec::new();
        for Findings { account, result } in findings {
            match result {
                Ok(holdings) => {
                    let (entry, snapshot) = read(&account, holdings, cx);
                    self.accounts.insert(account, entry);
                    events.push(SourceEvent::Positions(snapshot));
                }
                Err(error @ Error::CredentialsRejected { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(%account, error = &error as &dyn std::error::Error, "positions could not be read");
                    self.accounts.entry(account).or_default().failed = true;
                }
            }
        }
        Ok(events)
    }

    /// Nothing is known of what has happened since the last look.
    pub(crate) fn doubt(&mut self) {
        self.accounts.values_mut().for_each(|account| account.failed = true);
    }

    /// Forgets accounts that are not streamed any more, and gives them.
    pub(crate) fn keep(&mut self, accounts: &[AccountId]) -> Vec<AccountId> {
        self.accounts.extract_if(.., |account, _| !accounts.contains(account)).map(|(account, _)| account).collect()
    }

    /// Everything to subscribe, each once.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut seen = HashMap::new();
        let held = || self.accounts.values().flat_map(|account| &account.wanted);
        let besides = self.benchmarks.iter().filter(|_| held().next().is_some());
        held()
            .chain(besides)
            .filter(|wanted| seen.insert((wanted.symbol.as_str(), wanted.instrument), ()).is_none())
            .cloned()
            .collect()
    }

    /// The names under which betas of what is held are asked.
    pub(crate) fn beta_names(&self) -> BTreeSet<String> {
        self.accounts.values().flat_map(|account| &account.beta_names).cloned().collect()
    }

    pub(crate) fn faults(&self) -> BookFaults {
        BookFaults {
            failed_accounts: self.accounts.values().filter(|account| account.failed).count(),
            not_streamed: self.accounts.values().map(|account| account.skipped + account.unresolved).sum(),
        }
    }
}

fn read(account: &AccountId, holdings: AccountHoldings, cx: &SourceContext) -> (Account, PositionSnapshot) {
    let mut entry = Account { skipped: holdings.skipped, ..Account::default() };
    let mut positions = Vec::with_capacity(holdings.holdings.len());
    for holding in holdings.holdings {
        let instrument = cx.instrument(&Instrument::Option(holding.option.contract));
        entry.beta_names.insert(Betas::name(holding.option.underlying.symbol()));
        let underlying = cx.instrument(&Instrument::Underlying(holding.option.underlying));
        positions.push(Position { instrument, underlying, quantity: holding.quantity, multiplier: holding.multiplier });
        let Holding { symbol, underlying_symbol, expired, .. } = holding;
        entry.unresolved += usize::from(symbol.is_none() && !expired);
        let option = symbol.map(|symbol| Wanted { symbol, role: Role::Option, instrument, expired });
        let underlying = underlying_symbol.map(|symbol| Wanted {
            symbol,
            role: Role::Underlying,
            instrument: underlying,
            expired: false,
        });
        entry.wanted.extend(option.into_iter().chain(underlying));
    }
    let observed_at = holdings.observed_at;
    (entry, PositionSnapshot { account_id: account.clone(), observed_at, positions })
}

#[cfg(test)]
mod tests {
    use greeks_model::testkit::context;

    use super::*;

    #[test]
    fn only_refused_credentials_are_more_than_one_account() {
        let (cx, _ends) = context(1, false);
        let fails = |error| vec![Findings { account: AccountId::new("5WT00001").unwrap(), result: Err(error) }];
        let mut book = Book::default();
        for error in [
            Error::AccessRefused { call: "x", reason: "x".into() },
            Error::Status { call: "x", status: 401, reason: "x".into() },
            Error::Forbidden { call: "x", reason: "x".into() },
        ] {
            assert!(matches!(book.update(fails(error), &cx).as_deref(), Ok([])));
        }
        assert_eq!(book.faults(), BookFaults { failed_accounts: 1, not_streamed: 0 });
        assert!(book.update(fails(Error::CredentialsRejected { reason: "x".into() }), &cx).is_err());
    }
}
