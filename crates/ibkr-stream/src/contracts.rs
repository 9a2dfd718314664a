//! IBKR's descriptions in, contracts out.
//!
//! An option on a stock, fund or index is known by its OCC symbol alone, which stands in brackets in the description of a
//! position, or in the exchange's own name of the contract. It is never put together from a ticker: nothing else tells
//! SPXW from SPX, or an adjusted AAPL1 from AAPL, and a wrong key is worse than none. An option on a future is known by
//! the exchange's name of the future and its own expiration, type and strike.

use greeks_model::jiff::civil::Date;
use greeks_model::{Contract, Decimal, Future};

use crate::rest::{ContractInfo, Terms};

/// How many days an OCC symbol's date may lie after the last trading day: options that settle in the morning trade until
/// the day before, and weekends and holidays can lie between.
const LONGEST_SETTLEMENT_DAYS: i32 = 4;

/// Why a position names no contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContractFault {
    #[error("nothing tells what kind of contract it is")]
    NoClass,
    #[error("nothing tells its option root")]
    NoRoot,
    #[error("its OCC symbol contradicts its terms")]
    Contradiction,
    #[error("nothing tells the future it is written on")]
    NoFuture,
    #[error("nothing tells its expiration, type and strike")]
    NoTerms,
    #[error("its terms make no contract")]
    NoContract,
}

/// What stands in brackets in the description of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bracketed {
    pub(crate) contract: Contract,
    pub(crate) multiplier: Option<Decimal>,
}

/// The OCC symbol and multiplier in `SPY    JAN2025 440 C [SPY   250117C00440000 100]`, with any padding.
pub(crate) fn bracketed(description: &str) -> Option<Bracketed> {
    let (_, inside) = description.rsplit_once('[')?;
    let (inside, _) = inside.split_once(']')?;
    let inside = inside.trim();
    let read = |symbol: &str| Contract::from_osi(symbol).ok();
    if let Some(contract) = read(inside) {
        return Some(Bracketed { contract, multiplier: None });
    }
    let (symbol, last) = inside.rsplit_once(char::is_whitespace)?;
    let multiplier = Decimal::from_str_exact(last).ok().filter(|it| *it > Decimal::ZERO)?;
    Some(Bracketed { contract: read(symbol)?, multiplier: Some(multiplier.normalize()) })
}

/// The contract of an option on a stock, fund or index by the OCC symbol of its description; `Ok(None)` when there is
/// none.
pub(crate) fn described_option(bracketed: Option<Bracketed>, terms: &Terms) -> Result<Option<Contract>, ContractFault> {
    match bracketed {
        Some(found) if agrees(&found.contract, terms) => Ok(Some(found.contract)),
        Some(_) => Err(ContractFault::Contradiction),
        None => Ok(None),
    }
}

/// The contract of an option on a stock, fund or index by its exchange's name, or by its trading class, which is the
/// option root.
pub(crate) fn listed_option(info: &ContractInfo, terms: &Terms) -> Result<Contract, ContractFault> {
    let terms = terms.clone().or(&info.terms);
    if let Some(contract) = info.local_symbol.as_deref().and_then(|symbol| Contract::from_osi(symbol).ok()) {
        return if agrees(&contract, &terms) { Ok(contract) } else { Err(ContractFault::Contradiction) };
    }
    let root = info.trading_class.as_deref().ok_or(ContractFault::NoRoot)?;
    // The date of the symbol is the expiration; the last trading day would make another contract of it.
    let (Some(date), Some(option_type), Some(strike)) = (terms.expiration, terms.option_type, terms.strike) else {
        return Err(ContractFault::NoTerms);
    };
    Contract::osi(root, date, option_type, strike).map_err(|_| ContractFault::NoContract)
}

/// The future that `info` describes: its exchange's name, `ESU6` or `ZN   DEC 26`, with the year that one digit leaves
/// open taken from its delivery month or maturity, and else the first that is not before `not_before`.
pub(crate) fn future(info: &ContractInfo, not_before: Option<Date>) -> Option<Future> {
    let symbol = info.local_symbol.as_deref()?.trim();
    if let Some(future) = spelled_out(symbol) {
        return Some(future);
    }
    // A contract can mature in the year before its delivery month, and be named after either.
    let delivery = info.contract_month.map(|(year, _)| year).or(info.terms.expiration.map(Date::year));
    let from = delivery.and_then(|year| Date::new(year - 1, 1, 1).ok()).or(not_before)?;
    let future = Future::parse(symbol, from).ok()?;
    let near = delivery.is_none_or(|year| (i32::from(year) - i32::from(future.year())).abs() <= 1);
    near.then_some(future)
}

/// The contract of an option on `future`.
pub(crate) fn future_option(future: Future, terms: &Terms) -> Result<Contract, ContractFault> {
    let date = terms.expiration.or(terms.last_trading_day);
    let (Some(date), Some(option_type), Some(strike)) = (date, terms.option_type, terms.strike) else {
        return Err(ContractFault::NoTerms);
    };
    Contract::on_future(future, date, option_type, strike).map_err(|_| ContractFault::NoContract)
}

/// The canonical symbol of a stock, fund or index: `BRK/B` for IBKR's `BRK B`.
pub(crate) fn canonical_symbol(symbol: &str) -> Option<String> {
    let parts: Vec<&str> = symbol.split(|c: char| c.is_whitespace() || c == '.').filter(|it| !it.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The symbol at the head of a description: what stands before `JAN2025`.
pub(crate) fn described_symbol(description: &str) -> Option<String> {
    let head = description.split('[').next().unwrap_or_default();
    let words: Vec<&str> = head.split_whitespace().collect();
    let month = words.iter().position(|word| is_month_and_year(word))?;
    canonical_symbol(&words.get(..month)?.join(" "))
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

fn is_month_and_year(word: &str) -> bool {
    let year = word.split_at_checked(3).filter(|(month, _)| MONTHS.contains(month)).map(|(_, year)| year);
    year.is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
}

/// `ZN   DEC 26`, the older form of Chicago's names.
fn spelled_out(symbol: &str) -> Option<Future> {
    let words: Vec<&str> = symbol.split_whitespace().collect();
    let [product, month, year] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let month = greeks_model::MonthCode::from_month(u8::try_from(month).ok()?)?;
    let year: u16 = year.parse().ok().filter(|_| year.len() == 2)?;
    Future::new(product, month, 2000 + year).ok()
}

/// Whether nothing in the terms speaks against the contract.
fn agrees(contract: &Contract, terms: &Terms) -> bool {
    let option_type = terms.option_type.is_none_or(|it| it == contract.option_type());
    let strike = terms.strike.is_none_or(|it| it.is_zero() || it == contract.strike());
    let days_after = |date: Date| contract.expiration().since(date).map_or(i32::MAX, |span| span.get_days());
    let mut dates = [terms.expiration, terms.last_trading_day].into_iter().flatten().peekable();
    let date = dates.peek().is_none() || dates.any(|date| (0..=LONGEST_SETTLEMENT_DAYS).contains(&days_after(date)));
    option_type && strike && date
}
