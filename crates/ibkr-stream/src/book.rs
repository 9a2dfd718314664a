//! What is held, account by account, as last read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use greeks_model::{AccountId, Instrument, InstrumentId, Position, PositionSnapshot, SourceContext, SourceEvent};
use rust_decimal::prelude::ToPrimitive;

use crate::discovery::{AccountHoldings, Findings};
use crate::session::{Role, Wanted};
use crate::wire::Conid;

/// Holdings of all accounts. An account whose positions could not be read keeps those it had.
#[derive(Debug, Default)]
pub(crate) struct Book {
    accounts: BTreeMap<AccountId, Account>,
}

#[derive(Debug, Default)]
struct Account {
    lines: Vec<Line>,
    /// Positions that could not be understood.
    skipped: usize,
    /// Whether the last look at it failed.
    failed: bool,
}

/// One option held in one account.
#[derive(Clone, Copy, Debug)]
struct Line {
    conid: Conid,
    instrument: InstrumentId,
    underlying: Option<Conid>,
    underlying_instrument: InstrumentId,
    /// Units of the underlying: what it matters.
    weight: f64,
}

/// What is wrong with the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BookFaults {
    pub(crate) failed_accounts: usize,
    pub(crate) not_streamed: usize,
}

impl Book {
    /// Takes over what was found; gives an event for each account that could be read.
    pub(crate) fn update(&mut self, findings: Vec<Findings>, cx: &SourceContext) -> Vec<SourceEvent> {
        let mut events = Vec::new();
        for Findings { account, result } in findings {
            match result {
                Ok(holdings) => {
                    let (entry, snapshot) = read(&account, holdings, cx);
                    self.accounts.insert(account, entry);
                    events.push(SourceEvent::Positions(snapshot));
                }
                Err(error) => {
                    tracing::warn!(%account, error = &error as &dyn std::error::Error, "positions could not be read");
                    self.accounts.entry(account).or_default().failed = true;
                }
            }
        }
        events
    }

    /// Forgets accounts that are not streamed any more.
    pub(crate) fn keep(&mut self, accounts: &[AccountId]) {
        self.accounts.retain(|account, _| accounts.contains(account));
    }

    /// Everything to subscribe, each contract once, the most important first: options by the units of the underlying that
    /// they stand for over all accounts, and before each the line of its underlying, unless it is in the list already.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut options: HashMap<Conid, Line> = HashMap::new();
        for line in self.accounts.values().flat_map(|account| &account.lines) {
            options.entry(line.conid).and_modify(|known| known.weight += line.weight).or_insert(*line);
        }
        let mut options: Vec<Line> = options.into_values().collect();
        options.sort_by(by_importance);
        let mut seen = HashSet::new();
        let mut wanted = Vec::with_capacity(options.len() * 2);
        for line in options {
            if let Some(conid) = line.underlying.filter(|conid| seen.insert(*conid)) {
                wanted.push(Wanted { conid, role: Role::Underlying, instrument: line.underlying_instrument });
            }
            if seen.insert(line.conid) {
                let role = Role::Option { underlying: line.underlying };
                wanted.push(Wanted { conid: line.conid, role, instrument: line.instrument });
            }
        }
        wanted
    }

    pub(crate) fn faults(&self) -> BookFaults {
        BookFaults {
            failed_accounts: self.accounts.values().filter(|account| account.failed).count(),
            not_streamed: self.accounts.values().map(|account| account.skipped).sum(),
        }
    }
}

/// The heavier first; among equals the lower number, so that the order is the same at each look.
fn by_importance(a: &Line, b: &Line) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.conid.cmp(&b.conid))
}

fn read(account: &AccountId, holdings: AccountHoldings, cx: &SourceContext) -> (Account, PositionSnapshot) {
    let mut entry = Account { skipped: holdings.skipped, ..Account::default() };
    let mut positions = Vec::with_capacity(holdings.holdings.len());
    for holding in holdings.holdings {
        let instrument = cx.instrument(&Instrument::Option(holding.contract));
        let underlying = cx.instrument(&Instrument::Underlying(holding.underlying));
        positions.push(Position { instrument, underlying, quantity: holding.quantity, multiplier: holding.multiplier });
        // A quantity that is not known is at least one contract.
        let contracts = if holding.quantity.is_nan() { 1.0 } else { holding.quantity.abs() };
        entry.lines.push(Line {
            conid: holding.conid,
            instrument,
            underlying: holding.underlying_conid,
            underlying_instrument: underlying,
            weight: contracts * holding.multiplier.to_f64().filter(|it| *it > 0.0).unwrap_or(1.0),
        });
    }
    let observed_at = holdings.observed_at;
    (entry, PositionSnapshot { account_id: account.clone(), observed_at, positions })
}
