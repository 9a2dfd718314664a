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

    /// Whether no option is known to be held.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.values().all(|account| account.lines.is_empty())
    }

    /// Forgets accounts that are not streamed any more, and gives them.
    pub(crate) fn keep(&mut self, accounts: &[AccountId]) -> Vec<AccountId> {
        self.accounts.extract_if(.., |account, _| !accounts.contains(account)).map(|(account, _)| account).collect()
    }

    /// Everything to subscribe, each contract once, the most important first: options by the units of the underlying that
    /// they stand for over all accounts, and before each the line of its underlying, unless it is in the list already.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut options: HashMap<Conid, Line> = HashMap::new();
        for line in self.accounts.values().flat_map(|account| &account.lines) {
            options.entry(line.conid).and_modify(|known| known.weight += line.weight).or_insert(*line);
        }
        // A contract has one line: an option that is said to be an underlying as well stays an option.
        let mut taken: HashSet<Conid> = options.keys().copied().collect();
        let mut options: Vec<Line> = options.into_values().collect();
        options.sort_by(by_importance);
        let mut wanted = Vec::with_capacity(options.len() * 2);
        for line in options {
            if let Some(conid) = line.underlying.filter(|conid| taken.insert(*conid)) {
                wanted.push(Wanted { conid, role: Role::Underlying, instrument: line.underlying_instrument });
            }
            let role = Role::Option { underlying: line.underlying };
            wanted.push(Wanted { conid: line.conid, role, instrument: line.instrument });
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

#[cfg(test)]
mod tests {
    use greeks_model::{UnixNanos, testkit};

    use super::*;
    use crate::Error;
    use crate::discovery::Holding;

    fn conid(number: i64) -> Conid {
        Conid::new(number).unwrap()
    }

    fn account(number: u8) -> AccountId {
        AccountId::new(&format!("U000000{number}")).unwrap()
    }

    /// An option by number, written on another number.
    fn holding(number: i64, underlying: Option<i64>, quantity: f64, multiplier: i64) -> Holding {
        Holding {
            conid: conid(number),
            contract: format!("SPXW  261124C{:08}", number * 1000).parse().unwrap(),
            underlying: greeks_model::Underlying::new(&format!("U{}", underlying.unwrap_or_default())),
            underlying_conid: underlying.map(conid),
            quantity,
            multiplier: multiplier.into(),
        }
    }

    fn found(number: u8, holdings: Vec<Holding>) -> Findings {
        let observed_at = UnixNanos::from_nanos(i64::from(number));
        Findings { account: account(number), result: Ok(AccountHoldings { observed_at, holdings, skipped: 1 }) }
    }

    fn failed(number: u8) -> Findings {
        let error = Error::Status { call: "x", status: 500, reason: String::new() };
        Findings { account: account(number), result: Err(error) }
    }

    fn order(book: &Book) -> Vec<i64> {
        book.wanted().iter().map(|wanted| wanted.conid.get()).collect()
    }

    #[test]
    fn the_heaviest_first_and_each_underlying_before_its_first_option() {
        let (cx, _ends) = testkit::context(1, false);
        let mut book = Book::default();
        book.update(
            vec![
                found(
                    1,
                    vec![
                        holding(1, Some(100), 1.0, 100),
                        holding(2, Some(200), -30.0, 100),
                        holding(3, Some(100), 2.0, 50),
                    ],
                ),
                found(
                    2,
                    vec![
                        holding(4, None, f64::NAN, 100),
                        holding(5, Some(200), 7.0, 100),
                        holding(1, Some(100), -4.0, 100),
                    ],
                ),
            ],
            &cx,
        );
        // 2: 3000, 5: 700, 1: 500 in two accounts, 3 and 4: 100.
        assert_eq!(order(&book), [200, 2, 5, 100, 1, 3, 4]);
        let wanted = book.wanted();
        let roles: Vec<_> = wanted.iter().map(|wanted| wanted.role).collect();
        assert_eq!(roles[..2], [Role::Underlying, Role::Option { underlying: Some(conid(200)) }]);
        assert_eq!(roles[6], Role::Option { underlying: None });
        let numbers: HashSet<_> = wanted.iter().map(|wanted| wanted.instrument).collect();
        assert_eq!(numbers.len(), wanted.len());
        // The same again gives the same order.
        assert_eq!(
            wanted.iter().map(|it| it.conid).collect::<Vec<_>>(),
            book.wanted().iter().map(|it| it.conid).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_contract_is_never_both_option_and_underlying() {
        let (cx, _ends) = testkit::context(1, false);
        let mut book = Book::default();
        book.update(vec![found(1, vec![holding(1, Some(1), 2.0, 100), holding(2, Some(1), 1.0, 100)])], &cx);
        assert_eq!(order(&book), [1, 2]);
        assert!(book.wanted().iter().all(|wanted| wanted.role == Role::Option { underlying: Some(conid(1)) }));
    }

    #[test]
    fn an_account_that_cannot_be_read_keeps_what_it_had_and_emits_nothing() {
        let (cx, ends) = testkit::context(1, false);
        let mut book = Book::default();
        let events = book.update(vec![found(1, vec![holding(1, None, -2.0, 100)]), failed(2)], &cx);
        let [SourceEvent::Positions(snapshot)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((&snapshot.account_id, snapshot.positions.len()), (&account(1), 1));
        let position = &snapshot.positions[0];
        assert_eq!((position.quantity, position.multiplier), (-2.0, 100.into()));
        let option = ends.instruments.get(position.instrument).unwrap();
        assert!(matches!(&*option, Instrument::Option(it) if it.to_string() == "SPXW  261124C00001000"), "{option:?}");
        assert_eq!(book.faults(), BookFaults { failed_accounts: 1, not_streamed: 1 });
        assert!(book.update(vec![failed(1)], &cx).is_empty());
        assert_eq!((order(&book), book.faults().failed_accounts), (vec![1], 2));
        // Read and empty is something else than not read.
        let events = book.update(vec![found(1, Vec::new())], &cx);
        assert!(matches!(events.as_slice(), [SourceEvent::Positions(it)] if it.positions.is_empty()));
        assert_eq!((order(&book), book.faults().failed_accounts), (vec![], 1));
        book.keep(&[account(1)]);
        assert_eq!(book.faults().failed_accounts, 0);
    }
}
